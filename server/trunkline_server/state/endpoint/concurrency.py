"""How many calls an endpoint takes at once, found out by how it answers."""

from __future__ import annotations

from typing import Protocol

# What is left of a limit after the endpoint said that it was too much.
BACKOFF = 0.9


class ConcurrencyLimit(Protocol):
    """A limit that follows what it observes."""

    @property
    def limit(self) -> int:
        """Calls at once."""

    def answered(self, latency: float, in_flight: int) -> None:
        """A call got its first token; so many were running, itself included.

        `latency` says how long that took in relation to what a call of its size takes (1 = as expected) or in seconds:
        always in the same measure.
        """

    def overloaded(self, started: float, now: float) -> None:
        """A call that began at `started` was refused (429, 529) or had no answer in time."""


class Aimd:
    """For hosted APIs, which refuse what is too much: up by one a round, down by a tenth when refused."""

    __slots__ = ("_highest", "_limit", "_lowest", "_shrunk")

    def __init__(self, initial: int = 20, *, lowest: int = 1, highest: int = 1000) -> None:
        self._limit = float(initial)
        self._lowest, self._highest = lowest, highest
        self._shrunk = 0.0

    @property
    def limit(self) -> int:
        """Calls at once."""
        return int(self._limit)

    def answered(self, latency: float, in_flight: int) -> None:  # noqa: ARG002
        """Grow, if what there is was used: a limit that nobody reaches has not been tried."""
        if 2 * in_flight >= self.limit:
            self._limit = min(self._highest, self._limit + 1 / self._limit)

    def overloaded(self, started: float, now: float) -> None:
        """Shrink; for all calls that were under way when it last did, that was enough."""
        if started >= self._shrunk:
            self._shrunk = now
            self._limit = max(self._lowest, self._limit * BACKOFF)


class Gradient:
    """For servers of one's own, which queue what is too much: it shrinks as first tokens take longer than when idle.

    Netflix's Gradient2, with two changes that let it stay at the knee of the curve: what it compares with is the best
    latency and not a long average, which rises with the queue that it is to find; and a queue of one is wanted, not of
    four.
    """

    __slots__ = ("_best", "_highest", "_limit", "_lowest", "_recent", "_shrunk")

    # A latency this much longer is still as good.
    TOLERANCE = 1.1
    # Calls that may wait at the server: growth.
    QUEUE = 1.0
    # The share of a new value in averages: of the limit, of latencies lately, of the best latency when it rises.
    SMOOTHING, RECENT, RISE = 0.2, 0.1, 0.01

    def __init__(self, initial: int = 4, *, lowest: int = 1, highest: int = 200) -> None:
        self._limit = float(initial)
        self._lowest, self._highest = lowest, highest
        self._recent = self._best = 0.0
        self._shrunk = 0.0

    @property
    def limit(self) -> int:
        """Calls at once."""
        return int(self._limit)

    def answered(self, latency: float, in_flight: int) -> None:
        """Compare with the best; change by a small step."""
        self._recent += (latency - self._recent) * (self.RECENT if self._recent else 1.0)
        self._compare(in_flight)
        gradient = min(1.0, max(0.5, self.TOLERANCE * self._best / self._recent)) if self._recent else 1.0
        if gradient == 1.0 and 2 * in_flight < self.limit:
            return
        # A step a call, so smaller the more calls there are in a round.
        step = self.SMOOTHING / self._limit * (self._limit * gradient + self.QUEUE - self._limit)
        self._limit = min(self._highest, max(self._lowest, self._limit + step))

    def _compare(self, in_flight: int) -> None:
        """The best only falls while the server is busy; else it follows: the server itself may have become slower."""
        if not self._best or self._recent < self._best:
            self._best = self._recent
        elif in_flight <= max(self._lowest, self._limit / 2):
            self._best += (self._recent - self._best) * self.RISE

    def overloaded(self, started: float, now: float) -> None:
        """Shrink; for all calls that were under way when it last did, that was enough."""
        if started >= self._shrunk:
            self._shrunk = now
            self._limit = max(self._lowest, self._limit * BACKOFF)
