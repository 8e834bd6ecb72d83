"""What is counted of one caller's limits in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from trunkline_server.state.endpoint import bucket
from trunkline_server.state.endpoint.bucket import Claim, longest_wait
from trunkline_server.state.limits.limits import Left, NeverAdmissible, TooMuch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from trunkline_server.state.endpoint.bucket import Bucket
    from trunkline_server.state.limits.limits import Answer, Terms


class Running(Struct):
    """Calls that are within a limit of calls at once."""

    calls: int = 0


class Counters:
    """Where all limits of a caller are counted; of a workspace's, its other keys' calls are counted there, too."""

    __slots__ = ("_buckets", "_clock", "_running", "_terms", "calls")

    def __init__(
        self, clock: Callable[[], float], terms: Terms, buckets: Sequence[Bucket], running: Sequence[Running]
    ) -> None:
        """Both in the order of the terms."""
        # Those that were admitted and are not settled.
        self.calls = 0
        self._clock = clock
        self._terms = terms
        self._buckets = buckets
        self._running = running

    def take(self, units: Sequence[int], now: float) -> list[int] | None:
        """Take so much and enter. What is left of each limit; None: nothing was taken."""
        rooms = []
        for limit, running in zip(self._terms.at_once, self._running, strict=True):
            room = limit.most - running.calls
            if room <= 0:
                return None
            rooms.append(room - 1)
        left: list[int] = []
        for found, wanted in zip(self._buckets, units, strict=True):
            rest = found.take_if_there(wanted, now)
            if rest is None:
                self._give_back(units[: len(left)], now)
                return None
            left.append(rest)
        self.calls += 1
        self.enter()
        return left + rooms

    def _give_back(self, units: Sequence[int], now: float) -> None:
        for found, taken in zip(self._buckets, units, strict=False):
            found.correct(taken, now)

    def refusal(self, units: Sequence[int], now: float) -> Answer:
        """Why nothing could be taken."""
        for limit, running in zip(self._terms.at_once, self._running, strict=True):
            if running.calls >= limit.most:
                return TooMuch(Left(limit, 0), None)
        why = longest_wait([Claim(*each) for each in zip(self._buckets, units, strict=True)], now)
        limit, found = self._terms.a_minute[why.claim], self._buckets[why.claim]
        if isinstance(why, bucket.NeverAdmissible):
            return NeverAdmissible(limit, units[why.claim])
        return TooMuch(Left(limit, max(0, int(found.level(now))), found.until_full()), why.seconds)

    def nearest(self, remaining: Sequence[int]) -> list[Left]:
        """Of each dimension the limit that is nearest to its end, by what was left of each just now."""
        left, a_minute, limits = [], len(self._buckets), self._terms.all
        for alike in self._terms.alike:
            at = min(alike, key=remaining.__getitem__)
            reset = self._buckets[at].until_full() if at < a_minute else 0.0
            left.append(Left(limits[at], remaining[at], reset))
        return left

    def settle(self, units: Sequence[int], tokens: int | None) -> None:
        """A call is over; see Admitted. Requests are what they were."""
        self.calls -= 1
        self.leave()
        if tokens is not None:
            now = self._clock()
            for at in range(len(self._terms.requests), len(units)):
                self._buckets[at].correct(units[at] - tokens, now)

    def enter(self) -> None:
        """One more call is in the limits of calls at once."""
        for running in self._running:
            running.calls += 1

    def leave(self) -> None:
        """It is over."""
        for running in self._running:
            running.calls -= 1

    def places(self) -> Iterator[str]:
        """What its limits are called."""
        return (limit.place for limit in self._terms.all)
