"""A provider that hangs slows nobody else: each endpoint has connections and a queue of its own. Over real sockets."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from gateway import gateway, settings_of
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from serving import reason
from upstreams import answer, hold, upstream

from trunkline.v1 import call_pb2
from trunkline.v1 import gateway_service_pb2 as pb

if TYPE_CHECKING:
    from pathlib import Path

    from gateway import Gateway

WELL = b'{"choices": [{"index": 0, "message": {"content": "x"}, "finish_reason": "stop"}]}'


async def test_calls_to_others_go_on_while_one_hangs(tmp_path: Path) -> None:
    async with upstream([hold]) as hangs, upstream([answer(WELL)]) as well:
        common = {"kind": "openai_compatible", "models": ["m"]}
        providers = {
            "hangs": {**common, "base_url": hangs.base_url, "max_connections": 20},
            "well": {**common, "base_url": well.base_url},
        }
        async with gateway(settings_of(tmp_path, {"providers": providers, "limits": {"connect": "60s"}})) as running:

            def ask(provider: str) -> aio.UnaryUnaryCall[pb.GenerateRequest, pb.GenerateResponse]:
                return running.stub.Generate(pb.GenerateRequest(model=f"{provider}/m", prompt="x"))

            await ask("well")
            begin = time.monotonic()
            for _ in range(20):
                await ask("well")
            alone = time.monotonic() - begin
            held = [ask("hangs") for _ in range(60)]
            async with asyncio.timeout(10):
                while (await waiting(running)) != (20, 40):
                    await asyncio.sleep(0.01)
            begin = time.monotonic()
            for _ in range(20):
                await ask("well")
            beside = time.monotonic() - begin
            for call in held:
                call.cancel()
            async with asyncio.timeout(10):
                while (await waiting(running)) != (0, 0):
                    await asyncio.sleep(0.01)
    # A machine that others use, too: only that nobody waits for one that never answers.
    assert beside < 10 * alone + 0.5


async def test_overload_sheds_the_lowest_first_and_health_probes_get_through(tmp_path: Path) -> None:
    async with upstream([hold]) as hangs:
        provider = {"kind": "openai_compatible", "models": ["m"], "base_url": hangs.base_url, "max_connections": 1}
        document = {"providers": {"hangs": provider}, "limits": {"connect": "60s"}}
        async with gateway(settings_of(tmp_path, document)) as running:

            def ask(
                priority: call_pb2.Priority.ValueType,
            ) -> aio.UnaryUnaryCall[pb.GenerateRequest, pb.GenerateResponse]:
                context = call_pb2.CallContext(priority=priority)
                return running.stub.Generate(pb.GenerateRequest(model="hangs/m", prompt="x", context=context))

            async def until(taken: int, queued: int) -> None:
                async with asyncio.timeout(10):
                    while (await waiting(running)) != (taken, queued):
                        await asyncio.sleep(0.01)

            held = [ask(call_pb2.PRIORITY_NORMAL)]
            await until(1, 0)
            lowest = ask(call_pb2.PRIORITY_BATCH)
            held += [ask(call_pb2.PRIORITY_NORMAL) for _ in range(99)]
            await until(1, 100)
            held.append(ask(call_pb2.PRIORITY_INTERACTIVE))
            with pytest.raises(aio.AioRpcError) as shed:
                await lowest
            with pytest.raises(aio.AioRpcError) as refused:
                await ask(call_pb2.PRIORITY_BATCH)
            probe = await health_pb2_grpc.HealthStub(running.channel).Check(health_pb2.HealthCheckRequest())
            assert await waiting(running) == (1, 100)
            for call in held:
                call.cancel()
            await until(0, 0)
    assert probe.status == health_pb2.HealthCheckResponse.SERVING
    for error in (shed.value, refused.value):
        assert reason(error) == "OVERLOADED"
        assert dict(error.trailing_metadata() or ())["grpc-retry-pushback-ms"] != "-1"


async def waiting(running: Gateway) -> tuple[int, int]:
    health = await running.stub.HealthCheck(pb.HealthCheckRequest(include_providers=True))
    (endpoint,) = next(each for each in health.providers if each.provider == "hangs").endpoints
    return endpoint.in_flight, endpoint.queue_depth
