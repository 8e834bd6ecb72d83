"""Endpoint: who is let in, who is not and why, and that nothing is held by a call that has gone. In virtual time."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest
from ledgers import MemoryLedger, price_of
from make import TARGET, answer, call, completed, part, playing
from msgspec import structs
from virtual_time import run_virtual

from trunkline.v1 import call_pb2
from trunkline.v1 import gateway_service_pb2 as pb
from trunkline_server.dialects.limits import Limit
from trunkline_server.errors import InvalidRequest, UpstreamError
from trunkline_server.layers.account import account
from trunkline_server.layers.endpoint import one_of
from trunkline_server.providers.credential import Fixed
from trunkline_server.sections import Seconds
from trunkline_server.settings import ProviderSettings, TimeLimits
from trunkline_server.settings.reliability import ProviderLimits
from trunkline_server.state.endpoint.breaker import State
from trunkline_server.state.endpoints import Endpoint
from trunkline_server.state.provider_endpoints import Endpoints, together
from trunkline_server.state.provider_health import EndpointState

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from trunkline_server.core import Call, Events, Handler
    from trunkline_server.routing.steering import Figure

BROKEN = UpstreamError(call_pb2.OUTCOME_SERVER_ERROR)
TIMES = TimeLimits(connect=Seconds(10), first_token=Seconds(60))
CLOSED, OPEN, HALF_OPEN = (
    pb.EndpointHealth.CIRCUIT_CLOSED,
    pb.EndpointHealth.CIRCUIT_OPEN,
    pb.EndpointHealth.CIRCUIT_HALF_OPEN,
)


def test_a_log_that_fails_keeps_no_place() -> None:
    """Who hears that the circuit is open writes a line, and the disk is full."""

    async def main() -> None:
        def full(_: State) -> None:
            raise OSError

        world = World(limits=ProviderLimits(concurrency=2))
        world.at._breaker._tell = full
        failures = 0
        for _ in range(20):
            try:
                await world.ask(playing([BROKEN]))
            except OSError:
                failures += 1
        assert failures == 1
        assert world.at._queue.taken == 0

    run_virtual(main())


class World:
    """An endpoint, what is behind it, and what was told of its circuit."""

    def __init__(self, **settings: Any) -> None:
        clock = asyncio.get_running_loop().time
        known = EndpointState("https://up/v1", Fixed("env:KEY ...abcd"), clock=clock, draw=lambda: 0.5)
        self.circuits: list[State] = []
        self.at = Endpoint(known, ProviderSettings(**settings), TIMES, self.circuits.append, lambda: 0.5)

    async def ask(self, behind: Handler, **more: Any) -> str:
        """How a call went: its outcome, or the code of what was not sent."""
        it = structs.replace(call(**more), target=TARGET)
        try:
            async with aclosing(one_of([self.at], [behind], lambda: 0.5)(it)) as events:
                async for _ in events:
                    pass
        except UpstreamError as error:
            self.last = error
            return error.code or call_pb2.Outcome.Name(error.outcome)
        return "answer"

    @property
    def health(self) -> pb.EndpointHealth:
        return self.at.health()

    def assert_free(self) -> None:
        assert (self.health.in_flight, self.health.queue_depth) == (0, 0)
        assert not any(pace.waiting for pace in self.at._recent._paces.values())
        assert not any(self.at._limits._unseen.values())


def run(main: Coroutine[object, object, None]) -> None:
    run_virtual(main)


def test_what_was_learned_is_told() -> None:
    async def main() -> None:
        world = World(limits=ProviderLimits(requests_per_minute=10, tokens_per_minute=1000))
        usage = call_pb2.Usage(input_tokens=30, output_tokens=12)
        assert await world.ask(playing([0.5, part("a"), completed(usage=usage)])) == "answer"
        assert await world.ask(playing([BROKEN])) == "OUTCOME_SERVER_ERROR"
        told = world.health
        assert (told.circuit, told.error_rate, told.circuit_opened_count) == (CLOSED, 0.5, 0)
        assert told.time_to_first_token_p50.ToMilliseconds() == pytest.approx(500, rel=0.02)
        assert told.last_success_time.ToMilliseconds() == told.last_failure_time.ToMilliseconds() == 1_000_500
        left = {limit.dimension: (limit.remaining, limit.limit) for limit in told.kept_limits}
        assert left["requests"] == (8, 10)
        # What a failed call used is not known: what was thought stands. In half a second 8 came back.
        assert 1000 - 42 - 520 < left["tokens"][0] <= 1000 - 42 - 500 + 8
        world.assert_free()

    run(main())


def test_one_that_fails_is_left_alone_probed_and_trusted_again() -> None:
    async def main() -> None:
        world = World()
        for _ in range(5):
            await world.ask(playing([BROKEN]))
        assert await world.ask(playing(answer("x"))) == "circuit_open"
        assert world.last.outcome == call_pb2.OUTCOME_NOT_SENT
        assert world.last.retry_after == pytest.approx(5.0)
        assert (world.health.circuit, world.at.wait() > 0) == (OPEN, True)
        assert "left alone for another 5 s" in world.at.hindrance()
        await asyncio.sleep(5)
        assert world.health.circuit == HALF_OPEN
        probe = asyncio.create_task(world.ask(playing([3.0, *answer("x")])))
        await asyncio.sleep(1)
        assert await world.ask(playing(answer("x"))) == "circuit_open"
        assert await probe == "answer"
        for _ in range(3):
            assert await world.ask(playing(answer("x"))) == "answer"
        assert world.health.circuit == CLOSED
        assert world.circuits == [State.OPEN, State.HALF_OPEN, State.CLOSED]
        assert world.health.circuit_opened_count == 1
        world.assert_free()

    run(main())


def test_a_probe_whose_caller_goes_away_gives_its_place_to_the_next() -> None:
    async def main() -> None:
        world = World()
        for _ in range(5):
            await world.ask(playing([BROKEN]))
        await asyncio.sleep(6)
        probe = asyncio.create_task(world.ask(playing([100.0])))
        await asyncio.sleep(0)
        probe.cancel()
        await asyncio.wait([probe])
        world.assert_free()
        assert await world.ask(playing(answer("x"))) == "answer"

    run(main())


@pytest.mark.parametrize("outcome", ["INVALID", "RATE_LIMITED", "AUTH", "CONTEXT_LENGTH", "CANCELLED", "NOT_SENT"])
def test_what_is_no_fault_of_the_provider_never_opens_the_circuit(outcome: str) -> None:
    async def main() -> None:
        world = World()
        for _ in range(50):
            await world.ask(playing([UpstreamError(call_pb2.Outcome.Value(f"OUTCOME_{outcome}"))]))
        assert world.health.circuit == CLOSED
        world.assert_free()

    run(main())


def test_who_has_to_wait_long_is_not_let_in_and_who_has_to_wait_shortly_waits() -> None:
    async def main() -> None:
        world = World()
        await world.ask(playing([UpstreamError(call_pb2.OUTCOME_RATE_LIMITED, retry_after=10.0)]))
        assert await world.ask(playing(answer("x"))) == "blocked"
        assert world.last.retry_after == pytest.approx(10.5)
        await asyncio.sleep(9)
        begin = asyncio.get_running_loop().time()
        assert await world.ask(playing(answer("x")), timeout=1.0) == "blocked"
        assert await world.ask(playing(answer("x"))) == "answer"
        assert asyncio.get_running_loop().time() - begin == pytest.approx(1.5, abs=0.01)

    run(main())


def test_who_waits_goes_on_waiting_if_he_is_asked_to_once_more() -> None:
    async def main() -> None:
        world = World()
        limited = UpstreamError(call_pb2.OUTCOME_RATE_LIMITED, retry_after=1.0)
        await world.ask(playing([limited]))
        waiting = asyncio.create_task(world.ask(playing(answer("x"))))
        await asyncio.sleep(0.8)
        world.at.known.failed(limited)
        begin = asyncio.get_running_loop().time()
        assert await waiting == "answer"
        assert asyncio.get_running_loop().time() - begin == pytest.approx(1.05, abs=0.01)

    run(main())


def test_one_who_waited_in_the_queue_is_not_let_in_if_the_provider_asked_to_wait_meanwhile() -> None:
    async def main() -> None:
        world = World(limits=ProviderLimits(concurrency=1))
        first = asyncio.create_task(
            world.ask(playing([1.0, UpstreamError(call_pb2.OUTCOME_RATE_LIMITED, retry_after=30.0)]))
        )
        await asyncio.sleep(0)
        assert await world.ask(playing(answer("x"))) == "blocked"
        await first
        world.assert_free()

    run(main())


def test_a_limit_a_minute_holds_calls_back_for_a_little_and_sends_the_rest_away() -> None:
    async def main() -> None:
        world = World(limits=ProviderLimits(requests_per_minute=60))
        begin = asyncio.get_running_loop().time()
        told = await asyncio.gather(*(world.ask(playing(answer("x"))) for _ in range(65)))
        assert (told.count("answer"), told.count("limit")) == (62, 3)
        assert asyncio.get_running_loop().time() - begin == pytest.approx(2.0, abs=0.01)
        world.assert_free()

    run(main())


def test_what_the_provider_says_of_its_limits_is_kept_to() -> None:
    async def main() -> None:
        world = World()
        world.at.limited([Limit("requests", 100, 0, 60.0)])
        assert await world.ask(playing(answer("x"))) == "answer"  # in 0.6 s
        assert (
            await asyncio.gather(*(world.ask(playing(answer("x"))) for _ in range(9))) == ["answer"] * 3 + ["limit"] * 6
        )

    run(main())


def test_who_is_too_many_is_sent_away_when_he_would_be_too_late() -> None:
    async def main() -> None:
        world = World(limits=ProviderLimits(concurrency=1))
        assert await world.ask(playing([8.0, *answer("x")]), streaming=False) == "answer"
        slow = [asyncio.create_task(world.ask(playing([8.0, *answer("x")]), streaming=False)) for _ in range(3)]
        await asyncio.sleep(1)
        assert (world.health.in_flight, world.health.concurrency_limit) == (1, 1)
        assert sorted(await asyncio.gather(*slow)) == ["answer", "answer", "too_late"]
        world.assert_free()

    run(main())


def test_the_most_urgent_goes_first_and_the_least_urgent_makes_room() -> None:
    async def main() -> None:
        world = World(limits=ProviderLimits(concurrency=1))
        order: list[str] = []

        async def ask(name: str) -> None:
            priority = call_pb2.Priority.Value(f"PRIORITY_{name}")
            request = pb.GenerateRequest(model="p/m", prompt="x", context=call_pb2.CallContext(priority=priority))
            if await world.ask(playing([1.0, *answer("x")]), request=request) == "answer":
                order.append(name)

        await asyncio.gather(*(ask(name) for name in ("UNSPECIFIED", "BATCH", "NORMAL", "INTERACTIVE")))
        assert order == ["UNSPECIFIED", "INTERACTIVE", "NORMAL", "BATCH"]

    run(main())


def test_who_is_sent_away_gives_back_what_was_reserved_for_him() -> None:
    async def main() -> None:
        world = World(limits=ProviderLimits(concurrency=1, requests_per_minute=30))
        first = asyncio.create_task(world.ask(playing([5.0, *answer("x")])))
        await asyncio.sleep(0)
        assert await world.ask(playing(answer("x")), timeout=1.0) == "too_late"
        assert world.health.kept_limits[0].remaining == 29
        await first

    run(main())


def test_a_call_that_goes_away_holds_nothing_wherever_it_was() -> None:
    async def main() -> None:
        for steps in range(12):
            world = World(limits=ProviderLimits(concurrency=1, requests_per_minute=2))
            tasks = [asyncio.create_task(world.ask(playing([part("a"), 50.0]))) for _ in range(4)]
            for _ in range(steps):
                await asyncio.sleep(0.2)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            world.assert_free()

    run(main())


def test_time_that_went_by_in_the_queue_is_not_the_providers() -> None:
    async def main() -> None:
        world = World(limits=ProviderLimits(concurrency=1))
        await world.ask(playing([1.0, *answer("x")]))
        for _ in range(8):
            it = call()
            it.fate.outcome = call_pb2.OUTCOME_TIMEOUT
            async with aclosing(one_of([world.at], [playing([100.0])], lambda: 0.5)(it)) as events:
                reading = asyncio.ensure_future(anext(events))
                await asyncio.sleep(0.1)
                reading.cancel()
                await asyncio.wait([reading])
        assert world.health.circuit == CLOSED

    run(main())


class Keys:
    """A provider with several keys, and how often each was asked."""

    def __init__(self, count: int) -> None:
        self.ends = [World().at for _ in range(count)]
        self.asked = [0] * count
        self.known = Endpoints()
        self.known.open("p", self.ends)
        self._handler = one_of(self.ends, [self._with(key) for key in range(count)], lambda: 0.5)

    def _with(self, key: int) -> Handler:
        async def handle(_: Call) -> Events:
            self.asked[key] += 1
            for event in answer("x"):
                yield event

        return handle

    async def ask(self, paid_by: object | None = None) -> None:
        async with aclosing(self._handler(structs.replace(call(), target=TARGET, paid_by=paid_by))) as events:
            async for _ in events:
                pass


def test_a_retry_goes_to_the_endpoint_that_pays_for_it_unless_that_has_to_wait() -> None:
    async def main() -> None:
        keys = Keys(3)
        for _ in range(9):
            await keys.ask(keys.known.retry("p"))
        assert keys.asked == [3, 3, 3]  # they pay in turns
        for _ in range(4):
            await keys.ask(keys.ends[1])
        assert keys.asked == [3, 7, 3]
        keys.ends[1].known.failed(UpstreamError(call_pb2.OUTCOME_RATE_LIMITED, retry_after=60.0))
        await keys.ask(keys.ends[1])
        assert keys.asked[1] == 7
        paying = {keys.known.retry("p") for _ in range(4)}
        assert paying == {keys.ends[0], keys.ends[2]}

    run(main())


def test_a_retry_spends_what_its_endpoints_first_attempts_brought_and_the_providers_floor() -> None:
    async def main() -> None:
        keys = Keys(2)
        assert sum(keys.known.retry("p") is not None for _ in range(100)) == 30
        keys.ends[1].known.failed(UpstreamError(call_pb2.OUTCOME_RATE_LIMITED, retry_after=1.0))
        for _ in range(50):
            await keys.ask()
        assert keys.asked == [50, 0]
        await asyncio.sleep(2)
        paid = [keys.known.retry("p") for _ in range(100)]
        assert paid.count(keys.ends[0]) == 10
        assert paid.count(None) == 90
        # What a retry does is no first attempt.
        for _ in range(50):
            await keys.ask(keys.ends[0])
        assert keys.known.retry("p") is None
        assert keys.known.retry("nobody") is None

    run(main())


def test_what_an_endpoint_does_not_take_is_not_accounted_for() -> None:
    async def main() -> None:
        world, ledger = World(), MemoryLedger()
        for _ in range(8):
            await world.ask(account(ledger, price_of)(playing([BROKEN])))
        assert len(ledger.begun) == len(ledger.finished) == 5
        await asyncio.sleep(0)

    run(main())


def test_what_is_said_of_the_request_passes_and_gives_back_what_was_reserved() -> None:
    async def main() -> None:
        world = World(limits=ProviderLimits(requests_per_minute=5))
        with pytest.raises(InvalidRequest):
            await world.ask(playing([InvalidRequest([])]))
        assert world.health.kept_limits[0].remaining == 5
        world.assert_free()

    run(main())


def test_an_answer_without_an_end_is_a_failure() -> None:
    async def main() -> None:
        world = World()
        await world.ask(playing([part("a")]))
        assert world.health.error_rate == 1

    run(main())


def test_a_provider_does_as_those_of_its_endpoints_that_can_be_asked() -> None:
    async def main() -> None:
        well, ill = World(), World()
        for _ in range(5):
            await ill.ask(playing([BROKEN]))
        known = Endpoints()
        known.open("p", [well.at, ill.at])
        known.open("q", [ill.at])
        figures: dict[str, Figure] = known.figures(["p", "q", "unknown"])
        assert sorted(figures) == ["p", "q"]
        assert (figures["p"].wait, figures["p"].success) == (0.0, 1.0)
        assert figures["q"].wait > 4
        assert together([figures["p"], figures["q"]]) == figures["p"]

    run(main())
