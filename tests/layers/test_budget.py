"""Budget: nothing is sent that a hard budget may not pay for, whatever happens nothing stays held, and it all adds up.

Against a real ledger in a file. Prices are those of `price_of`: 1,000 nano-USD a token in, 2,000 a token out.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import databases
import pytest
from ledgers import most_of, price_of, unpriced
from make import answer, call, completed, delta, kinds, part, playing, text_of
from msgspec import structs

from trunkline.v1 import call_pb2, content_pb2
from trunkline.v1 import gateway_service_pb2 as pb
from trunkline_server.core import now
from trunkline_server.errors import CallError, UpstreamError, usd
from trunkline_server.layers.account import account
from trunkline_server.layers.attempt import attempt
from trunkline_server.layers.budget import budget
from trunkline_server.logs import build_log
from trunkline_server.registry import TaskRegistry
from trunkline_server.settings import LedgerSettings
from trunkline_server.settings.budgets import BudgetSettings, Money
from trunkline_server.state.budgets.accounts import Rules
from trunkline_server.state.endpoint.experience import Experience
from trunkline_server.state.ledger.journal import JournalFailed
from trunkline_server.state.ledger.ledger import begin_ledger
from trunkline_server.state.ledger.sqlite import SqliteDatabase

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from trunkline_server.core import Call, Events, Handler
    from trunkline_server.layers.entry import PriceOf
    from trunkline_server.layers.worst import MostOf
    from trunkline_server.state.budgets.holds import Totals
    from trunkline_server.state.ledger.ledger import Ledger

USAGE = call_pb2.Usage(input_tokens=10, output_tokens=20)
TRUE_COST = 50_000
BUDGET = content_pb2.FINISH_REASON_BUDGET
PLENTY = 10**12


@dataclass
class World:
    """A gateway's attempts over a ledger, and what was asked below."""

    ledger: Ledger
    database: databases.Failing
    registry: TaskRegistry = field(default_factory=TaskRegistry)
    asked: list[Call] = field(default_factory=list)

    def handler(
        self, below: Handler, price: PriceOf = price_of, most: MostOf = most_of, **budgets: BudgetSettings
    ) -> Handler:
        def seen(asked: Call) -> Events:
            self.asked.append(asked)
            return below(asked)

        layer = budget(Rules(budgets), self.ledger, most, account(self.ledger, price))
        return attempt(self.registry, lambda _, __: None, Experience(now))(layer(seen))

    async def settled(self) -> tuple[int, int]:
        """What is held and what was spent, once everything is over."""
        await self.registry.wait_idle()
        await self.ledger.flush()
        return await self.held(), await self.number("SELECT COALESCE(SUM(posted), 0) FROM budget_accounts")

    async def held(self) -> int:
        return await self.number("SELECT COALESCE(SUM(amount), 0) FROM budget_holds WHERE state = 0")

    async def number(self, sql: str) -> int:
        ((found,),) = await self.database.fetch(sql)
        assert isinstance(found, int)
        return found


@asynccontextmanager
async def a_world(folder: Path) -> AsyncIterator[World]:
    database = databases.Failing(SqliteDatabase(folder / "ledger.sqlite3"))
    ledger = await begin_ledger(database, folder, LedgerSettings(), build_log())
    yield World(ledger, database)
    await ledger.aclose()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(tmp_path) as made:
        yield made


def hard(limit: int = PLENTY, **said: Any) -> BudgetSettings:
    return BudgetSettings(limit=Money(limit), **{"period": "total", **said})


def asking(output: int | None = 100, **more: Any) -> pb.GenerateRequest:
    request = pb.GenerateRequest(model="p/m", prompt="hello", **more)
    if output is not None:
        request.config.max_output_tokens = output
    return request


def said(*texts: str, **fields: Any) -> list[pb.StreamGenerateResponse]:
    return [*answer(*texts)[:-1], completed(usage=USAGE, **fields)]


async def play(
    handler: Handler, request: pb.GenerateRequest | None = None, **how: Any
) -> list[pb.StreamGenerateResponse]:
    return [event async for event in handler(call(request or asking(), **how))]


@pytest.mark.parametrize("streaming", [True, False])
async def test_what_is_held_becomes_what_it_cost(world: World, streaming: bool) -> None:
    at_work = 0

    async def below(_: Call) -> Events:
        nonlocal at_work
        at_work = await world.held()
        assert await world.number("SELECT COUNT(*) FROM open_attempts") == 1, "it is in the ledger before it is sent"
        for event in said("a"):
            yield event

    events = await play(world.handler(below, b=hard()), streaming=streaming)
    assert 200_000 < at_work < 250_000
    assert events[-1].completed.response.cost.total_nano_usd == TRUE_COST
    assert await world.settled() == (0, TRUE_COST)
    assert await world.number("SELECT SUM(cost) FROM attempts") == TRUE_COST


