"""Histograms as the database keeps them: the lowest bucket, then a count for each bucket from there on.

Merging them has to be fast, a query adds thousands. An integer with so many bits to a bucket, a lane, adds all buckets
at once. Most histograms have small counts: in SQLite they are narrow, a quarter of the size, as long as each of their
counts fits half a lane, so that hundreds of them can be added before any lane is full.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, NamedTuple

from trunkline_server.state.histogram import Histogram

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Bits of a lane.
_NARROW, _WIDE = 16, 64
_CODES = {_NARROW: "H", _WIDE: "Q"}
# The largest count of a narrow histogram, how many of them can be added, and the bits that none of their counts has.
_MOST = 0xFF
_MANY = 0xFFFF // _MOST
_TOO_MUCH = int.from_bytes(b"\x00\xff" * 2048, "little")
# The lowest bucket is kept as a number of 16 bits, raised to be positive; the highest bit says that it is a narrow one.
_RAISED, _IS_NARROW = 1 << 14, 1 << 15


class _Counts(NamedTuple):
    """An integer of lanes, the first of which is the lowest bucket's."""

    lane: int
    low: int
    total: int

    def plus(self, other: _Counts) -> _Counts:
        """Both; they have the same lanes."""
        lane, low, total = self
        if not total:
            return other
        _, other_low, more = other
        if low <= other_low:
            return _Counts(lane, low, total + (more << (other_low - low) * lane))
        return _Counts(lane, other_low, more + (total << (low - other_low) * lane))

    def widened(self) -> _Counts:
        """The same in wide lanes."""
        return _Counts(_WIDE, self.low, _integer(self.array())) if self.lane != _WIDE else self

    def array(self) -> array[int]:
        """The counts by themselves."""
        return array(_CODES[self.lane], self.bytes())

    def bytes(self) -> bytes:
        """As many bytes as there are lanes."""
        return self.total.to_bytes((self.total.bit_length() + self.lane - 1) // self.lane * (self.lane // 8), "little")


def numbers(buckets: Mapping[int, int]) -> list[int]:
    """The lowest bucket and the counts, for PostgreSQL: BIGINT[]. There is at least one bucket."""
    low = min(buckets)
    return [low, *(buckets.get(bucket, 0) for bucket in range(low, max(buckets) + 1))]


def blob(buckets: Mapping[int, int]) -> bytes:
    """The same for SQLite. There is at least one bucket."""
    low, *counts = numbers(buckets)
    if max(counts) <= _MOST:
        return _head(low, _NARROW) + array("H", counts).tobytes()
    return _head(low, _WIDE) + array("Q", counts).tobytes()


def merge_blobs(one: bytes | None, other: bytes | None) -> bytes | None:
    """Two blobs as one. The SQL function merge_histograms of SQLite."""
    if one is None or other is None:
        return one or other
    a, b = _Counts(*_parsed(one)), _Counts(*_parsed(other))
    merged = a.plus(b) if a.lane == b.lane else a.widened().plus(b.widened())
    if merged.lane == _NARROW and merged.total & _TOO_MUCH:
        merged = merged.widened()
    return _head(merged.low, merged.lane) + merged.bytes()


class Merged:
    """The sum of any number of packed histograms."""

    def __init__(self) -> None:
        self._wide = _Counts(_WIDE, 0, 0)
        # Narrow ones, and how many more of them there is room for.
        self._low = self._total = 0
        self._room = _MANY

    def add(self, packed: bytes | Sequence[int] | Merged | None) -> None:
        """Add what the database returned, or another sum; None is an empty one."""
        if packed is None:
            return
        if isinstance(packed, Merged):
            self._wide = self._wide.plus(packed.widened())
            return
        lane, low, total = _parsed(packed) if isinstance(packed, bytes) else (_WIDE, packed[0], _integer(packed[1:]))
        if lane == _WIDE:
            self._wide = self._wide.plus(_Counts(lane, low, total))
            return
        if not self._total:
            self._low, self._total = low, total
        elif low >= self._low:
            self._total += total << (low - self._low) * _NARROW
        else:
            self._low, self._total = low, total + (self._total << (self._low - low) * _NARROW)
        self._room -= 1
        if not self._room:
            self._widen()

    def widened(self) -> _Counts:
        """All of it."""
        if self._total:
            self._widen()
        return self._wide

    def _widen(self) -> None:
        self._wide = self._wide.plus(_Counts(_NARROW, self._low, self._total).widened())
        self._low = self._total = 0
        self._room = _MANY

    def buckets(self) -> dict[int, int]:
        """The counts by bucket; only buckets that have any."""
        wide = self.widened()
        return {bucket: count for bucket, count in enumerate(wide.array(), wide.low) if count}

    def histogram(self, total: float) -> Histogram:
        """As a histogram of values whose sum is `total`."""
        histogram = Histogram()
        histogram.buckets, histogram.sum = self.buckets(), total
        return histogram


def _head(low: int, lane: int) -> bytes:
    return (low + _RAISED | (_IS_NARROW if lane == _NARROW else 0)).to_bytes(2, "little")


def _parsed(packed: bytes) -> tuple[int, int, int]:
    """Lane, lowest bucket and counts."""
    head, counts = int.from_bytes(packed[:2], "little"), int.from_bytes(packed[2:], "little")
    return (_NARROW, head - _IS_NARROW - _RAISED, counts) if head & _IS_NARROW else (_WIDE, head - _RAISED, counts)


def _integer(counts: Sequence[int]) -> int:
    return int.from_bytes(array("Q", counts).tobytes(), "little")
