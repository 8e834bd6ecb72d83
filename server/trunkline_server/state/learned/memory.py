"""What is known of models, in memory: the cells of routing/learned, as many as fit, the latest; and what words add."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline_server.routing.learned.cells import (
    ALL,
    NOTHING,
    corrected,
    keys_of,
    observed,
    outcome_keys,
    qualities,
    worths,
)
from trunkline_server.routing.learned.shape import NO_SHAPE
from trunkline_server.state.learned.words import Words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trunkline_server.routing.learned.cells import Cells, Quality
    from trunkline_server.routing.learned.shape import Shape

# Keys that are remembered; the one that was observed longest ago goes first. And models under each.
MOST_KEYS, MOST_MODELS = 20_000, 256


class Memory:
    """What is known of models. Reading it never changes it."""

    def __init__(self) -> None:
        self._cells: Cells = {}
        self._words = Words()

    def quality(self, task: str, model: str, shape: Shape = NO_SHAPE, prior: float | None = None) -> Quality:
        """What is expected of a model on a call of a task ("" = any)."""
        return self.qualities(task, shape, (model,), {} if prior is None else {model: prior})[0]

    def qualities(
        self, task: str, shape: Shape, models: Sequence[str], priors: Mapping[str, float] | None = None
    ) -> list[Quality]:
        """The same of several models, in their order."""
        return qualities(self._cells, task, shape, models, priors, self._words.add(shape.words, models))

    def observe(self, task: str, shape: Shape, model: str, score: float) -> None:
        """A call of this task and look had an answer of this worth, from 0 to 1, by this model."""
        if all_ := self._cells.get(ALL, {}).get(model):
            (expected,) = worths(self._cells, task, shape, (model,), {model: all_.total / all_.n})
            self._words.learn(shape.words, model, score - expected)
        for key in keys_of(task, shape):
            self._add(key, model, score)

    def observe_outcome(self, task: str, model: str, answered: bool) -> None:
        """A model was asked in a call of this task, and answered or failed."""
        value = float(answered)
        for key in outcome_keys(task):
            self._add(key, model, value)

    def correct(self, task: str, shape: Shape, model: str, before: float, after: float) -> None:
        """What was observed so was of another worth."""
        self._words.correct(shape.words, model, after - before)
        for key in keys_of(task, shape):
            if (cell := self._cells.get(key, {}).get(model)) is not None:
                self._cells[key][model] = corrected(cell, before, after)

    def _add(self, key: int, model: str, value: float) -> None:
        cells = self._cells
        row = cells.pop(key, None)
        if row is None:
            row = {}
            if len(cells) >= MOST_KEYS:
                del cells[next(iter(cells))]
        cells[key] = row  # as the newest of all
        row[model] = observed(row.pop(model, NOTHING), value)
        if len(row) > MOST_MODELS:
            del row[next(iter(row))]
