"""What decisions are made of in one snapshot, kept from call to call: tables of candidates, strategies by name."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from trunkline_server.core import ANYBODY
from trunkline_server.routing.allowed import may_use_model
from trunkline_server.routing.candidates import build_candidates
from trunkline_server.routing.experiments import Experiment
from trunkline_server.routing.naming import Namings
from trunkline_server.routing.policy import Weights
from trunkline_server.routing.strategies import Kind, Strategy, find_strategy
from trunkline_server.routing.table import Table, table_of
from trunkline_server.settings.tasks import spelling

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from trunkline.v1.call_pb2 import Target
    from trunkline_server.core import Identity
    from trunkline_server.routing.candidates import Candidate, Candidates
    from trunkline_server.settings import Settings
    from trunkline_server.settings.experiments import ExperimentSettings
    from trunkline_server.settings.routing import StrategySettings, WeightSettings
    from trunkline_server.snapshot import Snapshot

# What only says what it was told to say is nobody's choice.
_NEVER = "scripted"
# The strategy that means the first experiment of the configuration.
AB_TEST = "ab_test"
# Tables of so many permissions, and of so many groups of targets.
MAX_TABLES = 256


class Tables:
    """Of one snapshot, until a price or an availability changes."""

    def __init__(self, snapshot: Snapshot, when: int) -> None:
        """`when`: seconds since 1970."""
        self.candidates: Candidates = build_candidates(snapshot, when)
        self.strategies = own_strategies(snapshot.settings)
        self.namings = Namings(snapshot)
        # By what a caller may use, and who is there beside that; and by the ids of a group.
        self._open: dict[tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]], Table] = {}
        self._of: dict[tuple[str, ...], Table] = {}

    def holds(self, snapshot: Snapshot, when: int) -> bool:
        """Whether it is what this snapshot and time would make of it."""
        return self.candidates.holds(snapshot, when)

    def open_to(self, identity: Identity, named: Sequence[Target] = ()) -> Table:
        """Every model that can be called and that the caller may use; and those that are `named`, listed or not."""
        rows = [row for row in map(self.candidates.at, named) if self._is_more(row)] if named else ()
        key = (identity.models, identity.providers, tuple(row.id for row in rows) if rows else ())
        if (found := self._open.get(key)) is None:
            found = self._keep(self._open, key, table_of((*self._there(identity), *rows)))
        return found

    def _is_more(self, row: Candidate) -> bool:
        """Whether it is in nobody's choice unless it is named."""
        return row.id not in self.candidates.by_id or row.kind == _NEVER

    def _there(self, identity: Identity) -> Iterable[Candidate]:
        there = (row for row in self.candidates.rows if not row.hindrance and row.kind != _NEVER)
        return (row for row in there if identity is ANYBODY or may_use_model(identity, row.provider, row.model))

    def of(self, targets: Iterable[Target]) -> Table:
        """These, whatever is known of them."""
        rows = [self.candidates.at(target) for target in targets]
        key = tuple(row.id for row in rows)
        if (found := self._of.get(key)) is None:
            found = self._keep(self._of, key, table_of(rows))
        return found

    @staticmethod
    def _keep(tables: dict, key: tuple, table: Table) -> Table:  # type: ignore[type-arg]
        if len(tables) >= MAX_TABLES:
            tables.clear()
        tables[key] = table
        return table


def own_strategies(settings: Settings) -> Mapping[str, Strategy]:
    """The configuration's strategies, by the spelling of their names. Each experiment is one, and AB_TEST the first."""
    tested = [_experiment(name, own) for name, own in settings.experiments.items()]
    first = [replace(each, name=AB_TEST) for each in tested[:1]]
    named = (_strategy(name, own) for name, own in settings.routing.strategies.items())
    return {spelling(each.name): each for each in (*first, *named, *tested)}


def check_strategies(names: Iterable[str], settings: Settings) -> None:
    """Raises InvalidRequest for the first of a key's strategies that neither the configuration nor Trunkline has."""
    own = own_strategies(settings)
    for index, name in enumerate(names):
        find_strategy(name, own, f"allowed_strategies[{index}]")


def _experiment(name: str, own: ExperimentSettings) -> Strategy:
    experiment = Experiment(name=name, weights=own.arms, groups=own.groups, salt=own.salt)
    return Strategy(name=name, kind=Kind.EXPERIMENT, experiment=experiment)


def _strategy(name: str, own: StrategySettings) -> Strategy:
    if own.order:
        return Strategy(name=name, kind=Kind.PRIORITY, order=own.order)
    if own.shares:
        return Strategy(name=name, kind=Kind.WEIGHTED, shares=tuple(own.shares.items()))
    return Strategy(name=name, weights=weights_of(own.weights) or Weights())


def weights_of(said: WeightSettings | None) -> Weights | None:
    """The weights that a configuration says."""
    if said is None:
        return None
    return Weights(cost=said.cost, performance=said.performance, quality=said.quality, specialised=said.specialised)