@pytest.mark.parametrize(
    ("end", "spent"),
    [
        (UpstreamError(call_pb2.OUTCOME_RATE_LIMITED), False),
        (UpstreamError(call_pb2.OUTCOME_NOT_SENT), False),
        (UpstreamError(call_pb2.OUTCOME_INTERRUPTED), True),
        (ValueError("a bug"), True),
    ],
)
async def test_a_failure_is_settled_at_what_the_ledger_has(world: World, end: BaseException, spent: bool) -> None:
    with pytest.raises((CallError, ValueError)):
        await play(world.handler(playing([part("a"), end]), b=hard()))
    held, posted = await world.settled()
    assert held == 0
    assert posted == await world.number("SELECT SUM(cost) FROM attempts")
    assert bool(posted) is spent


@pytest.mark.parametrize("turns", range(40))
async def test_whoever_goes_away_at_any_moment_leaves_nothing_held(world: World, turns: int) -> None:
    handler = world.handler(playing([part("a"), 0.0, delta("b"), 0.0, *said()[1:]]), b=hard())
    task = asyncio.ensure_future(play(handler))
    for _ in range(turns):
        await asyncio.sleep(0.0004 if turns % 2 else 0)
    task.cancel()
    await asyncio.wait([task])
    held, posted = await world.settled()
    assert held == 0
    assert posted == await world.number("SELECT COALESCE(SUM(cost), 0) FROM attempts")


async def test_what_a_budget_does_not_pay_for_is_not_sent(world: World) -> None:
    with pytest.raises(CallError) as refused:
        await play(world.handler(playing(said("a")), mine=hard(1000, period="daily", time_zone="UTC")))
    error = refused.value
    assert error.reason == call_pb2.ERROR_REASON_BUDGET_EXHAUSTED
    assert "'mine'" in error.message
    assert "it renews at 20" in error.message
    assert error.quota is not None
    assert error.quota.field == "budget:mine"
    assert error.retry_after is not None
    assert 0 < error.retry_after <= 86400
    assert world.asked == []
    assert await world.settled() == (0, 0)
    assert await world.number("SELECT COUNT(*) FROM attempts") == 0


async def test_a_total_says_that_it_never_renews(world: World) -> None:
    with pytest.raises(CallError, match="it never renews") as refused:
        await play(world.handler(playing(said("a")), mine=hard(1000)))
    assert refused.value.retry_after is None


async def test_another_target_answers_where_one_is_not_paid_for(world: World) -> None:
    plan = (call_pb2.Target(provider="p", model="dear"), call_pb2.Target(provider="p", model="m"))
    await play(world.handler(playing(said("a")), b=hard(), dear=hard(0, model="dear")), plan=plan)
    assert [each.target.model for each in world.asked] == ["m"]


async def test_what_has_no_price_is_refused_by_name(world: World) -> None:
    with pytest.raises(CallError, match=r"p/m has no price.*'b'") as refused:
        await play(world.handler(playing(said("a")), unpriced, lambda *_: None, b=hard()))
    assert refused.value.reason == call_pb2.ERROR_REASON_NO_CANDIDATE
    assert world.asked == []


async def test_what_is_free_is_never_refused(world: World) -> None:
    def free(*_: object) -> tuple[call_pb2.Cost, int]:
        return call_pb2.Cost(total_nano_usd=0), 0

    await play(world.handler(playing(said("a")), free, lambda *_: lambda _: 0, b=hard(0)))
    assert len(world.asked) == 1


async def test_a_soft_budget_refuses_nothing_and_counts_everything(world: World) -> None:
    await play(world.handler(playing(said("a")), b=hard(0, kind="soft")))
    assert await world.settled() == (0, TRUE_COST)
    assert await world.number("SELECT COUNT(*) FROM budget_holds") == 0


async def test_a_call_that_no_hard_budget_is_about_waits_for_nothing(world: World) -> None:
    handler = world.handler(playing(said("a")), other=hard(workspace="elsewhere"), soft=hard(kind="soft"))
    await world.ledger.tidy()
    world.database.runs.clear()
    async with asyncio.timeout(5):
        assert kinds(await play(handler))[-1] == "completed"
    world.database.runs.set()


def test_without_budgets_there_is_no_layer() -> None:
    def layer(below: Handler) -> Handler:
        return below

    assert budget(Rules({}), None, most_of, layer) is layer  # type: ignore[arg-type]


async def test_a_whole_answer_is_bounded_by_what_there_is_left(world: World) -> None:
    limit = 1_000_000
    short = pb.StreamGenerateResponse()
    short.CopyFrom(completed(usage=USAGE))
    short.completed.response.finish_reason = content_pb2.FINISH_REASON_MAX_TOKENS
    handler = world.handler(playing([*answer("a")[:-1], short]), b=hard(limit))
    events = await play(handler, asking(4000), streaming=False)
    bound = world.asked[0].request.config.max_output_tokens
    assert 450 < bound < 500
    assert events[-1].completed.response.finish_reason == BUDGET
    assert short.completed.response.finish_reason == content_pb2.FINISH_REASON_MAX_TOKENS, (
        "what was given is not changed"
    )


