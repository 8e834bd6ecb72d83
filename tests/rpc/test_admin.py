"""AdminService and discovery of a whole gateway: what operators see and switch, and what callers notice of it."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from gateway import gateway, settings_of
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from msgspec import structs
from serving import details, reason, rest
from test_operators import run_tool
from upstreams import answer, head, hold, upstream

from trunkline.v1 import admin_service_pb2 as pb
from trunkline.v1 import call_pb2
from trunkline.v1.admin_service_pb2_grpc import AdminServiceStub
from trunkline.v1.gateway_service_pb2 import (
    EndpointHealth,
    GenerateRequest,
    HealthCheckRequest,
    HealthCheckResponse,
    UsageStatsRequest,
)
from trunkline.v1.model_service_pb2 import GetModelRequest, ListModelsRequest, RefreshModelsRequest
from trunkline_client import AdminClient, AsyncAdminClient
from trunkline_server import settings as settings_module
from trunkline_server.app import App
from trunkline_server.logs import build_log
from trunkline_server.rpc.server import AddressTaken

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway import Gateway

    from trunkline.v1.admin_service_pb2_grpc import AdminServiceAsyncStub
    from trunkline_server.settings import Settings

KEY = "sk-canary-0123456789abcdef"
WHOLE = answer(b'{"choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}]}', content_type="application/json")
PATIENCE = 20.0


def listing(*ids: str) -> bytes:
    return answer(json.dumps({"object": "list", "data": [{"id": id_} for id_ in ids]}).encode())


def settings_with(tmp_path: Path, base_url: str, **provider: Any) -> Settings:
    up = {"kind": "openai_compatible", "base_url": base_url, "default_model": "a", "api_key": "env:UP_KEY", **provider}
    document = {
        "server": {"admin_listen": "127.0.0.1:0"},
        "providers": {"up": up, "embedded": {"enabled": False}, "openai": {}},
    }
    return settings_of(tmp_path, document, {"UP_KEY": KEY})


@asynccontextmanager
async def administered(settings: Settings, **more: bool) -> AsyncIterator[tuple[Gateway, AdminServiceAsyncStub]]:
    async with gateway(settings, **more) as running, aio.insecure_channel(running.admin_address) as channel:
        yield running, AdminServiceStub(channel)


async def listed(running: Gateway) -> dict[str, str]:
    """Why each of up's models cannot be called; empty = it can."""
    page = await running.models.ListModels(ListModelsRequest(provider="up"))
    return {model.provider_model: model.unavailable_reason for model in page.models}


# --- where it is ------------------------------------------------------------------------------------------------------


async def test_grpcurl_sees_the_admin_service_on_its_own_port_only(tmp_path: Path) -> None:
    async with gateway(settings_with(tmp_path, "http://127.0.0.1:1")) as running:
        code, printed = await run_tool("grpcurl", "-plaintext", running.admin_address, "list")
        assert (code, printed.split()) == (
            0,
            [
                "grpc.health.v1.Health",
                "grpc.reflection.v1.ServerReflection",
                "grpc.reflection.v1alpha.ServerReflection",
                "trunkline.v1.AdminService",
            ],
        )
        code, printed = await run_tool("grpcurl", "-plaintext", running.address, "list")
        assert (code, "AdminService" in printed) == (0, False)
        code, printed = await run_tool(
            "grpc-health-probe", f"-addr={running.admin_address}", "-service=trunkline.v1.AdminService"
        )
        assert (code, "SERVING" in printed) == (0, True)


