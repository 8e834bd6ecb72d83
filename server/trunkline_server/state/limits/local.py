"""Callers' limits in this process: exact for one instance."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING

from trunkline_server.state.endpoint import bucket
from trunkline_server.state.endpoint.bucket import Bucket, Claim, take_all
from trunkline_server.state.limits.limits import Admitted, Left, NeverAdmissible, TooMuch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trunkline_server.state.endpoint.bucket import Wait
    from trunkline_server.state.limits.limits import Answer, Limit, Terms

# So many buckets are kept before those are looked for that are full, and as good as new.
_MANY = 1024


class LocalLimits:
    """For one event loop. What was never asked for is full."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # Both by Limit.place; calls that run only where there are any.
        self._buckets: dict[str, Bucket] = {}
        self._running: defaultdict[str, int] = defaultdict(int)
        self._many = _MANY

    async def reserve(self, terms: Terms, units: Sequence[int]) -> Answer:
        """Take all of it or nothing."""
        now = self._clock()
        for limit in terms.at_once:
            if limit.place in self._running and self._running[limit.place] >= limit.most:
                return TooMuch(Left(limit, 0), None)
        if len(self._buckets) >= self._many:
            self._forget_full(now)
        claims = self._claims(terms.a_minute, units, now)
        taken = take_all(claims, now)
        if not isinstance(taken, list):
            return _refused(terms.a_minute[taken.claim], claims[taken.claim], taken, now)
        left = self._left(terms, claims, taken + self.enter(terms.at_once), now)
        return Admitted(left, partial(self._settle, terms, claims))

    def _claims(self, limits: Sequence[Limit], units: Sequence[int], now: float) -> list[Claim]:
        """On the buckets of limits a minute. One that is limited otherwise than before brings what it has along."""
        claims = []
        for limit, wanted in zip(limits, units, strict=True):
            if limit.place not in self._buckets:
                self._buckets[limit.place] = Bucket(limit.most)
            found = self._buckets[limit.place]
            if found.limit != limit.most:
                found.learn(limit.most, None, 0, now)
            claims.append(Claim(found, wanted))
        return claims

    def _forget_full(self, now: float) -> None:
        self._buckets = {place: each for place, each in self._buckets.items() if each.reserved or each.used(now) > 0}
        self._many = max(_MANY, 2 * len(self._buckets))

    def _left(self, terms: Terms, claims: Sequence[Claim], remaining: Sequence[int], now: float) -> list[Left]:
        left = []
        for alike in terms.alike:
            at = min(alike, key=remaining.__getitem__)
            limit = terms.all[at]
            reset = 0.0 if limit.dimension == "concurrency" else claims[at].bucket.wait(limit.most, now)
            left.append(Left(limit, remaining[at], reset or 0.0))
        return left

    def _settle(self, terms: Terms, claims: Sequence[Claim], tokens: int | None) -> None:
        now = self._clock()
        for limit, claim in zip(terms.a_minute, claims, strict=True):
            used = claim.units if tokens is None or limit.dimension == "requests" else tokens
            claim.bucket.settle(claim.units, used, now, exact=True)
        self.leave(terms.at_once)

    def enter(self, limits: Sequence[Limit]) -> list[int]:
        """One more call is in limits of calls at once: how many more may be in each."""
        left = []
        for each in limits:
            self._running[each.place] += 1
            left.append(each.most - self._running[each.place])
        return left

    def leave(self, limits: Sequence[Limit]) -> None:
        """It is over."""
        for each in limits:
            self._running[each.place] -= 1
            if not self._running[each.place]:
                del self._running[each.place]

    def lower(self, limit: Limit, left: int) -> None:
        """No more than so much is left of a limit a minute."""
        now = self._clock()
        (claim,) = self._claims((limit,), (0,), now)
        claim.bucket.learn(None, left, 0, now)

    def empty(self) -> None:
        """Forget what limits a minute had; not the calls that run."""
        self._buckets.clear()

    async def follow(self) -> None:
        """There is nothing to do."""

    async def wait_ready(self) -> None:
        """It is there."""

    @property
    def lost(self) -> None:
        """Never."""
        return None


def _refused(limit: Limit, claim: Claim, why: Wait | bucket.NeverAdmissible, now: float) -> Answer:
    if isinstance(why, bucket.NeverAdmissible):
        return NeverAdmissible(limit, claim.units)
    whole = claim.bucket.wait(limit.most, now)
    return TooMuch(Left(limit, max(0, int(claim.bucket.level(now))), whole or 0.0), why.seconds)
