"""Calls of the ledger one by one, the newest first."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING

import msgspec

from trunkline.v1 import call_pb2
from trunkline.v1.call_pb2 import Attempt, CallContext, Cost, ErrorReason, Target, Usage
from trunkline.v1.calls_pb2 import CallRecord, CallResult, ListCallsResponse
from trunkline_server.errors import InvalidRequest, Violation
from trunkline_server.spans import set_seconds
from trunkline_server.state.ledger.columns import ATTEMPT, ATTEMPT_BEGUN, CALL, attempt_of, begun_of, call_of
from trunkline_server.state.ledger.database import Query
from trunkline_server.state.ledger.dimensions import filter_of, violations_of_filters
from trunkline_server.state.ledger.expressions import Sql, all_of, condition
from trunkline_server.state.ledger.figures import TOKENS
from trunkline_server.state.ledger.paging import decode_place, encode_place, page_size, violations_of_page
from trunkline_server.state.ledger.question import DAY, seen_by
from trunkline_server.state.ledger.reading import read, read_all
from trunkline_server.state.ledger.rows import COSTS
from trunkline_server.state.ledger.timestamps import instant, is_valid, violations_of_range

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trunkline.v1.calls_pb2 import ListCallsRequest
    from trunkline_server.core import Identity
    from trunkline_server.state.ledger.database import Database, Dialect
    from trunkline_server.state.ledger.rows import AttemptRow, CallRow

DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE = 100, 1000

_CALL = ", ".join(f"t.{name}" for name in CALL)
_ATTEMPTS = f"SELECT {', '.join(ATTEMPT)} FROM attempts WHERE call_id IN"
_OPEN = f"SELECT {', '.join(ATTEMPT_BEGUN)} FROM open_attempts WHERE call_id IN"


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Where a page ended: what is listed, and its last call."""

    start: int
    end: int
    started: int
    call_id: str


async def list_calls(database: Database, request: ListCallsRequest, identity: Identity, now: int) -> ListCallsResponse:
    """One page. Pages neither repeat nor skip a call. Raises InvalidRequest, naming every bad field."""
    if bad := [*_violations(request)]:
        raise InvalidRequest(bad)
    after = decode_place(request, Place) if request.page_token else None
    start, end = (after.start, after.end) if after else _range(request, now)
    size = page_size(request, DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)
    where = all_of(
        [_in_time(start, end), *_chosen(request, identity, database.dialect), *([_behind(after)] if after else [])]
    )
    sql = f"SELECT {_CALL} FROM calls AS t WHERE {where.text} ORDER BY t.started DESC, t.call_id DESC LIMIT {size + 1}"
    calls = [call_of(row) for row in await read(database, sql, where.params)]
    response = ListCallsResponse(calls=await _records(database, calls[:size]))
    if len(calls) > size:
        last = calls[size - 1]
        response.next_page_token = encode_place(request, Place(start, end, last.started, last.call_id))
    return response


def _violations(request: ListCallsRequest) -> Iterator[Violation]:
    yield from violations_of_range(request)
    yield from violations_of_filters(request.filters)
    for i, result in enumerate(request.results):
        if result not in CallResult.values() or not result:
            names = ", ".join(CallResult.keys()[1:])
            yield Violation(f"results[{i}]", f"is none of {names}")
    if request.HasField("slower_than") and not is_valid(request.slower_than):
        yield Violation("slower_than", "is no span of zero and more")
    yield from violations_of_page(request, Place)


def _range(request: ListCallsRequest, now: int) -> tuple[int, int]:
    end = instant(request.end_time) if request.HasField("end_time") else now
    return (instant(request.start_time) if request.HasField("start_time") else end - DAY), end


def _in_time(start: int, end: int) -> Sql:
    return Sql("t.started >= ? AND t.started < ?", (start, end))


def _behind(place: Place) -> Sql:
    return Sql("(t.started < ? OR t.started = ? AND t.call_id < ?)", (place.started, place.started, place.call_id))


