"""Callers' limits in this process: exact for one instance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline_server.state.endpoint import bucket
from trunkline_server.state.endpoint.bucket import Bucket, Claim
from trunkline_server.state.limits.limits import Admitted, Left, NeverAdmissible, TooMuch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trunkline_server.state.limits.limits import Answer, Demand, Dimension

    Place = tuple[str, Dimension]

# So many buckets are kept before those are looked for that are full, and as good as new.
_MANY = 1024


class LocalLimits:
    """For one event loop. What was never asked for is full."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._buckets: dict[Place, Bucket] = {}
        self._running: dict[Place, int] = {}
        self._many = _MANY

    async def reserve(self, demands: Sequence[Demand]) -> Answer:
        """Take all of it or nothing."""
        now = self._clock()
        for demand in demands:
            if demand.dimension == "concurrency" and self._running.get(_place(demand), 0) >= demand.limit:
                return TooMuch(demand, None)
        flowing = [demand for demand in demands if demand.dimension != "concurrency"]
        claims = [Claim(self._bucket(demand, now), demand.units) for demand in flowing]
        answer = bucket.reserve(claims, now)
        if isinstance(answer, bucket.NeverAdmissible):
            return NeverAdmissible(flowing[answer.claim])
        if isinstance(answer, bucket.Wait):
            return TooMuch(flowing[answer.claim], answer.seconds)
        for demand in demands:
            if demand.dimension == "concurrency":
                self.enter(demand)
        left = [self._left(demand, now) for demand in demands]
        return Admitted(left, lambda tokens: self._settle(demands, flowing, answer, tokens))

    def _bucket(self, demand: Demand, now: float) -> Bucket:
        """The bucket of a limit a minute. One that is limited otherwise than before brings what it has along."""
        place = _place(demand)
        found = self._buckets.get(place)
        if found is None:
            self._forget_full(now)
            found = self._buckets[place] = Bucket(demand.limit)
        elif found.limit != demand.limit:
            found.learn(demand.limit, None, 0, now)
        return found

    def _forget_full(self, now: float) -> None:
        if len(self._buckets) < self._many:
            return
        self._buckets = {place: each for place, each in self._buckets.items() if each.reserved or each.used(now) > 0}
        self._many = max(_MANY, 2 * len(self._buckets))

    def _left(self, demand: Demand, now: float) -> Left:
        place = _place(demand)
        if demand.dimension == "concurrency":
            return Left(demand, max(0, demand.limit - self._running[place]))
        found = self._buckets[place]
        return Left(demand, max(0, int(found.level(now))), found.wait(demand.limit, now) or 0.0)

    def _settle(
        self, demands: Sequence[Demand], flowing: Sequence[Demand], reserved: bucket.Admitted, tokens: int | None
    ) -> None:
        used = [tokens if each.dimension == "tokens" and tokens is not None else each.units for each in flowing]
        reserved.settle(used, self._clock(), exact=True)
        for demand in demands:
            if demand.dimension == "concurrency":
                self.leave(demand)

    def enter(self, demand: Demand) -> None:
        """One more call is in a limit of calls at once."""
        self._running[_place(demand)] = self._running.get(_place(demand), 0) + 1

    def leave(self, demand: Demand) -> None:
        """It is over."""
        place = _place(demand)
        self._running[place] -= 1
        if not self._running[place]:
            del self._running[place]

    def lower(self, demand: Demand, left: int) -> None:
        """No more than so much is left of a limit a minute."""
        now = self._clock()
        self._bucket(demand, now).learn(None, left, 0, now)

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


def _place(demand: Demand) -> Place:
    return demand.scope, demand.dimension
