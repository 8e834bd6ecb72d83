"""What the configuration says of models, as typed values, and how providers are asked for theirs."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from trunkline_server.sections import Seconds, Section
from trunkline_server.settings.prices import Moment  # noqa: TC001 - msgspec reads it

CapabilityName = Literal[
    "streaming",
    "tools",
    "json_schema",
    "json_mode",
    "reasoning",
    "logprobs",
    "prompt_cache",
    "vision",
    "audio",
]
ModalityName = Literal["text", "image", "audio", "video", "file"]
ScoreName = Literal["quality", "coding", "reasoning", "speed", "long_context"]
_Share = Annotated[float, Meta(ge=0, le=1)]
_Tokens = Annotated[int, Meta(ge=1, le=1 << 40)]


class LatencySettings(Section, frozen=True, kw_only=True):
    """Between what and what an answer usually takes, before anything was measured."""

    least: Seconds
    most: Seconds


class DiscoverySettings(Section, frozen=True, kw_only=True):
    """How providers are asked for their models."""

    # From one time to the next, after the one at the start. 0 = never, unless somebody asks for it.
    every: Seconds = Seconds(3600.0)


class MeasuredSettings(Section, frozen=True, kw_only=True):
    """How fast `trunkline benchmark` found a model to be."""

    first_token: Seconds
    # That come out, once the first is there.
    tokens_per_second: Annotated[float, Meta(ge=0.001, le=1_000_000)]


class ModelSettings(Section, frozen=True, kw_only=True):
    """What is so of a model, in place of what the catalogue and its provider say. Unset = what they say."""

    display_name: str | None = None
    family: str | None = None
    context_window: _Tokens | None = None
    max_output_tokens: _Tokens | None = None
    input_modalities: tuple[ModalityName, ...] | None = None
    output_modalities: tuple[ModalityName, ...] | None = None
    # All that it can do.
    capabilities: tuple[CapabilityName, ...] | None = None
    open_weights: bool | None = None
    deprecation: Moment | None = None
    retirement: Moment | None = None
    # "provider/model", or another id of the same provider. "" = nothing.
    replacement: str | None = None
    # USD per million tokens, in and out together, where models are scored by price: nothing is billed by it.
    # Unset = three tokens that go in to one that comes out, at their prices.
    effective_price: Annotated[float, Meta(ge=0, le=999999)] | None = None
    # From 0 to 1; the others stay as they are.
    scores: dict[ScoreName, _Share] = field(default_factory=dict)
