"""The layers as app.py stacks them, over simulated providers; and callers that come at random."""

from __future__ import annotations

import asyncio
import os
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from ledgers import MemoryLedger, price_of
from routed import Taught
from simulation.upstream import Upstream

from trunkline.v1 import gateway_service_pb2 as pb
from trunkline.v1.model_pb2 import Model
from trunkline_server.core import Call, Handler
from trunkline_server.errors import CallError, reason_name
from trunkline_server.layers.account import account
from trunkline_server.layers.attempt import attempt
from trunkline_server.layers.dispatch import dispatch
from trunkline_server.layers.endpoint import one_of
from trunkline_server.layers.observe import observe
from trunkline_server.layers.resolve import resolve
from trunkline_server.layers.route import route
from trunkline_server.logs import build_log
from trunkline_server.providers.credential import Fixed
from trunkline_server.registry import TaskRegistry
from trunkline_server.routing.gathering import Sources
from trunkline_server.routing.router import Router
from trunkline_server.sections import Seconds
from trunkline_server.settings import ProviderSettings, Settings, TimeLimits
from trunkline_server.snapshot import Offer, Snapshot
from trunkline_server.state.endpoint.breaker import Breaker
from trunkline_server.state.endpoint.experience import Experience
from trunkline_server.state.endpoints import Endpoint
from trunkline_server.state.lengths import Lengths
from trunkline_server.state.provider_endpoints import Endpoints
from trunkline_server.state.provider_health import EndpointState
from trunkline_server.state.signals.affinity import Affinity
from trunkline_server.state.signals.signals import Signals
from trunkline_server.state.strategies import Strategies

if TYPE_CHECKING:
    from collections.abc import Mapping

    from simulation.upstream import Behaviour

    from trunkline_server.core import Events, Layer

TIMES = TimeLimits(first_token=Seconds(10), between_tokens=Seconds(5))


@dataclass(slots=True)
class Told:
    """What became of a call. Seconds since the start; `reason` is empty if it has its answer."""

    begin: float
    end: float = 0.0
    first_token: float | None = None
    reason: str = "nothing"
    events: int = 0


class Steadfast(Breaker):
    """Never opens."""

    def _open(self, now: float) -> None:
        pass


