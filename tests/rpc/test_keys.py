"""The methods behind AdminService's part for keys and audit events, on a gateway's admin port."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from grpc import aio
from keyed import PEPPER, bearing, id_of, keyed, make_key
from serving import reason

from trunkline.v1 import identity_pb2 as pb
from trunkline.v1.call_pb2 import Routing
from trunkline.v1.calls_pb2 import ExportUsageRequest
from trunkline.v1.gateway_service_pb2 import GenerateRequest
from trunkline.v1.model_service_pb2 import ListModelsRequest, PlanRouteRequest
from trunkline_client import AsyncAdminClient, RoleNotAllowed
from trunkline_server.state.identity.keyring import Keyring
from trunkline_server.state.identity.store import KeyStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from keyed import Keyed

NAMES = ("CreateApiKey", "ListApiKeys", "RotateApiKey", "RevokeApiKey", "ListAuditEvents")
KIND = pb.AuditEvent.Kind


class Served:
    """A gateway's admin service, its database, and the keyring of another process."""

    def __init__(self, world: Keyed, channel: aio.Channel) -> None:
        self.world, self.database = world, world.database
        self.ring = Keyring(KeyStore(world.database), PEPPER)
        self.running = world.running
        self._channel = channel

    async def call(self, method: str, key: str, /, **fields: Any) -> Any:
        request, response = getattr(pb, f"{method}Request"), getattr(pb, f"{method}Response")
        rpc: Any = self._channel.unary_unary(
            f"/trunkline.v1.AdminService/{method}",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )
        return await rpc(request(**fields), metadata=bearing(key))

    async def refused(self, method: str, key: str, /, **fields: Any) -> str:
        with pytest.raises(aio.AioRpcError) as raised:
            await self.call(method, key, **fields)
        return reason(raised.value)


@asynccontextmanager
async def serving_keys(tmp_path: Path) -> AsyncIterator[Served]:
    async with keyed(tmp_path, {"server": {"admin_listen": "127.0.0.1:0"}}) as world:
        async with aio.insecure_channel(f"127.0.0.1:{world.running.app.admin_port}") as channel:
            yield Served(world, channel)


async def test_keys_are_made_rotated_and_revoked(tmp_path: Path) -> None:
    async with serving_keys(tmp_path) as served:
        admin = await make_key(served.database, "admin")
        made = await served.call("CreateApiKey", admin, name="x", workspace="w")
        models = served.running.models
        await models.ListModels(ListModelsRequest(), metadata=bearing(made.secret_key))
        rotated = await served.call("RotateApiKey", admin, id=made.api_key.id)
        for key in (made.secret_key, rotated.secret_key):
            await models.ListModels(ListModelsRequest(), metadata=bearing(key))
        listed = await served.call("ListApiKeys", admin, workspace="w")
        assert [key.id for key in listed.api_keys] == [made.api_key.id]
        await served.call("RevokeApiKey", admin, id=made.api_key.id)
        for key in (made.secret_key, rotated.secret_key):
            with pytest.raises(aio.AioRpcError) as raised:
                await models.ListModels(ListModelsRequest(), metadata=bearing(key))
            assert reason(raised.value) == "KEY_INVALID", "at once in this process"
            assert await served.ring.identify(key) is None


async def test_roles_hold_on_the_admin_port_too(tmp_path: Path) -> None:
    async with serving_keys(tmp_path) as served:
        caller, operator = [await make_key(served.database, role) for role in ("caller", "operator")]
        for method in NAMES:
            assert await served.refused(method, caller) == "ROLE_NOT_ALLOWED"
            if not method.startswith("List"):
                assert await served.refused(method, operator) == "ROLE_NOT_ALLOWED"
        await served.call("ListApiKeys", operator)
        assert await served.refused("ListApiKeys", "") == "KEY_INVALID"


async def test_who_asks_for_more_than_its_role_is_audited(tmp_path: Path) -> None:
    async with serving_keys(tmp_path) as served:
        caller = await make_key(served.database, "caller", workspace="lab")
        assert await served.refused("CreateApiKey", caller) == "ROLE_NOT_ALLOWED"
        (event,) = await served.world.wait_events(KIND.KIND_CALL_REFUSED, 1)
    assert (event.api_key_id, event.workspace) == (id_of(caller), "lab")
    assert (event.subject, event.outcome) == ("/trunkline.v1.AdminService/CreateApiKey", pb.AuditEvent.OUTCOME_REFUSED)