@pytest.mark.parametrize("output", [None, 5000])
async def test_a_stream_ends_where_the_money_does(world: World, output: int | None) -> None:
    limit = 3_000_000
    endless = [part("x" * 300), *(delta("x" * 300) for _ in range(200)), *said()[1:]]
    events = await play(world.handler(playing(endless), b=hard(limit)), asking(output))
    last = events[-1].completed.response
    assert kinds(events)[-2:] == ["part_completed", "completed"]
    assert last.finish_reason == BUDGET
    assert 0 < last.cost.total_nano_usd <= limit
    assert last.cost.certainty == call_pb2.CERTAINTY_ESTIMATED
    await world.ledger.flush()
    found = await world.database.fetch("SELECT outcome, input_tokens, output_tokens FROM attempts")
    assert found == [(call_pb2.OUTCOME_SUCCESS, last.usage.input_tokens, last.usage.output_tokens)]
    assert last.usage.output_tokens > 1000
    text = len(text_of(events))
    assert 1300 * 3 < text < 1500 * 3
    assert await world.settled() == (0, last.cost.total_nano_usd)


async def test_a_stream_holds_as_much_as_it_needs_and_no_more(world: World) -> None:
    held: list[int] = []

    async def below(_: Call) -> Events:
        yield part("x")
        for _number in range(60):
            held.append(await world.held())
            yield delta("x" * 300)
        for event in said()[1:]:
            yield event

    await play(world.handler(below, b=hard()), asking(50_000))
    assert held == sorted(held)
    assert held[0] < 2_200_000
    assert 12_000_000 < held[-1] < 20_000_000
    assert await world.settled() == (0, TRUE_COST)


async def test_budgets_fail_closed(world: World) -> None:
    handler = world.handler(playing(said("a")), b=hard())
    await world.ledger.tidy()
    world.database.failure = "connection lost"
    with pytest.raises(CallError) as refused:
        await play(handler)
    assert refused.value.reason == call_pb2.ERROR_REASON_LEDGER_UNAVAILABLE
    assert world.asked == []
    world.database.failure = None


async def test_what_the_journal_does_not_take_holds_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: object) -> None:
        raise JournalFailed("disk full")

    monkeypatch.setattr(world.ledger._journal, "begin", full)
    with pytest.raises(CallError) as refused:
        await play(world.handler(playing(said("a")), b=hard()))
    assert refused.value.reason == call_pb2.ERROR_REASON_LEDGER_UNAVAILABLE
    assert world.asked == []
    assert await world.settled() == (0, 0)
    assert await world.number("SELECT COUNT(*) FROM attempts") == 0


async def test_as_many_at_once_as_there_is_room_for(world: World) -> None:
    async def below(_: Call) -> Events:
        await asyncio.sleep(0.5)
        for event in said("a"):
            yield event

    worst = 213_000
    handler = world.handler(below, b=hard(7 * worst + worst // 2))

    async def one(number: int) -> bool:
        try:
            async for _ in handler(structs.replace(call(asking(), streaming=False), id=f"call-{number}")):
                pass
        except CallError:
            return False
        return True

    admitted = sum(await asyncio.gather(*map(one, range(64))))
    assert admitted == 7
    assert await world.settled() == (0, 7 * TRUE_COST)


def test_money_is_said_exactly() -> None:
    assert [usd(n) for n in (0, 1, 10**9, 12_500_000_000, -5)] == ["0", "0.000000001", "1", "12.5", "-0.000000005"]


async def test_what_is_spent_is_heard_of_as_it_is_settled(world: World) -> None:
    """Of budgets that hold and of those that only count; and that one did not pay, too."""
    heard: list[Any] = []

    class Listener:
        def spent(self, totals: Totals) -> None:
            heard.extend((json.loads(account)[0], total) for account, total in totals)

        def refused(self, account: str) -> None:
            heard.append((json.loads(account)[0], "refused"))

    world.ledger.budgets.listener = Listener()

    async def ask(number: int, **budgets: Any) -> None:
        handler = world.handler(playing(said("a")), **budgets)
        async for _ in handler(structs.replace(call(asking()), id=f"call-{number}")):
            pass

    for number in range(2):
        await ask(number, h=hard(10**6), s=hard(1, kind="soft"))
        await world.settled()
    assert sorted(heard) == sorted([("h", TRUE_COST), ("s", TRUE_COST), ("h", 2 * TRUE_COST), ("s", 2 * TRUE_COST)])
    with pytest.raises(CallError):
        await ask(2, h=hard(2 * TRUE_COST))
    assert heard[-1] == ("h", "refused")
