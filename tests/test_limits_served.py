"""Callers' limits of a whole gateway, over gRPC."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from gateway import gateway, settings_of
from serving import details, reason
from valkeys import valkey

from trunkline.v1 import gateway_service_pb2 as pb

if TYPE_CHECKING:
    from pathlib import Path

SLOW = pb.GenerateRequest(model="slow", prompt="hello")
SCRIPTS = {"slow": {"kind": "scripted", "scripts": {"talk": {"text": "word", "repeat": 9, "rate": 1}}}}
HELLO = pb.GenerateRequest(model="mock/mock-fast", prompt="hello")


def limited(tmp_path: Path, **limits: Any) -> Any:
    return settings_of(tmp_path, {"caller_limits": {"each_workspace": limits}, "providers": {"mock": {}, **SCRIPTS}})


def left(metadata: Any) -> int:
    """What is left of the requests, as a caller is told."""
    found = re.match(r'"requests";r=(\d+);t=\d+', dict(metadata)["ratelimit"])
    assert found is not None
    return int(found[1])


async def test_every_answer_says_what_is_left_and_a_refusal_when_to_come_back(tmp_path: Path) -> None:
    async with gateway(limited(tmp_path, requests_per_minute=3)) as running:
        unary = running.stub.Generate(HELLO)
        await unary
        first = dict(await unary.trailing_metadata())
        assert first["ratelimit-policy"] == '"requests";q=3;w=60'
        assert first["ratelimit"] == '"requests";r=2;t=20'
        stream = running.stub.StreamGenerate(HELLO)
        async for _ in stream:
            pass
        assert left(await stream.trailing_metadata()) == 1
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await running.stub.Generate(pb.GenerateRequest(model="mock/nobody", prompt="hello"))
        assert left(failed.value.trailing_metadata()) == 0
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await running.stub.Generate(HELLO)
    error, metadata = refused.value, dict(refused.value.trailing_metadata() or ())
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert reason(error) == "RATE_LIMITED"
    told = details(error)
    assert 15 <= told["google.rpc.RetryInfo"].retry_delay.seconds <= 20
    assert told["google.rpc.QuotaFailure"].violations[0].subject == "workspace:default"
    # Until all of it is there again, and not until the call may come back.
    assert re.fullmatch(r'"requests";r=0;t=(60|5\d)', metadata["ratelimit"])
    assert int(metadata["grpc-retry-pushback-ms"]) > 15_000
    assert "trunkline-call-id" in metadata


async def test_more_than_the_limit_ever_has_is_invalid(tmp_path: Path) -> None:
    request = pb.GenerateRequest(model="mock/mock-fast", prompt="hello")
    request.config.max_output_tokens = 5000
    async with gateway(limited(tmp_path, tokens_per_minute=1000)) as running:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await running.stub.Generate(request)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "has 1000 tokens a minute" in (refused.value.details() or "")


async def test_gateways_share_limits_and_say_when_they_cannot(tmp_path: Path) -> None:
    async with valkey() as server:
        document = {
            "caller_limits": {"each_workspace": {"requests_per_minute": 20}},
            "valkey": {"url": server.url, "instances": 2},
        }
        settings = settings_of(tmp_path, document)
        async with gateway(settings) as one, gateway(settings) as other:
            stubs = [one.stub, other.stub]
            for turn in range(20):
                call = stubs[turn % 2].Generate(HELLO)
                await call
                assert left(await call.trailing_metadata()) == 19 - turn
            for stub in stubs:
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await stub.Generate(HELLO)
                assert reason(refused.value) == "RATE_LIMITED"
            health = await one.stub.HealthCheck(pb.HealthCheckRequest())
            assert not health.HasField("limits")
            server.kill()
            while not health.limits.failing_reason:
                health = await one.stub.HealthCheck(pb.HealthCheckRequest())
            assert health.state is pb.HealthCheckResponse.STATE_DEGRADED
            assert health.limits.HasField("failing_since_time")
            with pytest.raises(grpc.aio.AioRpcError, match="may have 10 requests a minute"):
                await one.stub.Generate(HELLO)
            assert one.lines("limits_not_shared")


async def test_without_limits_nothing_is_said_of_them(tmp_path: Path) -> None:
    async with gateway(settings_of(tmp_path, {})) as running:
        call = running.stub.Generate(HELLO)
        await call
        assert [key for key, _ in await call.trailing_metadata()] == ["trunkline-call-id"]


async def test_another_configuration_holds_from_the_next_call_on(tmp_path: Path) -> None:
    """What was used stays used, and a call that runs keeps what it began with."""
    async with gateway(limited(tmp_path, requests_per_minute=3, concurrency=1)) as running:

        async def told() -> tuple[str | bytes, int]:
            call = running.stub.Generate(HELLO)
            await call
            metadata = await call.trailing_metadata()
            return dict(metadata)["ratelimit-policy"], left(metadata)

        def reload(**limits: Any) -> None:
            running.app.current.chain = running.app.build_chain(limited(tmp_path, **limits))

        before = '"requests";q=3;w=60, "concurrency";q=1;qu="concurrent-requests"'
        assert [await told(), await told()] == [(before, 2), (before, 1)]
        reload(requests_per_minute=60)
        assert await told() == ('"requests";q=60;w=60', 0)
        reload()
        call = running.stub.Generate(HELLO)
        await call
        assert "ratelimit" not in dict(await call.trailing_metadata())
        reload(concurrency=1)
        stream = running.stub.StreamGenerate(SLOW)
        await stream.read()
        with pytest.raises(grpc.aio.AioRpcError, match="may have 1 calls at once"):
            await running.stub.Generate(HELLO)
        reload(concurrency=2)
        await running.stub.Generate(HELLO)
        stream.cancel()
