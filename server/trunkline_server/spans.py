"""Spans of time between the contract's Duration and seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from google.protobuf.duration_pb2 import Duration


def seconds(duration: Duration) -> float:
    """The duration in seconds."""
    return duration.seconds + duration.nanos / 1e9


def set_seconds(duration: Duration, span: float) -> None:
    """Set the duration from seconds, rounded down to nanoseconds. `span` is not negative."""
    whole = int(span)
    duration.seconds, duration.nanos = whole, int((span - whole) * 1e9)
