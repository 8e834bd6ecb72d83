"""Counts over the last seconds: what is older falls out, a bucket of time at once."""

from __future__ import annotations


class Window:
    """How often things of some kinds happened in the last `buckets` times `width` seconds, the running bucket included.

    A bucket is told by its number since time 0. Time that goes back counts as standing still.
    """

    __slots__ = ("_last", "_newest", "_rows", "_size", "_until", "_width", "totals")

    def __init__(self, kinds: int, buckets: int, width: float) -> None:
        """`width` in seconds. Kinds are told by their numbers, from 0."""
        # By kind, as of the latest moment that was told.
        self.totals = [0] * kinds
        self._rows = [[0] * kinds for _ in range(buckets)]
        self._size = buckets
        self._width = width
        # The running bucket: its number, its counts, when it is over.
        self._last = 0
        self._newest = self._rows[0]
        self._until = width

    def at(self, now: float) -> int:
        """The bucket of this moment. What is too old by now is forgotten."""
        if now >= self._until:
            self._go_on(int(now // self._width))
        return self._last

    def _go_on(self, bucket: int) -> None:
        for number in range(max(self._last + 1, bucket - self._size + 1), bucket + 1):
            row = self._rows[number % self._size]
            for kind, count in enumerate(row):
                self.totals[kind] -= count
                row[kind] = 0
        self._last = max(self._last, bucket)
        self._newest = self._rows[self._last % self._size]
        self._until = (self._last + 1) * self._width

    def add(self, kind: int, bucket: int, count: int = 1) -> None:
        """Count into this bucket, unless it is forgotten already."""
        if bucket > self._last - self._size:
            self._rows[bucket % self._size][kind] += count
            self.totals[kind] += count

    def count(self, kind: int, now: float, count: int = 1) -> int:
        """Count into the bucket of this moment, and return it."""
        if now >= self._until:
            self._go_on(int(now // self._width))
        self._newest[kind] += count
        self.totals[kind] += count
        return self._last

    def newest(self, kind: int, buckets: int) -> int:
        """The total of the newest `buckets` alone."""
        return sum(self._rows[(self._last - back) % self._size][kind] for back in range(buckets))
