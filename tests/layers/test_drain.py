"""Drain: who goes away is not kept waiting, and what a provider bills all the same is known in the end."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from ledgers import MemoryLedger, price_of
from make import answer, call, completed, delta, part
from virtual_time import run_virtual

from trunkline.v1 import call_pb2
from trunkline.v1 import gateway_service_pb2 as pb
from trunkline_server.core import now
from trunkline_server.errors import CallError, UpstreamError
from trunkline_server.layers import drain
from trunkline_server.layers.account import account
from trunkline_server.layers.attempt import attempt
from trunkline_server.layers.drain import drained
from trunkline_server.registry import TaskRegistry
from trunkline_server.sections import Seconds
from trunkline_server.settings import ProviderSettings, Settings
from trunkline_server.settings.reliability import RetrySettings
from trunkline_server.state.endpoint.experience import Experience

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from trunkline_server.core import Call, Events, Handler
    from trunkline_server.state.ledger.rows import AttemptRow

    Step = pb.StreamGenerateResponse | float | BaseException

USAGE = call_pb2.Usage(input_tokens=10, output_tokens=400)
CANCELLED, TIMEOUT = call_pb2.OUTCOME_CANCELLED, call_pb2.OUTCOME_TIMEOUT
REPORTED, ESTIMATED, UNKNOWN = call_pb2.CERTAINTY_REPORTED, call_pb2.CERTAINTY_ESTIMATED, call_pb2.CERTAINTY_UNKNOWN
PATIENCE = 30.0
ONCE = RetrySettings(max_attempts=1)
# Begins after a second, goes on for ten, and says then what it used.
PIECE: list[Step] = [1.0, delta("b" * 40)]
LONG: list[Step] = [1.0, part("a"), *PIECE * 10, completed(usage=USAGE)]


@dataclass
class House:
    """A provider that bills what it began, behind the layers that matter."""

    script: Sequence[Step]
    sends: bool = True
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    registry: TaskRegistry = field(default_factory=TaskRegistry)
    closed_at: float = 0.0
    handler: Handler = field(init=False)

    def __post_init__(self) -> None:
        below = drained(self.registry, account(self.ledger, price_of)(self.provider), PATIENCE)
        self.handler = attempt(self.registry, lambda _, __: None, Experience(now))(below)

    async def provider(self, it: Call) -> Events:
        if self.sends:
            it.fate.was_sent()
        try:
            for step in self.script:
                if isinstance(step, BaseException):
                    raise step
                if isinstance(step, float):
                    await asyncio.sleep(step)
                else:
                    yield step
        finally:
            self.closed_at = now()

    @property
    def row(self) -> AttemptRow:
        (row,) = self.ledger.finished
        return row

    async def read(self, *, streaming: bool = True, timeout: float = 60.0, settings: Settings | None = None) -> None:
        async with aclosing(self.handler(call(streaming=streaming, timeout=timeout, settings=settings))) as events:
            async for _ in events:
                pass

    async def leave(self, after: float, *, streaming: bool = True) -> float:
        """A caller goes away after so many seconds. How long it takes to let him go."""
        reading = asyncio.create_task(self.read(streaming=streaming))
        await asyncio.sleep(after)
        begin = now()
        reading.cancel()
        await asyncio.wait([reading])
        return now() - begin


def visit(script: Sequence[Step], scenario: Callable[[House], Awaitable[None]], *, sends: bool = True) -> House:
    async def main() -> House:
        house = House(script, sends)
        await scenario(house)
        await house.registry.wait_idle()
        return house

    return run_virtual(main())


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("after", [0.5, 2.5])
def test_it_is_read_to_its_end_and_its_usage_is_known(streaming: bool, after: float) -> None:
    async def scenario(house: House) -> None:
        assert await house.leave(after, streaming=streaming) == 0
        await asyncio.sleep(1)
        assert not house.ledger.finished

    house = visit(LONG, scenario)
    assert (house.row.outcome, house.row.certainty, house.row.output_tokens) == (CANCELLED, REPORTED, 400)
    assert house.row.cost == 810_000
    assert house.row.duration == 11_000_000


def test_a_provider_that_never_ends_is_read_for_so_long_only() -> None:
    async def scenario(house: House) -> None:
        await house.leave(5)

    house = visit([part("a"), *PIECE * 600], scenario)
    assert house.closed_at == 1000 + 5 + PATIENCE
    assert (house.row.outcome, house.row.certainty) == (CANCELLED, ESTIMATED)
    assert house.row.output_tokens is not None
    assert house.row.output_tokens > 300


@pytest.mark.parametrize(
    ("failure", "certainty"),
    [
        (UpstreamError(call_pb2.OUTCOME_INTERRUPTED), ESTIMATED),
        (UpstreamError(call_pb2.OUTCOME_SERVER_ERROR, usage=USAGE), REPORTED),
    ],
)
def test_one_that_fails_when_nobody_reads_is_still_a_cancelled_one(failure: UpstreamError, certainty: int) -> None:
    async def scenario(house: House) -> None:
        await house.leave(2.5)

    house = visit([*LONG[:-1], failure], scenario)
    assert (house.row.outcome, house.row.certainty) == (CANCELLED, certainty)


def test_what_was_not_sent_is_never_sent() -> None:
    async def scenario(house: House) -> None:
        await house.leave(0.5)

    house = visit(LONG, scenario, sends=False)
    assert house.closed_at == 1000.5
    assert (house.row.outcome, house.row.certainty) == (CANCELLED, UNKNOWN)


def test_only_so_many_are_read_on_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "AT_ONCE", 2)

    async def scenario(house: House) -> None:
        await asyncio.gather(*(house.leave(2.5) for _ in range(3)))
        await house.registry.wait_idle()
        await house.leave(2.5)  # there is room again

    house = visit(LONG, scenario)
    assert sorted(row.certainty for row in house.ledger.finished) == sorted([REPORTED] * 3 + [ESTIMATED])


def test_what_is_too_late_is_closed_at_once() -> None:
    hurried = Settings(providers={"p": ProviderSettings(first_token=Seconds(0.5), retry=ONCE)})

    async def scenario(house: House) -> None:
        with pytest.raises(CallError):
            await house.read(settings=hurried)

    house = visit(LONG, scenario)
    assert house.closed_at == 1000.5
    assert house.row.outcome == TIMEOUT


def test_a_deadline_amid_the_answer_is_a_caller_that_is_gone() -> None:
    async def scenario(house: House) -> None:
        with pytest.raises(CallError):
            await house.read(timeout=3.5)

    house = visit(LONG, scenario)
    assert (house.row.outcome, house.row.certainty) == (TIMEOUT, REPORTED)


def test_a_whole_answer_is_a_success_and_is_written_down_once() -> None:
    async def scenario(house: House) -> None:
        await house.read()

    house = visit(answer("a", "b"), scenario)
    assert house.row.outcome == call_pb2.OUTCOME_SUCCESS


def test_an_interrupt_ends_what_is_read_on_and_lets_nothing_in() -> None:
    async def scenario(house: House) -> None:
        await house.leave(2.5)
        house.registry.interrupt(lambda: CallError(call_pb2.ERROR_REASON_DRAINING, "shutting down"))
        await house.registry.wait_idle()
        assert house.closed_at == 1002.5
        await house.leave(2.5)

    house = visit(LONG, scenario)
    assert house.closed_at == 1005
    assert [row.certainty for row in house.ledger.finished] == [ESTIMATED, ESTIMATED]


@pytest.mark.parametrize("streaming", [True, False])
def test_one_that_is_cancelled_anywhere_is_written_down_once(streaming: bool) -> None:
    """After so many turns of the loop, up to one that lets it come to its end; and every place is free again."""
    script: list[Step] = [0.0, part("a"), 0.0, delta("b"), 0.0, completed(usage=USAGE)]
    outcomes = []
    for turns in range(60):

        async def scenario(house: House, turns: int = turns) -> None:
            reading = asyncio.create_task(house.read(streaming=streaming))
            for _ in range(turns):
                await asyncio.sleep(0)
            reading.cancel()
            await asyncio.wait([reading])
            await house.registry.wait_idle()
            await asyncio.gather(*(house.leave(0.0, streaming=streaming) for _ in range(drain.AT_ONCE + 1)))

        house = visit(script, scenario)
        rows = house.ledger.finished
        assert len(rows) == len(house.ledger.begun)
        outcomes.append(rows[0].outcome if rows else None)
    assert outcomes[-1] == call_pb2.OUTCOME_SUCCESS
    assert CANCELLED in outcomes
