"""Account: one row for each attempt, whatever becomes of it, with what it cost and how sure that is."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from ledgers import MemoryLedger, price_of, unpriced
from make import answer, call, completed, delta, part, playing
from msgspec import structs
from virtual_time import run_virtual

from trunkline.v1 import call_pb2
from trunkline.v1 import gateway_service_pb2 as pb
from trunkline_server.core import now
from trunkline_server.errors import CallError, UnsupportedCapability, UpstreamError
from trunkline_server.layers import price
from trunkline_server.layers.account import account
from trunkline_server.layers.attempt import attempt
from trunkline_server.layers.observe import observe
from trunkline_server.layers.resolve import resolve
from trunkline_server.logs import build_log
from trunkline_server.registry import TaskRegistry
from trunkline_server.sections import Seconds
from trunkline_server.settings import ProviderSettings, Settings
from trunkline_server.settings.reliability import RetrySettings
from trunkline_server.settings.tasks import TaskSettings
from trunkline_server.state.endpoint.experience import Experience

if TYPE_CHECKING:
    from trunkline_server.core import Call, Events, Handler
    from trunkline_server.layers.entry import PriceOf

USAGE = call_pb2.Usage(input_tokens=10, output_tokens=4, cache_read_input_tokens=2)
REPORTED, ESTIMATED, UNKNOWN = call_pb2.CERTAINTY_REPORTED, call_pb2.CERTAINTY_ESTIMATED, call_pb2.CERTAINTY_UNKNOWN
REQUEST = pb.GenerateRequest(
    model="p/m",
    prompt="x" * 400,
    routing=call_pb2.Routing(task="review", agent="a1"),
    context=call_pb2.CallContext(end_user_id="u1", labels={"team": "red"}),
)


@dataclass
class Seen:
    """What the caller and the ledger saw."""

    ledger: MemoryLedger
    events: list[pb.StreamGenerateResponse] = field(default_factory=list)
    error: CallError | None = None

    @property
    def last(self) -> pb.GenerateResponse:
        return self.events[-1].completed.response


def stack(below: Handler, ledger: MemoryLedger, registry: TaskRegistry, price: PriceOf = price_of) -> Handler:
    """The layers that account, as app.py has them."""
    handler = attempt(registry, lambda _, __: None, Experience(now))(account(ledger, price)(below))
    return observe(build_log(), lambda _, __: None, ledger.end_call)(resolve(handler))


def run(below: Handler, *, ledger: MemoryLedger | None = None, price: PriceOf = price_of, **how: object) -> Seen:
    """Make one call to `below` through the layers, in virtual time."""
    seen = Seen(ledger or MemoryLedger())

    async def main() -> None:
        registry = TaskRegistry()
        try:
            async for event in stack(below, seen.ledger, registry, price)(call(REQUEST, **how)):  # type: ignore[arg-type]
                seen.events.append(event)
        except CallError as error:
            seen.error = error
        await registry.wait_idle()

    run_virtual(main())
    return seen


def said(*texts: str, usage: call_pb2.Usage | None = None) -> list[pb.StreamGenerateResponse]:
    return [*answer(*texts)[:-1], completed(usage=usage)]


@pytest.mark.parametrize("streaming", [True, False])
def test_a_whole_answer_costs_what_its_usage_costs(streaming: bool) -> None:
    seen = run(playing(said("a", "b", usage=USAGE)), streaming=streaming)
    (row,), (ended,) = seen.ledger.finished, seen.ledger.calls
    assert (row.call_id, row.attempt, row.outcome) == ("call-1", 1, call_pb2.OUTCOME_SUCCESS)
    assert (row.cost, row.input_cost, row.output_cost, row.saved, row.certainty) == (
        18_000,
        10_000,
        8_000,
        1_000,
        REPORTED,
    )
    assert (row.input_tokens, row.output_tokens, row.cache_read_tokens, row.reasoning_tokens) == (10, 4, 2, None)
    subject = row.subject
    assert (subject.workspace, subject.task, subject.agent, subject.end_user) == ("default", "review", "a1", "u1")
    assert (subject.labels, subject.requested_model) == ({"team": "red"}, "p/m")
    assert subject.operation == ("StreamGenerate" if streaming else "Generate")
    assert seen.last.cost.total_nano_usd == 18_000
    assert seen.last.served.attempts[0].cost == seen.last.cost
    assert (ended.call_id, ended.result, ended.reason, ended.attempts) == ("call-1", "success", "", 1)
    assert (ended.provider, ended.model, ended.outcome) == ("p", "m", call_pb2.OUTCOME_SUCCESS)
    assert ended.subject == subject


def test_numbers_that_no_answer_can_have_are_bounded() -> None:
    absurd = call_pb2.Usage(input_tokens=2**62, output_tokens=-5, other_units={"searches": 2**62})
    (row,) = run(playing(said("a", usage=absurd)), price=unpriced).ledger.finished
    assert (row.input_tokens, row.output_tokens, row.other_units) == (10**12, 0, {"searches": 10**12})


def test_an_answer_without_usage_is_estimated_and_says_so() -> None:
    seen = run(playing(said("a" * 40, "b" * 40)))
    (row,) = seen.ledger.finished
    assert row.certainty == ESTIMATED
    assert row.input_tokens is not None
    assert 100 <= row.input_tokens <= 120
    assert row.output_tokens is not None
    assert 20 <= row.output_tokens <= 30
    assert not seen.last.HasField("usage")  # absent stays absent
    assert seen.last.cost.certainty == ESTIMATED


@pytest.mark.parametrize(
    ("told", "tier"),
    [
        ({"service_tier": "standard", "speed": "fast"}, "fast"),
        ({"service_tier": "priority", "speed": "standard"}, "priority"),
        ({"service_tier": "flex"}, "flex"),
        ({}, ""),
    ],
)
def test_what_the_provider_says_of_how_it_processed_the_call_sets_the_price(told: dict[str, str], tier: str) -> None:
    tiers = []

    def price(it: Call, usage: call_pb2.Usage, when: int, took: float, tier: str = "") -> tuple[call_pb2.Cost, int]:
        tiers.append(tier)
        return price_of(it, usage)

    end = completed(usage=USAGE)
    end.completed.response.provider_metadata.update(told)
    run(playing([*answer("a")[:-1], end]), price=price)
    assert tiers == [tier]


def test_a_fast_call_costs_what_fast_calls_cost() -> None:
    async def main() -> list[int]:
        it = structs.replace(call(REQUEST), target=call_pb2.Target(provider="anthropic", model="claude-opus-4-8"))
        when = 1_796_000_000 * 10**6
        return [price.price_of(it, USAGE, when, 1.0, tier)[0].total_nano_usd for tier in ("standard", "fast")]

    usual, fast = run_virtual(main())
    assert fast == 2 * usual > 0


def test_an_unknown_price_is_no_price() -> None:
    seen = run(playing(said("a", usage=USAGE)), price=unpriced)
    (row,) = seen.ledger.finished
    assert (row.cost, row.input_cost, row.certainty) == (None, None, REPORTED)
    assert not seen.last.cost.HasField("total_nano_usd")


TASKS = {"review": TaskSettings()}
ONCE = Settings(providers={"p": ProviderSettings(retry=RetrySettings(max_attempts=1))}, tasks=TASKS)
REFUSED = UpstreamError(call_pb2.OUTCOME_RATE_LIMITED, status=429, code="rate_limit_exceeded")
CUT = UpstreamError(call_pb2.OUTCOME_INTERRUPTED, code="cut")
BILLED = UpstreamError(call_pb2.OUTCOME_SERVER_ERROR, status=500, usage=USAGE)


@pytest.mark.parametrize(
    ("script", "outcome", "certainty", "cost"),
    [
        ([REFUSED], call_pb2.OUTCOME_RATE_LIMITED, REPORTED, 0),
        ([BILLED], call_pb2.OUTCOME_SERVER_ERROR, REPORTED, 18_000),
        ([part("a"), delta("b" * 400), CUT], call_pb2.OUTCOME_INTERRUPTED, ESTIMATED, None),
        ([CUT], call_pb2.OUTCOME_INTERRUPTED, UNKNOWN, None),
        ([part("a")], call_pb2.OUTCOME_INTERRUPTED, ESTIMATED, None),
        ([RuntimeError("a bug below")], call_pb2.OUTCOME_PROTOCOL_ERROR, UNKNOWN, None),
        ([UnsupportedCapability([])], call_pb2.OUTCOME_NOT_SENT, REPORTED, 0),
    ],
)
def test_a_failure_costs_what_it_may_have_cost(
    script: list[pb.StreamGenerateResponse | float | BaseException],
    outcome: call_pb2.Outcome.ValueType,
    certainty: call_pb2.Certainty.ValueType,
    cost: int | None,
) -> None:
    ledger = MemoryLedger()
    try:
        seen = run(playing(script), ledger=ledger, settings=ONCE)
    except RuntimeError:
        seen = Seen(ledger)
    (row,), (ended,) = ledger.finished, ledger.calls
    assert (row.outcome, row.certainty) == (outcome, certainty)
    assert row.cost == cost if cost is not None else (row.cost or 0) > 90_000
    assert ended.result == "error"
    if seen.error is not None and seen.error.failure is not None and certainty != UNKNOWN and len(script) != 1:
        assert seen.error.failure.cost.total_nano_usd == row.cost


def test_what_is_ended_from_above_is_written_down_as_that() -> None:
    waits = playing([part("a"), 1000.0])
    (row,) = run(waits, timeout=5.0).ledger.finished
    assert (row.outcome, row.certainty) == (call_pb2.OUTCOME_TIMEOUT, ESTIMATED)


def test_nothing_is_sent_that_the_ledger_does_not_take() -> None:
    asked: list[Call] = []

    async def below(it: Call) -> Events:
        asked.append(it)
        yield completed()

    seen = run(below, ledger=MemoryLedger(refuses=True))
    assert asked == []
    assert seen.error is not None
    assert seen.error.reason == call_pb2.ERROR_REASON_LEDGER_UNAVAILABLE
    assert seen.error.retry_after
    assert seen.ledger.finished == []
    assert [row.reason for row in seen.ledger.calls] == ["LEDGER_UNAVAILABLE"]


def test_an_invalid_request_is_counted_without_what_it_says_of_itself() -> None:
    seen = Seen(MemoryLedger())

    async def main() -> None:
        bad = pb.GenerateRequest(prompt="x", context=call_pb2.CallContext(labels={"bad name!": "x"}))
        handler = stack(playing(said("a")), seen.ledger, TaskRegistry())
        with pytest.raises(CallError):
            async for _ in handler(call(bad)):
                pass

    run_virtual(main())
    (ended,) = seen.ledger.calls
    assert (ended.reason, ended.attempts, ended.subject.labels) == ("INVALID_REQUEST", 0, {})


def test_the_end_is_told_when_the_ledger_has_it_and_not_before() -> None:
    async def main() -> list[str]:
        ledger, registry = MemoryLedger(commits=asyncio.Event()), TaskRegistry()
        told: list[str] = []
        assert ledger.commits is not None

        async def read() -> None:
            async for event in stack(playing(said("a", usage=USAGE)), ledger, registry)(call(REQUEST)):
                told.append(event.WhichOneof("event") or "")

        reading = asyncio.create_task(read())
        await asyncio.sleep(1)
        assert told == []
        assert len(ledger.begun) == 1
        ledger.commits.set()
        await reading
        await registry.wait_idle()
        return told

    assert run_virtual(main())[-1] == "completed"


HURRIED = Settings(
    providers={"p": ProviderSettings(first_token=Seconds(1), retry=RetrySettings(max_attempts=1))}, tasks=TASKS
)


@pytest.mark.parametrize(
    ("timeout", "committed", "told"),
    [
        # An attempt that was too late fails the call: not before its row is there.
        (60.0, 5.0, 5.0),
        # Its caller is told at the end of his time all the same, or a moment later.
        (3.0, 5.0, 3.0),
        (0.5, 0.6, 0.6),
        (0.5, 5.0, 0.7),
    ],
)
def test_the_end_of_what_is_ended_from_above_is_told_when_the_ledger_has_it(
    timeout: float, committed: float, told: float
) -> None:
    async def main() -> float:
        ledger, registry = MemoryLedger(commits=asyncio.Event()), TaskRegistry()
        assert ledger.commits is not None
        ledger.commits.set()
        it, begin = call(REQUEST, timeout=timeout, settings=HURRIED), now()
        asyncio.get_running_loop().call_later(0.1, ledger.commits.clear)
        asyncio.get_running_loop().call_later(committed, ledger.commits.set)
        with pytest.raises(CallError):
            async for _ in stack(playing([100.0]), ledger, registry)(it):
                pass
        took = now() - begin
        await asyncio.sleep(10)
        await registry.wait_idle()
        assert [row.outcome for row in ledger.finished] == [call_pb2.OUTCOME_TIMEOUT]
        return took

    assert run_virtual(main()) == pytest.approx(told)


def test_a_caller_that_waits_for_the_ledger_may_go_away() -> None:
    async def main() -> float:
        ledger, registry = MemoryLedger(commits=asyncio.Event()), TaskRegistry()
        assert ledger.commits is not None
        ledger.commits.set()
        asyncio.get_running_loop().call_later(0.1, ledger.commits.clear)
        it = call(REQUEST, settings=HURRIED)

        async def read() -> None:
            async for _ in stack(playing([100.0]), ledger, registry)(it):
                pass

        reading = asyncio.create_task(read())
        await asyncio.sleep(2)
        begin = now()
        reading.cancel()
        await asyncio.wait([reading])
        took = now() - begin
        ledger.commits.set()
        await asyncio.sleep(0)
        await registry.wait_idle()
        assert len(ledger.finished) == 1
        return took

    assert run_virtual(main()) == 0


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("strict", [True, False])
def test_a_call_that_is_cancelled_anywhere_leaves_one_row(streaming: bool, strict: bool) -> None:
    """Cancelled after so many turns of the loop, up to one that lets it come to its end."""
    turns = 0
    while not cancelled_after(turns, streaming=streaming, strict=strict):
        turns += 1
    assert turns > 10


def cancelled_after(turns: int, *, streaming: bool, strict: bool) -> bool:
    """Whether the call had ended by itself by then."""

    async def main() -> bool:
        ledger, registry = MemoryLedger(commits=asyncio.Event() if strict else None), TaskRegistry()

        async def slow(it: Call) -> Events:
            for event in said("a", "b", "c", usage=USAGE):
                await asyncio.sleep(0)
                yield event

        async def read() -> None:
            async with aclosing(stack(slow, ledger, registry)(call(REQUEST, streaming=streaming))) as events:
                async for _ in events:
                    await asyncio.sleep(0)

        reading = asyncio.create_task(read())
        for turn in range(turns):
            if strict and turn > 3 and ledger.commits is not None:
                ledger.commits.set()
            await asyncio.sleep(0)
        ended = reading.done()
        reading.cancel()
        await asyncio.wait([reading])
        if ledger.commits is not None:
            ledger.commits.set()
        await registry.wait_idle()
        begun, finished = [[(row.call_id, row.attempt) for row in rows] for rows in (ledger.begun, ledger.finished)]
        assert finished == begun
        assert len(begun) <= 1
        assert len(ledger.calls) == (1 if turns else 0)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            await task
        return ended

    return run_virtual(main())
