"""Callers' limits, wherever they are counted: exact, all or nothing, never more than the bound."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from math import floor
from random import Random
from typing import TYPE_CHECKING

import pytest
from limits_house import Demand, reserve

from trunkline_server.state.limits.limits import Admitted, Left, NeverAdmissible, TooMuch

if TYPE_CHECKING:
    from limits_house import Place

    from trunkline_server.state.limits.limits import Dimension

NUMBERS = count(1)
SECOND = 1_000_000


def demand(dimension: Dimension = "requests", limit: int = 60, units: int = 1, scope: str = "") -> Demand:
    return Demand(scope or f"key:{next(NUMBERS)}", dimension, limit, units)


async def take(place: Place, *demands: Demand) -> Admitted:
    answer = await reserve(place.limits, *demands)
    assert isinstance(answer, Admitted), answer
    return answer


async def test_all_or_nothing(place: Place) -> None:
    requests, tokens, calls = demand(limit=6), demand("tokens", 100, 40), demand("concurrency", 2)
    small = tokens._replace(units=10)
    first = await take(place, requests, tokens, calls)
    assert [each.remaining for each in first.left] == [5, 60, 1]
    second = await take(place, requests, tokens, calls)
    assert await reserve(place.limits, requests, small, calls) == TooMuch(Left(calls.of, 0), None)
    second.settle(0)
    assert await reserve(place.limits, requests, tokens._replace(units=61), calls) == TooMuch(
        Left(tokens.of, 60, 24.0), 0.6
    )
    third = await take(place, requests, small, calls)
    assert [each.remaining for each in third.left] == [3, 50, 0]


async def test_more_than_it_ever_has(place: Place) -> None:
    requests, tokens = demand(limit=6), demand("tokens", 100, 101)
    for _ in range(20):
        assert await reserve(place.limits, requests, tokens) == NeverAdmissible(tokens.of, 101)
    assert (await take(place, requests)).left == [Left(requests.of, 5, 10.0)]


async def test_it_fills_continuously_and_never_over_the_brim(place: Place) -> None:
    tokens = demand("tokens", 60, 60)
    await take(place, tokens)
    one = tokens._replace(units=1)
    assert await reserve(place.limits, one) == TooMuch(Left(one.of, 0, 60.0), 1.0)
    await place.clock.advance(SECOND // 2)
    assert await reserve(place.limits, one) == TooMuch(Left(one.of, 0, 59.5), 0.5)
    await place.clock.advance(SECOND // 2)
    assert (await take(place, one)).left == [Left(one.of, 0, 60.0)]
    await place.clock.advance(3600 * SECOND)
    assert (await take(place, one)).left == [Left(one.of, 59, 1.0)]


@pytest.mark.parametrize(("used", "remaining"), [(10, 89), (100, -1), (None, -1), (250, -1)])
async def test_what_was_not_used_comes_back_once(place: Place, used: int | None, remaining: int) -> None:
    tokens = demand("tokens", 100, 100)
    admitted = await take(place, tokens)
    admitted.settle(used)
    admitted.settle(0)
    one = tokens._replace(units=1)
    answer = await reserve(place.limits, one)
    if remaining < 0:
        owed = 0 if used is None else used - 100
        assert isinstance(answer, TooMuch)
        assert answer.seconds == pytest.approx((owed + 1) * 0.6)
    else:
        assert isinstance(answer, Admitted)
        assert answer.left[0].remaining == remaining


async def test_a_request_counts_however_little_it_used(place: Place) -> None:
    requests = demand(limit=1)
    (await take(place, requests, demand("tokens", 10, 5))).settle(0)
    assert isinstance(await reserve(place.limits, requests), TooMuch)


async def test_another_limit_holds_at_once(place: Place) -> None:
    tokens = demand("tokens", 1000, 100)
    await take(place, tokens)
    less = tokens._replace(limit=100, units=60)
    await take(place, less)
    assert isinstance(await reserve(place.limits, less), TooMuch)
    more = tokens._replace(limit=6000, units=1)
    await take(place, more)
    await place.clock.advance(SECOND)
    assert (await take(place, more)).left[0].remaining == 138


async def test_of_each_dimension_the_limit_that_is_nearest_to_its_end_is_told(place: Place) -> None:
    mine, ours = demand(limit=60), demand(limit=120)
    few, many = demand("concurrency", 3), demand("concurrency", 9)
    assert (await take(place, ours, mine, many, few)).left == [Left(mine.of, 59, 1.0), Left(few.of, 2)]
    for _ in range(60):
        await take(place, ours)
    assert (await take(place, mine, ours)).left == [Left(mine.of, 58, 2.0)]
    await take(place, ours)
    assert (await take(place, mine, ours)).left == [Left(ours.of, 56, 32.0)]


@pytest.mark.parametrize("dimension", ["requests", "tokens", "concurrency"])
async def test_sixty_four_callers_and_room_for_exactly_so_many(place: Place, dimension: Dimension) -> None:
    wanted = demand(dimension, 21, 1) if dimension != "tokens" else demand("tokens", 64 * 7, 21)
    answers = await asyncio.gather(*(reserve(place.limits, wanted) for _ in range(64)))
    assert sum(isinstance(each, Admitted) for each in answers) == 21


async def test_a_place_is_free_once_the_call_is_over(place: Place) -> None:
    calls = demand("concurrency", 3)
    running = [await take(place, calls) for _ in range(3)]
    assert isinstance(await reserve(place.limits, calls), TooMuch)
    running[1].settle(None)
    running[1].settle(None)
    await take(place, calls)
    assert isinstance(await reserve(place.limits, calls), TooMuch)


async def test_a_reservation_that_is_cancelled_takes_nothing(place: Place) -> None:
    wanted = [demand(limit=1), demand("tokens", 10, 10), demand("concurrency", 1)]
    for turns in range(6):
        task = asyncio.ensure_future(reserve(place.limits, *wanted))
        for _ in range(turns):
            await asyncio.sleep(0)
        if not task.cancel():
            break
        with pytest.raises(asyncio.CancelledError):
            await task
    answer = None if task.cancelled() else await task
    while not isinstance(answer, Admitted):  # what was on its way comes back a moment later
        answer = await reserve(place.limits, *wanted)


# --- against exact fractions ------------------------------------------------------------------------------------------


@dataclass
class Oracle:
    """A limit a minute, in fractions of a unit."""

    limit: int
    level: Fraction
    then: int

    def fill(self, now: int) -> None:
        rate = Fraction(self.limit, 60 * SECOND)
        self.level, self.then = min(Fraction(self.limit), self.level + rate * (now - self.then)), now

    def settle(self, back: int) -> None:
        self.level = min(Fraction(self.limit), self.level + back)

    def agrees(self, left: Left) -> bool:
        """What is left is told exactly, and when all of it is there to a microsecond, never too soon."""
        whole = (self.limit - self.level) * 60 / self.limit
        late = Fraction(round(left.reset * SECOND), SECOND) - whole
        return left.remaining == max(0, floor(self.level)) and 0 <= late < Fraction(1, SECOND)


@pytest.mark.parametrize("seed", range(12))
async def test_random_arrivals_sizes_and_settles(place: Place, seed: int) -> None:
    """The same answers as exact fractions give, and never more than the bound of state/endpoint/bucket.py."""
    random = Random(seed)
    limits = (random.choice((7, 90, 10**6, 99_999_989)), random.choice((50, 12_345)))
    scopes = [f"key:{next(NUMBERS)}" for _ in limits]
    start = place.clock.microseconds
    oracles = [Oracle(limit, Fraction(limit), start) for limit in limits]
    running: list[tuple[Admitted, list[int], int]] = []
    # Of the first limit: when it was admitted, what it costs by now, what beyond its reservation; what came back when,
    # from when.
    costs: list[list[int]] = []
    refunds: list[tuple[int, int, int]] = []
    for _ in range(150):
        await place.clock.advance(random.choice((0, 1, random.randrange(SECOND), random.randrange(40 * SECOND))))
        now = place.clock.microseconds
        for oracle in oracles:
            oracle.fill(now)
        if running and random.random() < 0.45:
            admitted, units, number = running.pop(random.randrange(len(running)))
            used = random.choice((None, random.randrange(2 * max(units) + 2)))
            admitted.settle(used)
            for oracle, reserved in zip(oracles, units, strict=True):
                oracle.settle(0 if used is None else reserved - used)
            cost = units[0] if used is None else used
            refunds.append((now, units[0] - cost, costs[number][0]))
            costs[number][1:] = [cost, max(0, cost - units[0])]
            continue
        units = [random.randrange(1, limit + 1) // random.choice((1, 3, 20)) for limit in limits]
        wanted = [Demand(scope, "tokens", *each) for scope, *each in zip(scopes, limits, units, strict=True)]
        answer = await reserve(place.limits, *wanted)
        missing = [
            max(Fraction(0), (n - oracle.level) * 60 / oracle.limit) for n, oracle in zip(units, oracles, strict=True)
        ]
        if any(missing):
            assert isinstance(answer, TooMuch)
            assert answer.seconds is not None
            assert 0 <= Fraction(round(answer.seconds * SECOND), SECOND) - max(missing) < Fraction(1, SECOND)
            short = [each.of for each in wanted].index(answer.left.limit)
            assert missing[short] == max(missing)
            assert oracles[short].agrees(answer.left)
            continue
        assert isinstance(answer, Admitted)
        for oracle, n in zip(oracles, units, strict=True):
            oracle.level -= n
        (nearest,) = answer.left
        assert nearest.remaining == min(floor(oracle.level) for oracle in oracles)
        assert oracles[scopes.index(nearest.limit.scope)].agrees(nearest)
        running.append((answer, units, len(costs)))
        costs.append([now, units[0], 0])
        for begin, _, _ in costs:
            admitted_since = [(cost, beyond) for at, cost, beyond in costs if at >= begin]
            back = sum(n for at, n, began in refunds if at >= begin > began and n > 0)
            bound = limits[0] + Fraction(limits[0], 60) * Fraction(now - begin, SECOND) + back
            assert sum(cost for cost, _ in admitted_since) <= bound + sum(beyond for _, beyond in admitted_since)
