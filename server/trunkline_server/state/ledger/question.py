"""What UsageStats is asked, checked and made definite: which rows, in which spans, grouped and ordered how. Pure."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from trunkline.v1.gateway_service_pb2 import UsageDimension, UsageStatsRequest
from trunkline_server.errors import InvalidRequest, Violation
from trunkline_server.state.ledger.calendar import HOUR, starts, zone_of
from trunkline_server.state.ledger.dimensions import (
    Dimension,
    Filter,
    dimension_of,
    filter_of,
    violations_of_filters,
    violations_of_groups,
)
from trunkline_server.state.ledger.order import Order, Place, parse_order
from trunkline_server.state.ledger.paging import decode_place, page_size, violations_of_page
from trunkline_server.state.ledger.timestamps import EARLIEST, LATEST, instant, violations_of_range

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trunkline_server.core import Identity

DAY = 24 * HOUR
MAX_BUCKETS = 10_000
DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE = 1000, 10_000


@dataclass(frozen=True, slots=True)
class Question:
    """What to count. Instants are microseconds since 1970."""

    start: int
    end: int
    # When each span begins, ascending; the first is at or before `start`.
    buckets: tuple[int, ...]
    # Whether rows tell their bucket.
    bucketed: bool
    group_by: tuple[Dimension, ...]
    filters: tuple[Filter, ...]
    order: Order
    page_size: int
    # Where the page before ended.
    after: Place | None = None


def question_of(request: UsageStatsRequest, identity: Identity, now: int, since: int | None = None) -> Question:
    """The question that `identity` asks at `now`. Raises InvalidRequest, naming every bad field.

    `since`: when the statistics were last reset for what the identity sees; a question that names no start begins there
    if that is less than a day ago. A caller's question is about its own workspace, whatever else it says.
    """
    if bad := [*_violations(request)]:
        raise InvalidRequest(bad)
    after = decode_place(request, Place) if request.page_token else None
    start, end = _range(request, after, now, since)
    zone, bucketed = zone_of(request.time_zone), request.bucket != UsageStatsRequest.BUCKET_UNSPECIFIED
    buckets = tuple(islice(starts(start, end, request.bucket, zone), MAX_BUCKETS + 1))
    if bad := [*_range_violations(request, start, end, len(buckets))]:
        raise InvalidRequest(bad)
    return Question(
        start=start,
        end=end,
        buckets=buckets,
        bucketed=bucketed,
        group_by=tuple(map(dimension_of, request.group_by)),
        filters=seen_by(identity, map(filter_of, request.filters)),
        order=parse_order(request.order_by),
        page_size=page_size(request, DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE),
        after=after,
    )


def seen_by(identity: Identity, filters: Iterator[Filter]) -> tuple[Filter, ...]:
    """The filters, and the one that keeps a caller to its own workspace."""
    if identity.role != "caller":
        return tuple(filters)
    return *filters, Filter(Dimension(UsageDimension.KIND_WORKSPACE), (identity.workspace,))


def _range(request: UsageStatsRequest, after: Place | None, now: int, since: int | None) -> tuple[int, int]:
    if after is not None:
        return after.start, after.end
    end = min(instant(request.end_time), LATEST) if request.HasField("end_time") else now
    if request.HasField("start_time"):
        return max(instant(request.start_time), EARLIEST), end
    return min(max(end - DAY, since or 0), end), end


def _violations(request: UsageStatsRequest) -> Iterator[Violation]:
    """What is wrong with each field by itself."""
    yield from violations_of_range(request)
    if request.bucket not in UsageStatsRequest.Bucket.values():
        yield Violation("bucket", f"is none of {', '.join(UsageStatsRequest.Bucket.keys())}")
    yield from _zone_violations(request)
    yield from violations_of_groups(request.group_by)
    yield from violations_of_filters(request.filters)
    try:
        parse_order(request.order_by)
    except ValueError as error:
        yield Violation("order_by", str(error))
    yield from violations_of_page(request, Place)


def _zone_violations(request: UsageStatsRequest) -> Iterator[Violation]:
    with suppress(ValueError):
        zone_of(request.time_zone)
        return
    yield Violation("time_zone", "is no IANA name of a time zone: say Europe/Berlin, America/New_York, UTC, ...")


def _range_violations(request: UsageStatsRequest, start: int, end: int, buckets: int) -> Iterator[Violation]:
    """What is wrong with the time as a whole."""
    if start >= end and request.HasField("start_time"):
        yield Violation("start_time", "is not before end_time, or now")
    if buckets > MAX_BUCKETS:
        yield Violation("bucket", f"is too short: at most {MAX_BUCKETS} of them fit between start_time and end_time")
    elif request.bucket == UsageStatsRequest.BUCKET_MINUTE and end - start > 2 * DAY:
        yield Violation("bucket", "BUCKET_MINUTE takes at most two days between start_time and end_time")
