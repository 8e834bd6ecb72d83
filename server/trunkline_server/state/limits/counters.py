"""What is counted of one caller's limits in this process."""

from __future__ import annotations

from functools import partial
from itertools import zip_longest
from typing import TYPE_CHECKING

from msgspec import Struct

from trunkline_server.state.endpoint import bucket
from trunkline_server.state.endpoint.bucket import Claim, longest_wait, take_each
from trunkline_server.state.limits.limits import Admitted, Left, NeverAdmissible, TooMuch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from trunkline_server.state.endpoint.bucket import Bucket
    from trunkline_server.state.limits.limits import Answer, Terms


class Running(Struct):
    """Calls that are within a limit of calls at once."""

    calls: int = 0

    def enter(self, most: int) -> int:
        """One more. What is left of so many; negative: it is one too many."""
        self.calls = calls = self.calls + 1
        return most - calls


class Counters:
    """Where all limits of a caller are counted; of a workspace's, its other keys' calls are counted there, too."""

    __slots__ = ("_buckets", "_clock", "_counted", "_most", "_running", "_terms", "_tokens", "calls")

    def __init__(
        self, clock: Callable[[], float], terms: Terms, buckets: Sequence[Bucket], running: Sequence[Running]
    ) -> None:
        """Both in the order of the terms."""
        # Those that were admitted here, and not by Valkey, and are not settled.
        self.calls = 0
        self._clock = clock
        self._terms = terms
        self._buckets = buckets
        # Each limit, and its bucket if it is one a minute.
        self._counted = list(zip_longest(terms.all, buckets))
        # Those of tokens, by their places among all.
        self._tokens = list(enumerate(buckets))[len(terms.requests) :]
        self._running = running
        self._most = [each.most for each in terms.at_once]

    def reserve(self, units: Sequence[int]) -> Answer:
        """Take so much and enter: all of it or nothing."""
        now = self._clock()
        remaining = take_each(self._buckets, units, now) + self.enter()
        if min(remaining) < 0:
            self._give_back(units, remaining, now)
            return self._refusal(units, now)
        self.calls += 1
        return Admitted(self._nearest(remaining), partial(self._settle, units))

    def _give_back(self, units: Sequence[int], remaining: Sequence[int], now: float) -> None:
        """What was there is as it was: where there was too little nothing was taken."""
        self.leave()
        for found, taken, left in zip(self._buckets, units, remaining, strict=False):
            if left >= 0:
                found.correct(taken, now)

    def _refusal(self, units: Sequence[int], now: float) -> Answer:
        """Why nothing could be taken."""
        for limit, running in zip(self._terms.at_once, self._running, strict=True):
            if running.calls >= limit.most:
                return TooMuch(Left(limit, 0), None)
        why = longest_wait([Claim(*each) for each in zip(self._buckets, units, strict=True)], now)
        limit, found = self._terms.a_minute[why.claim], self._buckets[why.claim]
        if isinstance(why, bucket.NeverAdmissible):
            return NeverAdmissible(limit, units[why.claim])
        return TooMuch(Left(limit, max(0, int(found.level(now))), found.until_full()), why.seconds)

    def _nearest(self, remaining: Sequence[int]) -> list[Left]:
        left, counted = [], self._counted
        for at in map(partial(min, key=remaining.__getitem__), self._terms.alike):
            limit, found = counted[at]
            left.append(Left(limit, remaining[at], found.until_full() if found else 0.0))
        return left

    def _settle(self, units: Sequence[int], tokens: int | None) -> None:
        """Requests are what they were."""
        self.calls -= 1
        self.leave()
        if tokens is not None:
            now = self._clock()
            for at, found in self._tokens:
                found.correct(units[at] - tokens, now)

    def enter(self) -> list[int]:
        """One more call is in the limits of calls at once. What is left of each; negative: it is one too many."""
        return list(map(Running.enter, self._running, self._most))

    def leave(self) -> None:
        """It is over."""
        for running in self._running:
            running.calls -= 1

    def places(self) -> Iterator[str]:
        """What its limits are called."""
        return (limit.place for limit in self._terms.all)
