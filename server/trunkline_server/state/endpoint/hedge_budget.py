"""How many calls are made twice: a share of those that may be."""

from __future__ import annotations

# What a call brings that may be made twice, and what it spends if it is: a twentieth.
DEPOSIT, PRICE = 1, 20
# What is saved up at most: a burst of so many hedges.
MOST = 10 * PRICE


class HedgeBudget:
    """Of all calls that may be hedged so far, at most a twentieth were, and one more."""

    __slots__ = ("_balance",)

    def __init__(self) -> None:
        self._balance = PRICE - DEPOSIT

    def deposit(self) -> None:
        """A call begins that may be hedged."""
        self._balance = min(MOST, self._balance + DEPOSIT)

    def withdraw(self) -> bool:
        """A call wants to be made twice. False = it must not; nothing was spent."""
        if self._balance < PRICE:
            return False
        self._balance -= PRICE
        return True
