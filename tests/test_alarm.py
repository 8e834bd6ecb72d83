"""The alarm of a stream's reader: in time however often it is put off or brought forward."""

from __future__ import annotations

import asyncio

import uvloop
from hypothesis import given
from hypothesis import strategies as st
from virtual_time import run_virtual

from trunkline_server.alarm import Alarm
from trunkline_server.core import now

# Seconds until something happens, and until the alarm is wanted.
WAITS = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=12)


def come(waiter: asyncio.Future[str]) -> None:
    if not waiter.done():
        waiter.set_result("came")


@given(WAITS)
def test_each_waiter_is_woken_at_its_time_or_by_what_comes_sooner(waits: list[tuple[int, int]]) -> None:
    async def main() -> None:
        loop, alarm = asyncio.get_running_loop(), Alarm()
        for comes, wanted in waits:
            begin, waiter = now(), loop.create_future()
            alarm.wake(waiter, begin + wanted)
            comer = loop.call_later(comes, come, waiter)
            found = await waiter
            comer.cancel()
            assert now() - begin == min(comes, wanted)
            assert comes == wanted or (found == "came") == (comes < wanted)
        alarm.close()

    run_virtual(main())


def test_a_stream_sets_one_timer() -> None:
    async def main() -> None:
        loop, alarm = asyncio.get_running_loop(), Alarm()
        before = len(loop._scheduled)  # type: ignore[attr-defined]
        for _ in range(100):
            waiter = loop.create_future()
            alarm.wake(waiter, now() + 30)
            waiter.set_result(None)
            await asyncio.sleep(0.01)
        assert len(loop._scheduled) - before <= 2  # type: ignore[attr-defined]
        alarm.close()

    run_virtual(main())


def test_nobody_is_woken_or_kept_once_it_is_closed() -> None:
    async def main() -> None:
        waiter, alarm = asyncio.get_running_loop().create_future(), Alarm()
        alarm.wake(waiter, now() + 1)
        alarm.close()
        await asyncio.sleep(5)
        assert not waiter.done()

    run_virtual(main())


def test_the_real_loop_rounds_and_it_is_in_time_all_the_same() -> None:
    async def main() -> None:
        alarm = Alarm()
        for wanted in (0.05, 0.01, 0.0203):
            begin, waiter = now(), asyncio.get_running_loop().create_future()
            alarm.wake(waiter, begin + wanted)
            await waiter
            assert now() - begin > wanted - 0.005

    uvloop.run(main())
