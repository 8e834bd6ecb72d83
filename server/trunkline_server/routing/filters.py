"""What a question about models lets through. Pure: the time, the prices and what was measured are given."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trunkline.v1.call_pb2 import Usage
from trunkline.v1.model_pb2 import CAPABILITY_UNSPECIFIED, Capability
from trunkline.v1.model_service_pb2 import ListModelsRequest, RecommendModelsRequest
from trunkline_server.errors import Violation
from trunkline_server.prices.cost import cost_of
from trunkline_server.prices.rates import INPUT, OUTPUT
from trunkline_server.routing.signal import UNKNOWN
from trunkline_server.spans import seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trunkline.v1.model_pb2 import Model
    from trunkline_server.prices.book import PriceBook
    from trunkline_server.routing.signal import Signal

# The size of a call where the question does not say.
INPUT_TOKENS = 1000
OUTPUT_TOKENS = 500
_MOST_TOKENS = 1 << 40
# What quality is the mean of where nobody scores it itself.
_QUALITIES = ("coding", "reasoning", "long_context")

Question = ListModelsRequest | RecommendModelsRequest


@dataclass(frozen=True, slots=True)
class Known:
    """What is known beside the models themselves."""

    # Seconds since 1970.
    when: int
    prices: PriceBook
    # Of a provider and a model: how it does now.
    measured: Callable[[str, str], Signal] = lambda _provider, _model: UNKNOWN
    # What a provider lacks at present: a key that has yet to be fetched. Empty = nothing.
    missing: Callable[[str], str] = lambda _provider: ""

    def unit_price(self, model: Model, unit: str) -> int | None:
        """Pico-USD a token, in calls of usual size. None: unpriced."""
        found = self.prices.find(model.provider, model.provider_model, self.when)
        return found.rates[unit].pico_usd if found is not None and unit in found.rates else None

    def call_cost(self, model: Model, question: Question) -> int | None:
        """Nano-USD of a call of the size that the question says. None: unpriced."""
        found = self.prices.find(model.provider, model.provider_model, self.when)
        if found is None:
            return None
        into = input_tokens(question)
        out = question.call_output_tokens if question.HasField("call_output_tokens") else OUTPUT_TOKENS
        cost = cost_of(Usage(input_tokens=into, output_tokens=out), found, wall_nanoseconds=0)
        return cost.total_nano_usd if cost.HasField("total_nano_usd") else None

    def first_token(self, model: Model, question: Question) -> float | None:
        """How long a call of this size would wait for its first token now, in seconds. None: it was not measured."""
        return self.measured(model.provider, model.provider_model).first_token(input_tokens(question))


def input_tokens(question: Question) -> int:
    """The size of the call that is asked about."""
    return question.call_input_tokens if question.HasField("call_input_tokens") else INPUT_TOKENS


def score_of(model: Model, name: str) -> float | None:
    """A score by its name. None: not known."""
    return next((score.value for score in model.scores if score.name == name), None)


def quality_of(model: Model) -> float | None:
    """The score of quality, else the mean of what makes it up. None: none of it is known."""
    if (said := score_of(model, "quality")) is not None:
        return said
    values = [value for name in _QUALITIES if (value := score_of(model, name)) is not None]
    return math.fsum(values) / len(values) if values else None


def fits(model: Model, question: ListModelsRequest, known: Known) -> bool:
    """Whether a listing shows the model."""
    return (
        (not question.provider or model.provider == question.provider)
        and (not question.available_only or model.available)
        and (not question.open_weights_only or model.open_weights)
        and _at_most(question, "max_input_pico_usd_per_token", lambda: known.unit_price(model, INPUT))
        and _at_most(question, "max_output_pico_usd_per_token", lambda: known.unit_price(model, OUTPUT))
        and _at_least(question, "min_speed", score_of(model, "speed"))
        and is_able(model, question, known)
    )


def is_able(model: Model, question: Question, known: Known) -> bool:
    """Whether the model is what both kinds of question ask for."""
    window = model.context_window if model.HasField("context_window") else None
    return (
        set(question.required_capabilities) <= set(model.capabilities)
        and _at_least(question, "min_context_window", window)
        and _at_least(question, "min_quality", quality_of(model))
        and _is_fast(model, question, known)
        and _at_most(question, "max_call_cost_nano_usd", lambda: known.call_cost(model, question))
    )


def _is_fast(model: Model, question: Question, known: Known) -> bool:
    if not question.HasField("max_time_to_first_token"):
        return True
    first = known.first_token(model, question)
    return first is None or first <= seconds(question.max_time_to_first_token)


def _at_most(question: Any, limit: str, find: Callable[[], int | None]) -> bool:
    """Prices are looked up only for those who ask for them."""
    if not question.HasField(limit):
        return True
    value = find()
    return value is not None and value <= getattr(question, limit)


def _at_least(question: Any, limit: str, value: float | None) -> bool:
    return not question.HasField(limit) or (value is not None and value >= getattr(question, limit))


def violations(question: Any) -> Iterator[Violation]:
    """Everything that is wrong with what a question asks for."""
    for index, capability in enumerate(question.required_capabilities):
        if capability == CAPABILITY_UNSPECIFIED or capability not in Capability.values():
            yield Violation(f"required_capabilities[{index}]", "is not a capability")
    for of in question.DESCRIPTOR.fields:
        if of.name.startswith(("min_", "max_", "call_")) and of.has_presence and question.HasField(of.name):
            yield from _wrong(of.name, getattr(question, of.name))


def _wrong(name: str, value: object) -> Iterator[Violation]:
    match value:
        case float() if not 0 <= value <= 1:
            yield Violation(name, "must be from 0 to 1")
        case int() if value < 0:
            yield Violation(name, "must be at least 0")
        case int() if name.startswith("call_") and value > _MOST_TOKENS:
            yield Violation(name, f"must be at most {_MOST_TOKENS}")
        case float() | int():
            return
        case _ if seconds(value) < 0:  # type: ignore[arg-type]
            yield Violation(name, "must be at least 0")
