"""The figures by which routers are compared, over points of (mean cost, mean quality)."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

RESAMPLES = 2000


class Point(NamedTuple):
    """What a way of choosing came to, for a call on average."""

    cost: float
    quality: float


@dataclass(frozen=True, slots=True)
class Scale:
    """What is measured against: the cheapest and the dearest single model, and the best."""

    cheapest: Point
    dearest: float
    best: Point


class Curve(NamedTuple):
    """How quality rises with cost."""

    # Area under it from the cheapest to the dearest single model, over that span (RouterBench).
    aiq: float
    # Of the gap in quality from the cheapest to the best single model, how much is closed, on average over the spans of
    # cost between them (RouteLLM). None: the cheapest is the best.
    apgr: float | None
    # The share of the difference in cost that closes 50% and 80% of the gap. None: it is not closed.
    cpt50: float | None
    cpt80: float | None
    # The least cost of the best single model's quality, as a share of that model's. None: it is not reached.
    match: float | None


def hull(points: Iterable[Point]) -> list[Point]:
    """The non-decreasing upper convex hull, from the cheapest point on."""
    found: list[Point] = []
    for point in sorted(points, key=lambda point: (point.cost, -point.quality)):
        if found and point.quality <= found[-1].quality:
            continue
        while len(found) > 1 and _is_below(found[-2], found[-1], point):
            found.pop()
        found.append(point)
    return found


def _is_below(left: Point, middle: Point, right: Point) -> bool:
    rise = (right.quality - left.quality) * (middle.cost - left.cost)
    return (middle.quality - left.quality) * (right.cost - left.cost) <= rise


def curve(points: Iterable[Point], scale: Scale) -> Curve:
    """The figures of a router that can also send all calls to the cheapest model."""
    over = hull([*points, scale.cheapest])
    low, high, best = scale.cheapest.cost, scale.dearest, scale.best
    gap = best.quality - scale.cheapest.quality
    closes = gap > 0 and best.cost > low

    def share(part: float) -> float | None:
        cost = cost_at(over, scale.cheapest.quality + part * gap) if closes else None
        return None if cost is None else max(0.0, (cost - low) / (best.cost - low))

    matched = cost_at(over, best.quality)
    return Curve(
        area(over, low, high),
        (area(over, low, best.cost) - scale.cheapest.quality) / gap if closes else None,
        share(0.5),
        share(0.8),
        None if matched is None or not best.cost else matched / best.cost,
    )


def area(over: Sequence[Point], low: float, high: float) -> float:
    """The mean quality of a hull over the costs from `low` to `high`; beyond its last point it stays flat."""
    if high <= low:
        return quality_at(over, low)
    stops = [low, *(point.cost for point in over if low < point.cost < high), high]
    parts = (((quality_at(over, a) + quality_at(over, b)) / 2) * (b - a) for a, b in pairwise(stops))
    return sum(parts) / (high - low)


def quality_at(over: Sequence[Point], cost: float) -> float:
    """The hull's quality at a cost."""
    if cost <= over[0].cost:
        return over[0].quality
    for left, right in pairwise(over):
        if cost <= right.cost:
            return left.quality + (right.quality - left.quality) * (cost - left.cost) / (right.cost - left.cost)
    return over[-1].quality


def cost_at(over: Sequence[Point], quality: float) -> float | None:
    """What the hull needs for a quality. None: it does not have it."""
    if quality <= over[0].quality:
        return over[0].cost
    for left, right in pairwise(over):
        if quality <= right.quality:
            return left.cost + (right.cost - left.cost) * (quality - left.quality) / (right.quality - left.quality)
    return None


def interval(differences: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """The 95% interval of the mean by the bootstrap: of paired differences, a paired bootstrap."""
    draw, n = random.Random(seed), len(differences)
    means = sorted(fmean(draw.choices(differences, k=n)) for _ in range(RESAMPLES))
    return means[round(0.025 * RESAMPLES)], means[round(0.975 * RESAMPLES) - 1]
