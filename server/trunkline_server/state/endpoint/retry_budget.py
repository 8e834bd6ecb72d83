"""How many retries an endpoint gets: a share of its first attempts, so that retries never pile up on a failing one."""

from __future__ import annotations

from trunkline_server.state.endpoint.window import Window

# What a first attempt brings and what a retry spends: a fifth.
DEPOSIT, PRICE = 1, 5
# Retries a second that are there without any first attempt: else a quiet endpoint would have none.
FLOOR = 3.0
# Seconds for which deposits and withdrawals count, and one more of which a part has passed.
TTL = 10
_BUCKETS, _BUCKET = TTL + 1, 1.0

_BALANCE = _SPENT = 0


class Floor:
    """What all endpoints of a provider have together: one for each key would multiply what a provider gets.

    In any ten seconds at most 30.
    """

    __slots__ = ("_window",)

    def __init__(self) -> None:
        self._window = Window(1, _BUCKETS, _BUCKET)

    def withdraw(self, now: float) -> bool:
        """A retry that its endpoint's own share does not pay for. False = it must not; nothing was spent."""
        if self._window.totals(now)[_SPENT] >= int(FLOOR * TTL):
            return False
        self._window.at(now)[_SPENT] += 1
        return True


class RetryBudget:
    """One endpoint's. In any ten seconds at most a fifth of its first attempts of eleven seconds, and of the floor."""

    __slots__ = ("_floor", "_window")

    def __init__(self, floor: Floor) -> None:
        """`floor` is that of its provider."""
        self._window = Window(1, _BUCKETS, _BUCKET)
        self._floor = floor

    def deposit(self, now: float) -> None:
        """A first attempt goes to the endpoint."""
        self._window.at(now)[_BALANCE] += DEPOSIT

    def withdraw(self, now: float) -> bool:
        """A retry wants to go to the endpoint. False = it must not; nothing was spent."""
        if self._window.totals(now)[_BALANCE] < PRICE:
            return self._floor.withdraw(now)
        self._window.at(now)[_BALANCE] -= PRICE
        return True
