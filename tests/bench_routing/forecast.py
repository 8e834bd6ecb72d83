"""What a call is expected to cost at a model before it is made: learned from train rows, by the prompt's length."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bench_routing.table import Row

# Rows of a task below which its own line is not drawn.
ENOUGH = 20
Line = tuple[float, float]


def forecast(rows: Iterable[Row]) -> Callable[[Row, str], float]:
    """Expected nano-USD of a row at a model: a line over the prompt's length, by task where there are rows enough."""
    points: dict[tuple[str, str], list[tuple[int, float]]] = defaultdict(list)
    for row in rows:
        for model, cost in row.cost.items():
            for task in {row.task, ""}:
                points[task, model].append((len(row.prompt), cost))
    lines = {key: _line(of) for key, of in points.items() if len(of) >= ENOUGH or not key[0]}

    def cost_of(row: Row, model: str) -> float:
        start, slope = lines.get((row.task, model)) or lines[("", model)]
        return max(0.0, start + slope * len(row.prompt))

    return cost_of


def _line(points: list[tuple[int, float]]) -> Line:
    """By least squares; never falling."""
    n = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
    slope = max(0.0, slope)
    return mean_y - slope * mean_x, slope