def _chosen(request: ListCallsRequest, identity: Identity, dialect: Dialect) -> Iterator[Sql]:
    for each in seen_by(identity, map(filter_of, request.filters)):
        yield condition(each, dialect, of_attempts=False)
    if request.results:
        names = tuple(CallResult.Name(result).removeprefix("CALL_RESULT_").lower() for result in request.results)
        yield Sql(f"t.result IN ({', '.join('?' * len(names))})", names)
    if request.HasField("slower_than"):
        yield Sql("t.duration > ?", (request.slower_than.ToMicroseconds(),))


async def _records(database: Database, calls: Sequence[CallRow]) -> list[CallRecord]:
    if not calls:
        return []
    ids = tuple(call.call_id for call in calls)
    among = f"({', '.join('?' * len(ids))})"
    ended, still_open = await read_all(database, [Query(f"{sql} {among}", ids) for sql in (_ATTEMPTS, _OPEN)])
    attempts: dict[str, list[AttemptRow]] = {}
    for row in sorted([*map(attempt_of, ended), *map(begun_of, still_open)], key=attrgetter("attempt")):
        attempts.setdefault(row.call_id, []).append(row)
    return [record_of(call, attempts.get(call.call_id, ())) for call in calls]


def record_of(call: CallRow, attempts: Sequence[AttemptRow]) -> CallRecord:
    """A call and its attempts as the contract has them."""
    subject = call.subject
    record = CallRecord(
        id=call.call_id,
        workspace=subject.workspace,
        api_key=subject.api_key,
        context=CallContext(end_user_id=subject.end_user, labels=subject.labels),
        task=subject.task,
        agent=subject.agent,
        operation=subject.operation,
        requested_model=subject.requested_model,
        target=Target(provider=call.provider, model=call.model) if call.provider else None,
        outcome=call.outcome,  # type: ignore[arg-type] # a value of the enum
        result=CallResult.Value(f"CALL_RESULT_{call.result.upper()}"),
        reason=ErrorReason.Value(f"ERROR_REASON_{call.reason}") if call.reason else call_pb2.ERROR_REASON_UNSPECIFIED,
        finish_reason=call.finish_reason,  # type: ignore[arg-type]
        fell_back=call.fell_back,
        interrupted=call.interrupted,
        attempts=map(_attempt, attempts),
        cost=_sum_of(attempts),
    )
    record.start_time.FromMicroseconds(call.started)
    set_seconds(record.total_time, call.duration / 1e6)
    if call.time_to_first_token is not None:
        set_seconds(record.time_to_first_token, call.time_to_first_token / 1e6)
    return record


def _attempt(row: AttemptRow) -> Attempt:
    usage = {field: value for name, field in TOKENS.items() if (value := getattr(row, name)) is not None}
    attempt = Attempt(
        target=Target(provider=row.provider, model=row.model),
        outcome=row.outcome,  # type: ignore[arg-type]
        retry=row.retry,
        hedge=row.hedge,
        usage=Usage(other_units=row.other_units, **usage),
        cost=_cost(row),
        provider_status=row.provider_status,
        provider_code=row.provider_code,
    )
    if row.duration is not None:
        set_seconds(attempt.duration, row.duration / 1e6)
    return attempt


def _cost(row: AttemptRow) -> Cost:
    known = {field: value for field, name in COSTS.items() if (value := getattr(row, name)) is not None}
    return Cost(price_version=row.price_version, certainty=row.certainty, **known)  # type: ignore[arg-type]


def _sum_of(attempts: Sequence[AttemptRow]) -> Cost:
    """What is known of all of them; no total if that of one is not."""
    cost = Cost(certainty=max((row.certainty for row in attempts), default=0))  # type: ignore[arg-type]
    for field, name in COSTS.items():
        values = [getattr(row, name) for row in attempts]
        if None not in values:
            setattr(cost, field, sum(values))
    return cost
