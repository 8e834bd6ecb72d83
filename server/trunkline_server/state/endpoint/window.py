"""Counts over the last seconds: what is older falls out, a bucket of time at once."""

from __future__ import annotations

from collections import deque
from itertools import islice

# How often things happened in one bucket, by kind. Kinds are told by their numbers, from 0.
Counts = list[int]


class Window:
    """How often things of some kinds happened in the last `buckets` times `width` seconds, the running bucket included.

    Time that goes back counts as standing still.
    """

    __slots__ = ("_kinds", "_last", "_rows", "_running", "_size", "_until", "_width")

    def __init__(self, kinds: int, buckets: int, width: float) -> None:
        """`width` in seconds."""
        self._kinds, self._size, self._width = kinds, buckets, width
        # The running bucket: its counts, its number since time 0, when it is over.
        self._running: Counts = [0] * kinds
        self._last, self._until = 0, width
        # All that are not forgotten, the running one last.
        self._rows = deque([self._running], maxlen=buckets)

    def at(self, now: float) -> Counts:
        """The bucket of this moment, to count into: also later, until it is forgotten; then that changes nothing."""
        if now >= self._until:
            self._go_on(int(now // self._width))
        return self._running

    def _go_on(self, bucket: int) -> None:
        self._rows.extend([0] * self._kinds for _ in range(min(bucket - self._last, self._size)))
        self._running, self._last = self._rows[-1], bucket
        self._until = (bucket + 1) * self._width

    def totals(self, now: float) -> Counts:
        """By kind. What is too old by now is forgotten."""
        self.at(now)
        return [*map(sum, zip(*self._rows, strict=True))]

    def newest(self, buckets: int) -> Counts:
        """The totals of the newest `buckets` alone."""
        return [*map(sum, zip(*islice(reversed(self._rows), buckets), strict=True))]
