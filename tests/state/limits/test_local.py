"""Callers' limits in one process: what it keeps."""

from __future__ import annotations

from limits_house import Clock, Demand, reserve

from trunkline_server.state.limits import local
from trunkline_server.state.limits.limits import Admitted, TooMuch
from trunkline_server.state.limits.local import LocalLimits


async def test_buckets_that_are_full_are_forgotten_and_no_others() -> None:
    """Not those that are owed to, nor those of the call that comes just then."""
    clock = Clock()
    limits = LocalLimits(clock)
    held = await reserve(limits, Demand("key:held", "tokens", 60, 1))
    for number in range(local._MANY - 2):
        passing = await reserve(limits, Demand(f"key:{number}", "requests", 60, 1))
        assert isinstance(passing, Admitted)
        passing.settle(None)
    await clock.advance(1_000_000)
    last = [Demand("key:last", "requests", 60, 60), Demand("key:last", "tokens", 60, 1)]
    assert isinstance(await reserve(limits, *last), Admitted)
    assert isinstance(await reserve(limits, last[0]), TooMuch)
    assert len(limits._buckets) == 3
    assert isinstance(held, Admitted)
    held.settle(100)
    assert isinstance(await reserve(limits, Demand("key:held", "tokens", 60, 1)), TooMuch)


async def test_calls_that_run_are_counted_however_many_others_come_and_go() -> None:
    """By the terms that were there when they began, and by those of another key of the workspace."""
    limits = LocalLimits(Clock())
    ours, two = Demand("workspace:w", "concurrency", 3, 1), Demand("key:a", "concurrency", 2, 1)
    held = [await reserve(limits, two, ours) for _ in range(2)]
    for number in range(3 * local._MANY):
        passing = await reserve(limits, Demand(f"key:{number}", "concurrency", 2, 1))
        assert isinstance(passing, Admitted)
        passing.settle(None)
    assert isinstance(await reserve(limits, two, ours), TooMuch)
    others = [await reserve(limits, Demand("key:b", "concurrency", 2, 1), ours) for _ in range(2)]
    assert [isinstance(each, Admitted) for each in others] == [True, False]
    assert isinstance(held[0], Admitted)
    held[0].settle(None)
    assert isinstance(await reserve(limits, two, ours), Admitted)
    assert len(limits._running) < 2 * local._MANY
