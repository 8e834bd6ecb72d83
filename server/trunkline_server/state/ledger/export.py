"""The ledger's rows as text, the oldest first: a page at a time, so that memory does not grow with what is exported."""

from __future__ import annotations

import csv
import io
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from trunkline.v1.call_pb2 import Certainty, Outcome
from trunkline.v1.calls_pb2 import ExportUsageRequest, ExportUsageResponse
from trunkline.v1.content_pb2 import FinishReason
from trunkline_server.errors import InvalidRequest, RoleNotAllowed, Violation
from trunkline_server.state.ledger.columns import ATTEMPT, CALL, attempt_of, call_of
from trunkline_server.state.ledger.dimensions import filter_of, violations_of_filters
from trunkline_server.state.ledger.expressions import Sql, all_of, condition
from trunkline_server.state.ledger.reading import read
from trunkline_server.state.ledger.rows import COST_PARTS
from trunkline_server.state.ledger.timestamps import instant, violations_of_range

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence

    from trunkline_server.core import Identity
    from trunkline_server.state.ledger.database import Database, Dialect, Row

# Rows that are read in one go.
PAGE = 1000
# Bytes of a piece, which its last line may exceed; clients take 4 MiB.
PIECE = 1 << 18

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# What a spreadsheet takes for the beginning of a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

_SUBJECT = {
    "workspace": "workspace",
    "api_key": "api_key",
    "end_user_id": "end_user",
    "task": "task",
    "agent": "agent",
    "strategy": "strategy",
    "arm": "arm",
    "operation": "operation",
    "requested_model": "requested_model",
    "labels": "labels",
}
# The exported names, and the rows' own.
_ATTEMPT = {
    "provider": "provider",
    "model": "model",
    "region": "region",
    "duration_us": "duration",
    "outcome": "outcome",
    "retry": "retry",
    "hedge": "hedge",
    "provider_status": "provider_status",
    "provider_code": "provider_code",
    "certainty": "certainty",
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_input_tokens": "cache_read_tokens",
    "cache_write_input_tokens": "cache_write_tokens",
    "reasoning_output_tokens": "reasoning_tokens",
    "other_units": "other_units",
    "cost_nano_usd": "cost",
    **COST_PARTS,
    "saved_nano_usd": "saved",
    "price_version": "price_version",
}
_CALL = {
    "provider": "provider",
    "model": "model",
    "region": "region",
    "duration_us": "duration",
    "outcome": "outcome",
    "result": "result",
    "reason": "reason",
    "finish_reason": "finish_reason",
    "attempts": "attempts",
    "fell_back": "fell_back",
    "interrupted": "interrupted",
    "time_to_first_token_us": "time_to_first_token",
    "output_rate": "output_rate",
}
_SAID: Mapping[str, Callable[[int], str]] = {
    "outcome": lambda value: Outcome.Name(value).removeprefix("OUTCOME_") if value else "",  # type: ignore[arg-type]
    "certainty": lambda value: Certainty.Name(value).removeprefix("CERTAINTY_") if value else "",  # type: ignore[arg-type]
    "finish_reason": lambda value: FinishReason.Name(value).removeprefix("FINISH_REASON_") if value else "",  # type: ignore[arg-type]
}


class _Kind(NamedTuple):
    """One of the two tables, and how its lines are made."""

    table: str
    columns: Sequence[str]
    # What orders rows, the last of them among those that began together.
    order: Sequence[str]
    row: Callable[[Row], Any]
    id: Sequence[str]
    fields: Mapping[str, str]
    only: tuple[Sql, ...] = ()

    def names(self) -> list[str]:
        """The names of a line's values."""
        return [*self.id, "start_time", *_SUBJECT, *self.fields]

    def values(self, found: Row) -> list[Any]:
        """A line's values."""
        row = self.row(found)
        own = [_SAID[name](getattr(row, of)) if name in _SAID else getattr(row, of) for name, of in self.fields.items()]
        started = (_EPOCH + timedelta(microseconds=row.started)).isoformat(timespec="microseconds")
        return [*(getattr(row, name) for name in self.id), started, *_values_of(row.subject), *own]


