"""GatewayService and ModelService: a message becomes a Call, a stream of events becomes one message or many."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from trunkline.v1.gateway_service_pb2_grpc import GatewayServiceServicer
from trunkline.v1.model_service_pb2_grpc import ModelServiceServicer
from trunkline_server.core import Call, now
from trunkline_server.errors import CallerGone
from trunkline_server.fold import Fold
from trunkline_server.prices.pricing import add_pricing
from trunkline_server.routing.filters import Known
from trunkline_server.routing.listing import get_model, list_models
from trunkline_server.routing.recommend import recommend
from trunkline_server.rpc.access import is_at_least, require
from trunkline_server.rpc.edge import CALL_ID, IDENTITY
from trunkline_server.rpc.health import add_ledger, add_limits, health_for_callers, health_of, probed, time_for
from trunkline_server.rpc.refresh import REFRESH_TIME, refresh_models

if TYPE_CHECKING:
    from collections.abc import Callable

    from grpc import aio

    from trunkline.v1 import gateway_service_pb2 as pb
    from trunkline.v1 import model_pb2, model_service_pb2
    from trunkline_server.core import Chain, Current
    from trunkline_server.rpc.health import Prober, Serving
    from trunkline_server.rpc.refresh import Discoverer
    from trunkline_server.settings import TimeLimits
    from trunkline_server.snapshot import Snapshot
    from trunkline_server.state.ledger.reports import LedgerReports
    from trunkline_server.state.limits.limits import Limits
    from trunkline_server.state.live import Live
    from trunkline_server.state.provider_health import ProviderStates
    from trunkline_server.state.signals.signals import Signals
    from trunkline_server.state.statistics import Statistics

    Context = aio.ServicerContext[Any, Any]

# Seconds before a caller's deadline at which his call is over, at most; of short times this part.
MARGIN = 0.05


class Gateway(GatewayServiceServicer):
    """The four RPCs. Errors are raised as CallError; rpc/edge makes statuses of them."""

    def __init__(
        self,
        current: Current,
        statistics: Statistics,
        serving: Serving,
        states: ProviderStates,
        prober: Prober,
        reports: LedgerReports,
        limits: Limits,
    ) -> None:
        self._limits = limits
        self._current = current
        self._statistics = statistics
        self._serving = serving
        self._states = states
        self._prober = prober
        self._reports = reports

    async def Generate(self, request: pb.GenerateRequest, context: Context) -> pb.GenerateResponse:
        """The fold of the stream."""
        chain, folding = self._current.chain, Fold()
        call = _call(request, context, chain, streaming=False)
        events = chain.handler(call)
        try:
            async for event in events:
                folding.add(event)
        except BaseException:
            await events.aclose()
            raise
        finally:
            if call.story.told:
                _tell(context, call)
        return folding.response()

    async def StreamGenerate(self, request: pb.GenerateRequest, context: Context) -> None:  # type: ignore[override]
        """The stream itself."""
        chain = self._current.chain
        call = _call(request, context, chain, streaming=True)
        try:
            async with aclosing(chain.handler(call)) as events:
                async for event in events:
                    await _write(context, event)
        finally:
            if call.story.told:
                _tell(context, call)

    async def HealthCheck(self, request: pb.HealthCheckRequest, context: Context) -> pb.HealthCheckResponse:
        """How the gateway is. Probes, and what is told of credentials and endpoints, are an operator's."""
        chain, identity = self._current.chain, IDENTITY.get()
        if request.probe or request.probe_models:
            require(identity, "operator", "a probe")
        probes = await probed(request, chain, identity, self._states, self._prober, context.time_remaining())
        health = health_of(chain.snapshot, self._serving, self._statistics, self._states, request, probes)
        add_ledger(health, self._reports.health())
        add_limits(health, self._limits.lost)
        return health if is_at_least(identity, "operator") else health_for_callers(health, chain.snapshot, identity)

    async def UsageStats(self, request: pb.UsageStatsRequest, context: Context) -> pb.UsageStatsResponse:
        """What the ledger says."""
        return await self._reports.usage(request, IDENTITY.get())


