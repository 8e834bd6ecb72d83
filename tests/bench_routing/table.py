"""Tables of prompts and how models answered them: JSON lines, plain or gzipped.

    {"prompt": "...", "task": "" or a label, "split": "train" or "test",
     "score": {model: 0..1}, "cost_nano_usd": {model: n}, "latency_seconds": {model: s}}

`task`, `latency_seconds` and a model's entries may be missing. Without `split` a row is a test row by its prompt's
hash, 30%.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

TEST_SHARE = 0.3
# What a line is.
_FORM = (
    'a line is {"prompt": "...", "task": "" or a label, "split": "train" or "test", "score": {model: 0..1}, '
    '"cost_nano_usd": {model: n}, "latency_seconds": {model: s}}'
)


class BadTable(Exception):
    """A table that cannot be read, and why."""


@dataclass(frozen=True, slots=True)
class Row:
    """A prompt, and how the models did that answered it."""

    prompt: str
    task: str
    test: bool
    # By model: from 0 to 1; nano-USD; seconds.
    score: Mapping[str, float]
    cost: Mapping[str, float]
    latency: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows to learn from, rows to judge by, and the models of both."""

    name: str
    models: tuple[str, ...]
    train: tuple[Row, ...]
    test: tuple[Row, ...]

    @property
    def labelled(self) -> bool:
        """Whether tasks are told."""
        return any(row.task for row in self.train)


def read_table(path: Path) -> Table:
    """The table in a file. Raises BadTable, naming the line."""
    rows = [*_rows(path)]
    train, test = [row for row in rows if not row.test], [row for row in rows if row.test]
    models = {model for row in train for model in row.score} & {model for row in test for model in row.score}
    if len(models) < 2:
        raise BadTable(f"{path.name}: train and test rows have no two models in common")
    return Table(path.name.split(".")[0], tuple(sorted(models)), tuple(train), tuple(test))


def _rows(path: Path) -> Iterator[Row]:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    yield row_of(json.loads(line))
                except KeyError as missing:
                    raise BadTable(f"{path.name}, line {number}: there is no {missing}; {_FORM}") from None
                except (ValueError, TypeError, AttributeError) as wrong:
                    raise BadTable(f"{path.name}, line {number}: {wrong}; {_FORM}") from None


def row_of(line: Mapping[str, Any]) -> Row:
    """A line as a row. Raises ValueError, KeyError, TypeError or AttributeError if it is none."""
    prompt, cost = str(line["prompt"]), _numbers(line["cost_nano_usd"])
    score = {model: value for model, value in _numbers(line["score"]).items() if model in cost}
    if any(not 0 <= value <= 1 for value in score.values()):
        raise ValueError("a score is not from 0 to 1")
    if any(value < 0 for value in cost.values()):
        raise ValueError("a cost is below 0")
    latency = _numbers(line.get("latency_seconds") or {})
    return Row(prompt, str(line.get("task") or ""), _is_test(prompt, line.get("split")), score, cost, latency)


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {model: float(value) for model, value in values.items() if value is not None}


def _is_test(prompt: str, split: object) -> bool:
    if split is not None:
        return split == "test"
    return int.from_bytes(sha256(prompt.encode()).digest()[:8], "big") < TEST_SHARE * 2**64
