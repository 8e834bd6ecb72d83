"""One table replayed: every way of choosing, and what it came to."""

from __future__ import annotations

import random
from functools import cached_property, partial
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from bench_routing.figures import Curve, Point, Scale, curve, interval
from bench_routing.forecast import forecast
from bench_routing.routers import Choices, always, at_random, by_label, by_score, learned, on_budget, oracle, sweep

from trunkline_server.routing.scoring import BALANCED, BEST, CHEAPEST, FASTEST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench_routing.table import Table

# Those that go by what a table has.
STRATEGIES = {
    "balanced": BALANCED,
    "cost_optimized": CHEAPEST,
    "latency_optimized": FASTEST,
    "quality_optimized": BEST,
}
# Resamples of a whole curve: each looks at every row at every price weight.
_RESAMPLES, _MOST_LOOKS = 400, 2_000_000


class Compared(NamedTuple):
    """A difference, and its 95% interval."""

    difference: float
    low: float
    high: float


class Replay:
    """What came of a table. Test rows are looked at only to judge."""

    def __init__(self, table: Table) -> None:
        self.table = table
        cost_of = forecast(table.train)
        self.singles = {model: always(model, table.test) for model in table.models}
        train = {model: fmean(row.score.get(model, 0.0) for row in table.train) for model in table.models}
        self.best = max(table.models, key=lambda model: train[model])
        self.budget = fmean(row.cost[self.best] for row in table.train if self.best in row.score)
        self.random = at_random(table.test)
        self.strategies = {name: by_score(table, cost_of, weights) for name, weights in STRATEGIES.items()}
        self.oracle = sweep(oracle, table.test, self.budget)
        learning = {"performance_based, no labels": partial(learned, table.models, cost_of, labels=False)}
        if table.labelled:
            learning["performance_based, labels"] = partial(learned, table.models, cost_of, labels=True)
        routers = {name: fit(table.train) for name, fit in learning.items()}
        if table.labelled:
            routers["task-label table"] = by_label(table, cost_of)
        self.sweeps = {name: sweep(router, table.test, self.budget) for name, router in routers.items()}
        self.on_budget = {name: on_budget(fit, table, self.best, self.budget) for name, fit in learning.items()}

    @cached_property
    def scale(self) -> Scale:
        """The single models, on test rows."""
        points = {model: point_of(choices) for model, choices in self.singles.items()}
        cheapest = min(points.values(), key=lambda point: (point.cost, -point.quality))
        return Scale(cheapest, max(point.cost for point in points.values()), points[self.best])

    def curve(self, choices: Sequence[Choices]) -> Curve:
        """The figures of a sweep."""
        return curve(map(point_of, choices), self.scale)

    def over_best(self, choices: Choices) -> Compared:
        """What they score more than the best single model, row by row."""
        pairs = zip(choices.scores, self.singles[self.best].scores, strict=True)
        differences = [ours - single for ours, single in pairs]
        return Compared(fmean(differences), *interval(differences))

    def aiq_over(self, ours: Sequence[Choices], other: Sequence[Choices]) -> Compared:
        """How much more area one sweep has under its curve than another, row by row."""
        draw, n = random.Random(0), len(self.table.test)
        every = range(n)
        resamples = max(50, min(_RESAMPLES, _MOST_LOOKS // n))

        def difference(rows: Sequence[int]) -> float:
            return self._aiq(ours, rows) - self._aiq(other, rows)

        found = sorted(difference(draw.choices(every, k=n)) for _ in range(resamples))
        low, high = found[round(0.025 * resamples)], found[round(0.975 * resamples) - 1]
        return Compared(difference(every), low, high)

    def _aiq(self, sweep: Sequence[Choices], rows: Sequence[int]) -> float:
        n = len(rows)
        points = (
            Point(sum(map(each.costs.__getitem__, rows)) / n, sum(map(each.scores.__getitem__, rows)) / n)
            for each in sweep
        )
        return curve(points, self.scale).aiq


def point_of(choices: Choices) -> Point:
    """What choices came to on average."""
    return Point(fmean(choices.costs), fmean(choices.scores))
