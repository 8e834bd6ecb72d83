"""Worst: what an attempt may cost at most, before it is made. Pure over the call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline.v1.model_pb2 import CAPABILITY_REASONING
from trunkline_server.routing.tokens import count_tokens

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline.v1.model_pb2 import Model
    from trunkline_server.core import Call

    # See layers/price.py.
    MostOf = Callable[[Call, int, int, int, float], int | None]

# Tokens of a model whose longest answer nobody knows.
UNKNOWN_OUTPUT = 8192


class Worst:
    """The most that an attempt costs, by how long its answer gets."""

    def __init__(self, call: Call, most_of: MostOf, when: int, longest: float) -> None:
        """`when` it begins is in microseconds since 1970; it takes `longest` seconds at most."""
        self._call = call
        self._most_of = most_of
        self._when = when
        self._longest = longest
        model, asked = _model(call), call.request.config
        own = model.max_output_tokens if model is not None and model.HasField("max_output_tokens") else 0
        said = asked.max_output_tokens if asked.HasField("max_output_tokens") else 0
        # Tokens that come out at most.
        self.output = min(filter(None, (own, said)), default=UNKNOWN_OUTPUT)
        # Whether whoever answers is bound to that without being told.
        self.is_bound = bool(own or said)
        # Whether all of the answer is seen while it comes: what a model thinks is not.
        thinks = model is not None and CAPABILITY_REASONING in model.capabilities
        self.is_seen = call.streaming and not thinks and not asked.HasField("thinking")
        # A tenth more than the estimate.
        tokens = count_tokens(call.request).at(model.family if model is not None else "")
        self._input = -(-tokens * 11 // 10)

    def cost(self, output: int) -> int | None:
        """Nano-USD of an answer of so many tokens. None: there is no price."""
        return self._most_of(self._call, self._input, output, self._when, self._longest)

    def tokens(self, amount: int, most: int) -> int:
        """How long an answer may get, up to `most`, for so much nano-USD."""
        low, high = 0, most
        while low < high:
            middle = (low + high + 1) // 2
            if (self.cost(middle) or 0) <= amount:
                low = middle
            else:
                high = middle - 1
        return low


def _model(call: Call) -> Model | None:
    offer = call.snapshot.offers.get(call.target.provider)
    if offer is None:
        return None
    return offer.models.get(call.target.model) or offer.discovered.get(call.target.model)
