"""One function scores a model for a call; what the simple strategies do is a choice of its weights. Pure.

score = the sum of weight times term, the weights made to add up to 1. Every term lies between 0 and 1 and hangs on
nothing but the model and the call: no other candidate changes it, a cheaper or a faster one never scores less.

    cost         0.01 USD / (0.01 USD + what the call is expected to cost). Unpriced: 0.
    performance  the share of its calls that succeed, times the mean of
                   latency     1 s / (1 s + time to the first token) and
                   throughput  20 ms / (20 ms + time for each token that comes out after it).
                 Of what was not measured here: the catalogue's speed, else 0.5.
    quality      the catalogue's quality, else 0.3; of a quality that is aimed at and missed, so much less.
    specialised  the catalogue's coding if the request is about code, reasoning if it is hard; else 0.3 for all.

The scale of cost and of latency is that of RecommendModels (routing/recommend.py); a token in 20 ms is about what a
fast hosted model takes. Where the weights come from: decisions/0024.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline_server.routing.policy import Weights

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trunkline_server.routing.ask import Ask
    from trunkline_server.routing.numbers import Numbers
    from trunkline_server.routing.table import Table

    # Of TERMS, in their order; they add up to 1.
    Shares = tuple[float, float, float, float]

# At so much, in nano-USD, the term of cost is a half.
HALF_COST = 10_000_000.0
# What is preferred scores so much more.
OPEN_BONUS = 0.1

TERMS = ("cost", "performance", "quality", "specialised")
BALANCED = Weights()
CHEAPEST = Weights(cost=1.0, performance=0.0, quality=0.0, specialised=0.0)
FASTEST = Weights(cost=0.0, performance=1.0, quality=0.0, specialised=0.0)
BEST = Weights(cost=0.0, performance=0.0, quality=1.0, specialised=0.0)


# Merits that are remembered of a table: emphasis may be any.
MAX_MERITS = 64


def terms_of(table: Table, ask: Ask, numbers: Numbers, quality_target: float, index: int) -> dict[str, float]:
    """The terms of a row, by name."""
    fitting = table.fitting(coding=ask.analysis.coding, hard=ask.is_hard)
    values = (
        _cost_term(numbers.costs[index]),
        numbers.performance[index],
        _qualities(table, quality_target)[index],
        fitting[index],
    )
    return dict(zip(TERMS, values, strict=True))


def scores_of(
    costs: Iterable[float | None], performance: Iterable[float], merits: Iterable[float], shares: Shares
) -> list[float]:
    """The score of every row, from 0 to 1. `merits`: what quality and speciality add to it."""
    cost, speed, _, _ = shares
    half, most = HALF_COST, cost * HALF_COST
    return [
        (most / (half + nano) if nano is not None else 0.0) + speed * how + merit
        for nano, how, merit in zip(costs, performance, merits, strict=True)
    ]


def merits_of(table: Table, ask: Ask, shares: Shares, quality_target: float = 0.0) -> Sequence[float]:
    """What quality and speciality add to the score of every row: it hangs on little of the call, and is kept."""
    coding, hard, (_, _, quality, special) = ask.analysis.coding, ask.is_hard, shares
    key = coding, hard, quality, special, quality_target
    if (found := table.merits.get(key)) is None:
        columns = zip(_qualities(table, quality_target), table.fitting(coding=coding, hard=hard), strict=True)
        found = [quality * good + special * fit for good, fit in columns]
        if len(table.merits) >= MAX_MERITS:
            table.merits.clear()
        table.merits[key] = found
    return found


def _cost_term(cost: float | None) -> float:
    return 0.0 if cost is None else HALF_COST / (HALF_COST + cost)


def _qualities(table: Table, target: float) -> Sequence[float]:
    if target <= 0.0:
        return table.qualities
    best = max(table.qualities, default=0.0) or 1.0
    return [value * min(1.0, value / best / target) for value in table.qualities]


def shares_of(weights: Weights) -> Shares:
    """The weights, made to add up to 1. Without any: all the same."""
    whole = weights.cost + weights.performance + weights.quality + weights.specialised
    if whole <= 0.0:
        return 0.25, 0.25, 0.25, 0.25
    return weights.cost / whole, weights.performance / whole, weights.quality / whole, weights.specialised / whole


def emphasised(weights: Weights, cost_emphasis: float) -> Weights:
    """The weights with that of cost multiplied."""
    if cost_emphasis == 1.0:
        return weights
    return Weights(
        cost=weights.cost * cost_emphasis,
        performance=weights.performance,
        quality=weights.quality,
        specialised=weights.specialised,
    )
