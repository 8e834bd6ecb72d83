"""A circuit through a whole gateway: each of its transitions is logged once, counted, and told by HealthCheck."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from gateway import gateway, settings_of
from grpc import aio
from serving import reason
from upstreams import answer, upstream

from trunkline.v1 import gateway_service_pb2 as pb

if TYPE_CHECKING:
    from pathlib import Path

    from gateway import Gateway

WELL = answer(b'{"choices": [{"index": 0, "message": {"content": "x"}, "finish_reason": "stop"}]}')
BROKEN = answer(b"{}", 500)


async def health_of(running: Gateway) -> pb.EndpointHealth:
    health = await running.stub.HealthCheck(pb.HealthCheckRequest(include_providers=True))
    (endpoint,) = next(each for each in health.providers if each.provider == "up").endpoints
    return endpoint


async def test_each_transition_is_logged_once_and_counted(tmp_path: Path) -> None:
    async with upstream(*[[BROKEN]] * 5, [WELL]) as server:
        provider = {
            "kind": "openai_compatible",
            "models": ["m"],
            "base_url": server.base_url,
            "retry": {"max_attempts": 1},
            "breaker": {"failures": 5, "recovery": "300ms"},
        }
        async with gateway(settings_of(tmp_path, {"providers": {"up": provider}})) as running:
            reasons = []
            for _ in range(8):
                with pytest.raises(aio.AioRpcError) as failed:
                    await running.stub.Generate(pb.GenerateRequest(model="up/m", prompt="x"))
                reasons.append(reason(failed.value))
            opened = await health_of(running)
            async with asyncio.timeout(10):
                while (await health_of(running)).circuit == pb.EndpointHealth.CIRCUIT_OPEN:
                    await asyncio.sleep(0.02)
            for _ in range(5):
                await running.stub.Generate(pb.GenerateRequest(model="up/m", prompt="x"))
            closed = await health_of(running)
            told = [line["state"] for line in running.lines("circuit")]
    assert reasons == ["ALL_PROVIDERS_FAILED"] * 5 + ["CIRCUIT_OPEN"] * 3
    assert len(server.requests) == 5 + 5
    assert (opened.circuit, opened.circuit_opened_count) == (pb.EndpointHealth.CIRCUIT_OPEN, 1)
    assert (closed.circuit, closed.circuit_opened_count) == (pb.EndpointHealth.CIRCUIT_CLOSED, 1)
    assert told == ["open", "half-open", "closed"]
