"""`make bench-layers`: what each layer costs a call and an event, in one process and without sockets.

    python -m bench.layers

Prints a table, writes bench-layers.json and ends with one line of JSON. A layer's cost is what a handler costs with it
less what it costs without; a line through short and long answers parts calls from events. CPU time, the least of five.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import sys
import time
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import grpc
import make
import uvloop
from bench import answers
from bench.callers import request_for
from bench.figures import machine
from bench.ledger import CALLS, ledger_work
from ledger_serving import no_reports
from msgspec import structs
from routed import Taught, everything

from trunkline.v1 import call_pb2
from trunkline.v1.content_pb2 import ROLE_USER, Message, Part
from trunkline.v1.gateway_service_pb2 import GenerateRequest
from trunkline_server.core import Chain, Current, Identity, Story, now
from trunkline_server.dialects import openai_chat
from trunkline_server.fold import fold, merge
from trunkline_server.layers.account import account
from trunkline_server.layers.attempt import attempt
from trunkline_server.layers.attempt_log import attempt_log
from trunkline_server.layers.budget import budget
from trunkline_server.layers.decision_log import decision_log
from trunkline_server.layers.endpoint import one_of
from trunkline_server.layers.limit import limit
from trunkline_server.layers.observe import observe
from trunkline_server.layers.price import most_of, price_of
from trunkline_server.layers.resolve import resolve
from trunkline_server.layers.route import route
from trunkline_server.logs import build_log
from trunkline_server.prices.book import PriceBook
from trunkline_server.providers.credential import Fixed
from trunkline_server.providers.probe import Prober
from trunkline_server.providers.table import ROWS
from trunkline_server.registry import TaskRegistry
from trunkline_server.routing.ask import ask_of
from trunkline_server.routing.candidates import build_candidates
from trunkline_server.routing.decision import Question, choose, rank
from trunkline_server.routing.gathering import Sources
from trunkline_server.routing.learned.cells import Quality
from trunkline_server.routing.learned.shape import NO_SHAPE
from trunkline_server.routing.learned.utility import Exchange
from trunkline_server.routing.router import Router
from trunkline_server.routing.signal import Signal
from trunkline_server.routing.strategies import BUILT_IN
from trunkline_server.routing.table import table_of
from trunkline_server.routing.taught import Taught as TaughtOf
from trunkline_server.rpc.edge import Edge, new_id
from trunkline_server.rpc.gatekeeper import Gatekeeper
from trunkline_server.rpc.health import Serving
from trunkline_server.rpc.service import Gateway
from trunkline_server.settings.budgets import BudgetSettings, Money
from trunkline_server.settings.limits import MOST as MOST_LIMIT
from trunkline_server.settings.limits import CallerLimit, CallerLimits
from trunkline_server.state.budgets.accounts import Rules
from trunkline_server.state.endpoint.experience import Experience
from trunkline_server.state.endpoints import Endpoint
from trunkline_server.state.identity.keyring import Keyring
from trunkline_server.state.identity.keys import ApiKey, HeldSecret, digest_of, new_secret, write_key
from trunkline_server.state.lengths import Lengths
from trunkline_server.state.limits.local import LocalLimits
from trunkline_server.state.provider_endpoints import Endpoints
from trunkline_server.state.provider_health import EndpointState, ProviderStates
from trunkline_server.state.signals.affinity import Affinity
from trunkline_server.state.signals.signals import Signals
from trunkline_server.state.statistics import Statistics
from trunkline_server.state.strategies import Strategies

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from trunkline.v1.gateway_service_pb2 import StreamGenerateResponse
    from trunkline_server.core import Call, Events, Handler, Layer
    from trunkline_server.logs import Log
    from trunkline_server.state.ledger.rows import AttemptRow

    # Does something once, over an answer of so many events.
    Work = Callable[[int], Callable[[], Awaitable[None]]]

FILE = Path("bench-layers.json")
REPEATS = 5
# Events of a short and of a long answer.
FEW, MANY = 5, 405
# Events that are worked through for one measurement.
EVENTS = 30_000
PEPPER, SECRET = b"p" * 64, new_secret()
METADATA = (("user-agent", "grpc-python-asyncio/1.85"), ("authorization", f"Bearer {write_key('0' * 12, SECRET)}"))
PRICED = call_pb2.Target(provider="p", model="gpt-4o-mini")
# Who pays: what these cost together, and the most that they may, in microseconds a call.
WHO_PAYS, WHO_PAYS_MOST = ("check of a key", "account", "ledger"), 120.0
# What keeps the promises while providers fail: what these cost together, and the most that they may, in microseconds a
# unary call, and an event of those that come together. One that comes alone wakes its reader, too.
KEEPS, KEEPS_MOST, KEEPS_MOST_EVENT = ("attempt", "endpoint"), 60.0, 1.0
# What choosing a target may cost, in microseconds.
ROUTES = "route, no model named"
DECISIONS = {"decision among 25": 25, "decision among 200": 200}
LEARNED = {"by what was learned, among 25": 25, "by what was learned, among 200": 200}
MOST = {ROUTES: 60.0} | {name: 50.0 if count == 25 else 200.0 for name, count in (DECISIONS | LEARNED).items()}
METHOD = "/trunkline.v1.GatewayService/Generate"
QUIRKS = ROWS["openai_compatible"].quirks


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU microseconds."""

    us_per_call: float
    # 0 where there is one event a call.
    us_per_event: float = 0.0


