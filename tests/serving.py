"""A real grpc.aio server on port 0 around any handler, and the stub to call it."""

from __future__ import annotations

import io
import json
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status
from grpc import aio
from ledger_serving import no_reports
from make import snapshot

from trunkline.v1 import call_pb2
from trunkline.v1.gateway_service_pb2_grpc import GatewayServiceStub
from trunkline.v1.model_service_pb2 import PlanRouteResponse
from trunkline_server.core import Chain, Current
from trunkline_server.logs import build_log
from trunkline_server.providers.discovery import Discoverer
from trunkline_server.providers.probe import Prober
from trunkline_server.rpc.edge import new_id
from trunkline_server.rpc.feedback import Feedback
from trunkline_server.rpc.gatekeeper import Gatekeeper
from trunkline_server.rpc.health import Serving
from trunkline_server.rpc.server import build_server
from trunkline_server.rpc.service import Gateway, Models
from trunkline_server.settings import ServerSettings
from trunkline_server.state.limits.local import LocalLimits
from trunkline_server.state.live import Live
from trunkline_server.state.provider_health import ProviderStates
from trunkline_server.state.signals.signals import Signals
from trunkline_server.state.statistics import Statistics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trunkline.v1.gateway_service_pb2_grpc import GatewayServiceAsyncStub
    from trunkline_server.core import Handler

DETAILS = {
    "google.rpc.ErrorInfo": error_details_pb2.ErrorInfo,
    "google.rpc.BadRequest": error_details_pb2.BadRequest,
    "google.rpc.RetryInfo": error_details_pb2.RetryInfo,
    "google.rpc.QuotaFailure": error_details_pb2.QuotaFailure,
    "google.rpc.ResourceInfo": error_details_pb2.ResourceInfo,
    "google.rpc.RequestInfo": error_details_pb2.RequestInfo,
    "trunkline.v1.CallFailure": call_pb2.CallFailure,
}


@dataclass
class Running:
    """A server that runs, and what it wrote to its log."""

    stub: GatewayServiceAsyncStub
    channel: aio.Channel
    port: int
    statistics: Statistics
    serving: Serving
    log: io.BytesIO = field(default_factory=io.BytesIO)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.getvalue().splitlines()]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[Running]:
    """Serve `handler`; on leaving, nothing of it runs any more."""
    written = io.BytesIO()
    current, statistics, state = Current(Chain(snapshot(), handler)), Statistics(), Serving(time.time())
    states = ProviderStates()
    gateway = Gateway(current, statistics, state, states, Prober(new_id), no_reports(), LocalLimits(time.monotonic))
    settings = ServerSettings(listen="127.0.0.1:0")
    log = build_log(written)
    live = Live(current, {}, log)
    models = Models(current, states, live, Discoverer(live, {}), Signals(time.monotonic), lambda _: PlanRouteResponse())
    server, port = build_server(settings, log, gateway, models, Feedback(no_reports()), state, Gatekeeper())
    await server.start()
    async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Running(GatewayServiceStub(channel), channel, port, statistics, state, written)
    await server.stop(0)


def details(error: aio.AioRpcError) -> dict[str, Any]:
    """The typed details of a status, by their full names. Fails if one comes twice."""
    trailers = dict(error.trailing_metadata() or ())
    status = Status.FromString(trailers["grpc-status-details-bin"])
    found: dict[str, Any] = {}
    for packed in status.details:
        name = packed.type_url.rsplit("/", 1)[1]
        assert name not in found
        found[name] = DETAILS[name].FromString(packed.value)
    return found


async def rest(stream: Any) -> list[Any]:
    """What still comes of a stream that was read from: gRPC does not let `read` and `async for` be mixed."""
    events = []
    while (event := await stream.read()) is not aio.EOF:
        events.append(event)
    return events


def reason(error: aio.AioRpcError) -> str:
    return str(details(error)["google.rpc.ErrorInfo"].reason)
