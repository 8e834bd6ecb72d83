"""How many retries a provider gets: a share of its first attempts, so that retries never pile up on a failing one."""

from __future__ import annotations

from trunkline_server.state.endpoint.window import Window

# What a first attempt brings and what a retry spends: a fifth.
DEPOSIT, PRICE = 1, 5
# Retries a second that are there without any first attempt: else a quiet endpoint would have none.
FLOOR = 3.0
# Seconds for which deposits and withdrawals count, and one more of which a part has passed.
TTL = 10
_BUCKETS, _BUCKET = TTL + 1, 1.0

_BALANCE = 0


class RetryBudget:
    """One provider's, whatever keys it has: a budget for each key would multiply the floor.

    In any ten seconds at most 30 retries and a fifth of the first attempts of eleven seconds.
    """

    __slots__ = ("_window",)

    def __init__(self) -> None:
        self._window = Window(1, _BUCKETS, _BUCKET)

    def deposit(self, now: float) -> None:
        """A first attempt goes to the provider."""
        self._window.add(_BALANCE, self._window.at(now), DEPOSIT)

    def withdraw(self, now: float) -> bool:
        """A retry wants to go to the provider again. False = it must not; nothing was spent."""
        bucket = self._window.at(now)
        if self._window.totals[_BALANCE] + int(FLOOR * TTL) * PRICE < PRICE:
            return False
        self._window.add(_BALANCE, bucket, -PRICE)
        return True