class Stack:
    """A gateway whose providers all have the model "m"."""

    def __init__(
        self,
        behaviours: Mapping[str, Behaviour],
        seed: int,
        settings: Mapping[str, ProviderSettings] | None = None,
        *,
        breakers: bool = True,
        keys: int = 1,
    ) -> None:
        """`breakers`: whether those of the endpoints ever open. `keys`: how many each provider has."""
        self.random = Random(seed)
        self.start = asyncio.get_running_loop().time()
        self.upstreams = {name: Upstream(each, self.random) for name, each in behaviours.items()}
        self.told: list[Told] = []
        self.ledger = MemoryLedger()
        self.endpoints: dict[str, Endpoint] = {}
        self._settings = Settings(
            limits=TIMES, providers={name: (settings or {}).get(name, ProviderSettings()) for name in behaviours}
        )
        self._snapshot = Snapshot("test", self._settings, {name: _offer(name) for name in behaviours})
        self._ids = count()
        self._breakers = breakers
        self._keys = keys
        # How often each key was asked, by provider.
        self.asked_with = {name: [0] * keys for name in behaviours}
        self._registry = TaskRegistry()
        self._signals = Signals(asyncio.get_running_loop().time)
        self._handler = self._build()

    def _build(self) -> Handler:
        known, handlers = Endpoints(), dict[str, Handler]()
        clock = asyncio.get_running_loop().time
        for name, provider in self._settings.providers.items():
            several = []
            for _ in range(self._keys):
                state = EndpointState(name, Fixed("env:KEY ...abcd"), clock=clock, draw=self.random.random)
                several.append(Endpoint(state, provider, TIMES, lambda _: None, self.random.random))
                if not self._breakers:
                    several[-1]._breaker = Steadfast(self.random.random)
            known.open(name, several)
            self.endpoints[name] = several[0]
            handlers[name] = one_of(several, [self._with(name, key) for key in range(self._keys)], self.random.random)
        handler = dispatch(handlers)
        self._null = Path(os.devnull).open("wb")  # noqa: SIM115 - closed with the stack
        log = build_log(self._null)
        for layer in (
            self._attempt(known),
            route(self._router(known), lambda *_: None),
            resolve,
            observe(log, lambda *_: None, self.ledger.end_call),
        ):
            handler = layer(handler)
        return handler

    def _with(self, name: str, key: int) -> Handler:
        """The provider, asked with this key."""

        async def handle(call: Call) -> Events:
            self.asked_with[name][key] += 1
            async with aclosing(self.upstreams[name].handle(call)) as events:
                async for event in events:
                    yield event

        return account(self.ledger, price_of)(handle)

    def _router(self, known: Endpoints) -> Router:
        seed, clock = partial(self.random.getrandbits, 64), asyncio.get_running_loop().time
        sources = Sources(known.figures, self._signals.read, Lengths(), Affinity(clock), Strategies(), Taught())
        return Router(sources, seed, clock)

    def _attempt(self, known: Endpoints) -> Layer:
        clock = asyncio.get_running_loop().time
        experience = Experience(clock, self._signals, known.has_other_key, known.retry)
        return attempt(self._registry, lambda *_: None, experience)

    async def offer(self, rate: float, seconds: float, request: pb.GenerateRequest | None = None) -> None:
        """Calls come at random, `rate` a second, each whether those before are done or not; all are waited for."""
        until, tasks = self.now() + seconds, []
        while self.now() < until:
            tasks.append(asyncio.create_task(self._call(request or pb.GenerateRequest(model="m", prompt="x"))))
            await asyncio.sleep(self.random.expovariate(rate))
        await asyncio.gather(*tasks)
        await self._registry.wait_idle()
        self._null.close()

    async def _call(self, request: pb.GenerateRequest) -> None:
        now = asyncio.get_running_loop().time()
        call = Call(f"call-{next(self._ids)}", request, now, now + 30, streaming=True, snapshot=self._snapshot)
        told = Told(self.now())
        self.told.append(told)
        try:
            async with aclosing(self._handler(call)) as events:
                async for event in events:
                    told.events += 1
                    if told.first_token is None and event.HasField("started"):
                        told.first_token = self.now() - told.begin
                    if event.HasField("completed"):
                        told.reason = ""
        except CallError as error:
            told.reason = reason_name(error.reason)
        told.end = self.now()

    def now(self) -> float:
        """Seconds since the start."""
        return asyncio.get_running_loop().time() - self.start

    def share(self, name: str, begin: float, end: float = 1e9) -> float:
        """Of all that providers were asked then, this one's part; 1 = an even one."""
        asked = {each: upstream.count(begin, end) for each, upstream in self.upstreams.items()}
        return asked[name] * len(asked) / max(1, sum(asked.values()))

    def succeeded(self, begin: float, end: float = 1e9) -> float:
        """The part of the calls that came then that have their answer."""
        told = [each for each in self.told if begin <= each.begin < end]
        return sum(not each.reason for each in told) / max(1, len(told))

    def first_tokens(self, share: float, begin: float, end: float = 1e9) -> float:
        """The quantile of the seconds to the first token of calls that came then."""
        found = sorted(each.first_token for each in self.told if begin <= each.begin < end and each.first_token)
        return found[min(len(found) - 1, int(share * len(found)))]


def _offer(name: str) -> Offer:
    return Offer(
        provider=name,
        models={"m": Model(id=f"{name}/m", provider=name, provider_model="m")},
        default_model="m",
        open=False,
        spelling="",
        builtin=False,
        unavailable_reason="",
    )
