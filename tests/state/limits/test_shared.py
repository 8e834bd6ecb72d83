"""Callers' limits that several instances share: exact together, and what becomes of them without Valkey."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from itertools import count
from random import Random
from typing import TYPE_CHECKING

import pytest
from limits_house import Clock, Demand, clock_of, reserve, shared

from trunkline_server.state.limits import shared as machinery
from trunkline_server.state.limits.engine import EngineFailed, connect
from trunkline_server.state.limits.limits import Admitted, Left, NeverAdmissible, Terms, TooMuch
from trunkline_server.state.limits.where import where

if TYPE_CHECKING:
    from collections.abc import Sequence

    from valkeys import Valkey

    from trunkline_server.state.limits.limits import Dimension
    from trunkline_server.state.limits.shared import SharedLimits

SECOND = 1_000_000
REQUESTS = Demand("workspace:w", "requests", 21, 1)
CALLS = Demand("workspace:w", "concurrency", 21, 1)


async def four(stack: AsyncExitStack, server: Valkey, clock: Clock) -> Sequence[SharedLimits]:
    return [await stack.enter_async_context(shared(server, clock, 4)) for _ in range(4)]


async def until_lost(limits: SharedLimits, *, lost: bool) -> None:
    while (limits.lost is not None) is not lost:
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("dimension", ["requests", "tokens", "concurrency"])
async def test_sixty_four_callers_of_four_instances_and_room_for_exactly_so_many(
    server: Valkey, dimension: Dimension
) -> None:
    wanted = [REQUESTS._replace(dimension=dimension), Demand("key:k", "requests", 1000, 1)]
    async with AsyncExitStack() as stack:
        instances = await four(stack, server, await clock_of(server))
        answers = await asyncio.gather(*(reserve(instances[n % 4], *wanted) for n in range(64)))
        assert sum(isinstance(each, Admitted) for each in answers) == 21
        left = await reserve(instances[0], wanted[1])
        assert isinstance(left, Admitted)
        assert left.left[0].remaining == 1000 - 21 - 1


async def test_a_place_that_one_instance_frees_is_taken_at_another(server: Valkey) -> None:
    async with AsyncExitStack() as stack:
        instances = await four(stack, server, await clock_of(server))
        one = CALLS._replace(limit=1)
        held = await reserve(instances[0], one)
        assert isinstance(held, Admitted)
        assert await reserve(instances[1], one) == TooMuch(Left(one.of, 0), None)
        held.settle(None)
        while not isinstance(await reserve(instances[1], one), Admitted):
            await asyncio.sleep(0)


async def test_what_an_instance_held_that_died_is_free_once_its_lease_is_over(server: Valkey) -> None:
    clock = await clock_of(server)
    one = CALLS._replace(limit=1)
    async with shared(server, clock) as dying:
        assert isinstance(await reserve(dying, one), Admitted)
    async with shared(server, clock) as other:
        await clock.advance(29 * SECOND)
        assert await reserve(other, one) == TooMuch(Left(one.of, 0), None)
        await clock.advance(2 * SECOND)
        assert isinstance(await reserve(other, one), Admitted)


async def test_a_call_that_runs_for_long_keeps_its_place(server: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machinery, "RENEWAL", 0.005)
    clock = await clock_of(server)
    one = CALLS._replace(limit=1)
    assert clock.engine is not None
    async with shared(server, clock) as holding, shared(server, clock) as other:
        assert isinstance(await reserve(holding, one), Admitted)
        for _ in range(5):
            await clock.advance(20 * SECOND)
            ends = b"0"
            while float(ends) < clock.microseconds + 29 * SECOND:
                found = await clock.engine.send(
                    "ZRANGE", "{trunkline}:limit:workspace:w:concurrency", 0, -1, "WITHSCORES"
                )
                assert isinstance(found, list)
                assert isinstance(found[1], bytes)
                ends = found[1]
        assert await reserve(other, one) == TooMuch(Left(one.of, 0), None)


async def test_without_valkey_each_instance_has_its_share_of_what_was_left(server: Valkey) -> None:
    clock = await clock_of(server)
    wanted = REQUESTS._replace(limit=100)
    async with shared(server, clock, 4) as limits:
        for _ in range(60):
            assert isinstance(await reserve(limits, wanted), Admitted)
        server.kill()
        answers = [await reserve(limits, wanted) for _ in range(30)]
        assert [isinstance(each, Admitted) for each in answers] == [True] * 10 + [False] * 20
        assert limits.lost is not None
        assert "Valkey" in limits.lost.why
        refused = answers[-1]
        assert isinstance(refused, TooMuch)
        assert (refused.left.limit.most, refused.seconds) == (25, 2.4)
        other = wanted._replace(scope="key:unknown")
        answers = [await reserve(limits, other) for _ in range(30)]
        assert sum(isinstance(each, Admitted) for each in answers) == 25


async def test_without_valkey_calls_that_run_keep_their_places_and_go(server: Valkey) -> None:
    clock = await clock_of(server)
    three = CALLS._replace(limit=12)
    async with shared(server, clock, 4) as limits:
        held = await reserve(limits, three)
        assert isinstance(held, Admitted)
        server.kill()
        answers = [await reserve(limits, three) for _ in range(5)]
        assert [isinstance(each, Admitted) for each in answers] == [True, True, False, False, False]
        held.settle(None)
        assert isinstance(await reserve(limits, three), Admitted)


async def test_without_valkey_a_call_that_ends_gives_nobody_more_than_the_share(server: Valkey) -> None:
    """Of one caller, whose terms are the same for all of its calls."""
    clock = await clock_of(server)
    terms = Terms([REQUESTS._replace(limit=100).of])
    async with shared(server, clock, 4) as limits:
        held = [await limits.reserve(terms, [1]) for _ in range(4)]
        server.kill()
        answers = [await limits.reserve(terms, [1])]
        for each in held:
            assert isinstance(each, Admitted)
            each.settle(None)
        answers += [await limits.reserve(terms, [1]) for _ in range(60)]
        assert sum(isinstance(each, Admitted) for each in answers) == 24
        refused = answers[-1]
        assert isinstance(refused, TooMuch)
        assert (refused.left.limit.most, refused.seconds) == (25, 2.4)


async def test_what_is_more_than_the_share_is_no_callers_fault(server: Valkey) -> None:
    clock = await clock_of(server)
    server.kill()
    async with shared(server, clock, 4) as limits:
        assert limits.lost is not None
        large = Demand("key:k", "tokens", 100, 90)
        admitted = await reserve(limits, large)
        assert isinstance(admitted, Admitted)
        admitted.settle(90)
        refused = await reserve(limits, large._replace(units=1))
        assert isinstance(refused, TooMuch)
        assert refused.seconds == pytest.approx((1 + 90 - 25) / 25 * 60)
        assert isinstance(await reserve(limits, large._replace(units=101)), NeverAdmissible)


async def test_it_comes_back_with_the_calls_that_run(server: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machinery, "PAUSE", 0.01)
    clock = await clock_of(server)
    two = CALLS._replace(limit=2)
    async with shared(server, clock, 4) as limits:
        held = await reserve(limits, two)
        assert isinstance(held, Admitted)
        server.kill()
        await until_lost(limits, lost=True)
        await server.start()
        clock.engine = await server.engine()
        await clock.advance(0)
        await until_lost(limits, lost=False)
        async with shared(server, clock, 4) as other:
            assert isinstance(await reserve(other, two), Admitted)
            assert await reserve(other, two) == TooMuch(Left(two.of, 0), None)
            held.settle(None)
            while not isinstance(await reserve(other, two), Admitted):
                await asyncio.sleep(0)


async def test_who_was_refused_knows_that_nothing_is_left(server: Valkey) -> None:
    async with AsyncExitStack() as stack:
        one, other, *_ = await four(stack, server, await clock_of(server))
        assert isinstance(await reserve(one, REQUESTS), Admitted)
        for _ in range(20):
            assert isinstance(await reserve(other, REQUESTS), Admitted)
        assert isinstance(await reserve(one, REQUESTS), TooMuch)
        server.kill()
        assert isinstance(await reserve(one, REQUESTS), TooMuch)


@pytest.mark.parametrize("seed", range(8))
async def test_what_is_admitted_at_most_when_valkey_is_lost(server: Valkey, seed: int) -> None:
    """Each instance goes on with its part of what was left when it last heard, at most its part of the limit.

    So the bound is the limit and, of what others took since each of them heard last, an instance's part for each. What
    an instance that never heard of the limit takes is the worst: its whole part.
    """
    random, limit, count_ = Random(seed), 40, 4
    wanted, clock = REQUESTS._replace(limit=limit), await clock_of(server)
    taken, heard = 0, dict.fromkeys(range(count_), 0)
    async with AsyncExitStack() as stack:
        instances = await four(stack, server, clock)
        some = random.sample(range(count_), random.choice((1, 2, count_)))
        for _ in range(random.randrange(2 * limit)):
            number = random.choice(some)
            taken += isinstance(await reserve(instances[number], wanted), Admitted)
            heard[number] = taken
        server.kill()
        after = 0
        for each in instances:
            while isinstance(await reserve(each, wanted), Admitted):
                after += 1
    unheard = sum(taken - heard[number] for number in range(count_))
    assert taken + after <= limit + unheard / count_
    # And no less, but for what a part is rounded down by.
    assert taken + after > limit + unheard / count_ - count_
    assert after <= limit


async def test_valkey_is_killed_under_load(server: Valkey) -> None:
    """No more than there is, but for what others took since an instance heard of it last: of 64 callers at most 48."""
    wanted = REQUESTS._replace(limit=2000)
    numbers = count()

    async def call_on(limits: SharedLimits) -> int:
        admitted = 0
        for _ in range(40):
            if next(numbers) == 1000:
                server.kill()
            admitted += isinstance(await reserve(limits, wanted), Admitted)
        return admitted

    async with AsyncExitStack() as stack:
        instances = await four(stack, server, await clock_of(server))
        admitted = await asyncio.gather(*(call_on(instances[n % 4]) for n in range(64)))
        assert all(each.lost is not None for each in instances)
        # Of 2,560 tries; answers that were on their way when it died are lost.
        assert 1900 <= sum(admitted) <= 2000 + 48


async def test_a_server_that_hangs_counts_as_lost(server: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machinery, "PATIENCE", 0.05)
    clock = await clock_of(server)
    async with shared(server, clock, 4) as limits:
        assert clock.engine is not None
        clock.engine.send("DEBUG", "SLEEP", 1)
        await asyncio.sleep(0.01)
        answer = await reserve(limits, REQUESTS._replace(limit=40))
        assert isinstance(answer, Admitted)
        assert answer.left[0].remaining == 9
        assert limits.lost is not None
        assert limits.lost.why == "Valkey does not answer"


async def test_a_password_that_is_wrong_is_told_without_it(server: Valkey) -> None:
    with pytest.raises(EngineFailed) as refused:
        await connect(where(server.url.replace("//", "//:canary@")))
    assert refused.value.why == "Valkey refuses: ERR"