async def test_a_provider_that_is_switched_is_audited(tmp_path: Path) -> None:
    async with serving_keys(tmp_path) as served:
        admin, operator = [await make_key(served.database, role) for role in ("admin", "operator")]
        address = f"127.0.0.1:{served.running.app.admin_port}"
        async with AsyncAdminClient(address, api_key=operator) as client:
            assert (await client.providers()).providers
            with pytest.raises(RoleNotAllowed):
                await client.set_provider_enabled("mock", enabled=False)
        async with AsyncAdminClient(address, api_key=admin) as client:
            await client.set_provider_enabled("mock", enabled=False, reason="costs")
        kind = pb.AuditEvent.KIND_PROVIDER_DISABLED
        while not (events := (await served.call("ListAuditEvents", operator, kinds=[kind])).events):
            await asyncio.sleep(0)
        (event,) = events
        assert (event.subject, event.detail, event.api_key_id) == ("mock", "costs", id_of(admin))


async def test_exports_resets_and_validations_are_audited(tmp_path: Path) -> None:
    async with serving_keys(tmp_path) as served:
        admin = await make_key(served.database, "admin")
        async with AsyncAdminClient(f"127.0.0.1:{served.running.app.admin_port}", api_key=admin) as client:
            _ = [piece async for piece in client.export_usage(ExportUsageRequest())]
            await client.reset_statistics()
            await client.validate_credentials(provider="mock")
        kinds = [KIND.KIND_DATA_EXPORTED, KIND.KIND_STATISTICS_RESET, KIND.KIND_CREDENTIAL_VALIDATED]
        while len(events := (await served.call("ListAuditEvents", admin, kinds=kinds)).events) < len(kinds):
            await asyncio.sleep(0)
        assert [event.kind for event in reversed(events)] == kinds
        assert [event.detail or event.subject for event in reversed(events)] == ["attempts", "", "mock"]
        assert {event.api_key_id for event in events} == {id_of(admin)}


async def test_audit_events_tell_who_did_what_page_by_page(tmp_path: Path) -> None:
    async with serving_keys(tmp_path) as served:
        admin = await make_key(served.database, "admin")
        made = await served.call("CreateApiKey", admin, name="x")
        await served.call("RotateApiKey", admin, id=made.api_key.id)
        await served.call("RevokeApiKey", admin, id=made.api_key.id)
        events, token = [], ""
        while True:
            page = await served.call("ListAuditEvents", admin, page_size=2, page_token=token)
            events += page.events
            if not (token := page.next_page_token):
                break
        names = [KIND.Name(event.kind) for event in events]
        assert names == ["KIND_KEY_REVOKED", "KIND_KEY_ROTATED", "KIND_KEY_CREATED", "KIND_KEY_CREATED"]
        assert {(e.api_key_id, e.workspace, e.subject) for e in events[:3]} == {
            (id_of(admin), "default", made.api_key.id)
        }
        assert all(event.peer.startswith("ipv4:127.0.0.1:") for event in events[:3])
        assert made.secret_key.split("_")[2] not in str(events)


@pytest.mark.parametrize(
    ("method", "fields"),
    [
        ("ListAuditEvents", {"page_token": "x"}),
        ("ListAuditEvents", {"page_size": -1}),
        ("ListAuditEvents", {"workspace": "a\x00b"}),
        ("ListApiKeys", {"page_token": "x"}),
        ("CreateApiKey", {}),
        ("RotateApiKey", {"id": "none"}),
        ("RevokeApiKey", {"id": ""}),
    ],
)
async def test_what_is_wrong_is_named(tmp_path: Path, method: str, fields: dict[str, Any]) -> None:
    async with serving_keys(tmp_path) as served:
        admin = await make_key(served.database, "admin")
        assert await served.refused(method, admin, **fields) == "INVALID_REQUEST"


async def test_a_key_is_given_strategies_and_its_calls_go_by_those(tmp_path: Path) -> None:
    async with serving_keys(tmp_path) as served:
        admin = await make_key(served.database, "admin")
        made = await served.call("CreateApiKey", admin, name="x", allowed_strategies=["Cost-Optimized", "round_robin"])
        assert list(made.api_key.allowed_strategies) == ["Cost-Optimized", "round_robin"]
        refused = await served.refused("CreateApiKey", admin, name="x", allowed_strategies=["balancd"])
        assert refused == "INVALID_REQUEST"

        async def planned(strategy: str = "") -> str:
            request = PlanRouteRequest(request=GenerateRequest(prompt="hi", routing=Routing(strategy=strategy)))
            plan = await served.running.models.PlanRoute(request, metadata=bearing(made.secret_key))
            return str(plan.strategy)

        assert [await planned(), await planned("round_robin")] == ["cost_optimized", "round_robin"]
        request = GenerateRequest(prompt="hi", routing=Routing(strategy="latency_optimized"))
        with pytest.raises(aio.AioRpcError) as raised:
            await served.running.stub.Generate(request, metadata=bearing(made.secret_key))
        assert reason(raised.value) == "MODEL_NOT_ALLOWED"
        assert (await served.call("ListApiKeys", admin)).api_keys
