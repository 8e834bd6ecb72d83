"""Budgets through a whole gateway: what a caller sees of them, and what a stream says where the money ends."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import TYPE_CHECKING, Any

import databases
import pytest
from gateway import gateway, settings_of
from grpc import StatusCode, aio
from serving import reason
from upstreams import answer, upstream

from trunkline.v1.call_pb2 import CallContext
from trunkline.v1.content_pb2 import FINISH_REASON_BUDGET, FINISH_REASON_MAX_TOKENS
from trunkline.v1.gateway_service_pb2 import GenerateRequest, UsageStatsRequest
from trunkline.v1.model_service_pb2 import PlanRouteRequest
from trunkline_server.core import Identity
from trunkline_server.settings.budgets import BudgetSettings, Money
from trunkline_server.state.budgets import holds
from trunkline_server.state.budgets.accounts import Payer, Rules
from trunkline_server.state.budgets.status import status_of
from trunkline_server.state.ledger.open import open_database

if TYPE_CHECKING:
    from pathlib import Path

    from trunkline_server.settings import Settings


def scripted(tmp_path: Path, **budgets: Any) -> Settings:
    document = {
        "server": {"admin_listen": ""},
        "providers": {"mock": {"scripts": {"mock-fast": {"text": "well ", "repeat": 3000}}}},
        "prices": [{"model": "mock/*", "input": 1, "output": 1000}],
        "budgets": budgets,
    }
    return settings_of(tmp_path, document)


def asking(**fields: Any) -> GenerateRequest:
    return GenerateRequest(model="mock/mock-fast", prompt="hello", **fields)


async def test_a_stream_ends_where_the_money_does_and_then_nothing_is_sent(tmp_path: Path) -> None:
    mine = {"limit": "1.5", "period": "daily", "time_zone": "UTC", "user": "*"}
    async with gateway(scripted(tmp_path, mine=mine)) as running:
        request = asking(context=CallContext(end_user_id="ann"))
        events = [event async for event in running.stub.StreamGenerate(request)]
        last = events[-1].completed.response
        assert last.finish_reason == FINISH_REASON_BUDGET
        assert 10**9 < last.cost.total_nano_usd <= 15 * 10**8
        refused = await _refused(running, request, 20)
        bob = await running.stub.Generate(
            asking(context=CallContext(end_user_id="bob"), config={"max_output_tokens": 9})
        )
    assert refused.code() == StatusCode.RESOURCE_EXHAUSTED
    assert reason(refused) == "BUDGET_EXHAUSTED"
    assert "'mine'" in str(refused.details())
    assert bob.finish_reason == FINISH_REASON_MAX_TOKENS


async def _refused(running: Any, request: GenerateRequest, tries: int) -> aio.AioRpcError:
    """What is said once nothing worth having is left."""
    for _ in range(tries):
        try:
            async for _event in running.stub.StreamGenerate(request):
                pass
        except aio.AioRpcError as error:
            return error
    raise AssertionError("never refused")


async def test_a_soft_budget_is_counted_and_refuses_nothing(tmp_path: Path) -> None:
    soft = {"limit": 0, "period": "total", "kind": "soft"}
    async with gateway(scripted(tmp_path, soft=soft)) as running:
        answer = await running.stub.Generate(asking())
        await running.app._ledger.flush()
        ((posted,),) = await running.app._ledger.database.fetch("SELECT posted FROM budget_accounts")
    assert posted == answer.cost.total_nano_usd > 0


@pytest.mark.parametrize("room", [1, 5])
async def test_no_more_at_once_than_there_is_room_for(tmp_path: Path, room: int) -> None:
    """Each may cost a little more than 0.1 USD."""
    limit = f"{room * 0.11:.2f}"
    async with gateway(scripted(tmp_path, b={"limit": limit, "period": "total"})) as running:
        calls = (running.stub.Generate(asking(config={"max_output_tokens": 100})) for _ in range(64))
        answers = await asyncio.gather(*calls, return_exceptions=True)
        await running.app._ledger.flush()
        ((held,),) = await running.app._ledger.database.fetch("SELECT COUNT(*) FROM budget_holds WHERE state = 0")
        ((posted,),) = await running.app._ledger.database.fetch("SELECT posted FROM budget_accounts")
    costs = [each.cost.total_nano_usd for each in answers if not isinstance(each, BaseException)]
    assert costs
    assert sum(costs) == posted
    assert held == 0


async def test_usage_tells_how_budgets_are(tmp_path: Path) -> None:
    budgets = {
        "day": {"limit": 5, "period": "daily", "time_zone": "Europe/Vienna"},
        "each": {"limit": 1, "period": "total", "kind": "soft", "user": "*", "provider": "mock"},
        "unused": {"limit": 2, "period": "monthly", "time_zone": "UTC", "provider": "embedded"},
    }
    async with gateway(scripted(tmp_path, **budgets)) as running:
        request = asking(context=CallContext(end_user_id="ann"), config={"max_output_tokens": 9})
        spent = (await running.stub.Generate(request)).cost.total_nano_usd
        told = await running.stub.UsageStats(UsageStatsRequest(include_budgets=True))
        assert not (await running.stub.UsageStats(UsageStatsRequest())).budgets
    day, each, unused = told.budgets
    assert (day.budget, day.hard, day.limit_nano_usd, day.spent_nano_usd, day.held_nano_usd) == (
        "day",
        True,
        5 * 10**9,
        spent,
        0,
    )
    assert 0 < day.burn_rate_nano_usd <= spent
    assert day.HasField("renew_time")
    assert (each.budget, each.hard, each.spent_nano_usd, len(each.scope)) == ("each", False, spent, 1)
    assert not (each.HasField("renew_time"))
    assert not (each.HasField("burn_rate_nano_usd"))
    assert "ann" not in each.scope
    assert (unused.budget, unused.spent_nano_usd, unused.limit_nano_usd) == ("unused", 0, 2 * 10**9)


@pytest.mark.parametrize(
    ("role", "sees"), [("caller", ["every", "mine"]), ("operator", ["every", "every", "mine", "others", "whole"])]
)
async def test_callers_see_the_budgets_of_their_workspace(tmp_path: Path, role: Any, sees: list[str]) -> None:
    def of(workspace: str) -> BudgetSettings:
        return BudgetSettings(limit=Money(1), period="total", workspace=workspace)

    rules = Rules({"mine": of("acme"), "others": of("zeta"), "every": of("*"), "whole": of("")})
    database = await databases.migrated(open_database(f"sqlite:///{tmp_path}/l.sqlite3"))
    for workspace in ("acme", "zeta"):
        accounts = rules.payment(Payer(workspace, "", "", {}, "p", "m"), 0).accounts
        script = partial(holds.spend, [], [(account.id, 7) for account in accounts])
        await database.transact(script)
    found = await status_of(database, rules, Identity(workspace="acme", role=role), 0)
    await database.aclose()
    assert [each.budget for each in found] == sees
    assert {each.budget: each.spent_nano_usd for each in found}["mine"] == 7


async def test_callers_see_the_budgets_of_their_key(tmp_path: Path) -> None:
    """Also where it is the last of more accounts than are told of."""

    def of(**said: Any) -> BudgetSettings:
        return BudgetSettings(limit=Money(1), period="total", **said)

    rules = Rules(
        {
            "mine": of(key="k1"),
            "each": of(key="*", model="*"),
            "another": of(key="k2"),
            "elsewhere": of(workspace="zeta", key="*"),
            "spaces": of(workspace="*"),
            "unknown-yet": of(key="*", provider="*", labels={"team": "none"}),
            "unspent-yet": of(key="*", labels={"team": "none"}),
        }
    )
    database = await databases.migrated(open_database(f"sqlite:///{tmp_path}/l.sqlite3"))
    others = [Payer(f"w{number}", f"k1{number}", "", {}, "p", "m") for number in range(1001)]
    for payer, cost in (*((other, 9) for other in others), (Payer("acme", "k1", "", {}, "p", "m"), 7)):
        await database.transact(
            partial(holds.spend, [], [(account.id, cost) for account in rules.payment(payer, 0).accounts])
        )
    found = await status_of(database, rules, Identity(workspace="acme", role="caller", key="k1"), 0)
    without = await status_of(database, rules, Identity(workspace="acme", role="caller"), 0)
    await database.aclose()
    assert [(each.budget, *each.scope, each.spent_nano_usd) for each in found] == [
        ("each", "k1", "m", 7),
        ("mine", 7),
        ("spaces", "acme", 7),
        ("unspent-yet", "k1", 0),
    ]
    assert [each.budget for each in without] == ["spaces"]


# --- saving -----------------------------------------------------------------------------------------------------------

SAID = answer(
    json.dumps(
        {
            "id": "c1",
            "choices": [{"message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 0, "completion_tokens": 100},
        }
    ).encode()
)


def dear_and_cheap(tmp_path: Path, base_url: str, **budgets: Any) -> Settings:
    """By their weights the good one is chosen, unless cost weighs three times as much and more; it costs 0.02 USD."""
    document = {
        "server": {"admin_listen": ""},
        "ledger": {"url": f"sqlite:///{tmp_path}/ledger.sqlite3"},
        "providers": {"up": {"kind": "openai_compatible", "base_url": base_url, "models": ["cheap", "good"]}},
        "prices": [{"model": "up/cheap", "input": 1, "output": 1}, {"model": "up/good", "input": 20, "output": 200}],
        "model_data": {"up/cheap": {"scores": {"quality": 0.2}}, "up/good": {"scores": {"quality": 0.9}}},
        "routing": {"weights": {"cost": 0.1, "performance": 0.3, "quality": 0.4, "specialised": 0.2}},
        "budgets": budgets,
    }
    return settings_of(tmp_path, document)


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"workspace": "default"},
        {"workspace": "*"},
        {"user": "*"},
        {"labels": {"team": "*"}},
        {"provider": "up"},
        {"provider": "*"},
        {"model": "*"},
    ],
    ids=str,
)
async def test_near_its_end_a_soft_budget_has_cheaper_targets_chosen_and_the_plan_says_so(
    tmp_path: Path, said: dict[str, Any]
) -> None:
    soft = {"limit": "0.1", "period": "monthly", "time_zone": "Europe/Vienna", "kind": "soft", **said}
    request = GenerateRequest(prompt="hello", context=CallContext(end_user_id="ann", labels={"team": "red"}))
    async with upstream([SAID]) as server, gateway(dear_and_cheap(tmp_path, server.base_url, soft=soft)) as running:
        chosen = []
        for _ in range(8):
            plan = await running.models.PlanRoute(PlanRouteRequest(request=request))
            got = await running.stub.Generate(request)
            assert plan.targets[0].target == got.served.target, "the plan shows what the call gets"
            chosen.append((got.served.target.model, round(plan.weights["cost"], 3)))
            await running.app._ledger.flush()
        assert chosen[:4] == [("good", 0.1)] * 4
        assert chosen[5:] == [("cheap", 0.357)] * 3, "cost weighs five times as much"
        other = GenerateRequest(prompt="hello", context=CallContext(end_user_id="bob", labels={"team": "blue"}))
        saves = (await running.models.PlanRoute(PlanRouteRequest(request=other))).weights["cost"] > 0.1
        assert saves == ("user" not in said and "labels" not in said)


async def test_a_gateway_that_starts_knows_what_was_spent(tmp_path: Path) -> None:
    soft = {"limit": "0.01", "period": "total", "kind": "soft"}
    async with upstream([SAID]) as server:
        settings = dear_and_cheap(tmp_path, server.base_url, soft=soft)
        async with gateway(settings) as running:
            assert (await running.stub.Generate(GenerateRequest(prompt="a"))).served.target.model == "good"
        async with gateway(settings) as running:
            async with asyncio.timeout(10):
                while not running.app._purses.near:
                    await asyncio.sleep(0)
            assert (await running.stub.Generate(GenerateRequest(prompt="a"))).served.target.model == "cheap"
