"""Histograms as the database keeps them: the lowest bucket, then a count for each bucket from there on.

Merging them has to be fast, a query adds thousands. An integer with 64 bits to a bucket adds all buckets at once.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from trunkline_server.state.histogram import Histogram

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LANE = 64
# The lowest bucket is kept as a number of 16 bits, raised to be positive.
_RAISED = 1 << 14


def numbers(buckets: Mapping[int, int]) -> list[int]:
    """The lowest bucket and the counts, for PostgreSQL: BIGINT[]. There is at least one bucket."""
    low = min(buckets)
    return [low, *(buckets.get(bucket, 0) for bucket in range(low, max(buckets) + 1))]


def blob(buckets: Mapping[int, int]) -> bytes:
    """The same for SQLite. There is at least one bucket."""
    low, *counts = numbers(buckets)
    return _head(low) + array("Q", counts).tobytes()


def merge_blobs(one: bytes | None, other: bytes | None) -> bytes | None:
    """Two blobs as one. The SQL function merge_histograms of SQLite."""
    if one is None or other is None:
        return one or other
    (low, a), (other_low, b) = _parsed(one), _parsed(other)
    if low <= other_low:
        total = a + (b << (other_low - low) * _LANE)
    else:
        low, total = other_low, b + (a << (low - other_low) * _LANE)
    return _head(low) + total.to_bytes((total.bit_length() + _LANE - 1) // _LANE * 8, "little")


class Merged:
    """The sum of any number of packed histograms."""

    def __init__(self) -> None:
        self._low = 0
        self._total = 0

    def add(self, packed: bytes | Sequence[int] | None) -> None:
        """Add what the database returned; None is an empty one."""
        if packed is None:
            return
        low, counts = _parsed(packed) if isinstance(packed, bytes) else (packed[0], _integer(packed[1:]))
        if not self._total:
            self._low, self._total = low, counts
        elif low >= self._low:
            self._total += counts << (low - self._low) * _LANE
        else:
            self._total = counts + (self._total << (self._low - low) * _LANE)
            self._low = low

    def buckets(self) -> dict[int, int]:
        """The counts by bucket; only buckets that have any."""
        size = (self._total.bit_length() + _LANE - 1) // _LANE * 8
        counts = array("Q", self._total.to_bytes(size, "little"))
        return {self._low + index: count for index, count in enumerate(counts) if count}

    def histogram(self, total: float) -> Histogram:
        """As a histogram of values whose sum is `total`."""
        histogram = Histogram()
        histogram.buckets = self.buckets()
        histogram.count, histogram.sum = sum(histogram.buckets.values()), total
        return histogram


def _head(low: int) -> bytes:
    return (low + _RAISED).to_bytes(2, "little")


def _parsed(packed: bytes) -> tuple[int, int]:
    return int.from_bytes(packed[:2], "little") - _RAISED, int.from_bytes(packed[2:], "little")


def _integer(counts: Sequence[int]) -> int:
    return int.from_bytes(array("Q", counts).tobytes(), "little")
