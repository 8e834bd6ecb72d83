"""What a configuration says of tasks, agents, chains and environments, checked for what it means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import convert, structs

from trunkline_server.config.check import Problem, did_you_mean, join
from trunkline_server.config.overlays import BUILT_IN, tree_of
from trunkline_server.routing.catalogue import build_offers
from trunkline_server.routing.experiments import OTHERS
from trunkline_server.routing.names import is_known, remedy
from trunkline_server.settings.tasks import RoutingSections, spelling
from trunkline_server.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trunkline_server.providers.table import Row
    from trunkline_server.settings import Settings
    from trunkline_server.settings.tasks import ChainSettings

_SECTIONS = ("tasks", "agents", "chains", "environments")
_PASSED_OVER = "it is passed over, for nobody answers to this name"


def task_problems(settings: Settings, _: object) -> Iterator[Problem]:
    """What is wrong with them. That a target is not known is none: target_warnings."""
    for section in _SECTIONS:
        yield from _spelt_twice(section, getattr(settings, section))
    for name, chain in settings.chains.items():
        yield from _chain(join("chains", name), chain, settings)
    for name, task in settings.tasks.items():
        yield from _known(f"{join('tasks', name)}.chain", "the name of a chain", task.chain, settings.chains)
        if task.weights is not None and not any(structs.astuple(task.weights)):
            yield Problem(f"{join('tasks', name)}.weights", "at least one above 0")
        if task.pinned and not (task.primary or task.fallback or task.chain):
            yield Problem(f"{join('tasks', name)}.pinned", "primary beside it: the model that stays first")
    for name, agent in settings.agents.items():
        yield from _known(f"{join('agents', name)}.task", "the name of a task", agent.task, settings.tasks)
    for index, rule in enumerate(settings.complexity):
        yield from _known(f"complexity[{index}].chain", "the name of a chain", rule.chain, settings.chains)
    yield from _known("environment", "the name of an environment", settings.environment, settings.environments)


def target_warnings(settings: Settings, rows: Mapping[str, Row]) -> Iterator[str]:
    """What can be lived with: targets that mean nothing here, and what would make them mean something.

    Of what is built in nothing is said: it names models of providers that few have all of.
    """
    snapshot = everybody(settings, rows)
    built_in = {*_targets(convert(tree_of(BUILT_IN), type=RoutingSections))}
    for path, name in (*_targets(settings), *_ordered(settings)):
        if (path, name) not in built_in and not is_known(snapshot, name):
            yield f"{path}: {_PASSED_OVER}; {remedy(snapshot, name)}"


def everybody(settings: Settings, rows: Mapping[str, Row]) -> Snapshot:
    """What names mean with all providers switched on, before any is asked for its models."""
    enabled = {name: structs.replace(provider, enabled=True) for name, provider in settings.providers.items()}
    configured = structs.replace(settings, providers=enabled)
    return Snapshot("", configured, build_offers(configured, rows, {}))


def _spelt_twice(section: str, named: Mapping[str, object]) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for name in named:
        if (other := first.setdefault(spelling(name), name)) != name:
            yield Problem(join(section, name), f"another name than {other}: case, - and _ do not matter")


def _chain(path: str, chain: ChainSettings, settings: Settings) -> Iterator[Problem]:
    said = [form for form in (chain.targets, chain.tiers, chain.requires) if form]
    if len(said) != 1:
        yield Problem(path, "one of targets, tiers and requires")
    if chain.targets and chain.strategy:
        yield Problem(f"{path}.strategy", "nothing here: targets are asked in their order")
    for index, tier in enumerate(chain.tiers):
        if not tier:
            yield Problem(f"{path}.tiers[{index}]", "at least one target")
    for index, name in enumerate(chain.requires.providers if chain.requires else ()):
        yield from _known(f"{path}.requires.providers[{index}]", "a provider", name, settings.providers)


def _known(path: str, what: str, name: str, known: Mapping[str, object]) -> Iterator[Problem]:
    if name and spelling(name) not in map(spelling, known):
        yield Problem(path, what + did_you_mean(name, known))


def _targets(settings: RoutingSections) -> Iterator[tuple[str, str]]:
    """Every name of a target, and where it stands."""
    for name, task in settings.tasks.items():
        for key in ("primary", "fallback"):
            yield from _numbered(f"{join('tasks', name)}.{key}", getattr(task, key))
    for name, chain in settings.chains.items():
        yield from _numbered(f"{join('chains', name)}.targets", chain.targets)
        for index, tier in enumerate(chain.tiers):
            yield from _numbered(f"{join('chains', name)}.tiers[{index}]", tier)
    for name, agent in settings.agents.items():
        if agent.model:
            yield f"{join('agents', name)}.model", agent.model
    for index, rule in enumerate(settings.complexity):
        yield f"complexity[{index}].use", rule.use
    if settings.last_resort:
        yield "last_resort", settings.last_resort


def _ordered(settings: Settings) -> Iterator[tuple[str, str]]:
    """Every name of a target in a strategy, and where it stands."""
    for name, strategy in settings.routing.strategies.items():
        path = join("routing.strategies", name)
        yield from _numbered(f"{path}.order", strategy.order)
        yield from ((join(f"{path}.shares", each), each) for each in strategy.shares if each != OTHERS)


def _numbered(path: str, names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    return ((f"{path}[{index}]", name) for index, name in enumerate(names))
