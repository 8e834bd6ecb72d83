"""The composition root: read it from top to bottom to see what Trunkline is made of."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

from trunkline.v1.gateway_service_pb2 import HealthCheckRequest, HealthCheckResponse, ProviderHealth
from trunkline_server import config
from trunkline_server.alerting import Alerting
from trunkline_server.core import Chain, Current, now
from trunkline_server.entry_points import extensions_of
from trunkline_server.errors import Draining
from trunkline_server.formats import DIALECTS, LISTS
from trunkline_server.layers.account import account
from trunkline_server.layers.attempt import attempt
from trunkline_server.layers.attempt_log import attempt_log
from trunkline_server.layers.budget import budget
from trunkline_server.layers.decision_log import decision_log
from trunkline_server.layers.dispatch import dispatch
from trunkline_server.layers.drain import drained
from trunkline_server.layers.limit import limit
from trunkline_server.layers.observe import observe
from trunkline_server.layers.price import most_of, price_of
from trunkline_server.layers.resolve import plain, resolve
from trunkline_server.layers.route import route
from trunkline_server.layers.thrift import saving, thrift
from trunkline_server.prices.book import PriceBook
from trunkline_server.providers.defaults import with_defaults
from trunkline_server.providers.discovery import Discoverer
from trunkline_server.providers.embedded import Embedded
from trunkline_server.providers.probe import Prober
from trunkline_server.providers.scripted import build_scripted
from trunkline_server.providers.table import GATEWAY, configured
from trunkline_server.registry import TaskRegistry
from trunkline_server.routing.catalogue import build_offers, sold_as
from trunkline_server.routing.gathering import Sources
from trunkline_server.routing.router import Router
from trunkline_server.rpc.admin import Admin
from trunkline_server.rpc.edge import new_id
from trunkline_server.rpc.feedback import Feedback
from trunkline_server.rpc.gatekeeper import Gatekeeper, identities
from trunkline_server.rpc.health import Probed, Serving, health_of
from trunkline_server.rpc.server import build_admin_server, build_server, is_free
from trunkline_server.rpc.service import Gateway, Models
from trunkline_server.settings import ADMIN_LISTEN
from trunkline_server.settings.limits import CallerLimits
from trunkline_server.snapshot import Snapshot
from trunkline_server.state.audit import Audit
from trunkline_server.state.budgets.accounts import Rules
from trunkline_server.state.budgets.purses import Purses
from trunkline_server.state.endpoint.experience import Experience
from trunkline_server.state.identity.issuing import Issuer
from trunkline_server.state.identity.keyring import Keyring
from trunkline_server.state.identity.named import warn_of_unknown_keys
from trunkline_server.state.identity.pepper import pepper_of
from trunkline_server.state.identity.store import KeyStore
from trunkline_server.state.learned.learner import Learner
from trunkline_server.state.learned.seal import Seal
from trunkline_server.state.ledger.database import WORDS, StoreFailed
from trunkline_server.state.ledger.open import open_ledger
from trunkline_server.state.ledger.reports import LedgerReports
from trunkline_server.state.lengths import Lengths
from trunkline_server.state.limits.open import open_limits
from trunkline_server.state.live import Live
from trunkline_server.state.provider_endpoints import Endpoints
from trunkline_server.state.provider_health import ProviderStates
from trunkline_server.state.signals.affinity import Affinity
from trunkline_server.state.signals.signals import Signals
from trunkline_server.state.statistics import Finished, Statistics
from trunkline_server.state.strategies import Strategies
from trunkline_server.upstreams import Upstreams
from trunkline_server.worker import ALONE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from trunkline.v1 import call_pb2
    from trunkline.v1.model_service_pb2 import PlanRouteResponse
    from trunkline_server.core import Call, Layer
    from trunkline_server.logs import Log
    from trunkline_server.providers.discovery import Lists
    from trunkline_server.providers.table import Row
    from trunkline_server.rpc.server import Server
    from trunkline_server.settings import ProviderSettings, ServerSettings, Settings
    from trunkline_server.state.endpoints import Endpoint
    from trunkline_server.state.switches import Switch
    from trunkline_server.worker import Worker

OPEN = "whoever reaches this address may do everything; once `trunkline keys create` made a key, calls need it"
NO_KEYS = (
    "others can reach {}, and there is no gateway key: make one with `trunkline keys create NAME`; or start without, "
    "so that nobody is let in until there is, with server.auth: keys; or, where the network is trusted, let everybody "
    "in with server.insecure: [no_keys]"
)


class CannotStart(Exception):
    """The gateway cannot start, for a reason that its operator can do something about."""


class App:
    """A gateway that runs. Everything that outlives a call belongs to it."""

    def __init__(
        self,
        settings: Settings,
        log: Log,
        weights: Path,
        data: Path,
        *,
        validates: bool = True,
        discovers: bool = True,
        worker: Worker = ALONE,
    ) -> None:
        """`weights` is the folder of the embedded model's weights, `data` the one of the ledger.

        `validates`: whether providers are asked about their credentials, at the start and every five minutes.
        `discovers`: whether they are asked for their models, at the start and every so often.
        """
        self.port = 0
        # 0 = there is no admin service.
        self.admin_port = 0
        self._settings = settings
        self._log = log
        self._weights = weights
        self._data = data
        self._log_attempt = attempt_log(log)
        self._registry = TaskRegistry()
        self._statistics = Statistics()
        self._lengths = Lengths()
        self._worker = worker
        self._limits = open_limits(settings, worker.count, now, log)
        self._serving = Serving(time.time())
        self._states = ProviderStates()
        self._endpoints = Endpoints()
        self._signals = Signals(now, self._endpoints.utilisation)
        self._experience = Experience(now, self._signals, self._endpoints.has_other_key, self._endpoints.retry)
        self._strategies = Strategies(worker.tell)
        self._prober = Prober(new_id)
        self._alerting = Alerting(settings.alerts, log)
        self._purses = Purses(lambda: self.current.chain.snapshot.settings.budgets)
        # By provider: its row, and how it is asked for its models.
        self._rows: Mapping[str, Row] = {}
        self._listers: Mapping[str, Lists] = {}
        self._validates = validates
        self._discovers = discovers and settings.discovery.every > 0
        # What goes on until the end.
        self._background: list[asyncio.Task[None]] = []
        self._gatekeeper = Gatekeeper(always=True)
        # What is closed at the end, last opened first.
        self._opened = AsyncExitStack()

    async def start(self) -> None:
        """Build everything and take calls on `port`. Raises AddressTaken, LedgerNotOpened, PepperUnfit, CannotStart."""
        try:
            await self._start()
        except BaseException:
            await self._opened.aclose()
            raise

    async def _start(self) -> None:
        self._ledger = await open_ledger(self._settings.ledger, self._data, self._log)
        self._opened.push_async_callback(self._ledger.aclose)
        self._ledger.budgets.listener = self._purses
        self._audit = Audit(self._ledger.database, self._registry.spawn, self._log)
        pepper = pepper_of(self._settings.server, self._data)
        await self._learn(Seal(pepper))
        self._gatekeeper = await self._build_gatekeeper(self._settings.server, pepper)
        self._background.append(self._registry.spawn(self._limits.follow()))
        await self._limits.wait_ready()
        self.current = Current(self.build_chain(self._settings))
        self._live = live = Live(self.current, self._rows, self._log, tell=self._worker.tell)
        for switch in self._worker.switches:
            self.obey(switch)
        for name in self._listers:
            live.follow(name)
        discoverer = Discoverer(live, self._listers)
        self._monitor = self._alerting.build(self._ledger.database, self._provider_health, self._purses, self._opened)
        reports = LedgerReports(
            self._ledger.database,
            self._ledger.flush,
            health=self._ledger.health,
            learner=self._learner,
            rules=lambda: Rules(self.current.chain.snapshot.settings.budgets),
        )
        server, self.port = build_server(
            self._settings.server,
            self._log,
            Gateway(self.current, self._statistics, self._serving, self._states, self._prober, reports, self._limits),
            Models(self.current, self._states, live, discoverer, self._signals, self._plan),
            Feedback(reports),
            self._serving,
            self._gatekeeper,
            self._worker.address,
        )
        self._servers = [server, *self._build_admin(live, reports)]
        for each in self._servers:
            await each.start()
        self._background += [self._registry.spawn(work) for work in self._alerting.works()]
        if self._validates:
            self._background.append(self._registry.spawn(self._prober.validate()))
        if self._discovers:
            self._background.append(self._registry.spawn(discoverer.follow(self._settings.discovery.every)))

    async def _learn(self, seal: Seal) -> None:
        """Recall what calls taught. Raises CannotStart."""
        self._learner = Learner(self._ledger.database, seal)
        sources = Sources(
            self._endpoints.figures, self._signals.read, self._lengths, Affinity(now), self._strategies, self._learner
        )
        self._router = Router(sources, partial(random.getrandbits, 64), time.time)
        try:
            await self._learner.start()
        except StoreFailed as failed:
            raise CannotStart(f"what was learned cannot be read: {WORDS[failed.kind]}") from None
        self._opened.push_async_callback(self._learner.aclose)
        self._background.append(self._registry.spawn(self._learner.follow()))

    def _build_admin(self, live: Live, reports: LedgerReports) -> Iterator[Server]:
        """The admin service's server, if there is one. Raises AddressTaken if the configuration says where it is.

        Nobody said where: then another gateway on this machine may have the usual port, and this one goes without.
        """
        settings, said = self._settings.server, self._worker.admin or self._settings.server.admin_listen
        address = ADMIN_LISTEN if said is None else said
        if self._worker.number or not address or (said is None and not is_free(address)):
            return
        admin = Admin(
            self.current,
            self._statistics,
            self._states,
            self._prober,
            live,
            self._issuer,
            self._audit,
            reports,
            self._strategies,
            self._monitor,
        )
        server, self.admin_port = build_admin_server(
            settings, address, self._log, admin, self._serving, self._gatekeeper
        )
        yield server

    async def stop(self) -> None:
        """Drain: say so, let load balancers notice, let calls finish within the grace, end the rest by name, close.

        Once only: a second call returns at once.
        """
        if self._serving.draining:
            return
        server = self._settings.server
        self._serving.drain()
        self._monitor.interrupt(Draining)
        await asyncio.sleep(server.notice)
        self._serving.stop()
        ending = asyncio.get_running_loop().call_later(max(0, server.grace - 1), self._registry.interrupt, Draining)
        await asyncio.gather(*(each.stop(server.grace) for each in self._servers))
        for task in self._background:
            task.cancel()
        # What is still read on for its usage has what is left of the grace.
        await self._registry.wait_idle()
        ending.cancel()
        await self._opened.aclose()

    def obey(self, switch: Switch) -> None:
        """An administrator has switched something at another worker."""
        (self._strategies if switch.kind == "strategy" else self._live).obey(switch)

    async def needs_keys(self) -> bool:
        """Whether calls need a gateway key, or a client certificate that names its caller."""
        return await self._gatekeeper.is_needed()

    def health(self) -> HealthCheckResponse:
        """What HealthCheck tells an operator."""
        request, snapshot = HealthCheckRequest(include_providers=True), self.current.chain.snapshot
        return health_of(snapshot, self._serving, self._statistics, self._states, request, Probed())

    def _provider_health(self) -> list[ProviderHealth]:
        """How each provider is that calls may go to."""
        return [self._states.health(name) for name in self.current.chain.snapshot.offers]

    async def _build_gatekeeper(self, server: ServerSettings, pepper: bytes) -> Gatekeeper:
        """Raises CannotStart where nobody would get in, and the configuration does not say that this is meant."""
        certificates = identities(server.tls)
        store = KeyStore(self._ledger.database)
        await warn_of_unknown_keys(self._settings, store, self._log)
        keyring = Keyring(store, pepper)
        self._issuer = Issuer(store, pepper, keyring.forget)
        if server.auth == "none":
            return Gatekeeper()
        if server.auth == "auto" and server.needs_keys and not certificates and not await keyring.has_any():
            raise CannotStart(NO_KEYS.format(server.listen))
        return Gatekeeper(keyring, self._audit, always=server.needs_keys, certificates=certificates)

    def build_chain(self, settings: Settings) -> Chain:
        """The layers for one configuration. Nothing here waits for a provider."""
        engines = {name: self._build_engine(provider) for name, provider in _of_kind(settings, "embedded")}
        reasons = {name: engine.unavailable_reason() for name, engine in engines.items()}
        extensions = extensions_of(settings)
        offers = build_offers(settings, extensions.rows, reasons)
        prices = PriceBook(
            {name: each.kind or name for name, each in settings.providers.items()},
            settings.prices,
            {name: sold_as(each) for name, each in settings.providers.items()},
            {name: offer.prefix for name, offer in offers.items()},
        )
        snapshot = Snapshot(config.version(settings), settings, offers, prices)
        kinds = {name: settings.providers[name].kind or name for name in snapshot.offers}
        rows = {name: configured(extensions.rows[kind], settings.providers[name]) for name, kind in kinds.items()}
        self._rows, rules = rows, Rules(settings.budgets)
        upstreams = Upstreams(
            settings,
            {**DIALECTS, **extensions.dialects},
            LISTS,
            self._log,
            self._opened,
            # In the attempt's own task: what is about to be sent is paid for and written down, and what became of it.
            budget(rules, self._ledger, most_of, account(self._ledger, price_of)),
            self._open,
            self._audit,
            partial(drained, self._registry),
        )
        self._listers = upstreams.listers
        brought = {name: extensions.handlers[kind] for name, kind in kinds.items() if kind in extensions.handlers}
        handlers = {
            **{name: upstreams.build_inner(name, rows[name], engine.handle) for name, engine in engines.items()},
            **{
                name: upstreams.build_inner(name, rows[name], build_scripted(provider.scripts))
                for name, provider in _of_kind(settings, "scripted")
            },
            **{name: upstreams.build_gateway(name, rows[name]) for name, _ in _of_kind(settings, GATEWAY)},
            **{name: upstreams.build_brought(name, rows[name], brought[name]) for name in brought},
            **{name: upstreams.build(name, row, self._prober) for name, row in rows.items() if row.dialect},
        }
        handler = dispatch({name: with_defaults(each, rows[name].defaults) for name, each in handlers.items()})
        for layer in reversed(self._layers(settings, rules)):
            handler = layer(handler)
        return Chain(snapshot, handler)

    def _layers(self, settings: Settings, rules: Rules) -> tuple[Layer, ...]:
        """Outermost first."""
        return (
            # Outermost: one line and one count for every call, those that are refused below included.
            observe(self._log, self._record, self._ledger.end_call),
            # Before anything is decided: below here a request is valid and plain.
            resolve,
            # What the caller itself may use: who has too much costs nothing below. Nobody is limited: it is not there.
            *([limit(limits, self._limits)] if (limits := settings.caller_limits) != CallerLimits() else ()),
            # Before a target is chosen: near the end of a soft budget its cost weighs more.
            thrift(rules, self._purses),
            # Knows what the request asks for, and how those did lately who may answer.
            route(self._router, decision_log(self._log)),
            # The task boundary: what is streamed below runs in a task of its own. A time limit or a drain can end it.
            attempt(self._registry, self._report, self._experience),
        )

    def _plan(self, call: Call) -> PlanRouteResponse:
        """Where a call would go: decided as in the layers."""
        resolved, warnings = plain(call)
        save = saving(Rules(call.snapshot.settings.budgets), self._purses)
        return self._router.explain(save(resolved), warnings)

    def _record(self, finished: Finished, ended: float) -> None:
        """A call has ended: who learns from it."""
        self._statistics.record(finished, ended)
        self._lengths.record(finished)
        self._alerting.tally.answered(finished, now())

    def _report(self, call: Call, record: call_pb2.Attempt) -> None:
        """An attempt has ended: who wants to know."""
        self._log_attempt(call, record)
        self._states.report(call, record)
        provider, model, outcome = record.target.provider, record.target.model, record.outcome
        self._alerting.tally.attempted(provider, outcome, now())
        self._learner.attempted(call.story.choice.task, f"{provider}/{model}", outcome)

    def _open(self, provider: str, status_url: str, endpoints: Sequence[Endpoint]) -> None:
        """A provider has these endpoints: who wants to know."""
        self._states.open(provider, status_url, endpoints)
        self._endpoints.open(provider, endpoints)

    def _build_engine(self, provider: ProviderSettings) -> Embedded:
        engine = Embedded(provider, self._weights)
        self._opened.push_async_callback(engine.aclose)
        return engine


def _of_kind(settings: Settings, kind: str) -> Iterator[tuple[str, ProviderSettings]]:
    for name, provider in settings.providers.items():
        if provider.enabled and (provider.kind or name) == kind:
            yield name, provider
