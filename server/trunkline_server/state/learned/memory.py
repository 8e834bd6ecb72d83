"""The cells of routing/learned, in memory: bounded, and telling which of them changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline_server.routing.learned.cells import (
    NOTHING,
    Cell,
    Cells,
    Quality,
    corrected,
    keys_of,
    observed,
    qualities,
)
from trunkline_server.routing.learned.shape import NO_SHAPE, Shape

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

# Keys that are remembered; the one that was observed longest ago goes first. And models under each.
MOST_KEYS, MOST_MODELS = 20_000, 256


class Memory:
    """What is known of models. Reading it never changes it."""

    def __init__(self, cells: Iterable[tuple[int, str, Cell]] = ()) -> None:
        """`cells`: what was known before, those that changed longest ago first."""
        self._cells: Cells = {}
        # Cells that changed or went away since `changes` was last asked.
        self._changed: set[tuple[int, str]] = set()
        for key, model, cell in cells:
            self._cells.setdefault(key, {})[model] = cell

    def quality(self, task: str, model: str, shape: Shape = NO_SHAPE, prior: float | None = None) -> Quality:
        """What is expected of a model on a call of a task ("" = any)."""
        return self.qualities(task, shape, (model,), {} if prior is None else {model: prior})[0]

    def qualities(
        self, task: str, shape: Shape, models: Sequence[str], priors: Mapping[str, float] | None = None
    ) -> list[Quality]:
        """The same of several models, in their order."""
        return qualities(self._cells, task, shape, models, priors)

    def observe(self, task: str, shape: Shape, model: str, score: float) -> None:
        """A call of this task and look had an answer of this worth, from 0 to 1, by this model."""
        for key in keys_of(task, shape):
            row = self._row(key)
            row[model] = observed(row.pop(model, NOTHING), score)
            self._changed.add((key, model))
            if len(row) > MOST_MODELS:
                self._forget(key, next(iter(row)))

    def correct(self, keys: Iterable[int], model: str, before: float, after: float) -> None:
        """What was observed under these keys was of another worth."""
        for key in keys:
            if (cell := self._cells.get(key, {}).get(model)) is not None:
                self._cells[key][model] = corrected(cell, before, after)
                self._changed.add((key, model))

    def changes(self) -> dict[tuple[int, str], Cell | None]:
        """What changed since this was last asked: None = it went away."""
        changed, self._changed = self._changed, set()
        return {(key, model): self._cells.get(key, {}).get(model) for key, model in changed}

    def _row(self, key: int) -> dict[str, Cell]:
        """The row of a key, as the newest of all."""
        row = self._cells.pop(key, None)
        if row is None:
            row = {}
            if len(self._cells) >= MOST_KEYS:
                oldest = next(iter(self._cells))
                for model in [*self._cells[oldest]]:
                    self._forget(oldest, model)
        self._cells[key] = row
        return row

    def _forget(self, key: int, model: str) -> None:
        row = self._cells[key]
        del row[model]
        self._changed.add((key, model))
        if not row:
            del self._cells[key]
