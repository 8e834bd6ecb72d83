"""Health: HealthCheck of the contract, and grpc.health.v1 for load balancers and Kubernetes."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from google.protobuf.timestamp_pb2 import Timestamp
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc

from trunkline.v1 import gateway_service_pb2 as pb
from trunkline_server import __version__
from trunkline_server.routing.allowed import may_see
from trunkline_server.routing.probed import ToAsk, models_to_ask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from grpc import aio

    from trunkline.v1.call_pb2 import Target
    from trunkline_server.core import Chain, Identity
    from trunkline_server.snapshot import Offer, Snapshot
    from trunkline_server.state.ledger.ledger import LedgerHealth
    from trunkline_server.state.limits.limits import Lost
    from trunkline_server.state.provider_health import ProviderStates
    from trunkline_server.state.statistics import Statistics

    Context = aio.ServicerContext[Any, Any]

SERVICES = ("trunkline.v1.GatewayService", "trunkline.v1.ModelService", "trunkline.v1.FeedbackService")
ADMIN_SERVICES = ("trunkline.v1.AdminService",)
State = pb.HealthCheckResponse.State
# Seconds that probes of credentials and of models may take, and the part of the caller's own time: the rest is for the
# answer.
PROBE_TIME = 10.0
MODELS_TIME = 60.0
_OF_THE_CALLERS_TIME = 0.9


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

    def __init__(self, serving: Serving, services: Sequence[str]) -> None:
        """`services` are those of the port that this is served on."""
        self._serving = serving
        self._services = services

    def _status(self, service: str) -> int | None:
        if service == "":
            return int(health_pb2.HealthCheckResponse.SERVING)
        if service not in self._services:
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
            statuses={name: health_pb2.HealthCheckResponse(status=self._status(name)) for name in ("", *self._services)}
        )

    async def Watch(self, request: Any, context: Context) -> None:
        """The service's status now and whenever it changes, until the server stops."""
        unknown = int(health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)
        last = None
        while True:
            # All of it before the write: what changes while that waits is told in the next turn.
            changed, stopped, status = self._serving.changed, self._serving.stopped, self._status(request.service)
            if status != last:
                await context.write(health_pb2.HealthCheckResponse(status=unknown if status is None else status))
                last = status
            if stopped:
                return
            await changed.wait()


class Prober(Protocol):
    """Who asks the providers. Never fails, and takes no longer than it is told."""

    async def credentials(self, within: float, only: str = "") -> Sequence[pb.ProbeResult]:
        """Make each credential's cheapest authenticated call; of one provider only, if one is named."""

    async def models(
        self,
        chain: Chain,
        identity: Identity,
        targets: Sequence[Target],
        credential: Callable[[str], str],
        within: float,
    ) -> Sequence[pb.ProbeResult]:
        """Ask each of these models for a token, on behalf of `identity`."""


@dataclass(frozen=True, slots=True)
class Probed:
    """How probes went, and which models were not asked, by provider."""

    results: Mapping[str, Sequence[pb.ProbeResult]] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)


async def probed(
    request: pb.HealthCheckRequest,
    chain: Chain,
    identity: Identity,
    states: ProviderStates,
    prober: Prober,
    remaining: float | None,
) -> Probed:
    """Make the probes that the request asks for, all at once.

    `identity` asks, and pays. `remaining` is what is left of the caller's own time, in seconds: the answer is to come
    before its end.
    """
    asked = models_to_ask(chain.snapshot, int(time.time())) if request.probe_models else ToAsk((), {})
    within = time_for(MODELS_TIME, remaining)
    rounds = [prober.credentials(time_for(PROBE_TIME, remaining))] if request.probe else []
    rounds += [prober.models(chain, identity, asked.targets, states.credential, within)] if asked.targets else []
    told = by_provider(result for results in await asyncio.gather(*rounds) for result in results)
    return Probed(told, asked.left_out)


def time_for(most: float, remaining: float | None) -> float:
    """Seconds that questions to providers may take: `most`, or less where the caller's own time ends before."""
    return most if remaining is None else min(most, max(0.0, remaining * _OF_THE_CALLERS_TIME))


