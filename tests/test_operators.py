"""What operators do: grpcurl, grpc_health_probe, reflection, health, drain."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from gateway import gateway, settings_of
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from serving import details, reason, rest
from upstreams import head, hold, upstream

from trunkline.v1 import gateway_service_pb2 as pb
from trunkline_server.app import App
from trunkline_server.logs import build_log
from trunkline_server.rpc.server import AddressTaken

if TYPE_CHECKING:
    from gateway import Gateway
    from upstreams import Upstream

    from trunkline_server.settings import Settings

TOOLS = Path(__file__).resolve().parents[1] / ".tools" / "bin"
MOCK = {"default_model": "mock"}
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def run_tool(name: str, *words: str) -> tuple[int, str]:
    """A real tool's exit code, and all that it printed."""
    if not (TOOLS / name).exists():
        pytest.skip(f"{name} is not installed: make test installs it where Go is")
    process = await asyncio.create_subprocess_exec(
        TOOLS / name, *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    printed, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, printed.decode()


async def grpcurl(running: Gateway, *words: str) -> tuple[int, str]:
    *flags, method = words
    return await run_tool("grpcurl", "-plaintext", *flags, running.address, method)


async def test_grpcurl_lists_and_describes_everything(tmp_path: Path) -> None:
    async with gateway(settings_of(tmp_path, MOCK)) as running:
        code, printed = await grpcurl(running, "list")
        assert code == 0
        assert printed.split() == [
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection",
            "trunkline.v1.FeedbackService",
            "trunkline.v1.GatewayService",
            "trunkline.v1.ModelService",
        ]
        code, printed = await run_tool(
            "grpcurl", "-plaintext", running.address, "describe", "trunkline.v1.GatewayService"
        )
        assert code == 0
        assert [line.split()[1] for line in printed.splitlines() if line.strip().startswith("rpc")] == [
            "Generate",
            "HealthCheck",
            "StreamGenerate",
            "UsageStats",
        ]


async def test_every_service_that_is_listed_is_described(tmp_path: Path) -> None:
    async with gateway(settings_of(tmp_path, MOCK)) as running:
        code, printed = await run_tool("grpcurl", "-plaintext", running.address, "describe")
    assert code == 0, printed
    assert "grpc.reflection.v1.ServerReflection is a service" in printed
    assert "rpc ServerReflectionInfo ( stream .grpc.reflection.v1.ServerReflectionRequest )" in printed


async def test_grpcurl_writes_a_descriptor_set_that_stubs_can_be_made_of(tmp_path: Path) -> None:
    told = tmp_path / "trunkline.binpb"
    async with gateway(settings_of(tmp_path, MOCK)) as running:
        out = ("-plaintext", "-protoset-out", str(told))
        code, _ = await run_tool("grpcurl", *out, running.address, "describe", "trunkline.v1.GatewayService")
    assert code == 0
    files = {file.name: file for file in FileDescriptorSet.FromString(told.read_bytes()).file}
    assert {name for file in files.values() for name in file.dependency} <= files.keys()
    assert [service.name for file in files.values() for service in file.service] == ["GatewayService"]


async def test_grpcurl_generates_and_streams(tmp_path: Path) -> None:
    async with gateway(settings_of(tmp_path, MOCK)) as running:
        request = '{"prompt": "Say hi", "model": "mock/mock-fast"}'
        code, printed = await grpcurl(running, "-d", request, "trunkline.v1.GatewayService/Generate")
        assert code == 0
        answer = json.loads(printed)
        assert answer["message"]["parts"] == [{"text": "Mock response"}]
        code, printed = await grpcurl(running, "-d", request, "trunkline.v1.GatewayService/StreamGenerate")
        assert code == 0
        assert printed.index('"started"') < printed.index('"part_started"') < printed.index('"completed"')


async def test_grpcurl_sees_every_bad_field(tmp_path: Path) -> None:
    async with gateway(settings_of(tmp_path, MOCK)) as running:
        bad = '{"config": {"temperature": 9, "topK": 0}}'
        code, printed = await grpcurl(running, "-d", bad, "trunkline.v1.GatewayService/Generate")
        assert code != 0
        for word in ("InvalidArgument", "INVALID_REQUEST", "messages", "config.temperature", "config.top_k"):
            assert word in printed


@pytest.mark.parametrize("version", ["grpc.reflection.v1", "grpc.reflection.v1alpha"])
async def test_reflection_answers_under_both_names(tmp_path: Path, version: str) -> None:
    async with gateway(settings_of(tmp_path, MOCK)) as running:
        from grpc_reflection.v1alpha import reflection_pb2 as reflection

        method = running.channel.stream_stream(
            f"/{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection.ServerReflectionResponse.FromString,
        )
        stream = method(iter([reflection.ServerReflectionRequest(list_services="")]))
        names = [service.name async for answer in stream for service in answer.list_services_response.service]
        assert "trunkline.v1.GatewayService" in names


@pytest.mark.parametrize("service", ["", "trunkline.v1.GatewayService", "trunkline.v1.ModelService"])
async def test_health_probes_pass(tmp_path: Path, service: str) -> None:
    async with gateway(settings_of(tmp_path, MOCK)) as running:
        code, printed = await run_tool("grpc-health-probe", f"-addr={running.address}", f"-service={service}")
        assert (code, "SERVING" in printed) == (0, True)


async def test_health_of_an_unknown_service_is_not_found(tmp_path: Path) -> None:
    async with gateway(settings_of(tmp_path, MOCK)) as running:
        health = health_pb2_grpc.HealthStub(running.channel)
        with pytest.raises(aio.AioRpcError) as raised:
            await health.Check(health_pb2.HealthCheckRequest(service="nope"))
        assert raised.value.code() == grpc.StatusCode.NOT_FOUND
        listed = await health.List(health_pb2.HealthListRequest())
        assert {status.status for status in listed.statuses.values()} == {SERVING}


async def test_watch_tells_of_the_drain_and_does_not_hold_it(tmp_path: Path) -> None:
    async with gateway(settings_of(tmp_path, {**MOCK, "server": {"grace": 30}})) as running:
        health = health_pb2_grpc.HealthStub(running.channel)
        ready = health.Watch(health_pb2.HealthCheckRequest(service="trunkline.v1.GatewayService"))
        alive = health.Watch(health_pb2.HealthCheckRequest(service=""))
        assert [(await ready.read()).status, (await alive.read()).status] == [SERVING, SERVING]
        begin = asyncio.get_running_loop().time()
        await running.app.stop()
        assert asyncio.get_running_loop().time() - begin < 5
        assert (await ready.read()).status == NOT_SERVING


async def test_a_drain_lets_streams_finish(tmp_path: Path) -> None:
    script = {"text": "word", "repeat": 10, "rate": 50}
    document = {"providers": {"slow": {"kind": "scripted", "scripts": {"talk": script}}}, "server": {"grace": 20}}
    async with gateway(settings_of(tmp_path, document)) as running:
        stream = running.stub.StreamGenerate(pb.GenerateRequest(model="slow", prompt="x"))
        await stream.read()
        stopping = asyncio.create_task(running.app.stop())
        kinds = [event.WhichOneof("event") for event in await rest(stream)]
        assert kinds[-1] == "completed"
        await stopping


@pytest.mark.parametrize("method", ["Generate", "StreamGenerate"])
async def test_what_remains_a_second_before_the_grace_ends_is_ended_by_name(tmp_path: Path, method: str) -> None:
    event = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
    begun = [head(200, {"content-type": "text/event-stream"}), event] if method == "StreamGenerate" else []
    async with upstream([*begun, hold]) as server:
        provider = {"kind": "openai_compatible", "base_url": server.base_url, "models": ["m"]}
        settings = settings_of(tmp_path, {"providers": {"up": provider}, "server": {"grace": 1.2}})
        await assert_ended_by_name(settings, server, method)


async def assert_ended_by_name(settings: Settings, server: Upstream, method: str) -> None:
    async with gateway(settings) as running:
        call = getattr(running.stub, method)(pb.GenerateRequest(model="up", prompt="x"))
        if method == "StreamGenerate":
            await call.read()
        await server.wait_requests(1)
        await running.app.stop()
        with pytest.raises(aio.AioRpcError) as raised:
            await call.read() if method == "StreamGenerate" else await call
            while method == "StreamGenerate":
                await call.read()
        if method == "Generate":
            assert (raised.value.code(), reason(raised.value)) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
        else:
            assert (raised.value.code(), reason(raised.value)) == (grpc.StatusCode.ABORTED, "STREAM_INTERRUPTED")
            assert details(raised.value)["google.rpc.ErrorInfo"].metadata["cause"] == "DRAINING"


async def test_a_port_in_use_is_an_error(tmp_path: Path) -> None:
    async with gateway(settings_of(tmp_path, MOCK)) as running:
        taken = settings_of(tmp_path, {**MOCK, "server": {"listen": running.address}})
        with pytest.raises(AddressTaken, match=running.address):
            await App(taken, build_log(), Path("/nonexistent"), tmp_path).start()


async def test_health_check_tells_of_each_provider(tmp_path: Path) -> None:
    bad = {"kind": "scripted", "scripts": {"m": {"failure": {"kind": "status"}}}}
    document = {**MOCK, "providers": {"openai": {}, "bad": bad}}
    async with gateway(settings_of(tmp_path, document)) as running:
        await running.stub.Generate(pb.GenerateRequest(prompt="x"))
        with pytest.raises(aio.AioRpcError):
            await running.stub.Generate(pb.GenerateRequest(prompt="x", model="bad"))
        health = await running.stub.HealthCheck(pb.HealthCheckRequest(include_providers=True))
        assert health.state == pb.HealthCheckResponse.STATE_DEGRADED
        told = {provider.provider: provider for provider in health.providers}
        assert list(told) == sorted(told)
        assert "OPENAI_API_KEY" in told["openai"].reason
        assert told["mock"].HasField("last_success_time")
        assert told["bad"].HasField("last_failure_time")
        assert not (await running.stub.HealthCheck(pb.HealthCheckRequest())).providers