# Nothing is held in what is measured here.
NO_BUDGETS = cast("Any", None)


class Layers:
    """The layers as app.py builds them, over providers that have their answers in memory."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._registry = TaskRegistry()
        self._statistics = Statistics()
        priced = replace(make.snapshot(), prices=PriceBook({"p": "openai"}))
        caller = Identity(workspace="w", key="k")
        self._template = structs.replace(
            make.call(timeout=1e6), snapshot=priced, target=PRICED, attempt=1, identity=caller
        )
        self._gatekeeper = Gatekeeper(Keyring(OneKey(), PEPPER), always=True)
        self.observe = observe(log, self._statistics.record, lambda _: None)
        self.account = account(Nowhere(), price_of)
        # Without budgets, and with one that is about another workspace's calls.
        self.without_budgets = budget(Rules({}), NO_BUDGETS, most_of, self.account)
        others = BudgetSettings(limit=Money(0), period="total", workspace="elsewhere")
        self.budgets_of_others = budget(Rules({"others": others}), NO_BUDGETS, most_of, self.account)
        most = CallerLimit(requests_per_minute=MOST_LIMIT, tokens_per_minute=MOST_LIMIT, concurrency=1000)
        self.limit = limit(CallerLimits(each_key=most, each_workspace=most), LocalLimits(now))
        self._endpoints = Endpoints()
        seed, signals = partial(random.getrandbits, 64), Signals(now, self._endpoints.utilisation)
        self.attempt = attempt(self._registry, attempt_log(log), Experience(now, signals))
        sources = Sources(self._endpoints.figures, signals.read, Lengths(), Affinity(now), Strategies(), Taught())
        self.route = route(Router(sources, seed, time.time), decision_log(log))
        self.whole_chain: Layer = lambda handler: self.observe(
            resolve(self.route(self.attempt(self.endpoint(handler))))
        )

    def choosing(self) -> Work:
        """The route layer for a call that names no model, with the whole built-in catalogue loaded."""
        request = GenerateRequest(messages=[hello()])
        call = structs.replace(self._template, request=request, snapshot=everything())
        handler = self.route(together(FEW))

        async def read() -> None:
            async for _ in handler(structs.replace(call, story=Story())):
                pass

        return lambda _: read

    def endpoint(self, handler: Handler) -> Handler:
        """The layer of one endpoint that has a key and no limits."""
        known = EndpointState("https://up/v1", Fixed("env:KEY ...abcd"))
        settings = self._template.snapshot.settings
        made = Endpoint(known, settings.providers["p"], settings.limits, lambda _: None, random.random)
        return one_of([made], [handler], random.random)

    def reading(self, layer: Layer, source: Callable[[int], Handler], *, streaming: bool) -> Work:
        """A call to `layer` around a provider, read to its end."""

        def work(events: int) -> Callable[[], Awaitable[None]]:
            handler = layer(source(events))

            async def read() -> None:
                async for _ in handler(self._call(streaming=streaming)):
                    pass

            return read

        return work

    def serving(self, *, streaming: bool) -> Work:
        """The edge and the service around a provider."""

        def work(events: int) -> Callable[[], Awaitable[None]]:
            chain = Chain(self._template.snapshot, together(events))
            states, prober = ProviderStates(), Prober(new_id)
            gateway = Gateway(
                Current(chain), self._statistics, Serving(0.0), states, prober, no_reports(), LocalLimits(now)
            )
            rpc = self._wrapped(gateway, streaming=streaming)

            async def serve() -> None:
                await rpc(self._template.request, Context())

            return serve

        return work

    def admitting(self) -> Work:
        """The check of a key alone, once it was looked up; a part of the edge."""

        async def admit() -> None:
            await self._gatekeeper.admit(METHOD, cast("Any", Context()))

        return lambda _: admit

    def _wrapped(self, gateway: Gateway, *, streaming: bool) -> Callable[..., Awaitable[Any]]:
        name = "StreamGenerate" if streaming else "Generate"
        method: Any = getattr(gateway, name)
        kind: Any = grpc.unary_stream_rpc_method_handler if streaming else grpc.unary_unary_rpc_method_handler
        wrapped: Any = Edge(self._log, self._gatekeeper).wrap(f"/trunkline.v1.GatewayService/{name}", kind(method))
        rpc: Callable[..., Awaitable[Any]] = wrapped.unary_stream if streaming else wrapped.unary_unary
        return rpc

    def _call(self, *, streaming: bool) -> Call:
        return structs.replace(self._template, streaming=streaming, story=Story())

    async def wait_idle(self) -> None:
        await self._registry.wait_idle()


class OneKey:
    """A database with one key, which is looked up every five seconds."""

    async def find(self, key_id: str) -> ApiKey | None:
        return ApiKey(
            id=key_id, name="k", workspace="w", role="caller", created=0, secret=HeldSecret(digest_of(PEPPER, SECRET))
        )

    async def has_any(self) -> bool:
        return True


class Context:
    """A gRPC context whose caller has a key and takes everything at once."""

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return METADATA

    def time_remaining(self) -> float:
        return 60.0

    def set_trailing_metadata(self, metadata: object) -> None:
        pass

    async def write(self, event: StreamGenerateResponse) -> None:
        pass


class Nowhere:
    """A ledger that costs nothing."""

    async def begin(self, row: AttemptRow) -> None:
        """Nothing."""

    def finish(self, row: AttemptRow) -> Awaitable[None]:
        return self.begin(row)


def billed(events: int) -> Handler:
    """A provider that tells what it used."""
    usage = call_pb2.Usage(input_tokens=100, output_tokens=events, cache_read_input_tokens=50)
    return make.playing([*said(events)[:-1], make.completed(usage=usage)])


def said(events: int) -> list[StreamGenerateResponse]:
    """An answer of so many events."""
    return make.answer(*["word "] * (events - 2))


def together(events: int) -> Handler:
    """A provider whose events are all there at once."""
    return make.playing(said(events))


def spaced(events: int) -> Handler:
    """A provider whose events come one in each turn of the loop."""
    script = said(events)

    async def handle(_: Call) -> Events:
        for event in script:
            await asyncio.sleep(0)
            yield event

    return handle


def plain(handler: Handler) -> Handler:
    """No layer at all."""
    return handler


def doing(prepare: Callable[[int], Callable[[], object]]) -> Work:
    """A plain function as work."""

    def work(events: int) -> Callable[[], Awaitable[None]]:
        function = prepare(events)

        async def do() -> None:
            function()

        return do

    return work


async def nothing() -> None:
    """What it costs to measure."""


def idle(_: int) -> Callable[[], Awaitable[None]]:
    return nothing


async def cpu_us(work: Callable[[], Awaitable[None]], times: int) -> float:
    """CPU microseconds of doing it once: the least of some repeats, because noise only adds."""
    best = float("inf")
    for _ in range(REPEATS):
        gc.collect()
        begin = time.process_time()
        for _ in range(times):
            await work()
        best = min(best, time.process_time() - begin)
    return best / times * 1e6


async def cost(work: Work, base: Work) -> Cost:
    """What `work` costs more than `base`, by the call and by the event."""
    few, many = [await _difference(work, base, events) for events in (FEW, MANY)]
    per_event = (many - few) / (MANY - FEW)
    return Cost(few - FEW * per_event, per_event)


async def _difference(work: Work, base: Work, events: int) -> float:
    times = EVENTS // (events + 10)
    return await cpu_us(work(events), times) - await cpu_us(base(events), times)


async def layer_costs(layers: Layers) -> dict[str, Cost]:
    """By the layer's name."""
    all_at_once = layers.reading(plain, together, streaming=True)
    one_by_one = layers.reading(plain, spaced, streaming=True)
    costs = {}
    for name, layer in {"observe": layers.observe, "resolve": resolve, "route": layers.route}.items():
        costs[name] = await cost(layers.reading(layer, together, streaming=True), all_at_once)
    for name, layer in {
        "attempt": layers.attempt,
        "endpoint": layers.endpoint,
        "whole chain": layers.whole_chain,
    }.items():
        costs[f"{name}, one by one"] = await cost(layers.reading(layer, spaced, streaming=True), one_by_one)
        costs[f"{name}, all at once"] = await cost(layers.reading(layer, together, streaming=True), all_at_once)
        costs[f"{name}, unary"] = await cost(layers.reading(layer, together, streaming=False), all_at_once)
    costs[ROUTES] = Cost(await _difference(layers.choosing(), all_at_once, FEW))
    costs["limit, of key and workspace"] = await cost(
        layers.reading(layers.limit, together, streaming=True), all_at_once
    )
    costs["account"] = await cost(
        layers.reading(layers.account, billed, streaming=True), layers.reading(plain, billed, streaming=True)
    )
    accounted = layers.reading(layers.account, billed, streaming=True)
    costs["budget, none"] = await cost(layers.reading(layers.without_budgets, billed, streaming=True), accounted)
    costs["budget, of others"] = await cost(layers.reading(layers.budgets_of_others, billed, streaming=True), accounted)
    costs["edge and service, streamed"] = await cost(layers.serving(streaming=True), all_at_once)
    costs["edge and service, unary"] = await cost(layers.serving(streaming=False), all_at_once)
    costs["check of a key"] = await cost(layers.admitting(), idle)
    await layers.wait_idle()
    return costs