def by_provider(results: Iterable[pb.ProbeResult]) -> Mapping[str, Sequence[pb.ProbeResult]]:
    """The results by the provider that was asked."""
    found: dict[str, list[pb.ProbeResult]] = {}
    for result in results:
        found.setdefault(result.target.provider, []).append(result)
    return found


def health_of(
    snapshot: Snapshot,
    serving: Serving,
    statistics: Statistics,
    states: ProviderStates,
    request: pb.HealthCheckRequest,
    probes: Probed,
) -> pb.HealthCheckResponse:
    """The answer of HealthCheck."""
    providers = [
        provider_health(offer, statistics, states, probes.results.get(name, ()))
        for name, offer in sorted(snapshot.offers.items())
    ]
    for each in providers:
        each.unprobed_models = probes.left_out.get(each.provider, 0)
    told = request.include_providers or request.probe or request.probe_models
    return pb.HealthCheckResponse(
        state=_state(snapshot, serving, providers),
        version=__version__,
        start_time=serving.start_time,
        providers=providers if told else (),
        config_version=snapshot.version,
    )


def add_ledger(health: pb.HealthCheckResponse, ledger: LedgerHealth) -> None:
    """Tell how the ledger is, too. DEGRADED while its database takes no rows: strict, calls are refused."""
    health.ledger.queued_rows, health.ledger.failing_reason = ledger.queued, ledger.failing
    health.ledger.refused_rows, health.ledger.unrecorded_calls = ledger.set_aside, ledger.unrecorded
    if ledger.failing_since is not None:
        health.ledger.failing_since_time.FromNanoseconds(int(ledger.failing_since * 1e9))
    if ledger.failing and health.state == pb.HealthCheckResponse.STATE_SERVING:
        health.state = pb.HealthCheckResponse.STATE_DEGRADED


def add_limits(health: pb.HealthCheckResponse, lost: Lost | None) -> None:
    """Tell of callers' limits, too. DEGRADED while they are not shared."""
    if lost is not None:
        health.limits.failing_reason = lost.why
        health.limits.failing_since_time.FromNanoseconds(int(lost.since * 1e9))
        if health.state == pb.HealthCheckResponse.STATE_SERVING:
            health.state = pb.HealthCheckResponse.STATE_DEGRADED


def health_for_callers(
    health: pb.HealthCheckResponse, snapshot: Snapshot, identity: Identity
) -> pb.HealthCheckResponse:
    """What a caller is told: the states of the providers that it may use, and nothing of credentials or other calls."""
    providers = [
        pb.ProviderHealth(provider=each.provider, state=each.state, status_url=each.status_url)
        for each in health.providers
        if may_see(identity, snapshot.offers[each.provider])
    ]
    return pb.HealthCheckResponse(
        state=health.state,
        version=health.version,
        start_time=health.start_time,
        providers=providers,
        config_version=health.config_version,
    )


def _state(
    snapshot: Snapshot, serving: Serving, providers: Iterable[pb.ProviderHealth]
) -> pb.HealthCheckResponse.State.ValueType:
    """DEGRADED: something can be called, but not every provider that was configured to be."""
    if serving.draining:
        return pb.HealthCheckResponse.STATE_DRAINING
    down = {each.provider for each in providers if each.state == pb.HealthCheckResponse.STATE_NOT_SERVING}
    if len(down) == len(snapshot.offers):
        return pb.HealthCheckResponse.STATE_NOT_SERVING
    if any(not snapshot.offers[name].builtin for name in down):
        return pb.HealthCheckResponse.STATE_DEGRADED
    return pb.HealthCheckResponse.STATE_SERVING


def provider_health(
    offer: Offer, statistics: Statistics, states: ProviderStates, probes: Iterable[pb.ProbeResult] = ()
) -> pb.ProviderHealth:
    """How one provider is."""
    health = states.health(offer.provider)
    if offer.unavailable_reason:
        health.state, health.reason = pb.HealthCheckResponse.STATE_NOT_SERVING, offer.unavailable_reason
    health.probes.extend(probes)
    success, failure = statistics.last(offer.provider)
    if success is not None:
        health.last_success_time.FromNanoseconds(int(success * 1e9))
    if failure is not None:
        health.last_failure_time.FromNanoseconds(int(failure * 1e9))
    return health
