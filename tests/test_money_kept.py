"""What gateways get wrong about money and limits, tried on this one as callers would: each test says what it guards."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from gateway import gateway, settings_of
from grpc import StatusCode, aio
from serving import reason
from upstreams import answer, upstream

from trunkline.v1.call_pb2 import CallContext, Routing
from trunkline.v1.gateway_service_pb2 import GenerateRequest, GenerationConfig

if TYPE_CHECKING:
    from pathlib import Path

    from gateway import Gateway

    from trunkline_server.settings import Settings

CENT = 10**7
# What a call costs that asks for ten tokens, to the last of them; USD for a budget of so many calls.
COST = 10 * CENT
UNUSED = answer(json.dumps({"id": "c", "choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}).encode())


def calls(count: float) -> str:
    return f"{count * COST / 10**9:.3f}"


def scripted(tmp_path: Path, budgets: Any, scripts: Any = None, **more: Any) -> Settings:
    """A token costs a cent, a prompt nothing; `free/*` nothing at all."""
    said = {"mock-fast": {"text": "well ", "repeat": 3000}, **(scripts or {})}
    document = {
        "providers": {
            "mock": {"scripts": said},
            "free": {"kind": "scripted", "scripts": {"m": {"text": "free"}}},
        },
        "prices": [
            {"model": "mock/*", "input": 0, "output": 10_000},
            {"model": "free/*", "input": 0, "output": 0},
        ],
        "max_attempts": 1,
        "budgets": {name: {"period": "total", **said} for name, said in budgets.items()},
        **more,
    }
    return settings_of(tmp_path, document)


def asking(model: str = "mock/mock-fast", user: str = "", tokens: int = 10, **routing: Any) -> GenerateRequest:
    return GenerateRequest(
        model=model,
        prompt="hello",
        config=GenerationConfig(max_output_tokens=tokens),
        context=CallContext(end_user_id=user, labels={"session": "s1"}),
        routing=Routing(**routing),
    )


async def unary(running: Gateway, request: GenerateRequest) -> str:
    """How it ends: "" or the error's reason."""
    try:
        await running.stub.Generate(request)
    except aio.AioRpcError as error:
        return reason(error)
    return ""


async def streamed(running: Gateway, request: GenerateRequest) -> str:
    try:
        async for _ in running.stub.StreamGenerate(request):
            pass
    except aio.AioRpcError as error:
        return reason(error)
    return ""


async def money(running: Gateway) -> tuple[int, int]:
    """What is spent of all budgets, and what is held, once everything is written down."""
    ledger = running.app._ledger
    await ledger.flush()
    ((posted,),) = await ledger.database.fetch("SELECT COALESCE(SUM(posted), 0) FROM budget_accounts")
    ((held,),) = await ledger.database.fetch("SELECT COALESCE(SUM(amount), 0) FROM budget_holds WHERE state = 0")
    return posted, held


@pytest.mark.parametrize("said", [{"user": "*"}, {"labels": {"session": "*"}}, {"workspace": "*"}], ids=str)
async def test_callers_at_once_of_whom_nobody_knew(tmp_path: Path, said: dict[str, Any]) -> None:
    """Budgets that are checked before and counted after are passed by whoever calls at once: a session's first calls
    together, or those of a user for whom nothing is counted yet, and for whom only the default holds."""
    async with gateway(scripted(tmp_path, {"b": {"limit": calls(3), **said}})) as running:
        ways = [unary, streamed]
        ends = await asyncio.gather(*(ways[n % 2](running, asking(user="new")) for n in range(64)))
        assert sorted(ends) == [""] * 3 + ["BUDGET_EXHAUSTED"] * 61
        assert await money(running) == (3 * COST, 0)


async def test_no_way_round_a_budget(tmp_path: Path) -> None:
    """A budget that holds for one method, or for one way to name a model, is passed by asking another way."""
    more = {
        "aliases": {"other-name": "mock/mock-fast"},
        "tasks": {"t": {"primary": ["mock/mock-fast"]}},
        "chains": {"c": {"targets": ["mock/mock-fast"]}},
        "fallbacks": {"mock/fails": ["mock/mock-fast"]},
        "default_model": "mock/mock-fast",
    }
    fails = {"fails": {"failure": {"kind": "status", "status": 500}}}
    ways = [
        asking(),
        asking("other-name"),
        asking("mock"),
        asking(""),
        asking("", task="t"),
        asking("", chain="c"),
        asking("mock/fails"),
        asking(fallback_models=["mock/mock-fast"]),
        asking(fallback_models=["mock/mock-fast"], max_attempts=3),
    ]
    async with gateway(scripted(tmp_path, {"b": {"limit": calls(1)}}, fails, **more)) as running:
        assert await unary(running, asking()) == ""
        for way in ways:
            assert (await unary(running, way), await streamed(running, way)) == ("BUDGET_EXHAUSTED",) * 2, way
        assert await money(running) == (COST, 0)


