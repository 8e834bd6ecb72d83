"""Trying what may be better, for those who asked for it; with the probability of what was done, to be judged by.

A share of calls goes not to the best candidate but to each in proportion to the probability that it is better than the
best, as far as its observations tell (Thompson's rule, with that probability in place of a draw from it). The
probability is then known exactly, and what any other policy would have had can be estimated from the log (offline.py).
"""

from __future__ import annotations

from math import erfc, sqrt
from typing import TYPE_CHECKING

from trunkline_server.routing.learned.cells import STRENGTH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trunkline_server.routing.learned.cells import Quality


def propensities(worth: Sequence[float], known: Sequence[Quality], share: float) -> list[float]:
    """With what probability each candidate is to be asked first, where the first is the best of them.

    `share` of calls, from 0 to 1, explores.
    """
    spread = [_variance(each) for each in known]
    better = [_above(own - worth[0], of + spread[0]) for own, of in zip(worth, spread, strict=True)]
    total = sum(better)
    return [(i == 0) * (1 - share) + share * each / total for i, each in enumerate(better)]


def drawn(chances: Sequence[float], number: float) -> int:
    """Which of them a number from 0 to 1 hits."""
    for i, chance in enumerate(chances):
        number -= chance
        if number < 0:
            return i
    return max(range(len(chances)), key=lambda i: chances[i])


def _variance(known: Quality) -> float:
    """Of the posterior of a share (Beta) with this mean and so many observations, and the prior's."""
    return max(0.01, known.mean * (1 - known.mean)) / (known.n + STRENGTH + 1)


def _above(difference: float, variance: float) -> float:
    """How probable a normal variable with this mean and variance is above zero."""
    return 0.5 * erfc(-difference / sqrt(2 * variance))
