"""Whom strategies name: in an order, in shares, in the arms of an experiment. Pure over a snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from trunkline_server.errors import ModelGone, ModelNotAllowed, NoCandidate, UnknownModel
from trunkline_server.routing.experiments import OTHERS
from trunkline_server.routing.names import find_targets
from trunkline_server.routing.replaced import targets_of
from trunkline_server.routing.table import NO_SIDES, Sides

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trunkline.v1.call_pb2 import Target
    from trunkline.v1.call_pb2 import Warning as CallWarning
    from trunkline_server.core import Identity
    from trunkline_server.routing.strategies import Strategy
    from trunkline_server.routing.table import Groups, Table
    from trunkline_server.snapshot import Snapshot

# How many kinds of callers and arms are remembered, and for how many seconds: models retire meanwhile.
MOST, KEPT = 256, 60


class Naming(NamedTuple):
    """Whom a strategy names for a caller."""

    # What it hangs on.
    key: tuple[object, ...]
    # By name: whom it means, if he can be called, and of what is gone what serves in its place; whose default it is.
    meanings: Mapping[str, tuple[tuple[Target, ...], frozenset[str]]]
    # Whom it asks, whether their providers list them or not; of an experiment the call's arm does.
    targets: tuple[Target, ...]
    # By provider and model of those that stand in for others: what to tell the caller.
    replaced: Mapping[tuple[str, str], CallWarning]


NOBODY = Naming((), {}, (), {})


class Namings:
    """Of one snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._known: dict[tuple[object, ...], Naming] = {}

    def find(self, strategy: Strategy, arm: str, identity: Identity, when: int, *, strict: bool) -> Naming:
        """Whom it names at a time in seconds since 1970. Who cannot be called, or not by this caller, is passed over.

        `arm`: the call's, of an experiment; empty = none. `strict`: nothing stands in for what is gone.
        """
        if not (strategy.order or strategy.shares or arm):
            return NOBODY
        key = (strategy.name, arm, identity.models, identity.providers, strict, when // KEPT)
        if (found := self._known.get(key)) is None:
            if len(self._known) >= MOST:
                self._known.clear()
            found = self._known[key] = self._find(key, strategy, arm, identity, when, strict=strict)
        return found

    def _find(
        self, key: tuple[object, ...], strategy: Strategy, arm: str, identity: Identity, when: int, *, strict: bool
    ) -> Naming:
        meanings: dict[str, tuple[tuple[Target, ...], frozenset[str]]] = {}
        replaced: dict[tuple[str, str], CallWarning] = {}
        for name in _names(strategy, arm):
            try:
                targets, instead = targets_of(self._snapshot, name, when, identity, strict=strict)
            except (UnknownModel, ModelGone, NoCandidate, ModelNotAllowed):
                targets, instead = (), {}
            replaced.update(instead)
            meanings[name] = targets, self._providers(name)
        is_rest = strategy.experiment is not None and strategy.experiment.is_rest(arm)
        asked = () if is_rest else tuple(target for targets, _ in meanings.values() for target in targets)
        return Naming(key, meanings, asked, replaced)

    def _providers(self, name: str) -> frozenset[str]:
        """Those that are called so, or whose vendor is."""
        try:
            targets = find_targets(self._snapshot, name)
        except UnknownModel:
            return frozenset()
        return frozenset(target.provider for target in targets if self._is_default(name, target))

    def _is_default(self, name: str, target: Target) -> bool:
        offer = self._snapshot.offers[target.provider]
        return target.model == offer.default_model and name not in (target.model, f"{target.provider}/{target.model}")


def sides_of(strategy: Strategy, arm: str, naming: Naming, table: Table) -> Sides:
    """Whom of the table a strategy means; worked out once for each."""
    if naming is NOBODY:
        return NO_SIDES
    if (found := table.sides.get(naming.key)) is None:
        if len(table.sides) >= MOST:
            table.sides.clear()
        found = table.sides[naming.key] = Sides(_named(strategy, naming, table), _arm(strategy, arm, naming, table))
    return found


def _names(strategy: Strategy, arm: str) -> Iterator[str]:
    """In words of GenerateRequest.model: the strategy's; of an experiment those of its arm, or of all others."""
    yield from strategy.order
    yield from (name for name, _ in strategy.shares if name != OTHERS)
    if strategy.experiment is not None and arm:
        yield from strategy.experiment.names_of(arm)


def _named(strategy: Strategy, naming: Naming, table: Table) -> Mapping[str, Groups]:
    names = [*strategy.order, *(name for name, _ in strategy.shares)]
    found: dict[str, Groups] = {name: _meant(name, naming, table) for name in names if name != OTHERS}
    if OTHERS in names:
        taken = {index for groups in found.values() for meant in groups for index in meant}
        found[OTHERS] = (tuple(index for index in table.everybody if index not in taken),)
    return found


def _arm(strategy: Strategy, arm: str, naming: Naming, table: Table) -> Groups:
    if strategy.experiment is None or not arm:
        return ()
    meant = [_meant(name, naming, table) for name in strategy.experiment.names_of(arm)]
    first, others = ({index for groups in meant for index in groups[number]} for number in (0, 1))
    if strategy.experiment.is_rest(arm):
        return (tuple(index for index in table.hosted if index not in first | others),)
    return tuple(sorted(first)), tuple(sorted(others - first))


def _meant(name: str, naming: Naming, table: Table) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """As for a call; and by a provider's name its other models, too, where its default one is not to be had."""
    targets, providers = naming.meanings[name]
    wanted = {f"{target.provider}/{target.model}" for target in targets}
    first = tuple(index for index, row in enumerate(table.rows) if row.id in wanted)
    others = tuple(i for i, row in enumerate(table.rows) if row.provider in providers and row.id not in wanted)
    return first, others
