"""Spending at a pace: the price weight that keeps the mean cost of calls at a target, by dual ascent."""

from __future__ import annotations

from dataclasses import dataclass, replace

# What a call that costs twice its target adds to the weight, and one that is free takes away.
STEP = 0.01
# Quality that a call of the target's cost can be worth at most.
HIGHEST = 100.0


@dataclass(frozen=True, slots=True)
class Pace:
    """A target and how it is kept. With a weight of 0 quality alone decides: the target is not reached, and need not be."""

    # Nano-USD a call.
    target: float
    weight: float = 0.0


def paced(pace: Pace, cost: float) -> Pace:
    """The pace after a call that cost so many nano-USD: dearer calls than the target raise the weight of price.

    What was overspent on average over N calls is at most HIGHEST / (STEP * N) of the target; and in steady state, where
    the weight neither rises nor falls, nothing is.
    """
    weight = pace.weight + STEP * (cost / pace.target - 1.0)
    return replace(pace, weight=min(HIGHEST, max(0.0, weight)))
