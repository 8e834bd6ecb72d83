"""Token buckets that are reserved from and settled with: limits a minute, of requests, tokens or anything else.

What a call uses is known only afterwards. So an estimate is taken before it begins, and the difference is settled when
it has ended: what was too much comes back if that is certain, what was too little is owed, and a bucket that owes
admits nothing until it has been filled again.

For costs (what was reserved while a call runs, what was used once that is settled) of what was admitted in any time T:
    costs <= capacity + rate * T + what admitted calls used beyond their reservations
             + what comes back within T from reservations that are older than T.
"""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

# Time is counted in whole microseconds, and what is in a bucket in units / period: so filling it is exact.
_TICKS = 1_000_000
MINUTE = 60


class Bucket:
    """So many units in `period` seconds, filled continuously, up to a capacity. Time that goes back stands still.

    All that is kept of what is in it is when it is full: what is missing grows less by itself. That is the theoretical
    arrival time of the generic cell rate algorithm (ITU-T I.371), times the limit, so that it is a whole number.
    """

    __slots__ = ("_capacity", "_full", "_period", "_rate", "_then", "capacity", "limit")

    def __init__(self, limit: int | None, *, period: int = MINUTE, capacity: int | None = None) -> None:
        """Full at first. `limit`: units in `period` seconds; None = not known yet: everything is admitted.

        `capacity`: the most it holds; None = what a period brings.
        """
        self.limit = limit
        self.capacity = capacity
        self._period = period * _TICKS
        # The latest time that was told, in ticks.
        self._then = self._full = 0
        self._adopt()

    def _adopt(self) -> None:
        self._rate = self.limit or 0
        self._capacity = (self._rate if self.capacity is None else self.capacity) * self._period

    def level(self, now: float) -> float:
        """Units that are in it; negative = it owes."""
        return (self._capacity - self._missing(now)) / self._period

    def used(self, now: float) -> float:
        """The part of it that is not there, from 0 to 1."""
        return min(1.0, self._missing(now) / self._capacity) if self._capacity > 0 else 1.0

    def _missing(self, now: float) -> int:
        self._then = max(self._then, round(now * _TICKS))
        return max(0, self._full - self._rate * self._then)

    def _set_missing(self, missing: int) -> None:
        self._full = missing + self._rate * self._then

    def wait(self, units: int, now: float) -> float | None:
        """Seconds until so much can be taken, if nobody else takes any; 0 = now, None = never."""
        if self.limit is None:
            return 0.0
        if units * self._period > self._capacity:
            return None
        lacking = self._missing(now) + units * self._period - self._capacity
        if lacking <= 0:
            return 0.0
        return -(-lacking // self._rate) / _TICKS if self._rate else None

    def until_full(self) -> float:
        """Seconds from the latest time that was told until all of it is there again, if it is filled at all."""
        return max(0, -(-self._full // self._rate) - self._then) / _TICKS if self._rate else 0.0

    def take(self, units: int, now: float) -> None:
        """Take so much, whether it is there or not."""
        self._set_missing(self._missing(now) + units * self._period)

    def take_if_there(self, units: int, ticks: int) -> int:
        """Take so much of a limit that is known.

        Gives the whole units that are left; negative: there is less than that, and nothing was taken. `ticks` never go
        back: the clock of `core.now` does not. In one piece, as every call of a limited caller has several such.
        """
        self._then = ticks
        brought = self._rate * ticks
        missing = units * self._period
        if self._full > brought:
            missing += self._full - brought
        left = (self._capacity - missing) // self._period
        if left >= 0:
            self._full = missing + brought
        return left

    def settle(self, reserved: int, used: int, now: float, *, exact: bool) -> None:
        """So much of what was reserved was used. Not `exact`: it may have been more, and nothing comes back."""
        self.correct(reserved - used if exact else min(0, reserved - used), now)

    def correct(self, back: int, now: float) -> None:
        """So much less was used than was taken; negative = more."""
        if back < 0:
            # What comes back may as well have come before the time that has passed: only what is owed may not.
            self._set_missing(self._missing(now))
        self._full -= back * self._period

    def learn(self, limit: int | None, remaining: int | None, in_flight: int, now: float) -> None:
        """The other side says what the limit is and what is left of it.

        `in_flight`: what is reserved for calls that it had not seen when it said so. What it says only ever takes away.
        A limit is adopted: who has one configured passes None.
        """
        level = self._capacity - self._missing(now)
        if limit is not None and limit != self.limit:
            known, self.limit = self.limit is not None, limit
            self._adopt()
            level = min(level, self._capacity) if known else self._capacity - in_flight * self._period
        if remaining is not None and self.limit is not None:
            level = min(level, (remaining - in_flight) * self._period)
        self._set_missing(self._capacity - level)


class Claim(Struct, frozen=True):
    """So many units from one bucket."""

    bucket: Bucket
    units: int


class Admitted:
    """What was reserved. Settled once: by the first who does."""

    __slots__ = ("_claims",)

    def __init__(self, claims: Sequence[Claim]) -> None:
        self._claims = claims

    def settle(self, used: Sequence[int], now: float, *, exact: bool) -> None:
        """So much was used, in the order of the claims. Not `exact`: at least so much; nothing comes back."""
        claims, self._claims = self._claims, ()
        if claims:
            for claim, units in zip(claims, used, strict=True):
                claim.bucket.settle(claim.units, units, now, exact=exact)

    def release(self, now: float) -> None:
        """Nothing was used: it never began."""
        self.settle([0] * len(self._claims), now, exact=True)


class Wait(Struct, frozen=True):
    """Not now. Nothing was reserved."""

    # Until it can be, if nobody else takes any.
    seconds: float
    # Which has too little, by its place among the claims.
    claim: int


class NeverAdmissible(Struct, frozen=True):
    """More than the bucket ever holds. Nothing was reserved."""

    claim: int


def reserve(claims: Sequence[Claim], now: float) -> Admitted | Wait | NeverAdmissible:
    """Take all of it or nothing. No two claims may be of the same bucket."""
    wait = longest_wait(claims, now)
    if isinstance(wait, NeverAdmissible) or wait.seconds:
        return wait
    for claim in claims:
        claim.bucket.take(claim.units, now)
    return Admitted(claims)


def take_each(buckets: Sequence[Bucket], units: Sequence[int], now: float) -> list[int]:
    """Bucket.take_if_there of each, by itself: what is left in them."""
    return list(map(Bucket.take_if_there, buckets, units, repeat(round(now * _TICKS))))


def longest_wait(claims: Sequence[Claim], now: float) -> Wait | NeverAdmissible:
    """Until all of it can be taken; no seconds: it can be now."""
    longest, at = 0.0, 0
    for index, claim in enumerate(claims):
        wait = claim.bucket.wait(claim.units, now)
        if wait is None:
            return NeverAdmissible(index)
        if wait > longest:
            longest, at = wait, index
    return Wait(longest, at)
