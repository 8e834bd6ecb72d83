"""How well models do, by what calls are: counts that forget, each drawn toward what is known more generally.

A cell is what one model did on calls of one key: all calls, a task's, those of a look (shape.py). An estimate begins with
the model's prior and goes from the general to the special; each cell draws it toward what it saw by as much as it saw, so
that a cell with few observations says little, and none says nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from trunkline_server.routing.learned.shape import Shape

# What an observation weighs after another one in its cell: a cell remembers about 1 / (1 - DISCOUNT) of them.
DISCOUNT = 0.998
# Observations that an estimate from the more general is worth.
STRENGTH = 10.0
# The key of all calls.
ALL = 0
UNKNOWN = 0.5


class Cell(NamedTuple):
    """Observations of one model under one key: their discounted number, and the discounted sum of their scores."""

    n: float
    total: float


class Quality(NamedTuple):
    """What is expected of a model, from 0 to 1, and how many observations of its task stand behind it."""

    mean: float
    n: float


# By key, by model.
Cells = dict[int, dict[str, Cell]]
NOTHING = Cell(0.0, 0.0)


def observed(cell: Cell, score: float, discount: float = DISCOUNT) -> Cell:
    """The cell after one more observation."""
    return Cell(discount * cell.n + 1.0, discount * cell.total + score)


def corrected(cell: Cell, before: float, after: float) -> Cell:
    """The cell after an observation that it holds is found to have been another. Its age is not known: taken as new."""
    return Cell(cell.n, min(cell.n, max(0.0, cell.total + after - before)))


def keys_of(task: str, shape: Shape) -> tuple[int, ...]:
    """All keys of a call, the general ones first."""
    mark = _mark(task)
    return (ALL, *((mark,) if task else ()), *(key ^ mark for chain in shape for key in chain))


def qualities(
    cells: Mapping[int, Mapping[str, Cell]],
    task: str,
    shape: Shape,
    models: Sequence[str],
    priors: Mapping[str, float] | None = None,
) -> list[Quality]:
    """What is expected of each model on a call. `priors`: what is said of models of which nothing was seen."""
    mark = _mark(task)
    general = cells.get(ALL, {})
    special = cells.get(mark, {}) if task else general
    chains = [[*_known(cells, [key ^ mark for key in chain])] for chain in shape]
    known, share = priors or {}, 1.0 / len(chains) if chains else 0.0
    found = []
    for model in models:
        base = _drawn(general.get(model, NOTHING), known.get(model, UNKNOWN))
        own = special.get(model, NOTHING)
        if task:
            base = _drawn(own, base)
        strays = sum([_follow(chain, model, base) for chain in chains])
        mean = base + share * (strays - base * len(chains))
        found.append(Quality(mean, own.n))
    return found


def _mark(task: str) -> int:
    return crc32(b"task " + task.encode()) if task else 0


def _known(cells: Mapping[int, Mapping[str, Cell]], keys: Sequence[int]) -> Iterator[Mapping[str, Cell]]:
    for key in keys:
        if (row := cells.get(key)) is not None:
            yield row


def _drawn(cell: Cell, mean: float) -> float:
    return (cell.total + STRENGTH * mean) / (cell.n + STRENGTH)


def _follow(chain: Sequence[Mapping[str, Cell]], model: str, mean: float) -> float:
    for row in chain:
        if (cell := row.get(model)) is not None:
            mean = (cell[1] + STRENGTH * mean) / (cell[0] + STRENGTH)
    return mean
