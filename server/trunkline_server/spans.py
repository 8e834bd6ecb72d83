"""Times between the contract's messages and numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from google.protobuf.duration_pb2 import Duration
    from google.protobuf.timestamp_pb2 import Timestamp


def seconds(duration: Duration) -> float:
    """The duration in seconds."""
    return duration.seconds + duration.nanos / 1e9


def set_seconds(duration: Duration, span: float) -> None:
    """Set the duration from seconds, rounded down to nanoseconds. `span` is not negative."""
    whole = int(span)
    duration.seconds, duration.nanos = whole, int((span - whole) * 1e9)


def set_nanoseconds(time: Timestamp, since_1970: int) -> None:
    """Set the time from nanoseconds since 1970. The message's own method for it takes five times as long."""
    time.seconds, time.nanos = divmod(since_1970, 1_000_000_000)
