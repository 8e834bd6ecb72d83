"""AdminService: what operators see and do while the gateway runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from trunkline.v1 import admin_service_pb2 as pb
from trunkline.v1.gateway_service_pb2 import HealthCheckResponse, ProviderHealth
from trunkline.v1.identity_pb2 import AuditEvent
from trunkline_server.errors import InvalidRequest, Violation
from trunkline_server.prices.pricing import add_pricing
from trunkline_server.routing.listing import models_now
from trunkline_server.routing.names import known_provider
from trunkline_server.rpc.alert_methods import AlertMethods
from trunkline_server.rpc.health import PROBE_TIME, by_provider, provider_health, time_for
from trunkline_server.rpc.keys import KeyMethods, actor_of
from trunkline_server.rpc.ledger_methods import LedgerMethods
from trunkline_server.rpc.strategy_methods import StrategyMethods

if TYPE_CHECKING:
    from grpc import aio

    from trunkline_server.core import Current
    from trunkline_server.rpc.health import Prober
    from trunkline_server.snapshot import Snapshot
    from trunkline_server.state.alerts.monitor import Monitor
    from trunkline_server.state.audit import Audit
    from trunkline_server.state.identity.issuing import Issuer
    from trunkline_server.state.ledger.reports import LedgerReports
    from trunkline_server.state.live import Live
    from trunkline_server.state.provider_health import ProviderStates
    from trunkline_server.state.statistics import Statistics
    from trunkline_server.state.strategies import Strategies

    Context = aio.ServicerContext[Any, Any]

_LASTS = "until the gateway starts again; then the configuration decides"
_AS_CONFIGURED = "as the configuration has it"
_SWITCHED_OFF = "the configuration switches it off: set providers.{}.enabled to true there and start the gateway again"
_LONGEST_REASON = 200


class Admin(AlertMethods, KeyMethods, LedgerMethods, StrategyMethods):
    """The RPCs. Errors are raised as CallError; rpc/edge makes statuses of them."""

    def __init__(  # noqa: PLR0913, PLR0917 - what its five parts need
        self,
        current: Current,
        statistics: Statistics,
        states: ProviderStates,
        prober: Prober,
        live: Live,
        issuer: Issuer,
        audit: Audit,
        reports: LedgerReports,
        strategies: Strategies,
        monitor: Monitor,
    ) -> None:
        KeyMethods.__init__(self, issuer, audit, current)
        LedgerMethods.__init__(self, reports, audit)
        StrategyMethods.__init__(self, current, strategies, audit)
        AlertMethods.__init__(self, monitor, current, states, reports)
        self._current = current
        self._statistics = statistics
        self._states = states
        self._prober = prober
        self._live = live

    async def ListProviders(self, request: pb.ListProvidersRequest, context: Context) -> pb.ListProvidersResponse:
        """Every provider of the configuration, or one."""
        snapshot = self._current.chain.snapshot
        names = _named(snapshot, request.provider)
        return pb.ListProvidersResponse(
            providers=[self._provider(snapshot, name) for name in names], config_version=snapshot.version
        )

    async def ValidateCredentials(
        self, request: pb.ValidateCredentialsRequest, context: Context
    ) -> pb.ValidateCredentialsResponse:
        """Ask, and tell of the credentials as they are known then."""
        names = _named(self._current.chain.snapshot, request.provider)
        within = time_for(PROBE_TIME, context.time_remaining())
        results = by_provider(await self._prober.credentials(within, request.provider))
        for name in names:
            self._audit.record(AuditEvent.KIND_CREDENTIAL_VALIDATED, actor_of(context), name)
        offers = self._current.chain.snapshot.offers
        return pb.ValidateCredentialsResponse(
            providers=[
                provider_health(offers[name], self._statistics, self._states, results.get(name, ()))
                for name in names
                if name in offers
            ]
        )

    async def SetProviderEnabled(
        self, request: pb.SetProviderEnabledRequest, context: Context
    ) -> pb.SetProviderEnabledResponse:
        """Swap in a snapshot that has it so."""
        _check_switch(self._current.chain.snapshot, request)
        reason = "" if request.enabled else _disabled(request)
        changed = self._live.set_enabled(request.provider, reason)
        self._tell(request, context)
        return pb.SetProviderEnabledResponse(
            provider=self._provider(self._current.chain.snapshot, request.provider),
            changed=changed,
            lasts=_AS_CONFIGURED if request.enabled else _LASTS,
        )

    def _tell(self, request: pb.SetProviderEnabledRequest, context: Context) -> None:
        enabled, disabled = AuditEvent.KIND_PROVIDER_ENABLED, AuditEvent.KIND_PROVIDER_DISABLED
        kind = enabled if request.enabled else disabled
        self._audit.record(kind, actor_of(context), request.provider, detail=request.reason)

    def _provider(self, snapshot: Snapshot, name: str) -> pb.Provider:
        kind = snapshot.settings.providers[name].kind or name
        offer = snapshot.offers.get(name)
        if offer is None:
            reason = _SWITCHED_OFF.format(name)
            health = ProviderHealth(provider=name, state=HealthCheckResponse.STATE_NOT_SERVING, reason=reason)
            return pb.Provider(name=name, kind=kind, disabled_reason=reason, health=health)
        health = provider_health(offer, self._statistics, self._states)
        reason = self._live.disabled_reason(name)
        told = pb.Provider(
            name=name,
            kind=kind,
            base_url=health.endpoints[0].endpoint if health.endpoints else "",
            enabled=not reason,
            disabled_reason=reason,
            health=health,
            models=sorted(models_now(offer, self._states.missing), key=lambda model: model.id),
            discovery=self._live.discovery(name),
        )
        for model in told.models:
            add_pricing(model, snapshot.prices, int(time.time()))
        return told


def _named(snapshot: Snapshot, provider: str) -> list[str]:
    """The provider that is asked for, or all of them. Raises InvalidRequest if there is no such one."""
    if not provider:
        return sorted(snapshot.settings.providers)
    known_provider(snapshot, provider)
    return [provider]


def _check_switch(snapshot: Snapshot, request: pb.SetProviderEnabledRequest) -> None:
    """Raises InvalidRequest if this cannot be done."""
    known_provider(snapshot, request.provider)
    if request.provider not in snapshot.offers:
        raise InvalidRequest([Violation("provider", _SWITCHED_OFF.format(request.provider))])
    if len(request.reason) > _LONGEST_REASON or not request.reason.isprintable():
        raise InvalidRequest([Violation("reason", f"must be at most {_LONGEST_REASON} printable characters")])


def _disabled(request: pb.SetProviderEnabledRequest) -> str:
    """Who did it, why, and how it is undone."""
    why = f" ({request.reason})" if request.reason.strip() else ""
    undo = f"AdminService.SetProviderEnabled or `trunkline providers enable {request.provider}` puts it back"
    return f"an administrator took {request.provider} out of routing{why}: {undo}"
