"""What was learned, as a decision takes it: `performance_based` over candidates of a table. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from trunkline_server.routing.learned.lesson import Lesson
from trunkline_server.routing.learned.performance import performance_based
from trunkline_server.routing.learned.shape import NO_SHAPE
from trunkline_server.routing.learned.utility import Candidates, utilities

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trunkline_server.routing.learned.cells import Quality
    from trunkline_server.routing.learned.shape import Shape
    from trunkline_server.routing.learned.utility import Exchange
    from trunkline_server.routing.numbers import Numbers
    from trunkline_server.routing.table import Table


class Taught(NamedTuple):
    """What is known of a call's candidates, and what quality is given up for."""

    # By the index of a row.
    qualities: tuple[Quality, ...]
    exchange: Exchange
    # The share of calls whose first target another may be.
    explore: float
    # To be learned from; the decision does not go by it.
    shape: Shape = NO_SHAPE


class Learned(NamedTuple):
    """Candidates in the order in which they are asked, and with what probability each was to be the first."""

    order: tuple[int, ...] = ()
    chances: Mapping[int, float] = {}


NOTHING_LEARNED = Learned()


def learned_order(taught: Taught, numbers: Numbers, kept: Sequence[int], number: float) -> Learned:
    """The rows of these indices in order. `number` is random, from 0 to 1."""
    found = performance_based(_candidates(taught, numbers, kept), taught.exchange, taught.explore, number)
    return Learned(tuple([kept[place] for place in found.order]), dict(zip(kept, found.propensities, strict=True)))


def worths_of(taught: Taught, numbers: Numbers, kept: Sequence[int]) -> Mapping[int, float]:
    """What each of these indices is worth, in quality, less what its price and its lateness take from that."""
    return dict(zip(kept, utilities(_candidates(taught, numbers, kept), taught.exchange), strict=True))


def _candidates(taught: Taught, numbers: Numbers, kept: Sequence[int]) -> Candidates:
    times = map(numbers.times, kept) if taught.exchange.time_weight else ()
    return Candidates(
        ids=kept,  # rows stand in the order of their ids
        qualities=[taught.qualities[index] for index in kept],
        costs=[numbers.costs[index] for index in kept],
        seconds=[how[1] if how is not None else None for how in times],
    )


def lesson_of(taught: Taught, table: Table, learned: Learned, task: str) -> Lesson:
    """What is kept of the decision."""
    tried = {table.rows[index].id: chance for index, chance in learned.chances.items() if chance > 0}
    return Lesson(task, taught.shape, tuple(tried), tuple(tried.values()), table.rows[learned.order[0]].id)