def hello() -> Message:
    """What is asked where a target is chosen."""
    return Message(role=ROLE_USER, parts=[Part(text="Summarise what the meeting of Tuesday decided, in three points.")])


def deciding(count: int, *, learned: bool = False) -> Callable[[], object]:
    """A decision among so many candidates of the catalogue, every second one measured."""
    known = build_candidates(everything(), int(time.time())).rows
    rows = (replace(known[number % len(known)], id=f"{number}", provider=f"p{number % 25}") for number in range(count))
    table, ask = table_of(rows), ask_of(GenerateRequest(messages=[hello()]), streaming=True)
    signal = Signal(base=0.4, per_prompt_token=1e-5, per_token=0.01, samples=50)
    question = Question(
        seed=1,
        table=table,
        ask=ask,
        groups=(tuple(range(count)),),
        is_open=True,
        signals=dict.fromkeys(range(0, count, 2), signal),
        strategy=BUILT_IN["performance_based" if learned else "balanced"],
        taught=TaughtOf(_known(count), Exchange(price_weight=0.1, reference=1e6), 0.0, NO_SHAPE) if learned else None,
    )
    return lambda: choose(rank(question), {})


def _known(count: int) -> tuple[Quality, ...]:
    draw = random.Random(count)
    return tuple(Quality(draw.random(), 50.0 * draw.random()) for _ in range(count))