async def test_nobody_is_refused_for_want_of_money_that_is_not_his_to_spend(tmp_path: Path) -> None:
    """Callers without a budget, and calls that cost nothing, are refused where an empty limit counts as reached."""
    empty = {"limit": 0}
    budgets = {
        "users": {**empty, "user": "ann"},
        "teams": {**empty, "labels": {"team": "*"}},
        "w": {**empty, "workspace": "x"},
    }
    async with gateway(scripted(tmp_path, budgets)) as running:
        assert await unary(running, asking()) == ""
        assert await unary(running, asking(user="bob")) == ""
        assert await unary(running, asking(user="ann")) == "BUDGET_EXHAUSTED"
        assert await unary(running, asking("free/m", user="ann")) == ""
        assert await money(running) == (0, 0)


async def test_what_fails_before_it_begins_holds_nothing(tmp_path: Path) -> None:
    """What is put aside for calls that then fail is never given back, until everybody is locked out with money left."""
    ends = {
        "refuses": {"failure": {"kind": "status", "status": 429}},
        "fails": {"failure": {"kind": "status", "status": 500}},
        "breaks": {"failure": {"kind": "malformed"}},
    }
    async with gateway(scripted(tmp_path, {"b": {"limit": calls(4)}}, ends)) as running:
        for model in ends:
            for way in (unary, streamed):
                assert await way(running, asking(f"mock/{model}")) not in {"", "BUDGET_EXHAUSTED"}, model
        assert (await money(running))[1] == 0
        assert await unary(running, asking()) == ""


async def test_callers_that_go_away_pin_nothing(tmp_path: Path) -> None:
    """What is put aside for calls whose callers go away stays put aside, and the budget seems to be spent."""
    slow = {"slow": {"text": "well ", "repeat": 3000, "rate": 50.0, "first_token": "100ms"}}
    async with gateway(scripted(tmp_path, {"b": {"limit": calls(600)}}, slow)) as running:
        asked = asking("mock/slow", tokens=500)
        for events in (0, 1, 3):
            stream = running.stub.StreamGenerate(asked)
            for _ in range(events):
                await stream.read()
            stream.cancel()
        call = running.stub.Generate(asked)
        await asyncio.sleep(0)
        call.cancel()
        async with asyncio.timeout(10):
            while (await money(running))[1]:
                await asyncio.sleep(0.01)
        posted, _ = await money(running)
        assert posted < 4 * COST, "no more than what came"


async def test_who_drops_his_call_gives_its_place_and_its_tokens_back(tmp_path: Path) -> None:
    """Limits that are settled only by an answer that is read to its end shrink with each connection that breaks."""
    slow = {"slow": {"text": "well ", "repeat": 3000, "rate": 50.0}}
    limits = {"each_workspace": {"concurrency": 1}}
    async with gateway(scripted(tmp_path, {}, slow, caller_limits=limits)) as running:
        for _ in range(5):
            stream = running.stub.StreamGenerate(asking("mock/slow"))
            await stream.read()
            assert await unary(running, asking()) == "RATE_LIMITED"
            stream.cancel()
            async with asyncio.timeout(10):
                while await unary(running, asking()) == "RATE_LIMITED":
                    await asyncio.sleep(0.01)


async def test_tokens_count_though_the_provider_does_not_tell_them(tmp_path: Path) -> None:
    """A limit of tokens that is fed by what providers report is none for those that report nothing."""
    async with upstream([UNUSED]) as server:
        up = {"kind": "openai_compatible", "base_url": server.base_url, "models": ["a"]}
        limits = {"each_workspace": {"tokens_per_minute": 500}}
        settings = settings_of(tmp_path, {"providers": {"up": up}, "caller_limits": limits})
        async with gateway(settings) as running:
            ends = [await unary(running, asking("up/a", tokens=200)) for _ in range(4)]
            assert ends == ["", "", "RATE_LIMITED", "RATE_LIMITED"]
            assert len(server.requests) == 2
            with pytest.raises(aio.AioRpcError) as refused:
                await running.stub.Generate(asking("up/a", tokens=200))
    assert refused.value.code() is StatusCode.RESOURCE_EXHAUSTED


async def test_a_caller_limit_of_tokens_holds_for_calls_at_once(tmp_path: Path) -> None:
    """Tokens that are counted after the answer let in any number of callers at once."""
    limits = {"each_workspace": {"tokens_per_minute": 1000}}
    async with gateway(scripted(tmp_path, {}, caller_limits=limits)) as running:
        ends = await asyncio.gather(*(unary(running, asking(tokens=150)) for _ in range(40)))
        assert ends.count("") == 6
        assert ends.count("RATE_LIMITED") == 34
