"""The rollups: what a number of rows add to them. Pure.

Every row is counted three times: by hour, by day, and by day in all its dimensions (schema.py).
"""

from __future__ import annotations

from operator import add
from typing import TYPE_CHECKING, Any

from trunkline.v1 import call_pb2
from trunkline_server.state.ledger.columns import SUCCESS
from trunkline_server.state.ledger.database import Statement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from trunkline_server.state.ledger.columns import Buckets
    from trunkline_server.state.ledger.rows import AttemptRow, CallRow

    Key = tuple[Any, ...]

HOUR, DAY = 3600 * 10**6, 86400 * 10**6

KEY = (
    "grain", "start", "workspace", "operation", "provider", "model", "region", "outcome", "api_key", "task", "agent",
    "strategy", "arm",
)  # fmt: skip
ATTEMPT_SUMS = (
    "attempts", "duration", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens",
    "reasoning_tokens", "cost", "input_cost", "output_cost", "cache_read_cost", "cache_write_cost", "reasoning_cost",
    "other_cost", "saved", "unpriced", "estimated", "estimated_cost", "unknown", "retries", "hedges",
)  # fmt: skip
CALL_SUMS = (
    "calls", "successes", "errors", "cancelled", "fallbacks", "interrupted", "times", "time_sum", "first_tokens",
    "first_token_sum", "rates", "rate_sum",
)  # fmt: skip
# Of the dimensions: those of all grains, those of `detail`, which come after them, and what others have for these.
_COARSE, _ALL = 6, 11
_NONE = ("",) * (_ALL - _COARSE)
CALL_HISTOGRAMS = ("time_buckets", "first_token_buckets", "rate_buckets")


class Sums:
    """What rows add to the rollups."""

    def __init__(self) -> None:
        # By all dimensions and the hour: what is added up once, at the end.
        self._attempts: dict[Key, list[Key]] = {}
        self._units: dict[Key, int] = {}
        self._calls: dict[Key, list[Key]] = {}
        # One for each of CALL_HISTOGRAMS.
        self._buckets: dict[Key, tuple[dict[int, int], ...]] = {}

    def add_attempt(self, row: AttemptRow) -> None:
        """Count an attempt that has ended."""
        cost = row.cost or 0
        estimated = row.certainty == call_pb2.CERTAINTY_ESTIMATED
        values = (
            1, row.duration or 0, row.input_tokens or 0, row.output_tokens or 0, row.cache_read_tokens or 0,
            row.cache_write_tokens or 0, row.reasoning_tokens or 0, cost, row.input_cost or 0, row.output_cost or 0,
            row.cache_read_cost or 0, row.cache_write_cost or 0, row.reasoning_cost or 0,
            row.other_cost or 0, row.saved, row.cost is None, estimated, cost if estimated else 0,
            row.certainty == call_pb2.CERTAINTY_UNKNOWN, row.retry, row.hedge,
        )  # fmt: skip
        finest = _finest(row)
        self._attempts.setdefault(finest, []).append(values)
        for unit, amount in row.other_units.items():
            for key in _keys(finest):
                self._units[*key, unit] = self._units.get((*key, unit), 0) + amount

    def add_call(self, row: CallRow, buckets: Buckets) -> None:
        """Count a call that has ended; `buckets` as buckets_of has them."""
        time, first_token, rate = (bucket is not None for bucket in buckets)
        values = (
            1, row.result == SUCCESS, row.result == "error", row.result == "cancelled", row.fell_back,
            row.interrupted, time, row.duration if time else 0, first_token,
            (row.time_to_first_token or 0) if first_token else 0, rate, (row.output_rate or 0.0) if rate else 0.0,
        )  # fmt: skip
        finest = (*_finest(row), row.reason)
        self._calls.setdefault(finest, []).append(values)
        if time:
            for counts, bucket in zip(self._histograms(_day(finest)), buckets, strict=True):
                if bucket is not None:
                    counts[bucket] = counts.get(bucket, 0) + 1

    def _histograms(self, key: Key) -> tuple[dict[int, int], ...]:
        found = self._buckets.get(key)
        if found is None:
            found = self._buckets[key] = ({}, {}, {})
        return found

    def statements(self, pack: Callable[[Mapping[int, int]], Any]) -> Iterator[Statement]:
        """What adds them. In the order of their keys, so that no two transactions wait for each other."""
        if attempts := _folded(self._attempts):
            yield Statement(_ADD_ATTEMPTS, [(*key, *sums) for key, sums in sorted(attempts.items())], together=True)
        if self._units:
            yield Statement(_ADD_UNITS, [(*key, amount) for key, amount in sorted(self._units.items())], together=True)
        if calls := _folded(self._calls):
            rows = [self._call_values(key, sums, pack) for key, sums in sorted(calls.items())]
            yield Statement(_ADD_CALLS, rows, together=True)

    def _call_values(self, key: Key, sums: Key, pack: Callable[[Mapping[int, int]], Any]) -> Key:
        *counts, rate_sum = sums
        histograms = self._buckets.get(key, ({}, {}, {}))
        return (*key, *counts, float(rate_sum), *(pack(each) if each else None for each in histograms))


def _finest(row: AttemptRow | CallRow) -> Key:
    """A row's hour and all its dimensions."""
    subject, started = row.subject, row.started
    return (
        started - started % HOUR, subject.workspace, subject.operation, row.provider, row.model, row.region,
        row.outcome, subject.api_key, subject.task, subject.agent, subject.strategy, subject.arm,
    )  # fmt: skip


def _keys(finest: Key) -> Iterator[Key]:
    """Where it is counted; what else it has beyond its dimensions stays."""
    start, *dimensions = finest
    yield "hour", start, *dimensions[:_COARSE], *_NONE, *dimensions[_ALL:]
    yield _day(finest)
    yield "detail", start - start % DAY, *dimensions


def _day(finest: Key) -> Key:
    start, *dimensions = finest
    return "day", start - start % DAY, *dimensions[:_COARSE], *_NONE, *dimensions[_ALL:]


def _folded(found: Mapping[Key, Sequence[Key]]) -> dict[Key, Key]:
    """The sums by each key under which they are counted."""
    sums: dict[Key, Key] = {}
    for finest, rows in found.items():
        added = tuple(map(sum, zip(*rows, strict=True)))
        for key in _keys(finest):
            known = sums.get(key)
            sums[key] = added if known is None else tuple(map(add, known, added))
    return sums


def _upsert(table: str, key: tuple[str, ...], sums: tuple[str, ...], histograms: tuple[str, ...] = ()) -> str:
    columns = (*key, *sums, *histograms)
    added = [f"{name} = {table}.{name} + excluded.{name}" for name in sums]
    added += [f"{name} = merge_histograms({table}.{name}, excluded.{name})" for name in histograms]
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))}) "
        f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {', '.join(added)}"
    )


_ADD_ATTEMPTS = _upsert("attempt_sums", KEY, ATTEMPT_SUMS)
_ADD_UNITS = _upsert("unit_sums", (*KEY, "unit"), ("amount",))
_ADD_CALLS = _upsert("call_sums", (*KEY, "reason"), CALL_SUMS, CALL_HISTOGRAMS)
