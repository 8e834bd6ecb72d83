"""What a prompt's words say of how a model will do, beyond what cells say: learned from the errors that those leave.

A model's worth on a prompt is its cells' estimate plus the sum of w * x over the prompt's words: x is how rare the word
is, ln((N + 1) / (n + 1)) where n of N observations have it (Spaerck Jones 1972), over the length of the prompt's vector
of these. A word learns by x * error / (m + STRENGTH), where m is the discounted sum of its squared x: ridge regression
of that strength, one observation after the other, each word as if the others were known.
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

# Models whose words are remembered, 128 KiB each. Another one takes the place of the one that was observed longest ago,
# if that is so many observations ago: else all that take turns would lose what they had learned at each of them.
MOST_MODELS, IDLE = 32, 2_000


class _Vector(NamedTuple):
    """Of one prompt: how rare its words are, and the length of that; 0 where none is."""

    rare: list[float]
    length: float


class _Weights:
    """Of one model, by word: w, and m."""

    __slots__ = ("added", "observed", "seen")

    def __init__(self) -> None:
        self.added, self.seen = (array("f", bytes(4 * BUCKETS)) for _ in "wm")
        # N when it was observed last.
        self.observed = 0.0

    def told(self, words: Sequence[int], vector: _Vector) -> float:
        """What the words add."""
        total: float = sum(map(mul, _getter(words)(self.added), vector.rare))
        return total / vector.length

    def lay(self, words: Sequence[int], vector: _Vector, error: float) -> None:
        """Lay an error to the words, as far as they have seen anything."""
        for word, rare in zip(words, vector.rare, strict=True):
            if self.seen[word]:
                self.added[word] += rare / vector.length * error / (self.seen[word] + STRENGTH)


class Words:
    """The weights of each model's words."""

    def __init__(self) -> None:
        self._models: dict[str, _Weights] = {}
        # N + 1, and n + 1 by word.
        self._prompts = 1.0
        self._having = array("d", [1.0]) * BUCKETS

    def add(self, words: Sequence[int], models: Sequence[str]) -> Sequence[float]:
        """What a prompt's words add to the worth of each model; empty = nothing, to any."""
        if not self._models or not words or not (vector := self._vector(words)).length:
            return ()
        return [known.told(words, vector) if known else 0.0 for known in map(self._models.get, models)]

    def learn(self, words: Sequence[int], model: str, error: float) -> None:
        """An answer of the model to a prompt of these words was worth so much more than its cells told."""
        if not words:
            return
        if (vector := self._vector(words)).length and (weights := self._newest(model)):
            left = error - weights.told(words, vector)
            for word, rare in zip(words, vector.rare, strict=True):
                weights.seen[word] = DISCOUNT * weights.seen[word] + (rare / vector.length) ** 2
            weights.lay(words, vector, left)
        self._prompts += 1
        for word in words:
            self._having[word] += 1

    def correct(self, words: Sequence[int], model: str, more: float) -> None:
        """An answer that was learned from was worth so much more than was said. Taken as the newest of all."""
        if words and (weights := self._models.get(model)) and (vector := self._vector(words)).length:
            weights.lay(words, vector, more)

    def _vector(self, words: Sequence[int]) -> _Vector:
        most = log(self._prompts)
        rare = [most - having for having in map(log, _getter(words)(self._having))]
        return _Vector(rare, sqrt(sum(map(mul, rare, rare))))

    def _newest(self, model: str) -> _Weights | None:
        """The model's, as the newest of all. None: there is no room for it."""
        weights = self._models.pop(model, None)
        if weights is None:
            if len(self._models) >= MOST_MODELS:
                oldest = next(iter(self._models))
                if self._prompts - self._models[oldest].observed < IDLE:
                    return None
                del self._models[oldest]
            weights = _Weights()
        self._models[model] = weights
        weights.observed = self._prompts
        return weights


def _getter(words: Sequence[int]) -> Callable[[array[float]], tuple[float, ...]]:
    """What an array has at the places of the words."""
    if len(words) > 1:
        return itemgetter(*words)
    return lambda values: (values[words[0]],)
