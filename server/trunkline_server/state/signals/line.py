"""Seconds as a straight line over a size, learned from one measurement after the other: y = a + b * x, a and b >= 0."""

from __future__ import annotations

from statistics import median

from trunkline_server.routing.signal import expected, size_of

# With fewer measurements there is no line: the median of those of about the same size stands for it.
ENOUGH = 20
# What is left of a measurement's weight with each that comes after it: the last five hundred make most of the line.
KEPT = 0.998
# A measurement of more than so many times what was expected moves the line no further than this: how a target does for
# a minute is for the residual.
MOST = 2.0
# Tokens to a unit of x.
_KILO = 1000.0
# How much a slope is doubted, in square kilotokens: noise over the slopes that are likely, both as parts of what is
# expected, squared (0.4 and 0.25 a kilotoken). Prompts of all but one size say nothing of others.
_DOUBT = 2.5
# Measurements after which the line is drawn anew: one more hardly moves it.
_ANEW = 8
# Seconds. Nothing is expected sooner.
_SOONEST = 1e-3


class Line:
    """Least squares with forgetting. Noise grows with what is expected of a size: so little does that size weigh.

    The recursion is over the five sums of the normal equations, all that two parameters need: nothing in it winds up
    while every prompt has the same size.
    """

    __slots__ = ("_few", "_level", "_sums", "base", "medians", "samples", "slope")

    def __init__(self) -> None:
        # Seconds, and seconds a token; of nothing while there are medians.
        self.base = self.slope = 0.0
        # By size, in seconds, until there is a line.
        self.medians: tuple[tuple[int, float], ...] = ()
        self.samples = 0
        self._few: list[tuple[int, float]] = []
        # Seconds that are expected of the mean size.
        self._level = 0.0
        # Of the measurements, of their weights, and by weight of x, x * x, y and x * y.
        self._sums = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)

    def at(self, tokens: int) -> float | None:
        """Seconds that are expected of this size. None = nothing was measured."""
        return expected(self.medians, self.base, self.slope, tokens) if self.samples else None

    def learn(self, tokens: int, seconds: float) -> float:
        """It took so long; returns what is expected of this size, before that if anything was."""
        before = self.at(tokens)
        self.samples += 1
        if self.samples > ENOUGH and before is not None:
            before = max(_SOONEST, before)
            self._add(tokens, seconds, before)
            if self.samples % _ANEW == 0:
                self._solve()
            return before
        self._few.append((tokens, seconds))
        self._count_few()
        if self.samples == ENOUGH:
            self._begin()
        return max(_SOONEST, self.at(tokens) or 0.0 if before is None else before)

    def _count_few(self) -> None:
        by_size: dict[int, list[float]] = {}
        for tokens, seconds in self._few:
            by_size.setdefault(size_of(tokens), []).append(seconds)
        self.medians = tuple((size, median(found)) for size, found in sorted(by_size.items()))

    def _begin(self) -> None:
        self._level = max(_SOONEST, median(seconds for _, seconds in self._few))
        for tokens, seconds in self._few:
            self._add(tokens, seconds, max(_SOONEST, expected(self.medians, 0.0, 0.0, tokens)))
        self._few, self.medians = [], ()
        self._solve()

    def _add(self, tokens: int, seconds: float, before: float) -> None:
        x, y, weight = tokens / _KILO, min(seconds, MOST * before), (self._level / before) ** 2
        weighted = weight * x
        count, w, wx, wxx, wy, wxy = self._sums
        self._sums = (
            count * KEPT + 1.0,
            w * KEPT + weight,
            wx * KEPT + weighted,
            wxx * KEPT + weighted * x,
            wy * KEPT + weight * y,
            wxy * KEPT + weighted * y,
        )

    def _solve(self) -> None:
        count, w, wx, wxx, wy, wxy = self._sums
        doubt = _DOUBT * w / count
        spread = max(0.0, wxx - wx * wx / w)
        slope = max(0.0, (wxy - wx * wy / w) / (spread + doubt))
        base = (wy - slope * wx) / w
        if base < 0.0:
            base, slope = 0.0, wxy / (wxx + doubt)
        self.base, self.slope = base, slope / _KILO
        self._level = max(_SOONEST, base + slope * wx / w)
