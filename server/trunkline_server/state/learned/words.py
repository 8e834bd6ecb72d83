"""What a prompt's words say of how a model will do, beyond what cells say: learned from the errors that those leave.

A model's worth on a prompt is its cells' estimate plus the sum of w * x over the prompt's words: x is how rare the word
is, ln((N + 1) / (n + 1)) where n of N prompts have it (Spaerck Jones 1972), over the length of the prompt's vector of
these. A word learns by x * error / (m + STRENGTH), where m is the discounted sum of its squared x: ridge regression of
that strength, one observation after the other, each word as if the others were known.
"""

from __future__ import annotations

from array import array
from math import log, sqrt
from operator import itemgetter, mul
from typing import TYPE_CHECKING, NamedTuple

from trunkline_server.routing.learned.cells import DISCOUNT, STRENGTH
from trunkline_server.routing.learned.shape import BUCKETS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Models whose words are remembered, 128 KiB each; the one that was observed longest ago goes first.
MOST_MODELS = 32


class _Weights(NamedTuple):
    """Of one model, by word."""

    # w times how rare the word was when it was learned, so that a decision has only to add up.
    added: array[float]
    # m.
    seen: array[float]


class _Vector(NamedTuple):
    """Of one prompt: how rare its words are, and the length of that; 0 where none is."""

    rare: list[float]
    length: float


class Words:
    """The weights of each model's words."""

    def __init__(self) -> None:
        self._models: dict[str, _Weights] = {}
        # N + 1, and n + 1 by word.
        self._prompts = 1.0
        self._having = _each(1.0)

    def add(self, words: Sequence[int], models: Sequence[str]) -> Sequence[float]:
        """What a prompt's words add to the worth of each model; empty = nothing, to any."""
        if not self._models or not words or not (length := self._vector(words).length):
            return ()
        of = _getter(words)
        return [sum(of(known.added)) / length if known else 0.0 for known in map(self._models.get, models)]

    def learn(self, words: Sequence[int], model: str, error: float) -> None:
        """An answer of the model to a prompt of these words was worth so much more than its cells told."""
        if not words:
            return
        if (vector := self._vector(words)).length:
            weights = self._newest(model)
            left = error - sum(_getter(words)(weights.added)) / vector.length
            for word, rare in zip(words, vector.rare, strict=True):
                weights.seen[word] = DISCOUNT * weights.seen[word] + (rare / vector.length) ** 2
            _lay(weights, words, vector, left)
        self._prompts += 1
        for word in words:
            self._having[word] += 1

    def correct(self, words: Sequence[int], model: str, more: float) -> None:
        """An answer that was learned from was worth so much more than was said. Taken as the newest of all."""
        if words and (weights := self._models.get(model)) and (vector := self._vector(words)).length:
            _lay(weights, words, vector, more)

    def _vector(self, words: Sequence[int]) -> _Vector:
        most = log(self._prompts)
        rare = [most - having for having in map(log, _getter(words)(self._having))]
        return _Vector(rare, sqrt(sum(map(mul, rare, rare))))

    def _newest(self, model: str) -> _Weights:
        weights = self._models.pop(model, None)
        if weights is None:
            weights = _Weights(_each(0.0), _each(0.0))
            if len(self._models) >= MOST_MODELS:
                del self._models[next(iter(self._models))]
        self._models[model] = weights
        return weights


def _lay(weights: _Weights, words: Sequence[int], vector: _Vector, error: float) -> None:
    """Lay an error to the words."""
    for word, rare in zip(words, vector.rare, strict=True):
        weights.added[word] += rare * rare / vector.length * error / (weights.seen[word] + STRENGTH)


def _getter(words: Sequence[int]) -> Callable[[array[float]], tuple[float, ...]]:
    """What an array has at the places of the words."""
    if len(words) > 1:
        return itemgetter(*words)
    return lambda values: (values[words[0]],)


def _each(value: float) -> array[float]:
    return array("f", [value]) * BUCKETS
