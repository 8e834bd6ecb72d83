"""What a configuration and the environment say of how targets are chosen, and what is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from trunkline_server.config.check import Problem, join
from trunkline_server.errors import InvalidRequest
from trunkline_server.routing.strategies import BUILT_IN, NAMED, find_strategy
from trunkline_server.routing.tables import own_strategies
from trunkline_server.settings.tasks import spelling

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from trunkline_server.settings import Settings
    from trunkline_server.settings.routing import StrategySettings

_SWITCHES = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
_STRATEGIES = ("LLM_ROUTING_STRATEGY", "DEFAULT_MODEL_STRATEGY")


def routing_in(environ: Mapping[str, str], problems: list[Problem]) -> Iterator[tuple[str, str, object]]:
    """By key of `routing`: which variable says it, and what."""
    names = [name for name in _STRATEGIES if name in environ]
    if len({spelling(environ[name]) for name in names}) > 1:
        problems.append(Problem(_STRATEGIES[1], f"what {_STRATEGIES[0]} says, or nothing"))
    if names:
        yield "strategy", names[0], environ[names[0]].strip()
    if fallback := environ.get("FALLBACK_MODEL_STRATEGY"):
        yield "fallback_strategy", "FALLBACK_MODEL_STRATEGY", fallback.strip()
    for key, variable in (("fallback", "LLM_ENABLE_FALLBACK"), ("prefer_local", "LLM_PREFER_LOCAL")):
        if said := environ.get(variable):
            yield key, variable, _SWITCHES.get(said.strip().lower(), said)
    if said := environ.get("LLM_MAX_LATENCY_MS"):
        yield "max_latency", "LLM_MAX_LATENCY_MS", _seconds(said, problems)


def _seconds(milliseconds: str, problems: list[Problem]) -> float:
    try:
        found = float(milliseconds)
    except ValueError:
        found = 0.0
    if not 0 < found < 1e9:
        problems.append(Problem("LLM_MAX_LATENCY_MS", "a number of milliseconds above 0"))
        return 1.0
    return found / 1000.0


def routing_problems(settings: Settings, _: object) -> Iterator[Problem]:
    """Everything that is wrong with how targets are chosen."""
    routing = settings.routing
    named = [("routing.strategy", routing.strategy), ("routing.fallback_strategy", routing.fallback_strategy)]
    named += [(f"{join('routing.workspaces', name)}.strategy", of.strategy) for name, of in routing.workspaces.items()]
    named += [(f"{join('tasks', name)}.strategy", task.strategy) for name, task in settings.tasks.items()]
    named += [(f"{join('chains', name)}.strategy", chain.strategy) for name, chain in settings.chains.items()]
    clients = settings.server.tls.clients if settings.server.tls else {}
    for who, client in clients.items():
        place = join("server.tls.clients", who)
        named += [(f"{place}.strategies[{index}]", name) for index, name in enumerate(client.strategies)]
    for path, name in named:
        yield from _strategy(path, name, settings)
    if routing.max_latency is not None and not routing.max_latency:
        yield Problem("routing.max_latency", "more than 0")
    for path, weights in (
        ("routing.weights", routing.weights),
        *((f"{join('routing.workspaces', name)}.weights", of.weights) for name, of in routing.workspaces.items()),
    ):
        if weights is not None and not any(structs.astuple(weights)):
            yield Problem(path, "at least one above 0")
    for name, own in routing.strategies.items():
        yield from _own(join("routing.strategies", name), name, own, [*routing.strategies])


def _strategy(path: str, name: str, settings: Settings) -> Iterator[Problem]:
    try:
        if name:
            find_strategy(name, own_strategies(settings), path)
    except InvalidRequest:
        yield Problem(path, f"a strategy: {', '.join((*settings.routing.strategies, *BUILT_IN))}")


def _own(path: str, name: str, own: StrategySettings, names: Sequence[str]) -> Iterator[Problem]:
    said = [form for form in (own.weights, own.order, own.shares) if form]
    if len(said) != 1:
        yield Problem(path, "one of weights, order and shares")
    if own.weights is not None and not any(structs.astuple(own.weights)):
        yield Problem(f"{path}.weights", "at least one above 0")
    if spelling(name) == NAMED:
        yield Problem(path, "another name: this is what calls have that name whom to ask")
    if any(spelling(other) == spelling(name) for other in names if other != name):
        yield Problem(path, "a name that is not that of another strategy but for case, - and _")