class Models(ModelServiceServicer):
    """The catalogue of the configuration that new calls run on."""

    def __init__(
        self,
        current: Current,
        states: ProviderStates,
        live: Live,
        discoverer: Discoverer,
        signals: Signals,
        plan: Callable[[Call], model_service_pb2.PlanRouteResponse],
    ) -> None:
        """`plan` tells where a call would go."""
        self._plan = plan
        self._current = current
        self._states = states
        self._live = live
        self._discoverer = discoverer
        self._signals = signals

    async def ListModels(
        self, request: model_service_pb2.ListModelsRequest, context: Context
    ) -> model_service_pb2.ListModelsResponse:
        """A page of the models."""
        snapshot = self._current.chain.snapshot
        known = self._known(snapshot)
        page = list_models(snapshot, request, known, IDENTITY.get())
        for model in page.models:
            add_pricing(model, snapshot.prices, known.when)
        return page

    async def GetModel(self, request: model_service_pb2.GetModelRequest, context: Context) -> model_pb2.Model:
        """One model by any of its names."""
        snapshot = self._current.chain.snapshot
        known = self._known(snapshot)
        model = get_model(snapshot, request.id, known, IDENTITY.get())
        add_pricing(model, snapshot.prices, known.when)
        return model

    async def RecommendModels(
        self, request: model_service_pb2.RecommendModelsRequest, context: Context
    ) -> model_service_pb2.RecommendModelsResponse:
        """The models that fit, the best first."""
        snapshot = self._current.chain.snapshot
        known = self._known(snapshot)
        told = recommend(snapshot, request, known, IDENTITY.get())
        for each in told.recommendations:
            add_pricing(each.model, snapshot.prices, known.when)
        return told

    def _known(self, snapshot: Snapshot) -> Known:
        return Known(int(time.time()), snapshot.prices, self._signals.of, self._states.missing)

    async def PlanRoute(
        self, request: model_service_pb2.PlanRouteRequest, context: Context
    ) -> model_service_pb2.PlanRouteResponse:
        """What would happen to a call. Nothing is sent, and no turn is taken."""
        return self._plan(_call(request.request, context, self._current.chain, streaming=True))

    async def RefreshModels(
        self, request: model_service_pb2.RefreshModelsRequest, context: Context
    ) -> model_service_pb2.RefreshModelsResponse:
        """Ask the providers now, and tell what that changed."""
        within = time_for(REFRESH_TIME, context.time_remaining())
        snapshot = self._current.chain.snapshot
        return await refresh_models(snapshot, self._live, self._discoverer, request.provider, within)


def _call(request: pb.GenerateRequest, context: Context, chain: Chain, *, streaming: bool) -> Call:
    arrival, snapshot = now(), chain.snapshot
    timeout = time_of(context.time_remaining(), snapshot.settings.limits)
    return Call(
        id=CALL_ID.get(),
        request=request,
        arrival=arrival,
        deadline=arrival + timeout,
        streaming=streaming,
        snapshot=snapshot,
        identity=IDENTITY.get(),
    )


def time_of(remaining: float | None, limits: TimeLimits) -> float:
    """Seconds that a call has. It is over a moment before its caller's deadline: he is told why, and what it cost."""
    if remaining is None:
        return limits.default_deadline
    return min(remaining - min(MARGIN, MARGIN * remaining), limits.max_deadline)


def _tell(context: Context, call: Call) -> None:
    """Send at the end what the layers have for the caller beside the answer; an error's status comes on top of it."""
    context.set_trailing_metadata((*context.trailing_metadata(), *call.story.told))


async def _write(context: Context, event: pb.StreamGenerateResponse) -> None:
    """The one place that writes. Whatever a write raises means that nobody reads any more."""
    try:
        await context.write(event)
    except asyncio.CancelledError:
        raise
    except Exception as error:
        raise CallerGone from error
