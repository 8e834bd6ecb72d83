"""Token buckets that are reserved from and settled with: limits a minute, of requests, tokens or anything else.

What a call uses is known only afterwards. So an estimate is taken before it begins, and the difference is settled when
it has ended: what was too much comes back if that is certain, what was too little is owed, and a bucket that owes
admits nothing until it has been filled again.

For costs (what was reserved while a call runs, what was used once that is settled) of what was admitted in any time T:
    costs <= capacity + rate * T + what admitted calls used beyond their reservations
             + what comes back within T from reservations that are older than T.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

# Time is counted in whole microseconds, and what is in a bucket in units / period: so filling it is exact.
_TICKS = 1_000_000
MINUTE = 60


class Bucket:
    """So many units in `period` seconds, filled continuously, up to a capacity. Time that goes back stands still."""

    __slots__ = ("_capacity", "_level", "_now", "_period", "_then", "capacity", "limit", "reserved")

    def __init__(self, limit: int | None, *, period: int = MINUTE, capacity: int | None = None) -> None:
        """Full at first. `limit`: units in `period` seconds; None = not known yet: everything is admitted.

        `capacity`: the most it holds; None = what a period brings.
        """
        self.limit = limit
        self.capacity = capacity
        # What was reserved and is not settled.
        self.reserved = 0
        self._period = period * _TICKS
        # When it was brought up to date: in seconds as it was told, and in ticks.
        self._now = 0.0
        self._then = 0
        self._capacity = self._level = self._most()

    def _most(self) -> int:
        return (self.limit or 0 if self.capacity is None else self.capacity) * self._period

    def level(self, now: float) -> float:
        """Units that are in it; negative = it owes."""
        self._fill(now)
        return self._level / self._period

    def used(self, now: float) -> float:
        """The part of it that is not there, from 0 to 1."""
        self._fill(now)
        return min(1.0, 1.0 - self._level / self._capacity) if self._capacity > 0 else 1.0

    def _fill(self, now: float) -> None:
        if now <= self._now:
            return
        ticks = round(now * _TICKS)
        level = self._level + (self.limit or 0) * (ticks - self._then)
        self._now, self._then, self._level = now, ticks, self._capacity
        if level < self._capacity:
            self._level = level

    def wait(self, units: int, now: float) -> float | None:
        """Seconds until so much can be taken, if nobody else takes any; 0 = now, None = never."""
        if self.limit is None:
            return 0.0
        if units * self._period > self._capacity:
            return None
        if now > self._now:
            self._fill(now)
        missing = units * self._period - self._level
        if missing <= 0:
            return 0.0
        return -(-missing // self.limit) / _TICKS if self.limit else None

    def take(self, units: int) -> int:
        """Reserve so much. To be asked of `wait` before. The whole units that are left; negative = it owes."""
        self.reserved += units
        self._level -= units * self._period
        return self._level // self._period

    def settle(self, reserved: int, used: int, now: float, *, exact: bool) -> None:
        """So much of what was reserved was used. Not `exact`: it may have been more, and nothing comes back."""
        self.reserved -= reserved
        back = reserved - used if exact else min(0, reserved - used)
        if back < 0:
            # What comes back may as well have come before the time that has passed: only what is owed may not.
            self._fill(now)
        self._level = min(self._capacity, self._level + back * self._period)

    def learn(self, limit: int | None, remaining: int | None, in_flight: int, now: float) -> None:
        """The other side says what the limit is and what is left of it.

        `in_flight`: what is reserved for calls that it had not seen when it said so. What it says only ever takes away.
        A limit is adopted: who has one configured passes None.
        """
        self._fill(now)
        if limit is not None and limit != self.limit:
            known, self.limit = self.limit is not None, limit
            self._capacity = self._most()
            self._level = min(self._level, self._capacity) if known else self._capacity - in_flight * self._period
        if remaining is not None and self.limit is not None:
            self._level = min(self._level, (remaining - in_flight) * self._period)


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
    answer = take_all(claims, now)
    return Admitted(claims) if isinstance(answer, list) else answer


def take_all(claims: Sequence[Claim], now: float) -> list[int] | Wait | NeverAdmissible:
    """The same for who settles bucket by bucket: what is left in each, in whole units."""
    longest, at = 0.0, -1
    for index, claim in enumerate(claims):
        wait = claim.bucket.wait(claim.units, now)
        if wait is None:
            return NeverAdmissible(index)
        if wait > longest:
            longest, at = wait, index
    if at >= 0:
        return Wait(longest, at)
    return [claim.bucket.take(claim.units) for claim in claims]