async def test_grpcurl_lists_and_switches(tmp_path: Path) -> None:
    method = "trunkline.v1.AdminService/"
    async with gateway(settings_with(tmp_path, "http://127.0.0.1:1")) as running:

        async def ask(request: str, name: str) -> tuple[int, str]:
            return await run_tool("grpcurl", "-plaintext", "-d", request, running.admin_address, method + name)

        code, printed = await ask('{"provider": "up"}', "ListProviders")
        (up,) = json.loads(printed)["providers"]
        assert (code, up["kind"], up["base_url"], up["enabled"]) == (
            0,
            "openai_compatible",
            "http://127.0.0.1:1",
            True,
        )
        assert up["health"]["endpoints"][0]["credential"] == "env:UP_KEY ...cdef"
        assert KEY not in printed
        code, printed = await ask('{"provider": "up", "reason": "incident 7"}', "SetProviderEnabled")
        told = json.loads(printed)
        assert (code, told["changed"]) == (0, True)
        assert "(incident 7)" in told["provider"]["disabled_reason"]
        assert "until the gateway starts again" in told["lasts"]
        code, printed = await ask('{"provider": "upp"}', "SetProviderEnabled")
        assert code != 0
        for word in ("InvalidArgument", "INVALID_REQUEST", "no provider is called upp; did you mean up?"):
            assert word in printed


async def test_there_is_none_unless_it_is_wanted(tmp_path: Path) -> None:
    settings = settings_with(tmp_path, "http://127.0.0.1:1")
    async with gateway(structs.replace(settings, server=structs.replace(settings.server, admin_listen=""))) as running:
        assert running.app.admin_port == 0


async def test_a_taken_port_is_an_error_where_it_is_configured(tmp_path: Path) -> None:
    settings = settings_with(tmp_path, "http://127.0.0.1:1")
    async with gateway(settings) as running:
        server = structs.replace(settings.server, admin_listen=running.admin_address)
        with pytest.raises(AddressTaken, match=running.admin_address):
            await App(structs.replace(settings, server=server), build_log(), Path("/nonexistent"), tmp_path).start()


async def test_a_second_gateway_goes_without_where_nobody_said_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_with(tmp_path, "http://127.0.0.1:1")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = "{}:{}".format(*taken.getsockname())
        monkeypatch.setattr("trunkline_server.app.ADMIN_LISTEN", address)
        unset = structs.replace(settings, server=structs.replace(settings.server, admin_listen=None))
        async with gateway(unset) as running:
            assert running.app.admin_port == 0
            assert (await running.stub.HealthCheck(HealthCheckRequest())).version
    assert settings_module.ServerSettings().admin_listen is None


async def test_it_obeys_the_drain(tmp_path: Path) -> None:
    async with administered(settings_with(tmp_path, "http://127.0.0.1:1")) as (running, admin):
        await admin.ListProviders(pb.ListProvidersRequest())
        async with aio.insecure_channel(running.admin_address) as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch(
                health_pb2.HealthCheckRequest(service="trunkline.v1.AdminService")
            )
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
            await running.app.stop()
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        with pytest.raises(aio.AioRpcError) as raised:
            await admin.ListProviders(pb.ListProvidersRequest(), timeout=5)
        assert raised.value.code() == grpc.StatusCode.UNAVAILABLE


# --- what it tells ----------------------------------------------------------------------------------------------------


async def test_providers_are_told_with_all_that_is_known(tmp_path: Path) -> None:
    async with upstream([listing("a", "b")]) as server:
        async with administered(settings_with(tmp_path, server.base_url)) as (running, admin):
            told = await admin.ListProviders(pb.ListProvidersRequest())
            up = {each.name: each for each in told.providers}["up"]
            assert up.HasField("discovery")
            assert not up.discovery.HasField("attempt_time"), "it was not asked yet"
            await running.models.RefreshModels(RefreshModelsRequest())
            told = await admin.ListProviders(pb.ListProvidersRequest())
    named = {each.name: each for each in told.providers}
    assert list(named) == ["embedded", "mock", "openai", "up"]
    assert told.config_version == running.app.current.chain.snapshot.version
    assert (named["embedded"].enabled, named["mock"].enabled) == (False, True)
    assert "the configuration switches it off" in named["embedded"].disabled_reason
    assert "OPENAI_API_KEY" in named["openai"].health.reason
    assert not named["openai"].HasField("discovery")
    up = named["up"]
    assert [model.id for model in up.models] == ["up/a", "up/b"]
    assert (up.discovery.outcome, up.discovery.model_count) == (call_pb2.OUTCOME_SUCCESS, 2)
    assert KEY not in str(told)


