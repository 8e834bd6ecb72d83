"""What a candidate is worth: its quality, less what it costs, less how long it keeps callers waiting."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trunkline_server.routing.learned.cells import Quality


class Candidate(NamedTuple):
    """Who may be asked, and what is expected of it on this call."""

    # "provider/model".
    id: str
    quality: Quality
    # Nano-USD. None = the price is not known: nobody is preferred for that, it counts as the dearest of them.
    cost: float | None = None
    # Seconds. None = not measured: it counts as being in time, so that it can be.
    seconds: float | None = None


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


def utilities(candidates: Sequence[Candidate], exchange: Exchange) -> list[float]:
    """What each is worth, in quality: falls with price and with time, rises with quality."""
    weight, slow, promise = exchange.price_weight, exchange.time_weight, exchange.promise
    worth = [each.quality.mean for each in candidates]
    if weight:
        costs = _costs(candidates)
        reference = exchange.reference or sum(costs) / len(costs)
        rate = weight / reference if reference else 0.0
        worth = [each - rate * cost for each, cost in zip(worth, costs, strict=True)]
    if slow:
        late = [max(0.0, (each.seconds or 0.0) - promise) for each in candidates]
        worth = [each - slow * by for each, by in zip(worth, late, strict=True)]
    return worth


def ranked(candidates: Sequence[Candidate], worth: Sequence[float]) -> list[int]:
    """Their places, the best first. Among equals the cheapest, then the first by name, so that no order matters."""
    keys = zip([-each for each in worth], _costs(candidates), [each.id for each in candidates], count(), strict=False)
    return [key[-1] for key in sorted(keys)]


def _costs(candidates: Sequence[Candidate]) -> list[float]:
    dearest = max([each.cost or 0.0 for each in candidates], default=0.0)
    return [dearest if each.cost is None else each.cost for each in candidates]
