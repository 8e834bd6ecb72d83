"""Worst: how much an attempt may use at most, before it is made. Pure over the call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline.v1.model_pb2 import CAPABILITY_REASONING
from trunkline_server.routing.tokens import count_tokens

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline.v1.model_pb2 import Model
    from trunkline_server.core import Call

    # Nano-USD of an answer of so many tokens, at most.
    CostOf = Callable[[int], int]
    # See layers/price.py.
    MostOf = Callable[[Call, int, int, float], CostOf | None]

# Tokens of a model whose longest answer nobody knows.
UNKNOWN_OUTPUT = 8192


class Worst:
    """How much of an attempt is paid for at most."""

    def __init__(self, call: Call) -> None:
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
        # Tokens that go in at most: a tenth more than the estimate.
        tokens = count_tokens(call.request).at(model.family if model is not None else "")
        self.input = -(-tokens * 11 // 10)


def affordable(cost: CostOf, amount: int, most: int) -> int:
    """How long an answer may get, up to `most` tokens, for so much nano-USD."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if cost(middle) <= amount:
            low = middle
        else:
            high = middle - 1
    return low


def _model(call: Call) -> Model | None:
    offer = call.snapshot.offers.get(call.target.provider)
    if offer is None:
        return None
    return offer.models.get(call.target.model) or offer.discovered.get(call.target.model)
