"""See how the gateway is, in its own words and in those of load balancers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from trunkline.v1.gateway_service_pb2 import HealthCheckResponse as Told

if TYPE_CHECKING:
    from trunkline_client import Client


def health(client: Client, address: str) -> tuple[str, str]:
    """grpc.health.v1, which needs no key, and HealthCheck."""
    with grpc.insecure_channel(address) as channel:
        request = HealthCheckRequest(service="trunkline.v1.GatewayService")
        answer = HealthStub(channel).Check(request, timeout=10)
    told = client.health(timeout=10)
    return HealthCheckResponse.ServingStatus.Name(answer.status), Told.State.Name(told.state)
