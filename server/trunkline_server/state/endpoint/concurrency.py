"""How many calls an endpoint takes at once, found out by how it answers."""

from __future__ import annotations

from abc import ABC, abstractmethod

# What is left of a limit after the endpoint said that it was too much.
BACKOFF = 0.9
# So few calls at once are hardly ever too many: if one is refused, it was their rate, or the provider's bad day.
FEW = 16
# Seconds without a refusal after which a hosted API's limit is what it was at first. A place is held for a whole
# answer: to win back what one bad minute took, one call a round, would take hours.
MEMORY = 60.0
# The share of a new latency in averages.
WEIGHT = 0.1


class ConcurrencyLimit(ABC):
    """A limit that follows what it observes."""

    def __init__(self, initial: int, *, lowest: int = 1, highest: int = 1000) -> None:
        self._limit = float(initial)
        self._lowest, self._highest = lowest, highest
        self._shrunk = 0.0

    @property
    def limit(self) -> int:
        """Calls at once."""
        return int(self._limit)

    @abstractmethod
    def heeds(self, *, streaming: bool) -> bool:
        """Whether an answer tells it anything now. The first piece of a unary call comes the later the longer it is."""

    @abstractmethod
    def answered(self, latency: float, in_flight: int) -> None:
        """A call got its first token; so many were running, itself included.

        `latency` says how long that took in relation to what a call of its size takes (1 = as expected) or in seconds:
        always in the same measure.
        """

    def overloaded(self, started: float, now: float, in_flight: int | None = None) -> None:
        """A call that began at `started` was refused (429, 529) or had no answer in time: shrink.

        So many were running, itself included: what was too much is that, if the limit is beyond it. None = the limit.
        Fewer than FEW were not too many. For all calls that were under way when it last shrank, that was enough.
        """
        reached = self._limit if in_flight is None else min(self._limit, in_flight)
        if started >= self._shrunk and (in_flight is None or reached >= min(FEW, self.limit)):
            self._shrunk = now
            self._change(reached * BACKOFF - self._limit)

    def forget(self, now: float) -> None:  # noqa: B027 - a server of one's own stays as it is
        """Time has passed."""

    def _change(self, by: float) -> None:
        self._limit = min(self._highest, max(self._lowest, self._limit + by))


class Aimd(ConcurrencyLimit):
    """For hosted APIs, which refuse what is too much: up by one a round, down by a tenth when refused."""

    def __init__(self, initial: int = 20, *, lowest: int = 1, highest: int = 1000) -> None:
        super().__init__(initial, lowest=lowest, highest=highest)
        self._initial = float(initial)

    def heeds(self, *, streaming: bool) -> bool:  # noqa: ARG002
        """Unless it is as high as it may be: it does not look at how long answers took."""
        return self._limit < self._highest

    def forget(self, now: float) -> None:
        """What was refused so long ago says nothing of now."""
        if now - self._shrunk >= MEMORY:
            self._limit = max(self._limit, self._initial)

    def answered(self, latency: float, in_flight: int) -> None:  # noqa: ARG002
        """Grow, if what there is was used: a limit that nobody reaches has not been tried."""
        if 2 * in_flight >= self.limit:
            self._change(1 / self._limit)


class Gradient(ConcurrencyLimit):
    """For servers of one's own, which queue what is too much: it shrinks as first tokens take longer than at half.

    Netflix's Gradient2, but for what it compares with: a long average rises with the very queue that it is to find. So
    now and then only half of the limit is used for two rounds, to see what is normal; that costs a few percent.
    """

    # A latency this much longer is still normal.
    TOLERANCE = 1.1
    # The share of a round's change that is made.
    SMOOTHING = 0.2
    # A round is as many answers as the limit. So many from one look to the next, of which so many for the look.
    ROUNDS, LOOK = 60, 2

    def __init__(self, initial: int = 4, *, lowest: int = 1, highest: int = 200) -> None:
        super().__init__(initial, lowest=lowest, highest=highest)
        self._recent = self._normal = 0.0
        self._answers = 0

    @property
    def limit(self) -> int:
        """Calls at once."""
        looking = self._answers < self.LOOK * self._limit
        return max(self._lowest, int(self._limit / 2)) if looking else int(self._limit)

    def heeds(self, *, streaming: bool) -> bool:
        """It compares latencies."""
        return streaming

    def answered(self, latency: float, in_flight: int) -> None:
        """Under half load, learn what is normal; else compare with it, and change by a small step."""
        self._answers = self._answers + 1 if self._answers < self.ROUNDS * self._limit else 0
        looking = self._answers < self.LOOK * self._limit
        if in_flight <= (self.limit if looking else self._limit / 2) or not self._normal:
            self._normal = _average(self._normal, latency)
        elif not looking:
            self._recent = _average(self._recent, latency)
            self._step()

    def _step(self) -> None:
        gradient = max(0.5, self.TOLERANCE * self._normal / self._recent) if self._recent else 1.0
        change = 1.0 if gradient >= 1.0 else self._limit * (gradient - 1.0)
        self._change(self.SMOOTHING * change / self._limit)


def _average(average: float, latency: float) -> float:
    return average + (latency - average) * (WEIGHT if average else 1.0)
