"""What was measured lately: seconds to first tokens, or what those are of what was expected."""

from __future__ import annotations

from trunkline_server.state.histogram import Histogram

# Seconds for which a measurement counts at least, and twice as long at most.
SPAN = 300.0
# Fewer measurements say nothing of rare cases.
ENOUGH = 20


class LastMinutes:
    """Measurements of the last five to ten minutes. Reading them changes nothing."""

    __slots__ = ("_before", "_current", "_turn")

    def __init__(self) -> None:
        self._current, self._before = Histogram(), Histogram()
        self._turn = float("-inf")

    def record(self, value: float, now: float) -> None:
        """It was so this time."""
        if now >= self._turn:
            self._forget(now)
        self._current.record(value)

    def _forget(self, now: float) -> None:
        self._before = self._current if now < self._turn + SPAN else Histogram()
        # Whole spans of the clock: when it is looked at decides nothing.
        self._current, self._turn = Histogram(), (now // SPAN + 1) * SPAN

    def quantile(self, share: float, now: float, least: int = 1) -> float | None:
        """What the share of them does not exceed. None: there are fewer than `least`."""
        both = self.both(now)
        return both.quantile(share) if both.count >= least else None

    def both(self, now: float) -> Histogram:
        """All of them. A copy."""
        if now >= self._turn:
            self._forget(now)
        both = Histogram()
        both.merge(self._before)
        both.merge(self._current)
        return both
