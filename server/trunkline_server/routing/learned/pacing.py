"""Spending at a pace: the price weight that keeps the mean cost of calls at a target, by dual ascent."""

from __future__ import annotations

from dataclasses import dataclass

# What a call that costs twice its target adds to the balance, and one that is free takes away.
STEP = 0.005
# The balance stays within these: what was saved is remembered for a while, so that a dear call after cheap ones does
# not make price count; and no price counts more than this for a call of the target's cost.
LEAST, MOST = -1.0, 100.0


@dataclass(frozen=True, slots=True)
class Pace:
    """A target and how it is kept."""

    # Nano-USD a call.
    target: float
    balance: float = 0.0

    @property
    def weight(self) -> float:
        """The quality that a call of the target's cost has to be worth. 0 while less is spent than may be."""
        return max(0.0, self.balance)


def paced(pace: Pace, cost: float) -> Pace:
    """The pace after a call that cost so many nano-USD.

    While the balance is off its bounds, the mean cost of N calls is off the target by what the balance has moved, over
    STEP * N, as a share of it.
    """
    balance = pace.balance + STEP * (cost / pace.target - 1.0)
    return Pace(pace.target, min(MOST, max(LEAST, balance)))
