"""The decision: whom a call goes to, in order, and why. Pure: the same question has the same answer, bit for bit.

In two steps, because it is dear to see how providers do: `rank` orders all candidates, `choose` lets those wait that
cannot be asked now, and chance decide among near-equals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from trunkline_server.routing.constraints import NONE, Constraints, Sheet, apply, doubtful, needed, running
from trunkline_server.routing.draws import Draws
from trunkline_server.routing.fit import fit_score
from trunkline_server.routing.numbers import numbers_of
from trunkline_server.routing.ranking import Known, Tier, tiers_of
from trunkline_server.routing.scoring import BALANCED, emphasised
from trunkline_server.routing.spread import HOT, NEAR, Option, spread
from trunkline_server.routing.steering import WELL, Figure, weight
from trunkline_server.routing.strategies import DEFAULT, Kind, Strategy
from trunkline_server.routing.table import NO_SIDES
from trunkline_server.routing.taught import NOTHING_LEARNED, learned_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from trunkline_server.routing.ask import Ask
    from trunkline_server.routing.constraints import Removed
    from trunkline_server.routing.numbers import Numbers, Warm
    from trunkline_server.routing.policy import Weights
    from trunkline_server.routing.signal import Signal
    from trunkline_server.routing.table import Sides, Table
    from trunkline_server.routing.taught import Learned, Taught

# Of a group's best, so many providers are looked at: how they do now. The others are taken to be well.
LOOKED_AT = 4
# Seconds. What is not known of a time is taken to be this, for those that are about as good.
_USUAL = 1.0
_UNMEASURED = Option(1.0, _USUAL)
# About as good as the best: what falls short of the best that there could be no more than NEAR times as much, and
# scores no less than this part of its score. The first tells cheap from cheaper, the second good from better.
NEAR_SCORE = 0.95
# So many of them at most: enough for nobody to herd.
NEAR_MOST = 8
# A seed of its own for each of the two steps.
_SECOND_STEP = 0xD1B54A32D192ED03


class Fallback(NamedTuple):
    """What orders all but the first."""

    strategy: Strategy
    # Whom of the table it names.
    sides: Sides = NO_SIDES
    # Of LEARNED: what it goes by. Nobody is tried.
    taught: Taught | None = None


class Question(Struct, frozen=True, kw_only=True):
    """All that a decision is made of. A Struct, as what is made for every call is: that is made ten times as fast."""

    # 64 random bits: all that is left to chance.
    seed: int
    table: Table
    ask: Ask
    # Indices of candidates: those of a group come before those of the next one.
    groups: tuple[tuple[int, ...], ...]
    # They are all that may be asked, and come of no name.
    is_open: bool = False
    constraints: Constraints = NONE
    strategy: Strategy = DEFAULT
    # None = the strategy itself.
    fallback: Fallback | None = None
    prefer_local: bool = False
    prefer_open: bool = False
    # In place of those of `balanced`; other weights are what a strategy is about.
    weights: Weights | None = None
    cost_emphasis: float = 1.0
    quality_target: float = 0.0
    # By index: how those do that were asked; how long answers are, where that was seen.
    signals: Mapping[int, Signal] = {}
    usual: Mapping[int, int] = {}
    # By index, where calls have taught it: tokens of a prompt for each that is estimated.
    corrections: Mapping[int, float] = {}
    # Who has read what the prompt begins with, if it reads it for less again.
    warm: Warm | None = None
    # By a name of the strategy's order or shares: whom it means, by preference.
    named: Mapping[str, tuple[tuple[int, ...], ...]] = {}
    turn: int = 0
    # Whom the call's arm means, by preference.
    arm: tuple[tuple[int, ...], ...] = ()
    # Of LEARNED: what it goes by.
    taught: Taught | None = None

    def effective_weights(self, strategy: Strategy | None = None) -> Weights:
        """What counts how much, by this strategy or by the question's own."""
        own = (strategy or self.strategy).weights
        return emphasised(self.weights or own if own is BALANCED or own == BALANCED else own, self.cost_emphasis)


class Ranked(NamedTuple):
    """A group in order; and in the order that holds once its first has failed, if that is another."""

    tiers: tuple[Tier, ...]
    fallback: tuple[Tier, ...] = ()

    def providers(self, of: Sequence[str]) -> list[str]:
        """The first of them that are in it, as many as are looked at. `of`: each row's."""
        found: dict[str, None] = {}
        for tier in self.tiers:
            for index in tier.order:
                found[of[index]] = None
                if len(found) == LOOKED_AT:
                    return [*found]
        return [*found]


