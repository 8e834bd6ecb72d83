"""Choosing a target through a whole gateway: the answer says how it was chosen, and so do the ledger and the plan."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from gateway import gateway, settings_of
from grpc import aio
from keyed import keyed
from serving import reason
from upstreams import answer, hold, upstream

from trunkline.v1.admin_service_pb2 import SetStrategyRequest
from trunkline.v1.admin_service_pb2_grpc import AdminServiceStub
from trunkline.v1.call_pb2 import Routing
from trunkline.v1.content_pb2 import ROLE_ASSISTANT, ROLE_USER, Message, Part, Role
from trunkline.v1.gateway_service_pb2 import GenerateRequest, UsageDimension, UsageStatsRequest
from trunkline.v1.identity_pb2 import AuditEvent
from trunkline.v1.model_service_pb2 import PlanRouteRequest
from trunkline_server.routing.record import replay

if TYPE_CHECKING:
    from pathlib import Path

    from trunkline_server.settings import Settings

SAID = answer(
    json.dumps(
        {
            "id": "c1",
            "choices": [{"message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 5, "completion_tokens": 2},
        }
    ).encode()
)


def two_models(tmp_path: Path, base_url: str, **more: Any) -> Settings:
    document: dict[str, Any] = {
        "server": {"admin_listen": "127.0.0.1:0"},
        "tasks": {"review": {}, "other": {}},
        "providers": {"up": {"kind": "openai_compatible", "base_url": base_url, "models": ["cheap", "good"]}},
        "prices": [{"model": "up/cheap", "input": 1, "output": 1}, {"model": "up/good", "input": 20, "output": 20}],
        "model_data": {"up/cheap": {"scores": {"quality": 0.2}}, "up/good": {"scores": {"quality": 0.9}}},
    }
    return settings_of(tmp_path, document | more)


def asked(**routing: Any) -> GenerateRequest:
    return GenerateRequest(prompt="hello", routing=Routing(**routing))


async def test_an_answer_says_how_its_target_was_chosen_and_the_ledger_counts_by_it(tmp_path: Path) -> None:
    async with upstream([SAID]) as server, gateway(two_models(tmp_path, server.base_url)) as running:
        cheap = await running.stub.Generate(asked(strategy="cost-optimized", task="review", disable_fallback=True))
        good = await running.stub.Generate(asked(strategy="QUALITY_OPTIMIZED"))
        named = await running.stub.Generate(GenerateRequest(model="up/cheap", prompt="x"))
        by = [UsageDimension(kind=UsageDimension.KIND_STRATEGY)]
        rows = (await running.stub.UsageStats(UsageStatsRequest(group_by=by))).rows
    assert good.served.target.model == "good"
    assert (cheap.served.strategy, good.served.strategy) == ("cost_optimized", "quality_optimized")
    assert cheap.served.task == "review"
    assert named.served.strategy == "named"
    assert len({each.served.decision_id for each in (cheap, good, named)}) == 3
    assert {row.group[0]: row.totals.requests for row in rows} == {
        "cost_optimized": 1,
        "quality_optimized": 1,
        "named": 1,
    }


async def test_what_a_decision_was_made_of_is_logged_and_makes_it_again(tmp_path: Path) -> None:
    logs = {"monitoring_level": "comprehensive"}
    async with upstream([SAID]) as server, gateway(two_models(tmp_path, server.base_url, logs=logs)) as running:
        secret = GenerateRequest(prompt="canary-4711", routing=Routing(strategy="quality_optimized"))
        done = await running.stub.Generate(secret)
        await running.stub.Generate(GenerateRequest(model="up/cheap", prompt="x"))
        (line,) = running.lines("decision")
    again = replay(line["made_of"])
    assert line["decision"] == done.served.decision_id
    assert again.ranking.question.table.rows[again.order[0]].target == done.served.target
    assert "canary" not in line["made_of"]


async def test_a_plan_sends_nothing_and_tells_what_the_call_then_does(tmp_path: Path) -> None:
    async with upstream([SAID]) as server, gateway(two_models(tmp_path, server.base_url)) as running:
        request = asked(strategy="quality_optimized", denied_providers=["embedded"], max_cost_nano_usd=10**9)
        told = await running.models.PlanRoute(PlanRouteRequest(request=request))
        fewer = await running.models.PlanRoute(PlanRouteRequest(request=asked(max_cost_nano_usd=1_000_000)))
        assert server.requests == []
        done = await running.stub.Generate(request)
        with pytest.raises(aio.AioRpcError) as refused:
            await running.models.PlanRoute(PlanRouteRequest(request=asked(strategy="nonsense")))
        with pytest.raises(aio.AioRpcError) as unmet:
            await running.models.PlanRoute(PlanRouteRequest(request=asked(min_quality=0.95)))
    assert [each.id for each in told.targets] == ["up/good", "up/cheap"]
    assert told.targets[0].target == done.served.target
    assert {each.id: each.constraint for each in fewer.removed}["up/good"] == "max_cost_nano_usd"
    assert reason(refused.value) == "INVALID_REQUEST"
    assert "balanced" in (refused.value.details() or "")
    assert reason(unmet.value) == "CONSTRAINTS_UNMET"
    assert "up/good" in (unmet.value.details() or "")


async def test_a_strategy_that_is_set_holds_from_the_next_call_on_and_not_for_those_that_run(tmp_path: Path) -> None:
    async with upstream([hold], [SAID]) as server:
        settings = two_models(tmp_path, server.base_url, routing={"strategy": "cost_optimized"})
        async with gateway(settings) as running, aio.insecure_channel(running.admin_address) as channel:
            admin: Any = AdminServiceStub(channel)
            request = asked(denied_providers=["embedded"], disable_fallback=True)
            runs = running.stub.Generate(request)
            while not server.requests:
                await asyncio.sleep(0)
            told = await admin.SetStrategy(SetStrategyRequest(strategy="Quality-Optimized"))
            again = await admin.SetStrategy(SetStrategyRequest(strategy="quality_optimized"))
            after = await running.stub.Generate(request)
            lab = await admin.SetStrategy(SetStrategyRequest(strategy="round_robin", workspace="lab"))
            back = await admin.SetStrategy(SetStrategyRequest())
            with pytest.raises(aio.AioRpcError) as unknown:
                await admin.SetStrategy(SetStrategyRequest(strategy="best"))
            with pytest.raises(aio.AioRpcError) as nothing:
                await admin.SetStrategy(SetStrategyRequest(strategy="balanced", task="nothing"))
            with pytest.raises(aio.AioRpcError) as both:
                await admin.SetStrategy(SetStrategyRequest(strategy="balanced", workspace="a", task="b"))
            runs.cancel()
    assert json.loads(server.requests[0].body)["model"] == "cheap"
    assert json.loads(server.requests[1].body)["model"] == "good"
    assert after.served.strategy == "quality_optimized"
    assert (told.previous, told.strategy, told.changed, again.changed) == (
        "cost_optimized", "quality_optimized", True, False,
    )  # fmt: skip
    assert (lab.previous, lab.strategy) == ("", "round_robin")
    assert (back.strategy, back.lasts) == ("cost_optimized", "as the configuration has it")
    assert "did you mean" in (unknown.value.details() or "") or "balanced" in (unknown.value.details() or "")
    assert "task" in (both.value.details() or "")
    assert nothing.value.code() == grpc.StatusCode.NOT_FOUND
    assert "no task 'nothing' is configured" in (nothing.value.details() or "")


async def test_a_configured_strategy_has_late_answers_asked_for_elsewhere_unless_the_call_says_no(
    tmp_path: Path,
) -> None:
    async with upstream([hold]) as slow, upstream([SAID]) as quick:
        provider = {"kind": "openai_compatible", "models": ["m"]}
        settings = two_models(
            tmp_path,
            "",
            providers={
                "slow": {**provider, "base_url": slow.base_url, "hedge_after": 0.3},
                "quick": {**provider, "base_url": quick.base_url},
            },
            routing={"strategies": {"sooner": {"order": ["slow", "quick"], "hedge": True}}, "strategy": "sooner"},
            prices=[],
            model_data={},
        )
        async with gateway(settings) as running:
            refused = running.stub.Generate(asked(denied_providers=["embedded"], allow_hedging=False), timeout=1)
            with pytest.raises(aio.AioRpcError):
                await refused
            first = await running.stub.Generate(asked(denied_providers=["embedded"]))
    assert [(each.target.provider, each.hedge) for each in first.served.attempts] == [("slow", False), ("quick", True)]
    assert (first.served.target.provider, first.served.strategy) == ("quick", "sooner")
    assert len(quick.requests) == 1


async def test_setting_a_strategy_is_an_admins_and_is_audited(tmp_path: Path) -> None:
    document = {"server": {"admin_listen": "127.0.0.1:0"}, "tasks": {"review": {}}}
    async with keyed(tmp_path, document) as world, aio.insecure_channel(world.running.admin_address) as channel:
        admin: Any = AdminServiceStub(channel)
        operator, keeper = await world.key("operator"), await world.key("admin")
        with pytest.raises(aio.AioRpcError) as refused:
            await admin.SetStrategy(
                SetStrategyRequest(strategy="balanced"), metadata=(("authorization", f"Bearer {operator}"),)
            )
        await admin.SetStrategy(
            SetStrategyRequest(strategy="cost_optimized", task="review"),
            metadata=(("authorization", f"Bearer {keeper}"),),
        )
        (event,) = await world.wait_events(AuditEvent.KIND_STRATEGY_CHANGED, 1)
    assert reason(refused.value) == "ROLE_NOT_ALLOWED"
    assert (event.subject, event.detail) == ("task review", "cost_optimized")


async def test_a_conversation_goes_back_to_whoever_read_its_beginning(tmp_path: Path) -> None:
    """Of two that cost the same, and read from their caches for a tenth: else chance would have its say each time."""
    cheapest = Routing(strategy="cost_optimized")
    async with upstream([SAID]) as server, gateway(twins(tmp_path, server.base_url)) as running:
        for conversation in range(12):
            messages = [said(ROLE_USER, f"{conversation}: " + "many words " * 1000)]
            answers = []
            for _ in range(3):
                answers.append(await running.stub.Generate(GenerateRequest(messages=messages, routing=cheapest)))
                messages += [said(ROLE_ASSISTANT, "hi"), said(ROLE_USER, "go on")]
            planned = PlanRouteRequest(request=GenerateRequest(messages=messages, routing=cheapest))
            first, second, *_ = (await running.models.PlanRoute(planned)).targets
            assert len({first.target.provider, *(each.served.target.provider for each in answers)}) == 1
            assert first.expected_cost_nano_usd < second.expected_cost_nano_usd


def twins(tmp_path: Path, base_url: str) -> Settings:
    provider = {"kind": "openai_compatible", "base_url": base_url, "models": ["m"]}
    price = {"input": 1, "output": 1, "cache_read": 0.1}
    return two_models(
        tmp_path,
        base_url,
        providers={"one": provider, "other": provider},
        prices=[{"model": "one/m", **price}, {"model": "other/m", **price}],
        model_data={},
    )


def said(role: Role.ValueType, text: str) -> Message:
    return Message(role=role, parts=[Part(text=text)])


async def test_a_strategy_where_there_is_only_a_default_to_choose_chooses_that(tmp_path: Path) -> None:
    async with gateway(settings_of(tmp_path, {"default_model": "mock"})) as running:
        told = await running.stub.Generate(asked(strategy="cost_optimized"))
        planned = await running.models.PlanRoute(PlanRouteRequest(request=asked(strategy="cost_optimized")))
        assert (told.served.target.provider, told.served.strategy) == ("mock", "cost_optimized")
        assert [each.target.provider for each in planned.targets] == ["mock"]
