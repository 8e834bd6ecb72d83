"""Times of requests as the ledger has them: microseconds since 1970."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from trunkline_server.errors import Violation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.duration_pb2 import Duration
    from google.protobuf.timestamp_pb2 import Timestamp

# 2000 and 2200: before and after nothing was counted, and the calendars of all zones are plain in between.
EARLIEST, LATEST = 946_684_800_000_000, 7_258_118_400_000_000
# Ten thousand years in seconds, as Duration has it.
_LONGEST = 315_576_000_000
# Timestamps go from year 1 to 9999.
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799


class Ranged(Protocol):
    """A request that asks about a time."""

    @property
    def start_time(self) -> Timestamp:
        """From when, inclusive."""

    @property
    def end_time(self) -> Timestamp:
        """Until when, exclusive."""


def instant(timestamp: Timestamp) -> int:
    """Microseconds since 1970, rounded down."""
    return timestamp.seconds * 1_000_000 + timestamp.nanos // 1000


def violations_of_range(request: Ranged) -> Iterator[Violation]:
    """What is wrong with the times of a request."""
    bad = [name for name in ("start_time", "end_time") if not _is_time(getattr(request, name))]
    yield from (Violation(name, "is no time of the years 1 to 9999") for name in bad)
    if not bad and _both_set(request) and instant(request.start_time) >= instant(request.end_time):
        yield Violation("start_time", "is not before end_time")


def is_valid(duration: Duration) -> bool:
    """Whether it is a span of zero and more."""
    return 0 <= duration.seconds <= _LONGEST and 0 <= duration.nanos < 1_000_000_000


def _is_time(timestamp: Timestamp) -> bool:
    return _FIRST_SECOND <= timestamp.seconds <= _LAST_SECOND and 0 <= timestamp.nanos < 1_000_000_000


def _both_set(request: Ranged) -> bool:
    return all(request.HasField(name) for name in ("start_time", "end_time"))  # type: ignore[attr-defined]