def _deciding(count: int, _: int, *, learned: bool = False) -> Callable[[], object]:
    return deciding(count, learned=learned)


async def function_costs() -> dict[str, Cost]:
    """What the layers and the providers call."""
    request, whole = request_for("unary"), answers.whole("unary")
    encode = partial(openai_chat.encode_request, request, "unary", stream=False, quirks=QUIRKS)
    works = {
        **{name: doing(partial(_deciding, count)) for name, count in DECISIONS.items()},
        **{name: doing(partial(_deciding, count, learned=True)) for name, count in LEARNED.items()},
        "merge": doing(lambda events: partial(merge, said(events))),
        "fold": doing(lambda events: partial(fold, said(events))),
        "decode, one read": doing(lambda events: partial(decode, [b"".join(sse(events))])),
        "decode, event by event": doing(lambda events: partial(decode, sse(events))),
        "encode request": doing(lambda _: encode),
        "decode whole answer": doing(lambda _: partial(openai_chat.decode_response, whole)),
    }
    return {name: await cost(work, idle) for name, work in works.items()}


def sse(events: int) -> list[bytes]:
    """A streamed answer of so many tokens, as its server-sent events."""
    return list(answers.events(f"burst-{events}"))


def decode(reads: Sequence[bytes]) -> None:
    """What a streamed answer goes through, framing included."""
    decoder = openai_chat.stream_decoder()
    for data in reads:
        decoder.feed(data)
    decoder.finish()


