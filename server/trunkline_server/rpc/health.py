"""Health: HealthCheck of the contract, and grpc.health.v1 for load balancers and Kubernetes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from google.protobuf.timestamp_pb2 import Timestamp
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc

from trunkline.v1 import gateway_service_pb2 as pb
from trunkline_server import __version__

if TYPE_CHECKING:
    from grpc import aio

    from trunkline_server.snapshot import Offer, Snapshot
    from trunkline_server.state.statistics import Statistics

    Context = aio.ServicerContext[Any, Any]

SERVICES = ("trunkline.v1.GatewayService", "trunkline.v1.ModelService")
State = pb.HealthCheckResponse.State


class Serving:
    """Whether the gateway takes calls: the one fact behind both health services."""

    def __init__(self, start_time: float) -> None:
        self.start_time = Timestamp()
        self.start_time.FromNanoseconds(int(start_time * 1e9))
        self.draining = False
        self.stopped = False
        # Set at the next change, when another takes its place.
        self.changed = asyncio.Event()

    def drain(self) -> None:
        """From now on NOT_SERVING."""
        self.draining = True
        self._tell()

    def stop(self) -> None:
        """End every Watch: an open one would hold the server's stop for its whole grace."""
        self.draining = self.stopped = True
        self._tell()

    def _tell(self) -> None:
        self.changed, changed = asyncio.Event(), self.changed
        changed.set()


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """grpc.health.v1: "" is liveness, a service's name readiness. Never asks for a key.

    Our own because the library's asyncio servicer has no List and its Watch holds a drain for the whole grace.
    """

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def _status(self, service: str) -> int | None:
        if service == "":
            return int(health_pb2.HealthCheckResponse.SERVING)
        if service not in SERVICES:
            return None
        names = health_pb2.HealthCheckResponse
        return int(names.NOT_SERVING if self._serving.draining else names.SERVING)

    async def Check(self, request: Any, context: Context) -> Any:
        """The service's status. NOT_FOUND for a service that is not here."""
        status = self._status(request.service)
        if status is None:
            await context.abort(StatusCode.NOT_FOUND, "no such service")
        return health_pb2.HealthCheckResponse(status=status)

    async def List(self, request: Any, context: Context) -> Any:
        """Every service's status."""
        return health_pb2.HealthListResponse(
            statuses={name: health_pb2.HealthCheckResponse(status=self._status(name)) for name in ("", *SERVICES)}
        )

    async def Watch(self, request: Any, context: Context) -> None:
        """The service's status now and whenever it changes, until the server stops."""
        unknown = int(health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)
        last = None
        while True:
            changed, status = self._serving.changed, self._status(request.service)
            if status != last:
                await context.write(health_pb2.HealthCheckResponse(status=unknown if status is None else status))
                last = status
            if self._serving.stopped:
                return
            await changed.wait()


def health_of(
    snapshot: Snapshot, serving: Serving, statistics: Statistics, request: pb.HealthCheckRequest
) -> pb.HealthCheckResponse:
    """The answer of HealthCheck."""
    providers = [_provider(offer, statistics) for _, offer in sorted(snapshot.offers.items())]
    return pb.HealthCheckResponse(
        state=_state(snapshot, serving),
        version=__version__,
        start_time=serving.start_time,
        providers=providers if request.include_providers else (),
        config_version=snapshot.version,
    )


def _state(snapshot: Snapshot, serving: Serving) -> pb.HealthCheckResponse.State.ValueType:
    """DEGRADED: something can be called, but not every provider that was configured to be."""
    if serving.draining:
        return pb.HealthCheckResponse.STATE_DRAINING
    offers = snapshot.offers.values()
    if all(offer.unavailable_reason for offer in offers):
        return pb.HealthCheckResponse.STATE_NOT_SERVING
    if any(offer.unavailable_reason and not offer.builtin for offer in offers):
        return pb.HealthCheckResponse.STATE_DEGRADED
    return pb.HealthCheckResponse.STATE_SERVING


def _provider(offer: Offer, statistics: Statistics) -> pb.ProviderHealth:
    names = pb.HealthCheckResponse
    health = pb.ProviderHealth(
        provider=offer.provider,
        state=names.STATE_NOT_SERVING if offer.unavailable_reason else names.STATE_SERVING,
        reason=offer.unavailable_reason,
    )
    success, failure = statistics.last(offer.provider)
    if success is not None:
        health.last_success_time.FromNanoseconds(int(success * 1e9))
    if failure is not None:
        health.last_failure_time.FromNanoseconds(int(failure * 1e9))
    return health
