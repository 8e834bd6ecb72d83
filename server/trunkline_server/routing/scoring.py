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

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trunkline_server.routing.policy import Weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trunkline_server.routing.ask import Ask
    from trunkline_server.routing.numbers import Numbers
    from trunkline_server.routing.table import Table

# At so much, in nano-USD, the term of cost is a half.
HALF_COST = 10_000_000
# What is preferred scores so much more.
OPEN_BONUS = 0.1

TERMS = ("cost", "performance", "quality", "specialised")
BALANCED = Weights()
CHEAPEST = Weights(cost=1.0, performance=0.0, quality=0.0, specialised=0.0)
FASTEST = Weights(cost=0.0, performance=1.0, quality=0.0, specialised=0.0)
BEST = Weights(cost=0.0, performance=0.0, quality=1.0, specialised=0.0)


@dataclass(frozen=True, slots=True)
class Terms:
    """Of every row of a table, by term."""

    cost: Sequence[float]
    performance: Sequence[float]
    quality: Sequence[float]
    specialised: Sequence[float]

    def at(self, index: int) -> dict[str, float]:
        """Those of one row, by name."""
        return {name: getattr(self, name)[index] for name in TERMS}


def terms_of(table: Table, ask: Ask, numbers: Numbers, quality_target: float = 0.0) -> Terms:
    """The terms of every row."""
    quality: Sequence[float] = table.qualities
    if quality_target > 0.0:
        best = max(quality, default=0.0) or 1.0
        quality = [value * min(1.0, value / best / quality_target) for value in quality]
    return Terms(
        [0.0 if cost is None else HALF_COST / (HALF_COST + cost) for cost in numbers.costs],
        numbers.performance,
        quality,
        table.fitting(coding=ask.analysis.coding, hard=ask.is_hard),
    )


def scores_of(terms: Terms, weights: Weights) -> list[float]:
    """The score of every row, from 0 to 1."""
    cost, performance, quality, specialised = shares_of(weights)
    columns = zip(terms.cost, terms.performance, terms.quality, terms.specialised, strict=True)
    return [cost * c + performance * p + quality * q + specialised * s for c, p, q, s in columns]


def shares_of(weights: Weights) -> tuple[float, float, float, float]:
    """The weights, made to add up to 1. Without any: all the same."""
    said = (weights.cost, weights.performance, weights.quality, weights.specialised)
    whole = sum(said)
    return (0.25, 0.25, 0.25, 0.25) if whole <= 0.0 else tuple(each / whole for each in said)  # type: ignore[return-value]


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
