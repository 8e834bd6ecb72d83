"""The time that a block of a task has: who is told what when it is over, and who when somebody else cancels."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from virtual_time import run_virtual

from trunkline_server.core import now
from trunkline_server.registry import TaskRegistry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trunkline_server.term import Term


class Late(Exception):
    """The time is over."""


class Interrupted(Exception):
    """The gateway stops."""


def term(registry: TaskRegistry, seconds: float, told: list[Exception]) -> Term:
    return registry.term(now() + seconds, Late, told.append)


async def within(registry: TaskRegistry, seconds: float, told: list[Exception], work: Awaitable[object]) -> int:
    """Do the work; how often the task is being cancelled once the block is left."""
    with term(registry, seconds, told):
        await work
    return cancelling()


def cancelling() -> int:
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()


def test_work_in_time_sees_nothing_of_it() -> None:
    async def main() -> None:
        told: list[Exception] = []
        registry = TaskRegistry()
        assert await within(registry, 2, told, asyncio.sleep(1)) == 0
        registry.interrupt(Interrupted)
        await asyncio.sleep(5)
        assert not told

    run_virtual(main())


def test_the_time_is_over() -> None:
    async def main() -> None:
        told: list[Exception] = []
        with pytest.raises(Late) as raised:
            await within(TaskRegistry(), 2, told, asyncio.sleep(60))
        assert (now(), told, cancelling()) == (1002, [raised.value], 0)
        await asyncio.sleep(1)  # and the task goes on

    run_virtual(main())


def test_an_interruption_has_its_own_error_and_is_told_before_anything_is_cancelled() -> None:
    async def main() -> None:
        order: list[str] = []
        registry = TaskRegistry()

        async def work() -> None:
            with registry.term(now() + 60, Late, lambda error: order.append(type(error).__name__)):
                try:
                    await asyncio.sleep(30)
                finally:
                    order.append("cancelled")

        working = asyncio.create_task(work())
        await asyncio.sleep(1)
        registry.interrupt(Interrupted)
        registry.interrupt(Interrupted)  # once is enough
        with pytest.raises(Interrupted):
            await working
        assert order == ["Interrupted", "cancelled"]

    run_virtual(main())


@pytest.mark.parametrize("when", [1.0, 2.0, 2.5])
def test_a_cancellation_by_somebody_else_stays_one(when: float) -> None:
    """Before the time is over, at that moment, and while the block cleans up after it."""

    async def cleaning() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(1)

    async def main() -> None:
        told: list[Exception] = []
        working = asyncio.create_task(within(TaskRegistry(), 2, told, cleaning()))
        asyncio.get_running_loop().call_later(when, working.cancel)
        await asyncio.wait([working])
        assert working.cancelled()
        assert len(told) == (when > 2)

    run_virtual(main())


def test_an_interruption_while_a_time_limit_within_is_over_is_not_lost() -> None:
    async def main() -> None:
        registry, loop, task = TaskRegistry(), asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def at_once() -> None:
            task.cancel()  # as asyncio.timeout does
            registry.interrupt(Interrupted)

        async def limited() -> None:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                task.uncancel()
            await asyncio.sleep(60)

        loop.call_later(1, at_once)
        with pytest.raises(Interrupted):
            await within(registry, 100, [], limited())
        assert now() <= 1002
        assert cancelling() == 0

    run_virtual(main())


async def swallowing() -> None:
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(60)


async def failing() -> None:
    try:
        await asyncio.sleep(60)
    finally:
        raise OSError


@pytest.mark.parametrize("work", [swallowing, failing])
def test_what_the_work_makes_of_its_cancellation_changes_nothing(work: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        with pytest.raises(Late):
            await within(TaskRegistry(), 2, [], work())
        assert cancelling() == 0

    run_virtual(main())


def test_a_failure_in_time_is_a_failure() -> None:
    async def main() -> None:
        async def broken() -> None:
            await asyncio.sleep(1)
            raise OSError

        told: list[Exception] = []
        with pytest.raises(OSError):  # noqa: PT011 - it has no words
            await within(TaskRegistry(), 2, told, broken())
        await asyncio.sleep(5)
        assert not told

    run_virtual(main())
