"""The queue before an endpoint: who may call it next, and who need not wait at all because it would be too late."""

from __future__ import annotations

import asyncio
from bisect import bisect_left, insort
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import count

from msgspec import Struct

from trunkline_server.core import now

# The share of the newest call in the average of how long calls take.
_SMOOTHING = 0.1
# Seconds. Whoever is refused is never told to come back at once.
_SHORTEST_RETRY = 0.1


class Priority(IntEnum):
    """Who goes first. Under overload the lowest is refused first."""

    BATCH = 0
    NORMAL = 1
    INTERACTIVE = 2


@dataclass(eq=False)
class Refused(Exception):
    """No place: there are too many, or it would be too late."""

    # Seconds until another try makes sense.
    retry_after: float
    # There are too many.
    full: bool = False

    def __str__(self) -> str:
        return f"come back in {self.retry_after:.1f} s"


@dataclass(order=True, slots=True)
class _Waiter:
    """Sorted from the last to the first: lowest priority, latest deadline, latest come."""

    priority: Priority
    earliness: float
    number: int
    place: asyncio.Future[None] = field(compare=False)
    timer: asyncio.TimerHandle | None = field(default=None, compare=False)


class Place(Struct, eq=False):
    """One of the endpoint's places. Left once: leaving again changes nothing."""

    _queue: AdmissionQueue | None
    _since: float
    # It was not given at once.
    waited: bool = False

    def leave(self, at: float) -> None:
        """The call is over: the next may come."""
        queue, self._queue = self._queue, None
        if queue is not None:
            queue.vacate(at - self._since)


class AdmissionQueue:
    """For one event loop, whose clock is the one of all deadlines. Health probes do not go through it.

    First come those of the highest priority, among them those with the earliest deadline, then those who came first.
    While anybody waits, every place is taken.
    """

    def __init__(self, limit: int, *, bound: int) -> None:
        """`limit` places, and at most `bound` who wait."""
        self.limit = limit
        self.taken = 0
        self._bound = bound
        self._waiting: list[_Waiter] = []
        self._numbers = count()
        # Seconds for which a place is taken, on average. 0 = not known yet.
        self._held = 0.0

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def take(self, at: float) -> Place | None:
        """A place, if one is free."""
        if self.taken >= self.limit:
            return None
        self.taken += 1
        return Place(self, at)

    async def enter(self, priority: Priority, deadline: float, *, first_token: float = 0.0) -> Place:
        """Wait for a place. `first_token`: seconds from there to an answer, most likely.

        Raises Refused: at once if it could not be in time or there is no room to wait, later if that becomes so.
        """
        at = now()
        if at + first_token > deadline:
            raise Refused(_SHORTEST_RETRY)
        if (place := self.take(at)) is not None:
            return place
        waiter = self._queued(priority, deadline, deadline - first_token)
        try:
            await waiter.place
        except BaseException:
            self._give_up(waiter)
            raise
        return Place(self, now(), waited=True)

    def _queued(self, priority: Priority, deadline: float, latest_start: float) -> _Waiter:
        loop = asyncio.get_running_loop()
        waiter = _Waiter(priority, -deadline, -next(self._numbers), loop.create_future())
        ahead = len(self._waiting) - bisect_left(self._waiting, waiter)
        predicted = self.predicted_wait(ahead)
        if now() + predicted > latest_start:
            raise Refused(max(_SHORTEST_RETRY, predicted))
        if len(self._waiting) >= self._bound:
            self._shed(waiter)
        insort(self._waiting, waiter)
        waiter.timer = loop.call_at(latest_start, self._expire, waiter)
        return waiter

    def predicted_wait(self, ahead: int) -> float:
        """Seconds until a place for whoever has so many ahead, if calls take as long as they did."""
        return (ahead + 1) * self._held / max(1, self.limit)

    def _shed(self, newcomer: _Waiter) -> None:
        """Make room for who comes before the last in the queue. Raises Refused if nobody would be behind."""
        drained = max(_SHORTEST_RETRY, self.predicted_wait(len(self._waiting)))
        if not self._waiting or newcomer < self._waiting[0]:
            raise Refused(drained, full=True)
        self._refuse(self._waiting[0], Refused(drained, full=True))

    def _expire(self, waiter: _Waiter) -> None:
        self._refuse(waiter, Refused(max(_SHORTEST_RETRY, self.predicted_wait(0))))

    def _refuse(self, waiter: _Waiter, refused: Refused) -> None:
        self._remove(waiter)
        if not waiter.place.done():
            waiter.place.set_exception(refused)

    def _remove(self, waiter: _Waiter) -> None:
        """Unless it has been removed already."""
        at = bisect_left(self._waiting, waiter)
        if at < len(self._waiting) and self._waiting[at] is waiter:
            del self._waiting[at]
        if waiter.timer is not None:
            waiter.timer.cancel()

    def _give_up(self, waiter: _Waiter) -> None:
        """Its task ends: while it waited, or when it had been given a place that it does not know of."""
        self._remove(waiter)
        place = waiter.place
        if place.done() and not place.cancelled() and place.exception() is None:
            self.taken -= 1
            self._fill()

    def vacate(self, held: float) -> None:
        """A place is free that was taken for so many seconds."""
        before = self._held
        self._held = before + (held - before) * (_SMOOTHING if before else 1.0)
        self.taken -= 1
        if self._waiting:
            self._fill()

    def resize(self, limit: int) -> None:
        """There are so many places from now on. Nobody loses one."""
        self.limit = limit
        self._fill()

    def _fill(self) -> None:
        while self._waiting and self.taken < self.limit:
            first = self._waiting[-1]
            self._remove(first)
            # Its task may have been cancelled and not know it yet.
            if not first.place.done():
                self.taken += 1
                first.place.set_result(None)
