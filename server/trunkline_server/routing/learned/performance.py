"""`performance_based`: who is asked first, by what was learned, and with what probability."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from trunkline_server.routing.learned.exploring import drawn, propensities
from trunkline_server.routing.learned.utility import ranked, utilities

if TYPE_CHECKING:
    from trunkline_server.routing.learned.utility import Candidates, Exchange


class Ordered(NamedTuple):
    """Places of candidates in the order in which they are asked, and why."""

    order: tuple[int, ...]
    # By place: what it is worth, and with what probability it was to be asked first.
    worth: tuple[float, ...]
    propensities: tuple[float, ...]


def performance_based(candidates: Candidates, exchange: Exchange, explore: float = 0.0, number: float = 0.0) -> Ordered:
    """Order the candidates by what they are worth; of a share `explore` of calls another may be the first.

    `number` is random, from 0 to 1, and decides only that. The same candidates, in whatever order they are given, with
    the same number are ordered the same.
    """
    if not candidates.ids:
        return Ordered((), (), ())
    worth = utilities(candidates, exchange)
    order = ranked(candidates, worth)
    chances = [0.0] * len(order)
    chances[order[0]] = 1.0
    if explore > 0:
        by_rank = propensities([worth[i] for i in order], [candidates.qualities[i] for i in order], explore)
        for i, chance in zip(order, by_rank, strict=True):
            chances[i] = chance
        order.insert(0, order.pop(drawn(by_rank, number)))
    return Ordered(tuple(order), tuple(worth), tuple(chances))
