"""Calendar spans in a time zone, as instants: microseconds since 1970."""

from __future__ import annotations

from datetime import date, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from trunkline.v1.gateway_service_pb2 import UsageStatsRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

Bucket = UsageStatsRequest.Bucket

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
# Offsets from UTC are multiples of this in every zone since 1972.
_QUARTER = 15 * MINUTE


def zone_of(name: str) -> ZoneInfo:
    """The zone of an IANA name; empty means UTC. Raises ValueError for anything else."""
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, OSError, ValueError):  # not there, a folder of them, a path
        raise ValueError("no such time zone") from None


def starts(start: int, end: int, bucket: Bucket.ValueType, zone: tzinfo) -> Iterator[int]:
    """When each span that meets [start, end) begins, in order; the first may begin before `start`.

    Each goes on to the next one's beginning, so that a day is 23 or 25 hours long when the clocks change. Without a
    bucket it is `start` itself.
    """
    if bucket == UsageStatsRequest.BUCKET_UNSPECIFIED:
        yield start
        return
    spans = _minutes(start) if bucket == UsageStatsRequest.BUCKET_MINUTE else _local(start, bucket, zone)
    last = next(spans)
    for begins in spans:
        if begins <= start:
            last = begins
        elif begins > last:  # a date that the zone skipped begins with the next
            yield last
            if begins >= end:
                return
            last = begins


def _minutes(start: int) -> Iterator[int]:
    begins = start - start % MINUTE
    while True:
        yield begins
        begins += MINUTE


def _local(start: int, bucket: Bucket.ValueType, zone: tzinfo) -> Iterator[int]:
    """Endless; begins at or before `start`."""
    if bucket == UsageStatsRequest.BUCKET_HOUR:
        return _hours(start, zone)
    return (_midnight(day, zone) for day in _days(_local_time(start, zone).date(), bucket))


def _hours(start: int, zone: tzinfo) -> Iterator[int]:
    """The instants at which the zone's clocks show a whole hour."""
    begins = start - start % _QUARTER
    while _local_time(begins, zone).minute:
        begins -= _QUARTER
    while True:
        yield begins
        begins += HOUR
        while _local_time(begins, zone).minute:
            begins += _QUARTER


def _days(day: date, bucket: Bucket.ValueType) -> Iterator[date]:
    """The first days of spans, beginning with the one that `day` is in."""
    if bucket == UsageStatsRequest.BUCKET_WEEK:
        day -= timedelta(days=day.weekday())
    elif bucket == UsageStatsRequest.BUCKET_MONTH:
        day = day.replace(day=1)
    while True:
        yield day
        if bucket == UsageStatsRequest.BUCKET_MONTH:
            day = (day + timedelta(days=31)).replace(day=1)
        else:
            day += timedelta(days=7 if bucket == UsageStatsRequest.BUCKET_WEEK else 1)


def _midnight(day: date, zone: tzinfo) -> int:
    """When a day begins: the first midnight if there are two, the moment of the change if there is none."""
    return round(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) * SECOND


def _local_time(instant: int, zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(instant // SECOND, zone)