async def test_credentials_are_asked_about_now(tmp_path: Path) -> None:
    refused = answer(b'{"error": {"code": "invalid_api_key"}}', 401)
    async with upstream([listing("a")], [refused]) as server:
        async with administered(settings_with(tmp_path, server.base_url)) as (_, admin):
            first = await admin.ValidateCredentials(pb.ValidateCredentialsRequest(provider="up"))
            (up,) = first.providers
            assert up.endpoints[0].credential_state == EndpointHealth.CREDENTIAL_STATE_VALID
            assert [probe.outcome for probe in up.probes] == [call_pb2.OUTCOME_SUCCESS]
            every = await admin.ValidateCredentials(pb.ValidateCredentialsRequest())
    told = {each.provider: each for each in every.providers}
    assert told["up"].endpoints[0].credential_state == EndpointHealth.CREDENTIAL_STATE_REFUSED
    assert [probe.outcome for probe in told["up"].probes] == [call_pb2.OUTCOME_AUTH]
    assert not told["openai"].probes
    assert told["openai"].endpoints[0].credential_state == EndpointHealth.CREDENTIAL_STATE_MISSING
    assert KEY not in str(every)


@pytest.mark.parametrize("method", ["ListProviders", "ValidateCredentials", "SetProviderEnabled"])
@pytest.mark.parametrize("name", ["nobody", "x" * 5000, "a\n"])
async def test_nobody_is_called_so(tmp_path: Path, method: str, name: str) -> None:
    async with administered(settings_with(tmp_path, "http://127.0.0.1:1")) as (_, admin):
        request = getattr(pb, f"{method}Request")(provider=name)
        with pytest.raises(aio.AioRpcError) as raised:
            await getattr(admin, method)(request)
    assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    (violation,) = details(raised.value)["google.rpc.BadRequest"].field_violations
    assert violation.field == "provider"
    assert "the providers are embedded, mock, openai, up" in violation.description


@pytest.mark.parametrize(
    ("request_", "field", "words"),
    [
        (pb.SetProviderEnabledRequest(), "provider", "no provider is called"),
        (pb.SetProviderEnabledRequest(provider="embedded", enabled=True), "provider", "providers.embedded.enabled"),
        (pb.SetProviderEnabledRequest(provider="up", reason="x" * 201), "reason", "at most 200"),
        (pb.SetProviderEnabledRequest(provider="up", reason="a\x1b[2J"), "reason", "printable"),
    ],
)
async def test_what_cannot_be_switched(
    tmp_path: Path, request_: pb.SetProviderEnabledRequest, field: str, words: str
) -> None:
    async with administered(settings_with(tmp_path, "http://127.0.0.1:1")) as (_, admin):
        with pytest.raises(aio.AioRpcError) as raised:
            await admin.SetProviderEnabled(request_)
    (violation,) = details(raised.value)["google.rpc.BadRequest"].field_violations
    assert (violation.field, words in violation.description) == (field, True)


@pytest.mark.parametrize("kind", [AdminClient, AsyncAdminClient])
async def test_both_clients(tmp_path: Path, kind: type) -> None:
    async with upstream([listing("a")]) as server, gateway(settings_with(tmp_path, server.base_url)) as running:
        if kind is AsyncAdminClient:
            async with AsyncAdminClient(running.admin_address) as client:
                told = await client.providers(provider="up")
                checked = await client.validate_credentials(provider="up")
                switched = await client.set_provider_enabled("up", enabled=False, reason="x")
        else:
            with AdminClient(running.admin_address) as sync:
                told = await asyncio.to_thread(sync.providers, provider="up")
                checked = await asyncio.to_thread(sync.validate_credentials, provider="up")
                switched = await asyncio.to_thread(sync.set_provider_enabled, "up", enabled=False, reason="x")
    assert [each.name for each in told.providers] == ["up"]
    assert [probe.outcome for probe in checked.providers[0].probes] == [call_pb2.OUTCOME_SUCCESS]
    assert (switched.changed, switched.provider.enabled) == (True, False)


