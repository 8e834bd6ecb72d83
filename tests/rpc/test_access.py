"""Every method has its least role, and no role gets further than it should."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from grpc import aio
from keyed import bearing, keyed
from serving import reason

import trunkline.v1
from trunkline.v1 import gateway_service_pb2 as pb
from trunkline_server.core import Identity
from trunkline_server.errors import RoleNotAllowed
from trunkline_server.rpc.access import LEAST_ROLES, PUBLIC, check_role, is_at_least

if TYPE_CHECKING:
    from google.protobuf.descriptor import MethodDescriptor

STUBS = Path(trunkline.v1.__path__[0])
MODULES = sorted(f"trunkline.v1.{path.stem}" for path in STUBS.glob("*_pb2.py"))


def methods() -> dict[str, MethodDescriptor]:
    """Every method of the contract, as gRPC names it."""
    return {
        f"/{service.full_name}/{method.name}": method
        for module in MODULES
        for service in importlib.import_module(module).DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }


def test_every_method_of_the_contract_has_its_least_role() -> None:
    assert set(LEAST_ROLES) == set(methods())


def test_no_method_of_the_contract_gets_past_the_edge() -> None:
    """The edge hands on handlers of streamed requests unwrapped: only reflection may be one."""
    assert not PUBLIC & set(methods())
    assert not [name for name, method in methods().items() if method.client_streaming]


@pytest.mark.parametrize("method", sorted({*methods(), "/trunkline.v1.Unlisted/Method"}))
def test_a_role_may_do_what_the_ones_before_it_may(method: str) -> None:
    least = LEAST_ROLES.get(method, "admin")
    for role in ("caller", "operator", "admin"):
        identity = Identity(role=role)
        if is_at_least(identity, least):
            check_role(identity, method)
        else:
            with pytest.raises(RoleNotAllowed, match=least):
                check_role(identity, method)
    check_role(Identity(role="admin"), method)


async def test_probes_are_an_operators_and_a_caller_learns_only_states(tmp_path: Path) -> None:
    providers = {"up": {"kind": "openai_compatible", "base_url": "http://127.0.0.1:9", "models": ["m"]}}
    async with keyed(tmp_path, {"providers": providers}) as world:
        caller, operator = bearing(await world.key()), bearing(await world.key("operator"))
        for probe in ({"probe": True}, {"probe_models": True}):
            request = pb.HealthCheckRequest(**probe)
            with pytest.raises(aio.AioRpcError) as raised:
                await world.running.stub.HealthCheck(request, metadata=caller)
            assert (raised.value.code(), reason(raised.value)) == (
                grpc.StatusCode.PERMISSION_DENIED,
                "ROLE_NOT_ALLOWED",
            )
            assert (await world.running.stub.HealthCheck(request, metadata=operator, timeout=5)).providers
        everything = pb.HealthCheckRequest(include_providers=True)
        seen = await world.running.stub.HealthCheck(everything, metadata=operator)
        told = await world.running.stub.HealthCheck(everything, metadata=caller)
        assert any(provider.endpoints for provider in seen.providers)
        names = {field.name for provider in told.providers for field, _ in provider.ListFields()}
        assert names <= {"provider", "state", "status_url"}
        assert {provider.provider for provider in told.providers} == {provider.provider for provider in seen.providers}
        some = bearing(await world.key(allowed_providers=["up"]))
        told = await world.running.stub.HealthCheck(everything, metadata=some)
        assert [provider.provider for provider in told.providers] == ["up"]
