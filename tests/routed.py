"""A router over a catalogue that is written down here, with chance, time and measurements in hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trunkline.v1 import gateway_service_pb2 as pb
from trunkline.v1.call_pb2 import Routing
from trunkline_server import config
from trunkline_server.core import ANYBODY, Call
from trunkline_server.prices.book import PriceBook
from trunkline_server.providers.table import ROWS
from trunkline_server.routing.catalogue import build_offers, sold_as
from trunkline_server.routing.gathering import Sources
from trunkline_server.routing.router import Router
from trunkline_server.routing.signal import UNKNOWN
from trunkline_server.snapshot import Snapshot
from trunkline_server.state.learned.memory import Memory
from trunkline_server.state.signals.affinity import Affinity
from trunkline_server.state.strategies import Strategies

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from trunkline.v1.call_pb2 import Target
    from trunkline_server.core import Identity
    from trunkline_server.routing.learned.lesson import Lesson
    from trunkline_server.routing.policy import Policy
    from trunkline_server.routing.routed import Routed
    from trunkline_server.routing.signal import Signal
    from trunkline_server.routing.steering import Figure

# Noon of 2026-11-28, UTC.
NOW = 1_795_867_200


def snapshot_of(settings: Any) -> Snapshot:
    """What the gateway makes of a configuration whose providers can all be called."""
    prices = PriceBook(
        {name: each.kind or name for name, each in settings.providers.items()},
        settings.prices,
        {name: sold_as(each) for name, each in settings.providers.items()},
    )
    return Snapshot(config.version(settings), settings, build_offers(settings, ROWS, {}), prices)


def configured(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> Snapshot:
    """The snapshot of a configuration file."""
    path = folder / "trunkline.yaml"
    path.write_text(text)
    return snapshot_of(config.load(path, environ or {}))


def everything() -> Snapshot:
    """The whole built-in catalogue: every vendor has a key."""
    return snapshot_of(config.load(None, {row.key_env: "k" * 30 for row in ROWS.values() if row.key_env}))


class Taught(Memory):
    """What was learned, without a database behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = 0.0
        # What was told of calls that ended.
        self.lessons: list[tuple[str, Lesson, str, float, int | None]] = []

    def price_weight(self, target: float) -> float:
        return self.weight

    def ended(self, call_id: str, lesson: Lesson, served: str, target: float, cost: int | None) -> None:
        self.lessons.append((call_id, lesson, served, target, cost))


class World:
    """What a router is told of providers and targets; each can be set."""

    def __init__(self, snapshot: Snapshot, seed: int = 0) -> None:
        self.snapshot = snapshot
        self.figures: dict[str, Figure] = {}
        self.signals: dict[str, Signal] = {}
        self.strategies = Strategies()
        self.now = NOW
        self._next = seed
        self.lengths: dict[str, int] = {}
        self.corrections: dict[str, float] = {}
        self.learned = Taught()
        self.affinity = Affinity(lambda: self.now)
        sources = Sources(self._figures, self._signals, self, self.affinity, self.strategies, self.learned)
        self.router = Router(sources, self._seed, lambda: self.now)

    def output(self, model: str, task: str = "") -> int | None:
        return self.lengths.get(model)

    def correction(self, model: str) -> float:
        return self.corrections.get(model, 1.0)

    def _figures(self, providers: Iterable[str]) -> dict[str, Figure]:
        return {name: self.figures[name] for name in providers if name in self.figures}

    def _signals(self, targets: Sequence[Target]) -> list[Signal]:
        return [self.signals.get(f"{each.provider}/{each.model}", UNKNOWN) for each in targets]

    def _seed(self) -> int:
        self._next += 1
        return self._next * 0x9E3779B97F4A7C15 % (1 << 64)

    def call(
        self,
        model: str = "",
        *,
        prompt: str = "hello",
        identity: Identity = ANYBODY,
        policy: Policy | None = None,
        streaming: bool = True,
        request: pb.GenerateRequest | None = None,
        **routing: Any,
    ) -> Call:
        """A call that has come to the router."""
        made = request or pb.GenerateRequest(model=model)
        if request is None:
            made.messages.add(role=2).parts.add(text=prompt)
        if routing:
            made.routing.MergeFrom(Routing(**routing))
        return Call("call-1", made, 0.0, 60.0, streaming, self.snapshot, identity=identity, policy=policy)

    def route(self, model: str = "", **what: Any) -> Routed:
        """Where such a call goes."""
        return self.router.route(self.call(model, **what))

    def order(self, model: str = "", **what: Any) -> list[str]:
        """The same, as ids."""
        return [f"{each.provider}/{each.model}" for each in self.route(model, **what).targets]