# --- switching --------------------------------------------------------------------------------------------------------


async def test_the_next_call_obeys_and_everybody_is_told(tmp_path: Path) -> None:
    off = pb.SetProviderEnabledRequest(provider="up", reason="incident 7")
    async with upstream([WHOLE]) as server:
        async with administered(settings_with(tmp_path, server.base_url)) as (running, admin):
            ask = GenerateRequest(model="up", prompt="x")
            await running.stub.Generate(ask)
            told = await admin.SetProviderEnabled(off)
            assert (told.changed, told.provider.enabled) == (True, False)
            assert not (await admin.SetProviderEnabled(off)).changed
            with pytest.raises(aio.AioRpcError) as raised:
                await running.stub.Generate(ask)
            assert reason(raised.value) == "NO_CANDIDATE"
            for told_to in (raised.value.details() or "", (await listed(running))["a"]):
                assert "an administrator took up out of routing (incident 7)" in told_to
                assert "trunkline providers enable up" in told_to
            health = await running.stub.HealthCheck(HealthCheckRequest(include_providers=True))
            (up,) = (each for each in health.providers if each.provider == "up")
            assert (health.state, up.state) == (
                HealthCheckResponse.STATE_DEGRADED,
                HealthCheckResponse.STATE_NOT_SERVING,
            )
            assert "incident 7" in up.reason
            back = await admin.SetProviderEnabled(pb.SetProviderEnabledRequest(provider="up", enabled=True))
            assert (back.changed, back.provider.enabled, back.lasts) == (True, True, "as the configuration has it")
            await running.stub.Generate(ask)
            assert len(server.requests) == 2
            assert health.config_version == running.app.current.chain.snapshot.version


async def test_a_stream_that_runs_does_not_change(tmp_path: Path) -> None:
    event = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
    done = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    go = asyncio.Event()

    async def wait(_: object) -> None:
        await go.wait()

    begun = head(200, {"content-type": "text/event-stream", "connection": "close"})
    async with upstream([begun, event, wait, done, _close]) as server:
        async with administered(settings_with(tmp_path, server.base_url)) as (running, admin):
            stream = running.stub.StreamGenerate(GenerateRequest(model="up", prompt="x"))
            await stream.read()
            await admin.SetProviderEnabled(pb.SetProviderEnabledRequest(provider="up"))
            go.set()
            assert [event.WhichOneof("event") for event in await rest(stream)][-1] == "completed"


async def _close(connection: Any) -> None:
    connection.close()


# --- discovery --------------------------------------------------------------------------------------------------------


async def until(running: Gateway, name: str) -> dict[str, str]:
    """The models once this one is listed and can be called. Fails after PATIENCE seconds."""
    async with asyncio.timeout(PATIENCE):
        while (models := await listed(running)).get(name, "not there"):
            pass
    return models


async def test_no_start_up_waits_for_a_provider(tmp_path: Path) -> None:
    async with upstream([hold]) as server:
        async with gateway(settings_with(tmp_path, server.base_url), discovers=True) as running:
            await server.wait_requests(1)
            assert await listed(running) == {"a": ""}
            assert server.requests[0].target == "/models"


async def test_models_are_there_as_soon_as_they_are_told_and_it_is_no_call(tmp_path: Path) -> None:
    async with upstream([listing("a", "z")]) as server:
        async with gateway(settings_with(tmp_path, server.base_url), discovers=True) as running:
            assert await until(running, "z") == {"a": "", "z": ""}
            assert (await running.models.GetModel(GetModelRequest(id="z"))).id == "up/z"
            assert (await running.stub.UsageStats(UsageStatsRequest())).totals.attempts == 0
            assert not running.lines("call")
            (line,) = running.lines("models")
            assert (line["provider"], line["ids"]) == ("up", ["up/z"])


