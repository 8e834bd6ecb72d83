"""Candidates in order, by a strategy: before chance, and before who can be asked now, have their say. Pure."""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING, NamedTuple

from trunkline_server.routing.experiments import OTHERS
from trunkline_server.routing.scoring import OPEN_BONUS, merits_of, scores_of, shares_of, terms_of
from trunkline_server.routing.strategies import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from trunkline_server.routing.ask import Ask
    from trunkline_server.routing.numbers import Numbers
    from trunkline_server.routing.policy import Weights
    from trunkline_server.routing.strategies import Strategy
    from trunkline_server.routing.table import Table


class Tier(NamedTuple):
    """Candidates that come before those of the next tier, best first."""

    order: tuple[int, ...]
    # By index: how good each is, of 1, the best that there could be. Empty = the order stands.
    goods: Sequence[float] = ()


class Known(NamedTuple):
    """What strategies order by."""

    table: Table
    ask: Ask
    numbers: Numbers
    weights: Weights
    quality_target: float
    prefer_open: bool
    prefer_local: bool
    # By index, what some strategies go by: the fit of CAPABILITY, the load of LOAD.
    fits: Mapping[int, float]
    loads: Mapping[int, float]
    # By a name of the strategy's order or shares: whom it means, by preference.
    named: Mapping[str, Sequence[Sequence[int]]]
    # Of ROUND_ROBIN.
    turn: int
    # Of EXPERIMENT: whom the call's arm means, by preference; empty = it is in none.
    arm: Sequence[Sequence[int]]
    # Of LEARNED: all in order.
    learned: Sequence[int] = ()

    def said(self) -> set[int]:
        """Whom the strategy names."""
        groups = [*self.arm[:1], *(group for name, by in self.named.items() if name != OTHERS for group in by[:1])]
        return {index for group in groups for index in group}


def tiers_of(strategy: Strategy, kept: Sequence[int], known: Known, draw: Callable[[], float]) -> list[Tier]:
    """All of `kept`, each once. `draw` gives random numbers from 0 to 1."""
    rank = _Rank(strategy, known, scores_by(known) if is_scored(strategy) else (), draw)
    rest, last = _embedded_last(kept, known.table)
    if last and (known.named or known.arm) and (said := known.said()).intersection(last):
        last = _without(last, said)
        rest = _without(kept, last)
    tiers = []
    if strategy.local_first or known.prefer_local:
        rows = known.table.rows
        local = [index for index in rest if rows[index].local]
        rest = [index for index in rest if not rows[index].local]
        tiers += [*rank.tiers(local), *rank.tiers(last)]
        last = ()
    tiers += [*rank.tiers(rest), *rank.tiers(last)]
    return [tier for tier in tiers if tier.order]


def _embedded_last(kept: Sequence[int], table: Table) -> tuple[Sequence[int], Sequence[int]]:
    if kept is table.everybody:  # as most often
        return table.hosted, table.embedded
    last = [index for index in table.embedded if index in kept]
    return _without(kept, last) if last else kept, last


def is_scored(strategy: Strategy) -> bool:
    """Whether candidates are ordered by their scores, if by names before that."""
    return strategy.kind not in (Kind.ROUND_ROBIN, Kind.CAPABILITY, Kind.LOAD, Kind.LEARNED)


def scores_by(known: Known) -> list[float]:
    """The score of every row of the table."""
    shares = shares_of(known.weights)
    merits = merits_of(known.table, known.ask, shares, known.quality_target)
    scores = scores_of(known.numbers.costs, known.numbers.performance, merits, shares)
    if known.prefer_open:
        rows = known.table.rows
        return [score + OPEN_BONUS if rows[index].open_weights else score for index, score in enumerate(scores)]
    return scores


def terms_by(known: Known, index: int) -> dict[str, float]:
    """What the score of a row is made of."""
    return terms_of(known.table, known.ask, known.numbers, known.quality_target, index)


class _Rank(NamedTuple):
    """One strategy at work."""

    strategy: Strategy
    known: Known
    scores: Sequence[float]
    draw: Callable[[], float]

    def tiers(self, kept: Sequence[int]) -> list[Tier]:
        """These in order."""
        return _ORDERS[self.strategy.kind](self, kept) if kept else []

    def by_score(self, kept: Sequence[int]) -> list[Tier]:
        return [_sorted(kept, self.scores)]

    def by_fit(self, kept: Sequence[int]) -> list[Tier]:
        """By the fit alone, the best first: its scale is its own, and near is not equal."""
        fits = self.known.fits
        return [Tier(tuple(sorted(kept, key=lambda index: (-fits[index], index))))]

    def by_load(self, kept: Sequence[int]) -> list[Tier]:
        loads = self.known.loads
        return [_sorted(kept, [1.0 - loads.get(index, 0.0) for index in self.known.table.everybody])]

    def by_learned(self, kept: Sequence[int]) -> list[Tier]:
        """As it was decided over all of them; chance has had its say."""
        left = set(kept)
        order = [index for index in self.known.learned if index in left]
        return [Tier((*order, *_without(kept, set(order))))]

    def in_turns(self, kept: Sequence[int]) -> list[Tier]:
        start = self.known.turn % len(kept)
        return [Tier((*kept[start:], *kept[:start]))]

    def by_arm(self, kept: Sequence[int]) -> list[Tier]:
        """Whom the arm means, then all others."""
        groups = ([index for index in kept if index in group] for group in self.known.arm)
        first = next(filter(None, groups), [])
        return [*self.by_score(first), *self.by_score(_without(kept, first))]

    def by_name(self, kept: Sequence[int]) -> list[Tier]:
        """The best of each name in turn, then all others."""
        return self._best_of_each(self.strategy.order, kept)

    def by_share(self, kept: Sequence[int]) -> list[Tier]:
        """By chance, each with its share: of names the best of each, then all others; without names everybody."""
        if not self.strategy.shares:
            return [Tier(tuple(index for _, index in sorted((self._drawn(1.0), index) for index in kept)))]
        drawn = sorted((self._drawn(share), name) for name, share in self.strategy.shares)
        return self._best_of_each([name for _, name in drawn], kept)

    def _drawn(self, share: float) -> float:
        """The least of several is one's own as often as one's share among theirs says."""
        return -log(1.0 - self.draw()) / share

    def _best_of_each(self, names: Iterable[str], kept: Sequence[int]) -> list[Tier]:
        tiers = []
        for name in names:
            groups = ([index for index in group if index in kept] for group in self.known.named.get(name, ()))
            if meant := next(filter(None, groups), None):
                best = self.by_score(meant)[0].order[:1]
                tiers.append(Tier(best))
                kept = _without(kept, best)
        return [*tiers, *self.by_score(kept)]


_ORDERS: Mapping[Kind, Callable[[_Rank, Sequence[int]], list[Tier]]] = {
    Kind.SCORE: _Rank.by_score,
    Kind.LEARNED: _Rank.by_learned,
    Kind.CAPABILITY: _Rank.by_fit,
    Kind.LOAD: _Rank.by_load,
    Kind.ROUND_ROBIN: _Rank.in_turns,
    Kind.EXPERIMENT: _Rank.by_arm,
    Kind.PRIORITY: _Rank.by_name,
    Kind.WEIGHTED: _Rank.by_share,
}


def _sorted(kept: Sequence[int], goods: Sequence[float]) -> Tier:
    """The best first. Rows are in the order of their ids: so are equals."""
    return Tier(tuple(sorted(sorted(kept), key=goods.__getitem__, reverse=True)), goods)


def _without(kept: Sequence[int], those: Collection[int]) -> list[int]:
    return [index for index in kept if index not in those]