def _values_of(subject: Any) -> list[Any]:
    return [getattr(subject, name) for name in _SUBJECT.values()]


_ENDED = Sql("t.duration IS NOT NULL")
_ATTEMPTS = _Kind(
    "attempts", ATTEMPT, ("started", "call_id", "attempt"), attempt_of, ("call_id", "attempt"), _ATTEMPT, (_ENDED,)
)
_CALLS = _Kind("calls", CALL, ("started", "call_id"), call_of, ("call_id",), _CALL)


async def export_usage(
    database: Database, request: ExportUsageRequest, identity: Identity, now: int
) -> AsyncGenerator[ExportUsageResponse, None]:
    """Pieces of whole lines. The next page is read once the last piece was taken.

    Raises RoleNotAllowed, InvalidRequest, naming every bad field, and LedgerUnreadable.
    """
    if identity.role == "caller":
        raise RoleNotAllowed("ExportUsage", "operator")
    if bad := [*_violations(request)]:
        raise InvalidRequest(bad)
    kind = _CALLS if request.record == ExportUsageRequest.RECORD_CALLS else _ATTEMPTS
    names, as_csv = kind.names(), request.format == ExportUsageRequest.FORMAT_CSV
    if as_csv:
        yield ExportUsageResponse(data=_csv_line(names))
    async with aclosing(_pages(database, request, kind, now)) as pages:
        async for rows in pages:
            lines = (_csv_line(values) if as_csv else _json_line(names, values) for values in map(kind.values, rows))
            for piece in _pieces(lines):
                yield ExportUsageResponse(data=piece)


def _violations(request: ExportUsageRequest) -> Iterator[Violation]:
    yield from violations_of_range(request)
    yield from violations_of_filters(request.filters)
    if request.record not in ExportUsageRequest.Record.values():
        yield Violation("record", f"is none of {', '.join(ExportUsageRequest.Record.keys())}")
    if request.format not in ExportUsageRequest.Format.values():
        yield Violation("format", f"is none of {', '.join(ExportUsageRequest.Format.keys())}")


async def _pages(
    database: Database, request: ExportUsageRequest, kind: _Kind, now: int
) -> AsyncGenerator[Sequence[Row], None]:
    """Rows that began in the request's time, in their order; each page goes on behind the last."""
    start = instant(request.start_time) if request.HasField("start_time") else 0
    end = instant(request.end_time) if request.HasField("end_time") else now
    chosen = [*kind.only, *_chosen(request, kind, database.dialect)]
    columns, order = (", ".join(f"t.{name}" for name in names) for names in (kind.columns, kind.order))
    places = [kind.columns.index(name) for name in kind.order]
    behind = Sql("t.started >= ?", (start,))
    while True:
        where = all_of([Sql("t.started < ?", (end,)), behind, *chosen])
        sql = f"SELECT {columns} FROM {kind.table} AS t WHERE {where.text} ORDER BY {order} LIMIT {PAGE}"
        rows = await read(database, sql, where.params)
        if rows:
            yield rows
        if len(rows) < PAGE:
            return
        # Compared as rows, which both databases look up in the index of the first.
        last = tuple(rows[-1][place] for place in places)
        behind = Sql(f"t.started >= ? AND ({order}) > ({', '.join('?' * len(last))})", (last[0], *last))


def _chosen(request: ExportUsageRequest, kind: _Kind, dialect: Dialect) -> Iterator[Sql]:
    for each in map(filter_of, request.filters):
        yield condition(each, dialect, of_attempts=kind.table == "attempts")


def _pieces(lines: Iterable[bytes]) -> Iterator[bytes]:
    piece = bytearray()
    for line in lines:
        piece += line
        if len(piece) >= PIECE:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)


def _json_line(names: Sequence[str], values: Sequence[Any]) -> bytes:
    return msgspec.json.encode(dict(zip(names, values, strict=True))) + b"\n"


def _csv_line(values: Sequence[Any]) -> bytes:
    written = io.StringIO()
    csv.writer(written).writerow(map(_cell, values))
    return written.getvalue().encode()


def _cell(value: Any) -> Any:
    if isinstance(value, dict):
        return msgspec.json.encode(value).decode()
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
