"""Callers' limits in this process: exact for one instance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline_server.state.endpoint.bucket import Bucket
from trunkline_server.state.limits.counters import Counters, Running

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trunkline_server.state.limits.limits import Answer, Limit, Terms

# The counters of so many callers are kept before those are looked for that are as good as new.
_MANY = 1024


class LocalLimits:
    """For one event loop. What was never asked for is full."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # Both by Limit.place.
        self._buckets: dict[str, Bucket] = {}
        self._running: dict[str, Running] = {}
        # Those of whoever called lately, found once.
        self._known: dict[Terms, Counters] = {}
        self._many = _MANY

    async def reserve(self, terms: Terms, units: Sequence[int]) -> Answer:
        """Take all of it or nothing."""
        counters = self._known.get(terms) or self.counters(terms)
        return counters.reserve(units)

    def counters(self, terms: Terms) -> Counters:
        """Those of a caller."""
        found = self._known.get(terms)
        if found is None:
            if len(self._known) >= self._many:
                self._forget()
            buckets = [self._bucket(each, self._clock()) for each in terms.a_minute]
            running = [self._running.setdefault(each.place, Running()) for each in terms.at_once]
            self._known[terms] = found = Counters(self._clock, terms, buckets, running)
        return found

    def _bucket(self, limit: Limit, now: float) -> Bucket:
        """One that is limited otherwise than before brings what it has along."""
        found = self._buckets.setdefault(limit.place, Bucket(limit.most))
        if found.limit != limit.most:
            found.learn(limit.most, None, 0, now)
        return found

    def _forget(self) -> None:
        """All that is as good as new. A call that runs keeps what it counts in."""
        now = self._clock()
        self._known = {terms: each for terms, each in self._known.items() if each.calls}
        busy = {place for each in self._known.values() for place in each.places()}
        self._buckets = {place: each for place, each in self._buckets.items() if place in busy or each.used(now) > 0}
        self._running = {place: each for place, each in self._running.items() if place in busy or each.calls}
        self._many = len(self._known) + max(_MANY, len(self._buckets))

    def lower(self, limit: Limit, left: int) -> None:
        """No more than so much is left of a limit a minute."""
        now = self._clock()
        self._bucket(limit, now).learn(None, left, 0, now)

    def empty(self) -> None:
        """Forget what limits a minute had; not the calls that run."""
        self._buckets.clear()
        self._known.clear()

    async def follow(self) -> None:
        """There is nothing to do."""

    async def wait_ready(self) -> None:
        """It is there."""

    @property
    def lost(self) -> None:
        """Never."""
        return None
