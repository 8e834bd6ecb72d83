"""Who goes first among candidates that are about as good: by chance, or all who see the same would go there. Pure."""

from __future__ import annotations

from itertools import groupby
from math import floor, log
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# About as good as the best: what costs no more than so many times as much.
NEAR = 1.25
# Beyond this part of its scarcest limit a candidate is hot.
HOT = 0.8
# The share of calls that go anywhere, to see how it is there now.
EXPLORED = 0.01
# Latencies of one step of a tenth are equal: they are not known better, and whom noise puts first would get the most.
_SAME = log(1.1)
# Two are drawn of so many, with replacement, and the better one is taken: the odds, from the best on. They hang on no
# more candidates than these, so that another one that is worse never raises a share.
DRAWN_OF = 4


class Option(NamedTuple):
    """A candidate that may be asked now. All of it in the same units for all."""

    # What is expected to be paid, in whatever counts: money, seconds, a score turned round. Less is better.
    cost: float
    # Seconds, most likely.
    latency: float
    # How much of the scarcest of its limits is in use.
    utilisation: float = 0.0


def spread(options: Sequence[Option], draw: Callable[[], float]) -> tuple[int, ...]:
    """The numbers of all options: one that is drawn by its share, then the others as they are preferred.

    `draw` gives random numbers from 0 to 1.
    """
    if len(options) < 2:
        return tuple(range(len(options)))
    order = _order(options)
    first = _drawn(order, shares(options), draw())
    return (first, *(index for index in order if index != first))


def shares(options: Sequence[Option]) -> list[float]:
    """How likely each goes first: the propensity of the choice. They make up 1.

    Of those that are near the best in cost: if any is cold the sooner of the cold, else the least used; two choices
    each time. Whatever makes one option worse never raises its share, and none is below EXPLORED by their number.
    """
    floor = EXPLORED / len(options)
    found = [floor] * len(options)
    weights = _weights(options)
    whole = sum(weights.values())
    for index, weight in weights.items():
        found[index] += (1.0 - EXPLORED) * weight / whole
    return found


def _weights(options: Sequence[Option]) -> dict[int, float]:
    """Of those that are chosen among. Equals weigh the same, whichever comes first."""
    near = _near(options)
    cold = [index for index in near if options[index].utilisation <= HOT]

    def key(index: int) -> float:
        return _step(options[index].latency) if cold else options[index].utilisation

    drawn_of, rank, weights = min(DRAWN_OF, len(options)), 0, {}
    for _, group in groupby(sorted(cold or near, key=key), key=key):
        equals = list(group)
        ranks = range(rank, rank + len(equals))
        weight = sum(max(1, 2 * (drawn_of - each) - 1) for each in ranks) / len(equals)
        weights.update(dict.fromkeys(equals, weight))
        rank += len(equals)
    return weights


def _step(latency: float) -> int:
    return floor(log(max(latency, 1e-6)) / _SAME)


def _near(options: Sequence[Option]) -> list[int]:
    most = NEAR * min(option.cost for option in options)
    return [index for index, option in enumerate(options) if option.cost <= most]


def _order(options: Sequence[Option]) -> list[int]:
    """As they are preferred: those near the best before the others, each as they are chosen among."""
    near = set(_near(options))

    def key(index: int) -> tuple[bool, bool, float]:
        option = options[index]
        hot = option.utilisation > HOT
        return index not in near, hot, (option.utilisation if hot else option.latency) if index in near else option.cost

    return sorted(range(len(options)), key=key)


def _drawn(order: Sequence[int], odds: Sequence[float], at: float) -> int:
    for index in order:
        at -= odds[index]
        if at < 0.0:
            return index
    return order[0]
