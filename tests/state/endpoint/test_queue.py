"""The admission queue, on a clock that moves only when nothing else can happen."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from virtual_time import run_virtual

from trunkline_server.state.endpoint.queue import AdmissionQueue, Place, Priority, Refused

BATCH, NORMAL, INTERACTIVE = Priority
FAR = 1e9


def now() -> float:
    return asyncio.get_running_loop().time()


class Crowd:
    """Callers of one queue: who got in, in which order, and who was refused."""

    def __init__(self, limit: int, bound: int = 100) -> None:
        self.queue = AdmissionQueue(limit, bound=bound)
        self.entered: list[str] = []
        self.refused: dict[str, float] = {}
        self.places: dict[str, Place] = {}

    async def come(self, name: str, priority: Priority = NORMAL, within: float = FAR, first_token: float = 0.0) -> None:
        try:
            self.places[name] = await self.queue.enter(priority, now() + within, first_token=first_token)
            self.entered.append(name)
        except Refused as refused:
            self.refused[name] = refused.retry_after

    def send(self, name: str, priority: Priority = NORMAL, **more: float) -> asyncio.Task[None]:
        return asyncio.ensure_future(self.come(name, priority, **more))

    async def empty(self) -> None:
        """Everybody leaves, one after the other."""
        while self.places:
            for place in [self.places.pop(name) for name in list(self.places)]:
                place.leave(now())
            await settle()
        assert (self.queue.taken, len(self.queue)) == (0, 0)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_the_order_is_priority_then_deadline_then_coming() -> None:
    async def main() -> None:
        crowd = Crowd(1)
        await crowd.come("first")
        waiting = [
            ("batch", BATCH, 10.0),
            ("late", NORMAL, 90.0),
            ("soon", NORMAL, 50.0),
            ("soon too", NORMAL, 50.0),
            ("person", INTERACTIVE, 99.0),
        ]
        tasks = [crowd.send(name, priority, within=within) for name, priority, within in waiting]
        await settle()
        await crowd.empty()
        assert crowd.entered == ["first", "person", "soon", "soon too", "late", "batch"]
        await asyncio.gather(*tasks)

    run_virtual(main())


def test_who_cannot_be_in_time_is_refused_at_once() -> None:
    async def main() -> None:
        crowd = Crowd(2)
        await crowd.come("a")
        await asyncio.sleep(10)
        crowd.places.pop("a").leave(now())
        # From here on a place is known to be held for ten seconds.
        await crowd.come("b")
        await crowd.come("c")
        began = now()
        await crowd.come("hopeless", within=4.9)
        await crowd.come("hopeless, too", within=7.0, first_token=3.0)
        assert now() == began
        assert crowd.refused == {"hopeless": 5.0, "hopeless, too": 5.0}
        task = crowd.send("hopeful", within=8.1, first_token=3.0)
        await settle()
        assert len(crowd.queue) == 1
        await crowd.empty()
        await task

    run_virtual(main())


def test_nothing_starts_too_late_even_where_there_is_room() -> None:
    async def main() -> None:
        crowd = Crowd(1)
        await crowd.come("late", within=1.0, first_token=1.5)
        assert crowd.refused
        assert crowd.queue.taken == 0

    run_virtual(main())


def test_who_waited_in_vain_is_told_while_there_is_time_to_go_elsewhere() -> None:
    async def main() -> None:
        crowd, began = Crowd(1), now()
        await crowd.come("stays")
        await crowd.come("waits", within=10.0, first_token=3.0)
        assert "waits" in crowd.refused
        assert now() == began + 7.0
        await crowd.empty()

    run_virtual(main())


def test_overload_sheds_the_lowest_first_and_the_latest_deadline_of_those() -> None:
    async def main() -> None:
        crowd = Crowd(1, bound=3)
        await crowd.come("stays")
        tasks = [crowd.send("batch"[:5] + name, BATCH, within=within) for name, within in [("1", 50.0), ("2", 90.0)]]
        tasks.append(crowd.send("normal", NORMAL))
        await settle()
        await crowd.come("batch3", BATCH, within=95.0)
        assert list(crowd.refused) == ["batch3"]
        tasks.append(crowd.send("person", INTERACTIVE))
        await settle()
        assert list(crowd.refused) == ["batch3", "batch2"]
        tasks.append(crowd.send("person2", INTERACTIVE))
        await settle()
        assert list(crowd.refused) == ["batch3", "batch2", "batch1"]
        assert min(crowd.refused.values()) > 0, "everybody is told when to come back"
        assert len(crowd.queue) == 3
        await crowd.empty()
        assert crowd.entered == ["stays", "person", "person2", "normal"]
        await asyncio.gather(*tasks)

    run_virtual(main())


def test_without_room_to_wait_there_is_none() -> None:
    async def main() -> None:
        crowd = Crowd(1, bound=0)
        await crowd.come("stays")
        await crowd.come("person", INTERACTIVE)
        assert list(crowd.refused) == ["person"]
        await crowd.empty()

    run_virtual(main())


@pytest.mark.parametrize("leave_first", [False, True])
def test_a_cancelled_waiter_leaves_no_trace(leave_first: bool) -> None:
    """Cancelled while it waits, or in the moment in which it was given a place and does not know it."""

    async def main() -> None:
        crowd = Crowd(1)
        await crowd.come("stays")
        gone, next_one = crowd.send("gone"), crowd.send("next")
        await settle()
        if leave_first:
            crowd.places.pop("stays").leave(now())
        gone.cancel()
        if not leave_first:
            crowd.places.pop("stays").leave(now())
        await settle()
        assert gone.cancelled()
        assert crowd.entered == ["stays", "next"]
        assert crowd.queue.taken == 1
        await next_one
        await crowd.empty()

    run_virtual(main())


def test_a_waiter_that_is_shed_and_cancelled_at_once_leaves_no_trace() -> None:
    async def main() -> None:
        crowd = Crowd(1, bound=1)
        await crowd.come("stays")
        gone = crowd.send("gone", BATCH)
        await settle()
        gone.cancel()
        person = crowd.send("person", INTERACTIVE)
        await settle()
        assert len(crowd.queue) == 1
        await crowd.empty()
        await person

    run_virtual(main())


def test_leaving_twice_gives_one_place() -> None:
    async def main() -> None:
        queue = AdmissionQueue(2, bound=1)
        place, other = await queue.enter(NORMAL, FAR), await queue.enter(NORMAL, FAR)
        place.leave(now())
        place.leave(now())
        assert queue.taken == 1
        other.leave(now())

    run_virtual(main())


def test_a_larger_limit_lets_more_in_and_a_smaller_one_takes_nothing_away() -> None:
    async def main() -> None:
        crowd = Crowd(1)
        tasks = [crowd.send(str(number)) for number in range(5)]
        await settle()
        crowd.queue.resize(3)
        await settle()
        assert crowd.entered == ["0", "1", "2"]
        crowd.queue.resize(1)
        crowd.places.pop("0").leave(now())
        crowd.places.pop("1").leave(now())
        await settle()
        assert len(crowd.entered) == 3
        crowd.places.pop("2").leave(now())
        await settle()
        assert len(crowd.entered) == 4
        await crowd.empty()
        await asyncio.gather(*tasks)

    run_virtual(main())


@given(seed=st.integers(0, 1 << 32), limit=st.integers(1, 4), bound=st.integers(0, 8))
def test_no_wake_up_is_ever_lost(seed: int, limit: int, bound: int) -> None:
    """Callers that come, go, change their minds and time out at random: all of them end, and nothing is left.

    The loop itself fails if somebody waits for what will never happen.
    """
    random, ends = Random(seed), []

    async def caller(queue: AdmissionQueue) -> None:
        await asyncio.sleep(random.choice([0, 0, 1, 2, 5]))
        try:
            place = await queue.enter(random.choice(list(Priority)), now() + random.choice([1, 5, 1e6]))
        except Refused as refused:
            ends.append(refused.retry_after)
            return
        try:
            assert queue.taken <= limit
            await asyncio.sleep(random.choice([0, 0, 1, 3]))
        finally:
            place.leave(now())

    async def main() -> None:
        queue = AdmissionQueue(limit, bound=bound)
        tasks = [asyncio.ensure_future(caller(queue)) for _ in range(30)]

        async def disturb(task: asyncio.Task[None]) -> None:
            await asyncio.sleep(random.choice([0, 1, 2, 3, 7]))
            task.cancel()

        disturbers = [asyncio.ensure_future(disturb(task)) for task in random.sample(tasks, 10)]
        await asyncio.gather(*tasks, *disturbers, return_exceptions=True)
        assert all(task.cancelled() or task.exception() is None for task in tasks)
        assert (queue.taken, len(queue)) == (0, 0)
        assert all(retry_after > 0 for retry_after in ends)

    run_virtual(main())


@given(seed=st.integers(0, 1 << 32))
def test_while_anybody_waits_every_place_is_taken(seed: int) -> None:
    random = Random(seed)

    async def main() -> None:
        crowd = Crowd(3, bound=5)
        tasks: list[asyncio.Task[None]] = []
        for number in range(60):
            act = random.randrange(4)
            if act == 0 and crowd.places:
                crowd.places.pop(random.choice(list(crowd.places))).leave(now())
            elif act == 1 and tasks:
                random.choice(tasks).cancel()
            elif act == 2:
                crowd.queue.resize(random.randrange(1, 5))
            else:
                tasks.append(crowd.send(str(number), random.choice(list(Priority))))
            await settle()
            assert not len(crowd.queue) or crowd.queue.taken >= crowd.queue.limit
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await crowd.empty()

    run_virtual(main())
