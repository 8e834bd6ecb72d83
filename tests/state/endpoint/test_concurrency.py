"""Limits that find the knee of a simulated server."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from random import Random

import pytest

from trunkline_server.state.endpoint.concurrency import Aimd, ConcurrencyLimit, Gradient

# What a server with so many places does with a call when so many run: its latency, or None = refused.
Server = Callable[[int], float | None]


def simulate(limit: ConcurrencyLimit, server: Server, seconds: float, start: float = 0.0) -> list[int]:
    """Callers who always want more than the limit. What the limit was after each answer of the last third."""
    now, number, seen = start, 0, []
    running: list[tuple[float, int, float, float | None]] = []
    while now < start + seconds:
        while len(running) < limit.limit:
            latency = server(len(running) + 1)
            number += 1
            heappush(running, (now + (0.01 if latency is None else latency), number, now, latency))
        in_flight = len(running)
        now, _, started, latency = heappop(running)
        if latency is None:
            limit.overloaded(started, now)
        else:
            limit.answered(latency, in_flight)
        if now > start + seconds * 2 / 3:
            seen.append(limit.limit)
    return seen


def refusing(knee: int, random: Random) -> Server:
    return lambda running: None if running > knee else random.uniform(0.5, 1.5)


def queueing(knee: int, random: Random, pace: float = 1.0) -> Server:
    """What is too much waits its turn."""
    return lambda running: pace * max(1.0, running / knee) * random.uniform(0.9, 1.1)


@pytest.mark.parametrize("initial", [2, 20, 300])
@pytest.mark.parametrize("knee", [10, 40, 120])
def test_aimd_stays_near_what_a_hosted_api_takes(knee: int, initial: int) -> None:
    seen = simulate(Aimd(initial), refusing(knee, Random(1)), 1500)
    assert 0.8 * knee <= sum(seen) / len(seen) <= 1.2 * knee
    assert 0.8 * knee <= min(seen)
    assert max(seen) <= 1.2 * knee


@pytest.mark.parametrize("initial", [1, 4, 100])
@pytest.mark.parametrize("knee", [8, 16, 64])
def test_gradient_stays_at_the_knee_of_a_server_that_queues(knee: int, initial: int) -> None:
    seen = simulate(Gradient(initial), queueing(knee, Random(2)), 1500)
    assert 0.8 * knee <= sum(seen) / len(seen) <= 1.2 * knee


def test_gradient_follows_a_server_that_becomes_slower_as_a_whole() -> None:
    """Twice as slow, with as many places: no reason to ask less of it."""
    limit = Gradient()
    simulate(limit, queueing(16, Random(3)), 600)
    seen = simulate(limit, queueing(16, Random(3), pace=2.0), 6000, start=600)
    assert 0.7 * 16 <= sum(seen) / len(seen) <= 1.3 * 16


def test_gradient_costs_little_of_what_the_server_could_do() -> None:
    answers = []

    class Counted(Gradient):
        def answered(self, latency: float, in_flight: int) -> None:
            answers.append(latency)
            super().answered(latency, in_flight)

    simulate(Counted(), queueing(16, Random(4)), 3000)
    assert len(answers) >= 0.93 * 16 * 3000


def settled(initial: int, **more: int) -> Gradient:
    """One that has had its first look."""
    limit = Gradient(initial, **more)
    for _ in range(Gradient.LOOK * initial):
        limit.answered(1.0, 1)
    assert limit.limit == initial
    return limit


@pytest.mark.parametrize("limit", [Aimd(10), settled(10)], ids=["aimd", "gradient"])
def test_calls_that_fail_together_shrink_it_once(limit: ConcurrencyLimit) -> None:
    for _ in range(50):
        limit.overloaded(1.0, 2.0)
    assert limit.limit == 9
    limit.overloaded(2.0, 3.0)
    assert limit.limit == 8


def test_it_shrinks_from_what_was_under_way() -> None:
    limit = Aimd(1000)
    limit.overloaded(1.0, 2.0, 50)
    assert limit.limit == 45
    limit.overloaded(2.0, 3.0, 16)
    assert limit.limit == 14
    limit.overloaded(3.0, 4.0, 14)
    assert limit.limit == 12


def test_a_bad_day_with_few_calls_shrinks_nothing() -> None:
    limit = Aimd(1000)
    for second in range(100):
        limit.overloaded(second, second, 15)
    assert limit.limit == 1000
    small = Aimd(10)
    small.overloaded(1.0, 2.0, 9)
    assert small.limit == 10


def test_a_hosted_apis_bad_minute_is_forgotten_after_another() -> None:
    limit = Aimd(1000)
    limit.overloaded(1.0, 2.0, 20)
    limit.forget(61.9)
    assert limit.limit == 18
    limit.forget(62.0)
    assert limit.limit == 1000


@pytest.mark.parametrize("limit", [Aimd(10), settled(10)], ids=["aimd", "gradient"])
def test_what_nobody_uses_does_not_grow(limit: ConcurrencyLimit) -> None:
    for _ in range(300):
        limit.answered(1.0, 4)
    assert limit.limit == 10


@pytest.mark.parametrize("limit", [Aimd(3, lowest=2), Gradient(3, lowest=2)], ids=["aimd", "gradient"])
def test_some_always_get_through(limit: ConcurrencyLimit) -> None:
    for second in range(100):
        limit.overloaded(second, second)
        assert limit.limit >= 1
    assert limit.limit == 2


@pytest.mark.parametrize("limit", [Aimd(5, highest=7), Gradient(5, highest=7)], ids=["aimd", "gradient"])
def test_it_has_a_ceiling(limit: ConcurrencyLimit) -> None:
    highest = 0
    for _ in range(1000):
        limit.answered(1.0, limit.limit)
        highest = max(highest, limit.limit)
    assert highest == 7


def test_answers_are_heeded_where_they_can_change_the_limit() -> None:
    hosted, local = Aimd(20, highest=20), Gradient(20, highest=20)
    assert not hosted.heeds(streaming=True)
    hosted.overloaded(0.0, 1.0, 20)
    assert hosted.heeds(streaming=False)
    assert (local.heeds(streaming=True), local.heeds(streaming=False)) == (True, False)
