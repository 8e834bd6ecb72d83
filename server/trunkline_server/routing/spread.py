"""Who goes first among candidates that are about as good: by chance, or all who see the same would go there. Pure."""

from __future__ import annotations

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
    """The numbers of all options: one that is drawn, then the others as they are preferred.

    Of those that are near the best in cost: if any is cold the sooner of the cold, else the least used; two choices
    each time, equals as often. Whatever makes one option worse never makes it likelier, and each has EXPLORED by their
    number at least. `draw` gives random numbers from 0 to 1, and is asked once.
    """
    if len(options) < 2:
        return tuple(range(len(options)))
    cold, hot, far = _parted(options)
    order, number = [*cold, *hot, *far], draw()
    if number < EXPLORED:
        place = int(number / EXPLORED * len(order))
    else:
        key = _step_of if cold else _load_of
        among = [options[each] for each in cold or hot]
        place = _place(among, key, min(DRAWN_OF, len(options)), (number - EXPLORED) / (1.0 - EXPLORED))
    return (order[place], *order[:place], *order[place + 1 :])


def _parted(options: Sequence[Option]) -> tuple[Sequence[int], Sequence[int], Sequence[int]]:
    """Those near the best, cold ones and hot ones, and those far from it: each as they are preferred."""
    costs, latencies, loads = zip(*options, strict=True)
    every, most = range(len(costs)), NEAR * min(costs)
    if max(costs) <= most and max(loads) <= HOT:  # as most often
        return sorted(every, key=latencies.__getitem__), (), ()
    cold = sorted((each for each in every if costs[each] <= most and loads[each] <= HOT), key=latencies.__getitem__)
    hot = sorted((each for each in every if costs[each] <= most and loads[each] > HOT), key=loads.__getitem__)
    far = sorted((each for each in every if costs[each] > most), key=lambda each: (loads[each] > HOT, costs[each]))
    return cold, hot, far


def _step_of(option: Option) -> int:
    return floor(log(max(option.latency, 1e-6)) / _SAME)


def _load_of(option: Option) -> float:
    return option.utilisation


def _place(among: Sequence[Option], key: Callable[[Option], float], drawn_of: int, number: float) -> int:
    """The place that a number from 0 to 1 hits, by the odds of its rank; of equals, which stand together, any."""
    many, rank, odds = len(among), 0, 2 * drawn_of - 1
    whole = drawn_of * drawn_of + many - drawn_of if many >= drawn_of else many * (2 * drawn_of - many)
    left = number * whole
    while left >= odds and rank < many - 1:
        left -= odds
        rank, odds = rank + 1, max(1, odds - 2)
    own, first, last = key(among[rank]), rank, rank + 1
    while first > 0 and key(among[first - 1]) == own:
        first -= 1
    while last < many and key(among[last]) == own:
        last += 1
    return min(last - 1, first + int(left / odds * (last - first)))