async def test_refresh_says_what_came_and_what_went(tmp_path: Path) -> None:
    lists = [[listing("a", "b")], [listing("b", "c")], [answer(b"", 503)], [listing("b", "c")]]
    async with upstream(*lists) as server:
        async with administered(settings_with(tmp_path, server.base_url)) as (running, admin):
            first = await running.models.RefreshModels(RefreshModelsRequest())
            assert (list(first.added), list(first.removed)) == (["up/b"], [])
            assert {each.provider: each.outcome for each in first.providers} == {
                "openai": call_pb2.OUTCOME_NOT_SENT,
                "up": call_pb2.OUTCOME_SUCCESS,
            }
            assert "OPENAI_API_KEY" in first.providers[0].reason
            second = await running.models.RefreshModels(RefreshModelsRequest(provider="up"))
            assert (list(second.added), list(second.removed)) == (["up/c"], ["up/a"])
            with pytest.raises(aio.AioRpcError) as raised:
                await running.stub.Generate(GenerateRequest(model="up/a", prompt="x"))
            assert (raised.value.code(), reason(raised.value)) == (
                grpc.StatusCode.NOT_FOUND,
                "MODEL_NOT_FOUND",
            )
            assert "no longer lists a" in (raised.value.details() or "")
            third = await running.models.RefreshModels(RefreshModelsRequest(provider="up"))
            assert not third.added
            assert not third.removed
            (up,) = third.providers
            assert (up.outcome, up.model_count) == (call_pb2.OUTCOME_OVERLOADED, 2)
            assert "what it told before stands" in up.reason
            told = await admin.ListProviders(pb.ListProvidersRequest(provider="up"))
            assert told.providers[0].discovery.stale
            before = running.app.current.chain
            await running.models.RefreshModels(RefreshModelsRequest(provider="up"))
            assert running.app.current.chain is before, "nothing has changed"


async def test_refresh_takes_no_longer_than_the_caller_has(tmp_path: Path) -> None:
    async with upstream([hold]) as server, gateway(settings_with(tmp_path, server.base_url)) as running:
        told = await running.models.RefreshModels(RefreshModelsRequest(provider="up"), timeout=2)
        assert told.providers[0].outcome == call_pb2.OUTCOME_TIMEOUT


@pytest.mark.parametrize(
    ("name", "words"),
    [("nobody", "no provider is called"), ("mock", "has no list of models"), ("openai", "set OPENAI_API_KEY")],
)
async def test_who_cannot_be_refreshed(tmp_path: Path, name: str, words: str) -> None:
    async with gateway(settings_with(tmp_path, "http://127.0.0.1:1")) as running:
        with pytest.raises(aio.AioRpcError) as raised:
            await running.models.RefreshModels(RefreshModelsRequest(provider=name))
    assert (raised.value.code(), words in (raised.value.details() or "")) == (grpc.StatusCode.INVALID_ARGUMENT, True)


async def test_an_open_provider_takes_any_id_whatever_it_lists(tmp_path: Path) -> None:
    async with upstream([answer(b"", 404)], [WHOLE], [listing("a")], [WHOLE]) as server:
        async with gateway(settings_with(tmp_path, server.base_url)) as running:
            for _ in range(2):
                await running.models.RefreshModels(RefreshModelsRequest(provider="up"))
                await running.stub.Generate(GenerateRequest(model="up/other", prompt="x"))


async def test_a_switched_off_provider_may_tell_and_stays_off(tmp_path: Path) -> None:
    async with upstream([listing("a", "b")]) as server:
        async with administered(settings_with(tmp_path, server.base_url)) as (running, admin):
            await admin.SetProviderEnabled(pb.SetProviderEnabledRequest(provider="up"))
            told = await running.models.RefreshModels(RefreshModelsRequest(provider="up"))
            assert told.added == ["up/b"]
            assert all("out of routing" in why for why in (await listed(running)).values())
            await admin.SetProviderEnabled(pb.SetProviderEnabledRequest(provider="up", enabled=True))
            assert await listed(running) == {"a": "", "b": ""}
