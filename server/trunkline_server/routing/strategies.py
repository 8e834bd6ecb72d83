"""Strategies by name: how candidates are ordered. Each is a value here; routing/ranking.py does what it says. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from typing import TYPE_CHECKING

from trunkline_server.errors import InvalidRequest, Violation
from trunkline_server.routing.experiments import AB_TESTING, Experiment
from trunkline_server.routing.scoring import BALANCED, BEST, CHEAPEST, FASTEST
from trunkline_server.settings.tasks import spelling

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline_server.routing.policy import Weights


class Kind(StrEnum):
    """What candidates are ordered by."""

    # The score, by weights.
    SCORE = "score"
    # The fit of what a model is good at to what the request is about: routing/fit.py.
    CAPABILITY = "capability"
    # Turns.
    ROUND_ROBIN = "round_robin"
    # A list of names; the others come after those, by score.
    PRIORITY = "priority"
    # Chance, by shares.
    WEIGHTED = "weighted"
    # The arm of an experiment; within it, and after it, by score.
    EXPERIMENT = "experiment"
    # The score, with quality as it was measured for the task.
    LEARNED = "learned"
    # How much of its provider's scarcest limit is in use.
    LOAD = "load"


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """One of them."""

    name: str
    kind: Kind = Kind.SCORE
    weights: Weights = BALANCED
    # Of PRIORITY: names of targets. A provider's name means the best of its models.
    order: tuple[str, ...] = ()
    # Of EXPERIMENT: the configuration's own or the built-in one.
    experiment: Experiment | None = None
    # Of WEIGHTED: names of targets, and how much of the traffic each gets beside the others. Empty = all the same.
    shares: tuple[tuple[str, float], ...] = ()
    # Models on the gateway's own machine come before all others.
    local_first: bool = False


NAMED = "named"
DEFAULT = Strategy(name="balanced")
BUILT_IN: Mapping[str, Strategy] = {
    each.name: each
    for each in (
        DEFAULT,
        Strategy(name="cost_optimized", weights=CHEAPEST),
        Strategy(name="latency_optimized", weights=FASTEST),
        Strategy(name="quality_optimized", weights=BEST),
        Strategy(name="local_first", local_first=True),
        Strategy(name="capability_match", kind=Kind.CAPABILITY),
        Strategy(name="round_robin", kind=Kind.ROUND_ROBIN),
        Strategy(name="priority", kind=Kind.PRIORITY),
        Strategy(name="enterprise", kind=Kind.PRIORITY, order=("fireworks", "claude", "openai", "gemini")),
        Strategy(name="fireworks_first", kind=Kind.PRIORITY, order=("fireworks",)),
        Strategy(name="weighted", kind=Kind.WEIGHTED),
        Strategy(name="ab_test", kind=Kind.EXPERIMENT, experiment=AB_TESTING),
        Strategy(name="ab_testing", kind=Kind.EXPERIMENT, experiment=AB_TESTING),
        Strategy(name="performance_based", kind=Kind.LEARNED),
        Strategy(name="least_loaded", kind=Kind.LOAD),
    )
}


_BY_SPELLING = {spelling(name): each for name, each in BUILT_IN.items()}


def find_strategy(name: str, own: Mapping[str, Strategy], field: str) -> Strategy:
    """The strategy that a name means; the configuration's `own`, by their spelling, go before the built-in ones.

    Raises InvalidRequest, which names `field` and all that there are.
    """
    wanted = spelling(name)
    found = own.get(wanted) or _BY_SPELLING.get(wanted)
    if found is None:
        raise InvalidRequest([Violation(field, unknown(name, own))])
    return found


def unknown(name: str, own: Mapping[str, Strategy]) -> str:
    """What to say of a name that none has."""
    names = [*dict.fromkeys((*(each.name for each in own.values()), *BUILT_IN))]
    close = get_close_matches(name.lower(), names, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"no strategy is called {name[:64]!r}: {hint}there are {', '.join(names)}"
