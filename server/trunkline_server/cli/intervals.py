"""How far figures may be off by chance: 95% intervals. Pure."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

# The normal distribution's 97.5th percentile.
_Z = 1.959964
# Spans of time that an interval of a ratio needs, for the normal approximation to hold roughly.
_ENOUGH_SPANS = 10


# Anywhere.
ENDLESS = (float("-inf"), float("inf"))


class Interval(NamedTuple):
    """A figure, and between which two it lies."""

    value: float
    low: float
    high: float


def rate_interval(successes: int, of: int) -> Interval | None:
    """A rate with Wilson's score interval, which holds for few cases and for rates near 0 and 1, too.

    Wilson, Journal of the American Statistical Association 22 (1927); recommended by Brown, Cai and DasGupta,
    Statistical Science 16 (2001). None without cases.
    """
    if not of:
        return None
    rate, squared = successes / of, _Z * _Z
    middle = (rate + squared / (2 * of)) / (1 + squared / of)
    half = _Z * sqrt(rate * (1 - rate) / of + squared / (4 * of * of)) / (1 + squared / of)
    return Interval(rate, max(0.0, middle - half), min(1.0, middle + half))


def ratio_interval(spans: Sequence[tuple[float, float]]) -> Interval | None:
    """The mean of something by piece, from its sum and the number of pieces in each of several spans of time.

    A ratio of two sums with its normal interval (Cochran, Sampling Techniques, 3rd edition, 1977, chapter 6): spans
    stand for each other, so that what varies from hour to hour is in the interval. The interval is endless with fewer
    than ten spans that have pieces. None without pieces.
    """
    total, pieces = sum(amount for amount, _ in spans), sum(count for _, count in spans)
    if not pieces:
        return None
    ratio, filled = total / pieces, [span for span in spans if span[1]]
    if len(filled) < _ENOUGH_SPANS:
        return Interval(ratio, *ENDLESS)
    squares = sum((amount - ratio * count) ** 2 for amount, count in filled)
    half = _Z * sqrt(squares * len(filled) / (len(filled) - 1)) / pieces
    return Interval(ratio, max(0.0, ratio - half), ratio + half)