class Ranking(NamedTuple):
    """Everybody who may be asked, best first."""

    question: Question
    groups: tuple[Ranked, ...]
    removed: tuple[Removed, ...]
    known: Known
    numbers: Numbers
    learned: Learned = NOTHING_LEARNED

    def providers(self) -> list[str]:
        """Those whose figures `choose` needs."""
        groups = (group.providers(self.question.table.providers) for group in self.groups)
        return [*dict.fromkeys(name for names in groups if len(names) > 1 for name in names)]


class Decision(NamedTuple):
    """Whom the call goes to."""

    ranking: Ranking
    # What providers did at that time, as far as it was looked at.
    figures: Mapping[str, Figure]
    # Indices into the question's table, each once; at least one.
    order: tuple[int, ...]


def rank(question: Question) -> Ranking:
    """Remove whom the constraints do not allow, and order the others by the strategy.

    Raises ConstraintsUnmet or ContextTooLong if nobody is left.
    """
    table, ask = question.table, question.ask
    is_scored = question.strategy.kind is not Kind.LEARNED or question.fallback is not None
    numbers = numbers_of(
        table, ask, question.signals, question.usual, question.corrections, question.warm, is_scored=is_scored
    )
    sheet = Sheet(table, ask, numbers)
    everybody = question.groups[0]
    if len(question.groups) > 1:
        everybody = tuple(dict.fromkeys(index for group in question.groups for index in group))
    kept, removed = apply(question.constraints, sheet, everybody)
    if ask.tools:
        kept = running(sheet, kept, removed, is_open=question.is_open)
    if question.is_open and ask.needs:
        kept = needed(sheet, kept, removed)
    known, draw = _known(question, numbers), Draws(question.seed)
    learned = NOTHING_LEARNED
    if question.taught is not None:
        choosable = [index for index in kept if index not in table.embedded] or kept
        learned = learned_order(question.taught, numbers, choosable, draw())
        known = known._replace(learned=learned.order)
    groups: Iterable[Sequence[int]] = (kept,)
    if len(question.groups) > 1:
        left = set(kept)
        groups = (sorted(left.intersection(group)) for group in question.groups)
    if unsure := doubtful(sheet, kept):
        groups = [part for group in groups for part in _parted(group, unsure)]
    ranked = tuple(_ranked(question, group, known, draw) for group in groups if group)
    return Ranking(question, ranked, tuple(removed), known, numbers, learned)


def _parted(group: Sequence[int], last: set[int]) -> tuple[list[int], list[int]]:
    return [index for index in group if index not in last], [index for index in group if index in last]


def _ranked(question: Question, group: Sequence[int], known: Known, draw: Callable[[], float]) -> Ranked:
    tiers = tiers_of(question.strategy, group, known, draw)
    if question.fallback is None:
        return Ranked(tuple(tiers))
    strategy, sides, taught = question.fallback
    other = known._replace(
        weights=question.effective_weights(strategy),
        fits=_fits(question) if strategy.kind is Kind.CAPABILITY else {},
        loads=_loads(question) if strategy.kind is Kind.LOAD else {},
        named=sides.named,
        arm=sides.arm,
        learned=learned_order(taught, known.numbers, group, 0.0).order if taught is not None else (),
    )
    return Ranked(tuple(tiers), tuple(tiers_of(strategy, group, other, draw)))


def _known(question: Question, numbers: Numbers) -> Known:
    strategy = question.strategy
    return Known(
        question.table,
        question.ask,
        numbers,
        question.effective_weights(),
        question.quality_target,
        question.prefer_open,
        question.prefer_local,
        _fits(question) if strategy.kind is Kind.CAPABILITY else {},
        _loads(question) if strategy.kind is Kind.LOAD else {},
        question.named,
        question.turn,
        question.arm,
    )


def _loads(question: Question) -> Mapping[int, float]:
    return {index: signal.utilisation for index, signal in question.signals.items()}


def _fits(question: Question) -> Mapping[int, float]:
    return {index: fit_score(row, question.ask.analysis) for index, row in enumerate(question.table.rows)}


