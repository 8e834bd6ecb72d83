"""Ways of choosing a model for each test row, learned from train rows alone: each gives a choice by price weight."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple, Protocol

from bench_routing.table import Row

from trunkline_server.routing.learned.cells import Quality
from trunkline_server.routing.learned.performance import performance_based
from trunkline_server.routing.learned.shape import shape_of
from trunkline_server.routing.learned.utility import Candidates, Exchange
from trunkline_server.routing.scoring import scores_of, shares_of
from trunkline_server.state.learned.memory import Memory

if TYPE_CHECKING:
    from bench_routing.table import Table

    from trunkline_server.routing.policy import Weights

# Quality for a call of the reference's cost: from quality alone to the cheapest in every case.
WEIGHTS = (0.0, *(0.001 * 1.6**i for i in range(24)), 1e6)
SEED = 7
# What a model is taken to be good at of which nothing is known.
UNKNOWN_FIT = 0.3
CAREFUL = 0.98
# The share of train rows by which a price weight is chosen, by a router that has not learned from them.
LEFT_OUT = 0.2


class Router(Protocol):
    """Who may answer a row, and what is expected of each; known before the row's scores are."""

    def __call__(self, row: Row) -> Candidates:
        """The candidates of a row."""
        ...


# What learns from rows.
Fit = Callable[[Sequence[Row]], Router]


class Choices(NamedTuple):
    """What was chosen for each test row."""

    scores: list[float]
    costs: list[float]
    seconds: list[float]


def learned(
    models: Sequence[str], cost_of: Callable[[Row, str], float], train: Sequence[Row], *, labels: bool
) -> Router:
    """What the gateway learns from rows, given to it as feedback in a random order, one by one."""
    memory = Memory()
    for row in shuffled(train):
        shape = shape_of(row.prompt)
        for model, score in row.score.items():
            memory.observe(row.task if labels else "", shape, model, score)

    def candidates(row: Row) -> Candidates:
        found = [model for model in models if model in row.score]
        known = memory.qualities(row.task if labels else "", shape_of(row.prompt), found)
        return Candidates(found, known, [cost_of(row, model) for model in found])

    return candidates


def shuffled(rows: Sequence[Row]) -> list[Row]:
    """The rows in a random order, the same each time."""
    return random.Random(SEED).sample(rows, len(rows))


def by_label(table: Table, cost_of: Callable[[Row, str], float]) -> Router:
    """The mean score of each model by task label, nothing else: what is there to be beaten."""
    sums: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0, 0.0])
    for row in table.train:
        for model, score in row.score.items():
            for key in {(row.task, model), ("", model)}:
                sums[key][0] += score
                sums[key][1] += 1

    def candidates(row: Row) -> Candidates:
        models = [model for model in table.models if model in row.score]
        known = (sums.get((row.task, model)) or sums["", model] for model in models)
        return Candidates(models, [Quality(total / n, n) for total, n in known], [cost_of(row, m) for m in models])

    return candidates


def oracle(row: Row) -> Candidates:
    """What nobody can know: the scores themselves."""
    return Candidates(
        [*row.score], [Quality(score, 0) for score in row.score.values()], [row.cost[m] for m in row.score]
    )


def sweep(router: Router, rows: Sequence[Row], reference: float, weights: Sequence[float] = WEIGHTS) -> list[Choices]:
    """What is chosen at each weight; a call of the cost `reference` costs that much quality."""
    found = [Choices([], [], []) for _ in weights]
    exchanges = [Exchange(price_weight=weight, reference=reference) for weight in weights]
    for row in rows:
        candidates = router(row)
        for exchange, choices in zip(exchanges, found, strict=True):
            _note(choices, row, str(candidates.ids[performance_based(candidates, exchange).order[0]]))
    return found


def on_budget(fit: Fit, table: Table, best: str, reference: float) -> Choices:
    """What is chosen with the least price weight at which train rows that were left out cost no more than the best's.

    Where that is not the weight 0, a little is left over, since test rows are others.
    """
    rows = shuffled(table.train)
    at = max(1, round(LEFT_OUT * len(rows)))
    spent = [fmean(choices.costs) for choices in sweep(fit(rows[at:]), rows[:at], reference)]
    had = [row.cost[best] for row in rows[:at] if best in row.score]
    budget = fmean(had) if had else reference
    left = (budget, *(CAREFUL * budget for _ in spent[1:]))
    weight = next((w for w, cost, most in zip(WEIGHTS, spent, left, strict=True) if cost <= most), WEIGHTS[-1])
    return sweep(fit(table.train), table.test, reference, (weight,))[0]


def by_score(table: Table, cost_of: Callable[[Row, str], float], weights: Weights) -> Choices:
    """A strategy that goes by the gateway's score, where the catalogue has the models' mean scores on train rows."""
    quality = {model: _mean([row.score[model] for row in table.train if model in row.score]) for model in table.models}
    latency = {model: [row.latency[model] for row in table.train if model in row.latency] for model in table.models}
    speed = {model: 1.0 / (1.0 + fmean(found)) if found else 0.5 for model, found in latency.items()}
    found = Choices([], [], [])
    for row in table.test:
        models = [model for model in table.models if model in row.score]
        shares = shares_of(weights)
        merits = [shares[2] * quality[model] + shares[3] * UNKNOWN_FIT for model in models]
        scores = scores_of([cost_of(row, model) for model in models], [speed[m] for m in models], merits, shares)
        _note(found, row, max(zip(scores, models, strict=True))[1])
    return found


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def always(model: str, rows: Sequence[Row]) -> Choices:
    """One model for all rows; where it has none, nothing was achieved, at its mean cost."""
    mean = [row.cost[model] for row in rows if model in row.score]
    found = Choices([], [], [])
    for row in rows:
        if model in row.score:
            _note(found, row, model)
        else:
            found.scores.append(0.0)
            found.costs.append(sum(mean) / len(mean))
    return found


def at_random(rows: Sequence[Row]) -> Choices:
    """Any model, each as often."""
    found = Choices([], [], [])
    for row in rows:
        n = len(row.score)
        found.scores.append(sum(row.score.values()) / n)
        found.costs.append(sum(row.cost[model] for model in row.score) / n)
        found.seconds.extend([sum(row.latency.values()) / len(row.latency)] if row.latency else [])
    return found


def _note(choices: Choices, row: Row, model: str) -> None:
    choices.scores.append(row.score[model])
    choices.costs.append(row.cost[model])
    if model in row.latency:
        choices.seconds.append(row.latency[model])
