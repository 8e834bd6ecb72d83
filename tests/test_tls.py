"""TLS and client certificates, with real files, real clients and the real grpcurl."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from certificates import Authority
from gateway import gateway, settings_of
from grpc import aio
from keyed import bearing, keyed
from serving import reason
from test_operators import run_tool

from trunkline.v1 import gateway_service_pb2 as pb
from trunkline.v1 import identity_pb2 as ipb
from trunkline.v1.call_pb2 import Routing
from trunkline.v1.gateway_service_pb2_grpc import GatewayServiceStub
from trunkline.v1.model_service_pb2 import ListModelsRequest, PlanRouteRequest
from trunkline.v1.model_service_pb2_grpc import ModelServiceStub
from trunkline_client import AsyncClient
from trunkline_server.config import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from gateway import Gateway

HI = pb.GenerateRequest(model="mock", prompt="hi")
SPIFFE = "spiffe://example.org/research"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority.new(tmp_path)
    made.write("research", "research.example.org")
    made.write("stranger", "stranger.example.org")
    made.write_uri("workload", SPIFFE)
    return made


def secure(running: Gateway, credentials: grpc.ChannelCredentials) -> aio.Channel:
    return aio.secure_channel(f"localhost:{running.app.port}", credentials)


async def served_certificate(port: int, folder: Path) -> str:
    """What the gateway shows a new connection."""
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    context.set_alpn_protocols(["h2"])
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
    certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return ssl.DER_cert_to_PEM_cert(certificate).strip()


async def test_calls_over_tls_and_none_in_the_clear(authority: Authority, tmp_path: Path) -> None:
    async with keyed(tmp_path, {"server": {"tls": authority.server()}}) as world:
        key = await world.key()
        address = f"localhost:{world.running.app.port}"
        async with AsyncClient(address, credentials=authority.credentials(), api_key=key) as client:
            assert (await client.generate("hi", model="mock")).text
        with pytest.raises(aio.AioRpcError) as raised:
            await world.running.stub.Generate(HI, metadata=bearing(key))
        assert raised.value.code() == grpc.StatusCode.UNAVAILABLE


async def test_new_certificates_are_taken_without_a_restart(authority: Authority, tmp_path: Path) -> None:
    settings = settings_of(tmp_path, {"server": {"tls": authority.server()}})
    async with gateway(settings) as running:
        port = running.app.port
        first = await served_certificate(port, tmp_path)
        async with secure(running, authority.credentials()) as channel:
            await GatewayServiceStub(channel).Generate(HI)
            second = authority.write("server", "localhost").decode().strip()
            assert await served_certificate(port, tmp_path) == second != first
            await GatewayServiceStub(channel).Generate(HI)
        assert len(running.lines("certificates_reloaded")) == 1


async def test_files_that_do_not_fit_leave_what_was_there(authority: Authority, tmp_path: Path) -> None:
    settings = settings_of(tmp_path, {"server": {"tls": authority.server()}})
    async with gateway(settings) as running:
        port, first = running.app.port, await served_certificate(running.app.port, tmp_path)
        server, research = tmp_path / "server", tmp_path / "research"
        # A certificate whose key has not come yet.
        server.with_suffix(".pem").write_bytes(research.with_suffix(".pem").read_bytes())
        assert await served_certificate(port, tmp_path) == first
        server.with_suffix(".pem").unlink()
        assert await served_certificate(port, tmp_path) == first
        assert {line["setting"] for line in running.lines("certificates_unfit")} == {"server.tls.cert"}
        second = authority.write("server", "localhost").decode().strip()
        assert await served_certificate(port, tmp_path) == second


async def test_a_certificate_says_who_calls(authority: Authority, tmp_path: Path) -> None:
    clients = {
        "research.example.org": {"workspace": "research", "models": ["mock-fast"], "strategies": ["priority"]},
        SPIFFE: {"workspace": "workload", "role": "operator"},
    }
    async with keyed(tmp_path, {"server": {"tls": authority.asking_callers(clients), "auth": "auto"}}) as world:
        running = world.running
        async with secure(running, authority.credentials("research")) as channel:
            models = await ModelServiceStub(channel).ListModels(ListModelsRequest())
            assert [model.id for model in models.models] == ["mock/mock-fast"]
            forbidden = pb.GenerateRequest(prompt="hi", routing=Routing(strategy="round_robin"))
            with pytest.raises(aio.AioRpcError) as raised:
                await ModelServiceStub(channel).PlanRoute(PlanRouteRequest(request=forbidden))
            assert "priority" in str(raised.value.details())
            with pytest.raises(aio.AioRpcError) as raised:
                await GatewayServiceStub(channel).HealthCheck(pb.HealthCheckRequest(probe=True))
            assert reason(raised.value) == "ROLE_NOT_ALLOWED"
        async with secure(running, authority.credentials("workload")) as channel:
            await GatewayServiceStub(channel).HealthCheck(pb.HealthCheckRequest(probe=True))
        async with secure(running, authority.credentials("stranger")) as channel:
            with pytest.raises(aio.AioRpcError) as raised:
                await GatewayServiceStub(channel).Generate(HI)
            assert reason(raised.value) == "KEY_MISSING", "a stranger is not an admin because there are no keys"
            await GatewayServiceStub(channel).Generate(HI, metadata=bearing(await world.key()))
        async with secure(running, authority.credentials()) as channel:
            with pytest.raises(aio.AioRpcError) as raised:
                await GatewayServiceStub(channel).Generate(HI)
            assert raised.value.code() == grpc.StatusCode.UNAVAILABLE, "no connection without a certificate"


async def test_a_key_with_a_certificate_has_to_be_of_the_same_workspace(authority: Authority, tmp_path: Path) -> None:
    clients = {"research.example.org": {"workspace": "research"}}
    async with keyed(tmp_path, {"server": {"tls": authority.asking_callers(clients)}}) as world:
        own, other = await world.key("operator", workspace="research"), await world.key("admin", workspace="other")
        async with secure(world.running, authority.credentials("research")) as channel:
            stub, probing = GatewayServiceStub(channel), pb.HealthCheckRequest(probe=True)
            await stub.HealthCheck(probing, metadata=bearing(own))
            with pytest.raises(aio.AioRpcError) as raised:
                await stub.HealthCheck(probing, metadata=bearing(other))
            assert reason(raised.value) == "KEY_INVALID"
            (event,) = await world.wait_events(ipb.AuditEvent.KIND_CALL_REFUSED, 1)
            assert event.api_key_id == other.split("_")[1]
            with pytest.raises(aio.AioRpcError) as raised:  # nor now that the key is known
                await stub.HealthCheck(probing, metadata=bearing(other))
            assert reason(raised.value) == "KEY_INVALID"


async def test_another_authoritys_certificates_are_refused(authority: Authority, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    forger = Authority.new(folder)
    forger.write("research", "research.example.org")
    (folder / "ca.pem").write_bytes((tmp_path / "ca.pem").read_bytes())
    clients = {"research.example.org": {"role": "admin"}}
    async with keyed(tmp_path, {"server": {"tls": authority.asking_callers(clients)}}) as world:
        async with secure(world.running, forger.credentials("research")) as channel:
            with pytest.raises(aio.AioRpcError) as raised:
                await GatewayServiceStub(channel).Generate(HI)
            assert raised.value.code() == grpc.StatusCode.UNAVAILABLE


async def test_grpcurl_with_a_key_and_with_a_certificate(authority: Authority, tmp_path: Path) -> None:
    clients = {"research.example.org": {"workspace": "research"}}
    call = ("-d", '{"model": "mock", "prompt": "Say hi"}')
    method = "trunkline.v1.GatewayService/Generate"
    files = [f"-cacert={tmp_path}/ca.pem"]
    async with keyed(tmp_path, {"server": {"tls": authority.server()}}) as world:
        address, key = f"localhost:{world.running.app.port}", await world.key()
        assert "trunkline.v1.GatewayService" in (await run_tool("grpcurl", *files, address, "list"))[1]
        code, printed = await run_tool("grpcurl", *files, *call, address, method)
        assert code != 0
        assert "KEY_MISSING" in printed
        code, printed = await run_tool("grpcurl", *files, "-H", f"authorization: Bearer {key}", *call, address, method)
        assert (code, "FINISH_REASON_STOP" in printed) == (0, True)
        code, printed = await run_tool(
            "grpc-health-probe", f"-addr={address}", "-tls", f"-tls-ca-cert={tmp_path}/ca.pem"
        )
        assert (code, "status: SERVING" in printed) == (0, True)
    folder = tmp_path / "mutual"
    folder.mkdir()
    async with keyed(folder, {"server": {"tls": authority.asking_callers(clients)}}) as world:
        address = f"localhost:{world.running.app.port}"
        pair = [f"-cert={tmp_path}/research.pem", f"-key={tmp_path}/research.key"]
        code, printed = await run_tool("grpcurl", *files, *pair, *call, address, method)
        assert (code, "FINISH_REASON_STOP" in printed) == (0, True)
        assert (await run_tool("grpcurl", *files, *call, address, method))[0] != 0


@pytest.mark.parametrize(
    ("tls", "setting"),
    [
        ({"cert": "file:/nowhere.pem"}, "server.tls.cert"),
        ({"key": "file:{folder}/research.key"}, "server.tls.cert"),
        ({"key": "file:{folder}/ca.pem"}, "server.tls.cert"),
        ({"client_ca": "file:{folder}/server.key"}, "server.tls.client_ca"),
        ({"clients": {"a": {}}}, "server.tls.client_ca"),
        ({"cert": "server.pem"}, "server.tls.cert"),
        ({"clients": {"a": {"role": "king"}}}, "server.tls.clients.a.role"),
        ({"clients": {"a": {"strategies": ["balanced", "no"]}}}, "server.tls.clients.a.strategies[1]"),
        ({"clients": {"a": {"providers": ["mock", "mok"]}}}, "server.tls.clients.a.providers[1]"),
    ],
)
def test_what_tls_cannot_use_is_named(authority: Authority, tmp_path: Path, tls: dict[str, Any], setting: str) -> None:
    given = {name: v.replace("{folder}", str(tmp_path)) if isinstance(v, str) else v for name, v in tls.items()}
    with pytest.raises(ConfigError) as raised:
        settings_of(tmp_path, {"server": {"tls": {**authority.server(), **given}}})
    assert setting in {problem.path for problem in raised.value.problems}


def test_beyond_loopback_tls_and_keys_are_needed_or_refused_by_name(authority: Authority, tmp_path: Path) -> None:
    def problems(**server: Any) -> dict[str, str]:
        try:
            settings_of(tmp_path, {"server": {"listen": "0.0.0.0:0", **server}})
        except ConfigError as error:
            return {problem.path: problem.expected for problem in error.problems}
        return {}

    assert list(problems()) == ["server.tls"]
    assert list(problems(auth="none")) == ["server.auth", "server.tls"]
    for path, remedies in {"server.auth": ("keys", "no_keys"), "server.tls": ("cert and key", "no_tls")}.items():
        assert all(remedy in problems(auth="none")[path] for remedy in remedies)
    assert problems(auth="none", insecure=["no_keys", "no_tls"]) == {}
    assert problems(tls=authority.server()) == {}
    assert problems(auth="none", tls=authority.asking_callers()) == {}
    assert list(problems(auth="none", tls=authority.server())) == ["server.auth"]
    assert list(problems(listen="127.0.0.1:0", auth="none", tls=authority.asking_callers({"a": {}}))) == ["server.auth"]
    for local in ("localhost:1", "[::1]:1", "127.0.0.2:1"):
        assert problems(listen=local, auth="none") == {}
