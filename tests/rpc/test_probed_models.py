"""HealthCheck.probe_models through every layer of a real gateway: what it tells, and who pays for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from gateway import gateway, settings_of
from grpc import aio
from keyed import bearing, id_of, keyed
from upstreams import answer, nobody_listens, upstream

from trunkline.v1 import call_pb2, calls_pb2
from trunkline.v1 import gateway_service_pb2 as pb
from trunkline.v1.admin_service_pb2_grpc import AdminServiceStub
from trunkline.v1.model_service_pb2 import RefreshModelsRequest

if TYPE_CHECKING:
    from pathlib import Path

WHOLE = answer(b'{"choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}]}', content_type="application/json")
BUSY = answer(b'{"error": {"message": "busy"}}', 503)
MOCKS = {"mock/mock-fast": call_pb2.OUTCOME_SUCCESS, "mock/mock-slow": call_pb2.OUTCOME_SUCCESS}


def outcomes(told: pb.HealthCheckResponse) -> dict[str, call_pb2.Outcome.ValueType]:
    """By model: how the probe of it ended."""
    probes = [each for provider in told.providers for each in provider.probes]
    return {f"{each.target.provider}/{each.target.model}": each.outcome for each in probes}


def document(base_url: str) -> dict[str, Any]:
    up = {"kind": "openai_compatible", "base_url": base_url, "models": ["m"]}
    return {
        "server": {"admin_listen": "127.0.0.1:0"},
        "providers": {"up": up, "embedded": {"enabled": False}},
        "fallbacks": {"up/m": ["mock/mock-fast"]},
    }


async def test_a_dead_provider_is_told_as_dead_though_it_has_a_fallback(tmp_path: Path) -> None:
    async with nobody_listens() as base_url, keyed(tmp_path, document(base_url)) as house:
        operator = await house.key("operator", workspace="ops")
        told = await house.running.stub.HealthCheck(
            pb.HealthCheckRequest(probe_models=True), metadata=bearing(operator)
        )
        async with aio.insecure_channel(f"127.0.0.1:{house.running.app.admin_port}") as channel:
            calls = await AdminServiceStub(channel).ListCalls(calls_pb2.ListCallsRequest(), metadata=bearing(operator))
    assert outcomes(told) == {"up/m": call_pb2.OUTCOME_NOT_CONNECTED} | MOCKS
    # They stand in the books of the workspace whose operator asked, under that key.
    assert {(call.workspace, call.api_key) for call in calls.calls} == {("ops", id_of(operator))}
    assert {call.requested_model for call in calls.calls} == {"up/m", *MOCKS}


async def test_a_provider_that_fails_is_asked_once(tmp_path: Path) -> None:
    async with upstream([BUSY]) as server, keyed(tmp_path, document(server.base_url)) as house:
        operator = await house.key("operator", workspace="ops")
        told = await house.running.stub.HealthCheck(
            pb.HealthCheckRequest(probe_models=True), metadata=bearing(operator)
        )
        (up,) = [provider for provider in told.providers if provider.provider == "up"]
    assert [probe.outcome for probe in up.probes] == [call_pb2.OUTCOME_OVERLOADED]
    assert len([request for request in server.requests if request.body]) == 1


@pytest.mark.parametrize("allowed", [["mock/*"]])
async def test_who_may_not_use_a_provider_does_not_pay_for_it_either(tmp_path: Path, allowed: list[str]) -> None:
    async with upstream([BUSY]) as server, keyed(tmp_path, document(server.base_url)) as house:
        operator = await house.key("operator", allowed_models=allowed)
        told = await house.running.stub.HealthCheck(
            pb.HealthCheckRequest(probe_models=True), metadata=bearing(operator)
        )
    assert outcomes(told) == {"up/m": call_pb2.OUTCOME_NOT_SENT} | MOCKS
    assert not [request for request in server.requests if request.body]


async def test_every_model_is_asked_and_of_too_many_it_is_told_how_many_are_left_out(tmp_path: Path) -> None:
    listed = answer(json.dumps({"data": [{"id": f"listed-{number:03}"} for number in range(100)]}).encode())
    async with upstream([listed], [WHOLE]) as server:
        up = {"kind": "openai_compatible", "base_url": server.base_url, "default_model": "first"}
        only = {"providers": {"up": up, "embedded": {"enabled": False}}, "aliases": {"quick": "up/named"}}
        async with gateway(settings_of(tmp_path, only)) as running:
            await running.models.RefreshModels(RefreshModelsRequest())
            told = await running.stub.HealthCheck(pb.HealthCheckRequest(probe_models=True))
        asked = [json.loads(request.body)["model"] for request in server.requests if request.body]
    assert len(asked) == 62
    assert {"first", "named", "listed-000"} <= set(asked)
    assert set(outcomes(told).values()) == {call_pb2.OUTCOME_SUCCESS}
    assert {provider.provider: provider.unprobed_models for provider in told.providers} == {"up": 40, "mock": 0}
