"""Who gets in, through a real gateway: keys, what is wrong with them, and what is told of that."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from gateway import gateway, settings_of
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from keyed import bearing, id_of, keyed, keyed_settings, make_key, new_database
from serving import details, reason

from trunkline.v1 import gateway_service_pb2 as pb
from trunkline.v1 import identity_pb2 as ipb
from trunkline.v1.model_service_pb2 import ListModelsRequest
from trunkline_server.app import CannotStart
from trunkline_server.rpc.gatekeeper import token_of
from trunkline_server.state import audit
from trunkline_server.state.identity.keys import new_key_id, new_secret, write_key
from trunkline_server.state.ledger.database import Statement, script

if TYPE_CHECKING:
    from pathlib import Path

    from gateway import Gateway

    from trunkline_server.settings import Settings

HI = pb.GenerateRequest(model="mock", prompt="hi")
Metadata = tuple[tuple[str, str], ...]


async def refused(running: Gateway, metadata: Metadata = ()) -> aio.AioRpcError:
    with pytest.raises(aio.AioRpcError) as raised:
        await running.stub.Generate(HI, metadata=metadata)
    assert raised.value.code() == grpc.StatusCode.UNAUTHENTICATED
    return raised.value


async def answered(running: Gateway, metadata: Metadata = ()) -> bool:
    try:
        await running.stub.Generate(HI, metadata=metadata)
    except aio.AioRpcError:
        return False
    return True


def kept_in(folder: Path) -> list[Path]:
    return list(folder.glob("ledger*"))


def said(error: aio.AioRpcError) -> tuple[str | None, str]:
    """What a caller can tell one refusal from another by."""
    info = details(error)["google.rpc.ErrorInfo"]
    return error.details(), f"{info.reason} {sorted(key for key in info.metadata)}"


async def test_a_key_opens_every_method_and_nothing_else_does(tmp_path: Path) -> None:
    async with keyed(tmp_path) as world:
        running, key = world.running, bearing(await world.key())
        assert reason(await refused(running)) == "KEY_MISSING"
        assert (await running.stub.Generate(HI, metadata=key)).message.parts[0].text
        assert [event async for event in running.stub.StreamGenerate(HI, metadata=key)]
        assert (await running.models.ListModels(ListModelsRequest(), metadata=key)).models
        for refusing in (
            running.stub.HealthCheck(pb.HealthCheckRequest()),
            running.stub.UsageStats(pb.UsageStatsRequest()),
            running.models.ListModels(ListModelsRequest()),
        ):
            with pytest.raises(aio.AioRpcError) as raised:
                await refusing
            assert reason(raised.value) == "KEY_MISSING"
        with pytest.raises(aio.AioRpcError) as raised:
            async for _ in running.stub.StreamGenerate(HI):
                pass
        assert reason(raised.value) == "KEY_MISSING"


async def test_probes_and_reflection_need_no_key(tmp_path: Path) -> None:
    async with keyed(tmp_path) as world:
        health = health_pb2_grpc.HealthStub(world.running.channel)
        for service in ("", "trunkline.v1.GatewayService"):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        assert (await health.List(health_pb2.HealthListRequest())).statuses
        async for answer in health.Watch(health_pb2.HealthCheckRequest()):
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
            break


async def test_what_is_wrong_with_a_key_is_never_told(tmp_path: Path) -> None:
    async with keyed(tmp_path) as world:
        right, revoked = await world.key(), await world.key()
        await world.revoke(revoked)
        past = time.time() - 1000
        expired = await make_key(world.database, wall=lambda: past, expire_time=Timestamp(seconds=int(past) + 10))
        wrong = [
            revoked,
            expired,
            write_key(new_key_id(), new_secret()),
            write_key(id_of(right), new_secret()),
            right[:-1],
            right + "x",
            "tl_",
            "",
            "sk-something-else",
        ]
        answers = {said(await refused(world.running, bearing(key))) for key in wrong}
        answers |= {said(await refused(world.running, (("authorization", value),))) for value in (right, "Basic eA==")}
        assert answers == {
            (
                "the gateway key is wrong, expired or revoked: send metadata authorization: Bearer tl_...",
                "KEY_INVALID ['call_id']",
            )
        }
        assert said(await refused(world.running))[1].startswith("KEY_MISSING")
        await world.running.stub.Generate(HI, metadata=bearing(right))


async def test_the_presented_secret_is_written_down_nowhere(tmp_path: Path) -> None:
    async with keyed(tmp_path) as world:
        wrong = write_key(new_key_id(), new_secret())
        error = await refused(world.running, bearing(wrong))
        right = await world.key()
        await world.running.stub.Generate(HI, metadata=bearing(right))
        (event,) = await world.wait_events(ipb.AuditEvent.KIND_CALL_REFUSED, 1)
        assert (event.api_key_id, event.subject) == (id_of(wrong), "/trunkline.v1.GatewayService/Generate")
        assert event.peer.startswith("ipv4:127.0.0.1:")
        assert event.outcome == ipb.AuditEvent.OUTCOME_REFUSED
        log = world.running.log.getvalue().decode()
        database = b"".join(path.read_bytes() for path in kept_in(tmp_path))
        for key in (wrong, right):
            secret = key.split("_")[2]
            assert secret not in log + str(event) + repr(error.trailing_metadata()) + (error.details() or "")
            assert secret.encode() not in database


async def test_who_guesses_keys_cannot_fill_the_database(tmp_path: Path) -> None:
    async with keyed(tmp_path) as world:
        for _ in range(10):
            await asyncio.gather(
                *(refused(world.running, bearing(write_key(new_key_id(), new_secret()))) for _ in range(20))
            )
        await world.wait_events(ipb.AuditEvent.KIND_CALL_REFUSED, audit.REFUSALS_AT_ONCE)
        await refused(world.running, bearing("tl_"))
        assert len(await world.events(ipb.AuditEvent.KIND_CALL_REFUSED)) == audit.REFUSALS_AT_ONCE
        assert len(world.running.lines("call_refused")) == audit.REFUSALS_AT_ONCE


async def test_a_gateway_on_loopback_needs_keys_from_the_first_one_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trunkline_server.state.identity.keyring.REMEMBERED", 0.05)
    async with keyed(tmp_path, {"server": {"auth": "auto"}}) as world:
        await world.running.stub.Generate(HI)
        await world.running.stub.Generate(HI, metadata=(("authorization", "Bearer of-another-kind"),))
        assert reason(await refused(world.running, bearing(write_key(new_key_id(), new_secret())))) == "KEY_INVALID"
        key = await world.key()
        while await answered(world.running):
            await asyncio.sleep(0.01)
        await world.running.stub.Generate(HI, metadata=bearing(key))
        await world.revoke(key)
        while await answered(world.running, bearing(key)):
            await asyncio.sleep(0.01)
        assert reason(await refused(world.running)) == "KEY_MISSING", "revoking the last key opens nothing"
        assert reason(await refused(world.running, bearing(key))) == "KEY_INVALID"


async def test_with_auth_none_no_key_is_looked_at(tmp_path: Path) -> None:
    async with keyed(tmp_path, {"server": {"auth": "none"}}) as world:
        await world.key()
        await world.running.stub.Generate(HI)
        await world.running.stub.Generate(HI, metadata=bearing("tl_wrong"))


async def test_beyond_loopback_nothing_starts_without_a_key_unless_that_is_said(tmp_path: Path) -> None:
    def settings(**server: Any) -> Settings:
        return keyed_settings(tmp_path, {"listen": "0.0.0.0:0", "insecure": ["no_tls"], **server})

    with pytest.raises(CannotStart, match=r"trunkline keys create.*no_keys"):
        async with gateway(settings()):
            pass
    async with gateway(settings(auth="keys")) as running:
        assert reason(await refused(running)) == "KEY_MISSING"
    async with gateway(settings(insecure=["no_tls", "no_keys"])) as running:
        await running.stub.Generate(HI)
    database = await new_database(tmp_path)
    await make_key(database)
    await database.aclose()
    async with gateway(settings()) as running:
        assert reason(await refused(running)) == "KEY_MISSING"


async def test_a_pepper_is_made_in_the_data_folder(tmp_path: Path) -> None:
    async with gateway(settings_of(tmp_path, {"server": {"auth": "keys"}})) as running:
        assert (running.app._data / "pepper").stat().st_mode & 0o777 == 0o600


async def test_a_database_that_does_not_answer_lets_nobody_in_and_says_so(tmp_path: Path) -> None:
    async with keyed(tmp_path) as world:
        key = await world.key()
        await world.database.transact(script(Statement("DROP TABLE api_keys")))
        with pytest.raises(aio.AioRpcError) as raised:
            await world.running.stub.Generate(HI, metadata=bearing(key))
        assert (raised.value.code(), reason(raised.value)) == (grpc.StatusCode.UNAVAILABLE, "LEDGER_UNAVAILABLE")


@pytest.mark.parametrize(
    ("metadata", "token"),
    [
        ([], None),
        ([("user-agent", "x")], None),
        ([("authorization", "Bearer tl_a")], "tl_a"),
        ([("authorization", "bearer  tl_a ")], "tl_a"),
        ([("authorization", "Basic tl_a")], ""),
        ([("authorization", "tl_a")], ""),
        ([("authorization", "")], ""),
        ([("authorization", "Bearer tl_a"), ("authorization", "Bearer tl_b")], "tl_b"),
        ([("x-api-key", "tl_a")], None),
    ],
)
def test_the_token_stands_in_one_place(metadata: list[tuple[str, str]], token: str | None) -> None:
    assert token_of(metadata) == token