async def measure(log: Log) -> dict[str, Cost]:
    """Every cost by its name."""
    return {**await layer_costs(Layers(log)), **await function_costs(), "ledger": await ledger_cost(log)}


async def ledger_cost(log: Log) -> Cost:
    """The rows of a call, the writer's thread included."""
    async with ledger_work(log) as work:
        return Cost(await cpu_us(work, 10) / CALLS)


def main() -> None:
    with Path(os.devnull).open("wb") as log:
        costs = uvloop.run(measure(build_log(log)))
    print(f"{'CPU microseconds':28}  {'a call':>8}  {'an event':>8}")
    for name, found in costs.items():
        print(f"{name:28}  {found.us_per_call:8.1f}  {found.us_per_event:8.2f}")
    results = {name: asdict(found) for name, found in costs.items()}
    FILE.write_text(json.dumps({**results, "machine": machine()}, indent=2) + "\n")
    print(json.dumps(results))
    paying = sum(costs[name].us_per_call for name in WHO_PAYS)
    print(f"{' + '.join(WHO_PAYS)}: {paying:.1f} us a call, at most {WHO_PAYS_MOST:.0f}")
    for name, most in MOST.items():
        print(f"{name}: {costs[name].us_per_call:.1f} us, at most {most:.0f}")
    call = sum(costs[f"{name}, unary"].us_per_call for name in KEEPS)
    event, alone = (
        sum(costs[f"{name}, {how}"].us_per_event for name in KEEPS) for how in ("all at once", "one by one")
    )
    print(f"{' + '.join(KEEPS)}: {call:.1f} us a unary call, at most {KEEPS_MOST:.0f}")
    print(f"{' + '.join(KEEPS)}: {event:.2f} us an event, at most {KEEPS_MOST_EVENT:.0f}; {alone:.2f} alone")
    kept = call <= KEEPS_MOST and event <= KEEPS_MOST_EVENT
    sys.exit(not kept or paying > WHO_PAYS_MOST or any(costs[name].us_per_call > most for name, most in MOST.items()))


if __name__ == "__main__":
    main()
