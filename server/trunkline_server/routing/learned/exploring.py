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

# Of a single observation: nobody is that sure of a model.
_LEAST = 0.01


def propensities(worth: Sequence[float], known: Sequence[Quality], share: float) -> list[float]:
    """With what probability each candidate is to be asked first, where the first is the best of them.

    `share` of calls, from 0 to 1, explores.
    """
    # Twice how probable a normal variable with the difference as its mean and both variances is above zero.
    best, own_variance = worth[0], _variance(*known[0])
    better = [
        erfc((best - each) / sqrt(2 * (_variance(mean, n) + own_variance)))
        for each, (mean, n) in zip(worth, known, strict=True)
    ]
    total = sum(better)
    chances = [share * each / total for each in better]
    chances[0] += 1 - share
    return chances


def drawn(chances: Sequence[float], number: float) -> int:
    """Which of them a number from 0 to 1 hits."""
    for i, chance in enumerate(chances):
        number -= chance
        if number < 0:
            return i
    return max(range(len(chances)), key=lambda i: chances[i])


def _variance(mean: float, n: float) -> float:
    """Of the posterior of a share (Beta) with this mean and so many observations, and the prior's."""
    return max(_LEAST, mean * (1 - mean)) / (n + STRENGTH + 1)