def choose(ranking: Ranking, figures: Mapping[str, Figure]) -> Decision:
    """The order in which the call's targets are asked.

    A provider that fails, or that cannot be asked now, comes after the others of its tier as often as its figure says;
    one of near-equals goes first by chance, never simply the best: all who see the same would go there at once.
    """
    question, draw = ranking.question, Draws(ranking.question.seed ^ _SECOND_STEP)
    order: list[int] = []
    for group in ranking.groups:
        aside = _aside(group.providers(question.table.providers), figures, draw)
        found = _in_order(ranking, group.tiers, aside, draw)
        if group.fallback:
            first = found[0]
            found = [first, *(each for each in _in_order(ranking, group.fallback, aside, draw) if each != first)]
        order += found
    return Decision(ranking, figures, tuple(dict.fromkeys(order) if len(ranking.groups) > 1 else order))


def _in_order(
    ranking: Ranking, tiers: Iterable[Tier], aside: Mapping[str, float], draw: Callable[[], float]
) -> list[int]:
    order: list[int] = []
    for tier in tiers:
        if len(tier.order) == 1:
            order += tier.order
        else:
            order += _spread_out(ranking.question.table, _drawn(ranking, tier, aside, draw))
    return order


def _aside(providers: Iterable[str], figures: Mapping[str, Figure], draw: Callable[[], float]) -> Mapping[str, float]:
    """By provider that is passed over this time: seconds until it can be asked. Who is well is not in it."""
    found = {}
    for provider in providers:
        figure = figures.get(provider, WELL)
        if figure is not WELL and (figure.wait > 0.0 or draw() >= weight(figure)):
            found[provider] = figure.wait
    return found


def _drawn(ranking: Ranking, tier: Tier, aside: Mapping[str, float], draw: Callable[[], float]) -> Sequence[int]:
    """Who is passed over comes last, who can be asked the soonest first."""
    if not aside:
        return _near_first(ranking, tier, draw)
    providers = ranking.question.table.providers
    ready = [index for index in tier.order if providers[index] not in aside]
    waiting = [index for index in tier.order if providers[index] in aside]
    if not ready:
        return sorted(waiting, key=lambda index: aside[providers[index]])
    those = tier._replace(order=tuple(ready))
    waiting.sort(key=lambda index: aside[providers[index]])
    return [*_near_first(ranking, those, draw), *waiting]


def _near_first(ranking: Ranking, tier: Tier, draw: Callable[[], float]) -> Sequence[int]:
    """Of near-equals who has read the prompt's beginning, else one by chance; the others of them; the rest in order."""
    order = tier.order
    near = _near(tier) if tier.goods else 1
    if near < 2:
        return order
    if (warm := _warm(ranking)) in order[:near]:
        return [warm, *(index for index in order if index != warm)]
    if ranking.numbers.signals:
        drawn = spread([_option(ranking, index) for index in order[:near]], draw)
        return [*[order[number] for number in drawn], *order[near:]]
    first = int(draw() * near)
    return [order[first], *order[:first], *order[first + 1 :]]


def _warm(ranking: Ranking) -> int:
    """Who has read it, unless it has too much to do. -1 = nobody."""
    question = ranking.question
    if question.warm is None:
        return -1
    signal = question.signals.get(question.warm.row)
    return -1 if signal is not None and signal.utilisation > HOT else question.warm.row


def _near(tier: Tier) -> int:
    """How many are about as good as the first."""
    goods, order = tier.goods, tier.order
    best = max(0.0, 1.0 - goods[order[0]])
    most = min(NEAR * best, 1.0 - NEAR_SCORE * (1.0 - best))
    for found in range(1, min(NEAR_MOST, len(order))):
        if 1.0 - goods[order[found]] > most:
            return found
    return min(NEAR_MOST, len(order))


def _option(ranking: Ranking, index: int) -> Option:
    """They are equals in what they score: what is left is who is sooner, and who has less to do."""
    question = ranking.question
    signal = question.signals.get(index)
    if signal is None:
        return _UNMEASURED
    numbers = ranking.numbers
    if question.ask.streaming:
        return Option(1.0, numbers.firsts.get(index, _USUAL), signal.utilisation)
    seconds = signal.total(numbers.inputs[index], numbers.outputs[index])
    return Option(1.0, _USUAL if seconds is None else seconds, signal.utilisation)


def _spread_out(table: Table, order: Sequence[int]) -> Sequence[int]:
    """The best of each provider before another model of one: a provider that fails fails with all its models."""
    providers, best = table.providers, dict[str, int]()
    rest = [index for index in order if best.setdefault(providers[index], index) != index]
    return [*best.values(), *rest] if rest else order
