"""How well models do, by what calls are: counts that forget, each drawn toward what is known more generally.

A cell is what one model did on calls of one key: all calls, a task's, those of a look (shape.py). An estimate begins
with the model's prior and goes from the general to the special; each cell draws it toward what it saw by as much as it
saw, so that a cell with few observations says little, and none says nothing.
"""

from __future__ import annotations

from functools import reduce
from itertools import repeat
from operator import add
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from trunkline_server.routing.learned.shape import Shape

# What an observation weighs after another one in its cell: a cell remembers about 1 / (1 - DISCOUNT) of them.
DISCOUNT = 0.998
# Observations that an estimate from the more general is worth.
STRENGTH = 20.0
# The key of all calls.
ALL = 0
# The same of whether they were answered.
_OUTCOMES = crc32(b"outcome")
# What is expected of whom nothing is known: of the worth of an answer, and of there being one.
UNKNOWN, RELIABLE = 0.5, 1.0


class Cell(NamedTuple):
    """Observations of one model under one key: see `cell_of`."""

    # What it makes of the more general estimate: a part of that, and what it adds to it.
    kept: float
    added: float
    # The discounted number of observations, and the discounted sum of their scores.
    n: float
    total: float


class Quality(NamedTuple):
    """What is expected of a model, from 0 to 1, and how many observations of its task stand behind it."""

    mean: float
    n: float


# By key, by model.
Cells = dict[int, dict[str, Cell]]
NOTHING = Cell(1.0, 0.0, 0.0, 0.0)


def cell_of(n: float, total: float) -> Cell:
    """The cell of so many observations with this sum."""
    weight = n + STRENGTH
    return Cell(STRENGTH / weight, total / weight, n, total)


def observed(cell: Cell, score: float) -> Cell:
    """The cell after one more observation."""
    return cell_of(DISCOUNT * cell.n + 1.0, DISCOUNT * cell.total + score)


def corrected(cell: Cell, before: float, after: float) -> Cell:
    """The cell after an observation that it holds is found to have been another. Its age is not known: taken as new."""
    return cell_of(cell.n, min(cell.n, max(0.0, cell.total + after - before)))


def keys_of(task: str, shape: Shape) -> tuple[int, ...]:
    """All keys of a call, the general ones first."""
    mark = _mark(task)
    return (ALL, *((mark,) if task else ()), *(key ^ mark for chain in shape.views for key in chain))


def outcome_keys(task: str) -> tuple[int, ...]:
    """Where it is kept whether calls were answered at all, the general key first."""
    return (_OUTCOMES, crc32(b"outcome " + task.encode())) if task else (_OUTCOMES,)


def qualities(
    cells: Mapping[int, Mapping[str, Cell]],
    task: str,
    shape: Shape,
    models: Sequence[str],
    priors: Mapping[str, float] | None = None,
    words: Sequence[float] = (),
) -> list[Quality]:
    """What is expected of each model on a call: the worth of its answers, times how often there is one.

    `priors`: the worth that is said of models of which nothing was seen. `words`: what those of the prompt add to each.
    """
    means = worths(cells, task, shape, models, priors)
    if words:
        means = [min(1.0, max(0.0, mean + more)) for mean, more in zip(means, words, strict=True)]
    if failing := [*_known(cells, outcome_keys(task))]:
        answers = _follow(failing, models, [RELIABLE] * len(models))
        means = [mean * share for mean, share in zip(means, answers, strict=True)]
    own = cells.get(_mark(task) if task else ALL, {})
    return [*map(Quality, means, [cell[2] for cell in map(own.get, models, repeat(NOTHING))])]


def worths(
    cells: Mapping[int, Mapping[str, Cell]],
    task: str,
    shape: Shape,
    models: Sequence[str],
    priors: Mapping[str, float] | None = None,
) -> list[float]:
    """What the answers of each model are worth on a call, as far as cells tell."""
    mark, known = _mark(task), priors or {}
    base = _follow([cells.get(ALL, {})], models, [*map(known.get, models, repeat(UNKNOWN))])
    if task:
        base = _follow([cells.get(mark, {})], models, base)
    if not shape.views:
        return base
    views = [_follow(_known(cells, [key ^ mark for key in chain]), models, base) for chain in shape.views]
    sums = reduce(lambda one, other: [*map(add, one, other)], views)
    return [each / len(views) for each in sums]


def _mark(task: str) -> int:
    return crc32(b"task " + task.encode()) if task else 0


def _known(cells: Mapping[int, Mapping[str, Cell]], keys: Sequence[int]) -> Iterator[Mapping[str, Cell]]:
    for key in keys:
        if (row := cells.get(key)) is not None:
            yield row


def _follow(rows: Iterable[Mapping[str, Cell]], models: Sequence[str], means: list[float]) -> list[float]:
    """The estimates of the models, drawn by one row after the other toward what it saw."""
    for row in rows:
        seen = map(row.get, models, repeat(NOTHING))
        means = [cell[0] * mean + cell[1] for cell, mean in zip(seen, means, strict=True)]
    return means
