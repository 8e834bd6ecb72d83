"""Rows as the database has them, in the order of their columns, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import json

from trunkline_server.state.histogram import bucket_of
from trunkline_server.state.ledger.rows import AttemptRow, CallRow, Subject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trunkline_server.state.ledger.database import Row

Buckets = tuple[int | None, int | None, int | None]

_SUBJECT = (
    "workspace", "api_key", "end_user", "task", "agent", "strategy", "arm", "operation", "requested_model", "labels",
)  # fmt: skip
# What is known of an attempt from its beginning: all that is written down before it is sent.
ATTEMPT_BEGUN = (
    "call_id",
    "attempt",
    "instance",
    *_SUBJECT,
    "started",
    "provider",
    "model",
    "retry",
    "hedge",
    "region",
)
# What is known once it has ended.
ATTEMPT_ENDED = (
    "duration", "outcome", "provider_status", "provider_code", "certainty", "input_tokens", "output_tokens",
    "cache_read_tokens", "cache_write_tokens", "reasoning_tokens", "other_units", "cost", "input_cost", "output_cost",
    "cache_read_cost", "cache_write_cost", "reasoning_cost", "other_cost", "saved", "price_version",
)  # fmt: skip
ATTEMPT = (*ATTEMPT_BEGUN, *ATTEMPT_ENDED)
CALL = (
    "call_id", *_SUBJECT, "started", "duration", "provider", "model", "region", "outcome", "result", "reason",
    "finish_reason", "attempts", "fell_back", "interrupted", "time_to_first_token", "output_rate", "time_bucket",
    "first_token_bucket", "rate_bucket",
)  # fmt: skip
SUCCESS = "success"


def begun_values(row: AttemptRow, instance: str = "") -> Row:
    """What an attempt begins with, as ATTEMPT_BEGUN names it."""
    return (
        row.call_id, row.attempt, instance, *_subject_values(row.subject), row.started, row.provider, row.model,
        int(row.retry), int(row.hedge), row.region,
    )  # fmt: skip


def attempt_values(row: AttemptRow) -> Row:
    """An attempt's values, as ATTEMPT names them."""
    return (
        *begun_values(row), row.duration, row.outcome, row.provider_status, row.provider_code,
        row.certainty, row.input_tokens, row.output_tokens, row.cache_read_tokens, row.cache_write_tokens,
        row.reasoning_tokens, _json(row.other_units), row.cost, row.input_cost, row.output_cost,
        row.cache_read_cost, row.cache_write_cost, row.reasoning_cost, row.other_cost, row.saved, row.price_version,
    )  # fmt: skip


def call_values(row: CallRow, buckets: Buckets) -> Row:
    """A call's values, as CALL names them; `buckets` as buckets_of has them."""
    return (
        row.call_id, *_subject_values(row.subject), row.started, row.duration, row.provider, row.model, row.region,
        row.outcome, row.result, row.reason, row.finish_reason, row.attempts, int(row.fell_back),
        int(row.interrupted), row.time_to_first_token, row.output_rate, *buckets,
    )  # fmt: skip


def buckets_of(row: CallRow) -> Buckets:
    """Where its time, the time to its first token and its output rate are in a histogram; of whole answers only."""
    if row.result != SUCCESS:
        return None, None, None
    first = row.time_to_first_token
    return (
        bucket_of(row.duration / 1e6),
        None if first is None else bucket_of(first / 1e6),
        None if row.output_rate is None else bucket_of(row.output_rate),
    )


def attempt_of(values: Row) -> AttemptRow:
    """The attempt of a row that was selected as ATTEMPT names it."""
    row = dict(zip(ATTEMPT, values, strict=True))
    row["other_units"] = json.decode(row["other_units"], type=dict[str, int])
    return _attempt_of(row, _ATTEMPT_FIELDS)


def begun_of(values: Row) -> AttemptRow:
    """The open attempt of a row that was selected as ATTEMPT_BEGUN names it."""
    return _attempt_of(dict(zip(ATTEMPT_BEGUN, values, strict=True)), _BEGUN_FIELDS)


def _attempt_of(row: dict[str, Any], fields: Sequence[str]) -> AttemptRow:
    row["retry"], row["hedge"] = bool(row["retry"]), bool(row["hedge"])
    return AttemptRow(subject=_subject_of(row), **{name: row[name] for name in fields})


def call_of(values: Row) -> CallRow:
    """The call of a row that was selected as CALL names it."""
    row = dict(zip(CALL, values, strict=True))
    row["fell_back"], row["interrupted"] = bool(row["fell_back"]), bool(row["interrupted"])
    return CallRow(subject=_subject_of(row), **{name: row[name] for name in _CALL_FIELDS})


# What budgets need to know of a row on its way stands in no table of attempts.
_ATTEMPT_FIELDS = tuple(name for name in AttemptRow.__struct_fields__ if name not in ("subject", "reserved", "counted"))
_BEGUN_FIELDS = tuple(name for name in _ATTEMPT_FIELDS if name in ATTEMPT_BEGUN)
_CALL_FIELDS = tuple(name for name in CallRow.__struct_fields__ if name != "subject")


def _subject_values(subject: Subject) -> Row:
    return (
        subject.workspace, subject.api_key, subject.end_user, subject.task, subject.agent, subject.strategy,
        subject.arm, subject.operation, subject.requested_model, _json(subject.labels),
    )  # fmt: skip


def _subject_of(row: dict[str, Any]) -> Subject:
    labels = json.decode(row["labels"], type=dict[str, str])
    return Subject(labels=labels, **{name: row[name] for name in _SUBJECT if name != "labels"})


def _json(values: dict[str, Any]) -> str:
    return json.encode(values).decode() if values else "{}"
