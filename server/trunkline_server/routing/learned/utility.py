"""What a candidate is worth: its quality, less what it costs, less how long it keeps callers waiting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trunkline_server.routing.learned.cells import Quality


class Candidates(NamedTuple):
    """Who may be asked, and what is expected of them on this call: in columns, a place in each for every one."""

    # "provider/model", or whatever else puts them in one order.
    ids: Sequence[str] | Sequence[int]
    qualities: Sequence[Quality]
    # Nano-USD. None = the price is not known: nobody is preferred for that, it counts as the dearest of them.
    costs: Sequence[float | None]
    # Seconds. None = not measured: it counts as being in time, so that it can be. Empty = time does not count.
    seconds: Sequence[float | None] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """What quality is given up for."""

    # Quality for a call that costs `reference`. Fixed, or paced (pacing.py).
    price_weight: float = 0.0
    # Nano-USD. 0 = the mean of the candidates.
    reference: float = 0.0
    # Quality for each second beyond `promise`.
    time_weight: float = 0.0
    promise: float = 0.0


def utilities(candidates: Candidates, exchange: Exchange) -> list[float]:
    """What each is worth, in quality: falls with price and with time, rises with quality."""
    weight, slow, promise = exchange.price_weight, exchange.time_weight, exchange.promise
    worth = [mean for mean, _ in candidates.qualities]
    if weight:
        costs = costs_of(candidates)
        reference = exchange.reference or sum(costs) / len(costs)
        rate = weight / reference if reference else 0.0
        worth = [each - rate * cost for each, cost in zip(worth, costs, strict=True)]
    if slow and candidates.seconds:
        late = [max(0.0, (seconds or 0.0) - promise) for seconds in candidates.seconds]
        worth = [each - slow * by for each, by in zip(worth, late, strict=True)]
    return worth


def ranked(candidates: Candidates, worth: Sequence[float]) -> list[int]:
    """Their places, the best first. Among equals the cheapest, then the first by name, so that no order matters."""
    order: list[int] = sorted(range(len(worth)), key=candidates.ids.__getitem__)
    order.sort(key=costs_of(candidates).__getitem__)
    order.sort(key=worth.__getitem__, reverse=True)
    return order


def costs_of(candidates: Candidates) -> Sequence[float]:
    """What each costs, or is taken to cost."""
    costs = candidates.costs
    if None not in costs:
        return costs  # type: ignore[return-value]
    dearest = max([cost or 0.0 for cost in costs], default=0.0)
    return [dearest if cost is None else cost for cost in costs]
