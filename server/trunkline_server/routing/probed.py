"""Which models are asked for a token where somebody wants to know whether they answer, and which are not. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Final

from trunkline.v1.call_pb2 import Target
from trunkline_server.errors import UnknownModel
from trunkline_server.routing.names import find_targets
from trunkline_server.routing.replaced import gone_reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from trunkline_server.settings import Settings
    from trunkline_server.snapshot import Offer, Snapshot

# A provider may list hundreds of models: so many are asked at most, of all providers together.
MOST: Final = 64


@dataclass(frozen=True, slots=True)
class ToAsk:
    """Whom to ask, and whom not for there are too many."""

    targets: tuple[Target, ...]
    # By provider: how many more of its models can be called.
    left_out: Mapping[str, int]


def models_to_ask(snapshot: Snapshot, when: int, most: int = MOST) -> ToAsk:
    """Every model that a call can go to, each once, and of too many the first `most` of this order.

    The default model of each provider; what the configuration names (aliases, fallbacks, chains, tasks, agents); what
    it lists; what providers list themselves. Of both lists the providers take turns. `when` is in seconds since 1970.
    """
    found = {
        (target.provider, target.model): target
        for target in _in_order(snapshot)
        if _can_be_called(snapshot, target, when)
    }
    targets = tuple(found.values())
    left_out: dict[str, int] = {}
    for target in targets[most:]:
        left_out[target.provider] = left_out.get(target.provider, 0) + 1
    return ToAsk(targets[:most], left_out)


def _can_be_called(snapshot: Snapshot, target: Target, when: int) -> bool:
    return not snapshot.offers[target.provider].hindrance(target.model) and not gone_reason(snapshot, target, when)


def _in_order(snapshot: Snapshot) -> Iterator[Target]:
    offers = [offer for _, offer in sorted(snapshot.offers.items())]
    yield from (Target(provider=offer.provider, model=offer.default_model) for offer in offers if offer.default_model)
    for name in _named(snapshot.settings):
        try:
            yield from find_targets(snapshot, name)
        except UnknownModel:
            continue  # its provider is not configured here
    yield from _in_turn((offer, offer.models) for offer in offers)
    yield from _in_turn((offer, offer.discovered) for offer in offers)


def _named(settings: Settings) -> Iterator[str]:
    yield from (name for name in (settings.default_model, settings.last_resort) if name)
    yield from settings.aliases.values()
    for fallbacks in (settings.fallbacks, settings.context_fallbacks):
        yield from chain(fallbacks, *fallbacks.values())
    for of_chain in settings.chains.values():
        yield from chain(of_chain.targets, *of_chain.tiers)
    for task in settings.tasks.values():
        yield from (*task.primary, *task.fallback)
    yield from (agent.model for agent in settings.agents.values() if agent.model)
    yield from (rule.use for rule in settings.complexity)


def _in_turn(lists: Iterable[tuple[Offer, Iterable[str]]]) -> Iterator[Target]:
    columns = [[Target(provider=offer.provider, model=model) for model in models] for offer, models in lists]
    return (target for row in zip_longest(*columns) for target in row if target is not None)
