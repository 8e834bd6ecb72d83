"""What is known of a model, in the contract's words: the data on models, and what the configuration says instead."""

from __future__ import annotations

from calendar import timegm
from typing import TYPE_CHECKING

from trunkline.v1.model_pb2 import Capability, Modality, ModelScore
from trunkline_server.models.data import TOLD, entry_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from google.protobuf.timestamp_pb2 import Timestamp

    from trunkline.v1.model_pb2 import Model
    from trunkline_server.models.data import Entry
    from trunkline_server.settings import Settings
    from trunkline_server.settings.models import ModelSettings

_CONFIGURED = "configuration"
MEASURED = "measured"
# Seconds at which the terms of speed are a half.
_HALF_TIME, _HALF_TOKEN = 1.0, 0.02


def own_of(settings: Settings, provider: str, model: str) -> ModelSettings | None:
    """What the configuration says of a model. None: nothing."""
    return settings.model_data.get(f"{provider}/{model}")


def retirement_of(settings: Settings, provider: str, kind: str, model: str) -> int | None:
    """When a model's time is over, in seconds since 1970. None: not known."""
    own = own_of(settings, provider, model)
    if own is not None and own.retirement is not None:
        return own.retirement
    entry = entry_of(kind, model)
    return seconds_of(entry.retired) if entry is not None and entry.retired is not None else None


def successor_of(settings: Settings, provider: str, kind: str, model: str) -> str:
    """What takes a model's place once it is gone: an id of the same provider, or "provider/model". Empty = nothing."""
    own = own_of(settings, provider, model)
    if own is not None and own.replacement is not None:
        return own.replacement
    entry = entry_of(kind, model)
    return entry.replacement if entry is not None else ""


def describe(model: Model, entry: Entry | None, says: frozenset[Capability.ValueType]) -> None:
    """Tell in `model` what the data says of it. Abilities that hang on how it is asked stay as they are.

    What a request has no words for (not in `says`) the model cannot do here, whatever it is able to.
    """
    if entry is None:
        return
    model.display_name, model.family = entry.name, entry.family
    if entry.window is not None:
        model.context_window = entry.window
    if entry.output is not None:
        model.max_output_tokens = entry.output
    if entry.open_weights is not None:
        model.open_weights = entry.open_weights
    if entry.can is not None:
        able = {*model.capabilities} - {*TOLD.values()} | ({TOLD[name] for name in entry.can} & says)
        set_capabilities(model, able)
    model.input_modalities.extend(map(_modality, entry.takes))
    model.output_modalities.extend(map(_modality, entry.gives))
    model.scores.extend(
        ModelScore(name=name, value=score.value, source=score.source) for name, score in entry.scores.items()
    )


def tell_end(model: Model, entry: Entry | None) -> None:
    """Tell in `model` its other names, until when it is there, and what comes after it.

    Of what is made of it none of that is so.
    """
    if entry is None:
        return
    model.aliases.extend(entry.aliases)
    if entry.deprecated is not None:
        model.deprecation_time.FromSeconds(seconds_of(entry.deprecated))
    if entry.retired is not None:
        model.retirement_time.FromSeconds(seconds_of(entry.retired))
    if entry.replacement:
        model.replacement = f"{model.provider}/{entry.replacement}"


def tell_own(model: Model, own: ModelSettings | None) -> None:
    """Put in `model` what the configuration says of it."""
    if own is None:
        return
    for name in ("display_name", "family", "context_window", "max_output_tokens", "open_weights"):
        if (value := getattr(own, name)) is not None:
            setattr(model, name, value)
    if own.capabilities is not None:
        set_capabilities(model, (Capability.Value(f"CAPABILITY_{name.upper()}") for name in own.capabilities))
    for modalities, names in (
        (model.input_modalities, own.input_modalities),
        (model.output_modalities, own.output_modalities),
    ):
        if names is not None:
            modalities[:] = map(_modality, names)
    for when, seconds in ((model.deprecation_time, own.deprecation), (model.retirement_time, own.retirement)):
        _set(when, seconds)
    if own.replacement is not None:
        model.replacement = with_provider(model.provider, own.replacement)
    scores = [score for score in model.scores if score.name not in own.scores]
    scores += [ModelScore(name=name, value=value, source=_CONFIGURED) for name, value in own.scores.items()]
    del model.scores[:]
    model.scores.extend(scores)


def tell_speed(model: Model, settings: Settings) -> None:
    """Score a model's speed by what was measured of it; one that has no score by what its provider usually takes.

    What model_data says of its speed stands.
    """
    own = own_of(settings, model.provider, model.provider_model)
    if own is not None and "speed" in own.scores:
        return
    measured = settings.measured.get(f"{model.provider}/{model.provider_model}")
    usual = settings.providers[model.provider].usual_latency
    if measured is not None:
        _set_speed(model, speed_of(measured.first_token, measured.tokens_per_second), MEASURED)
    elif usual is not None and all(score.name != "speed" for score in model.scores):
        _set_speed(model, _HALF_TIME / (_HALF_TIME + (usual.least + usual.most) / 2.0), f"{_CONFIGURED}: usual_latency")


def speed_of(first_token: float, tokens_per_second: float) -> float:
    """The score of speed: the mean of 1s / (1s + time to the first token) and 20ms / (20ms + time for each token)."""
    latency = _HALF_TIME / (_HALF_TIME + first_token)
    return (latency + _HALF_TOKEN / (_HALF_TOKEN + 1.0 / tokens_per_second)) / 2.0


def _set_speed(model: Model, speed: float, source: str) -> None:
    others = [score for score in model.scores if score.name != "speed"]
    del model.scores[:]
    model.scores.extend([*others, ModelScore(name="speed", value=speed, source=source)])


def with_provider(provider: str, model: str) -> str:
    """An id with its provider before it, unless it says so already. Empty stays empty."""
    return model if not model or model.startswith(f"{provider}/") else f"{provider}/{model}"


def set_capabilities(model: Model, able: Iterable[Capability.ValueType]) -> None:
    """Put these in place of the capabilities that it has, in the contract's order."""
    wanted = {*able}
    del model.capabilities[:]
    model.capabilities.extend(each for each in Capability.values() if each in wanted)


def seconds_of(day: date) -> int:
    """Midnight UTC at which a day begins, in seconds since 1970."""
    return timegm(day.timetuple())


def _modality(name: str) -> Modality.ValueType:
    return Modality.Value(f"MODALITY_{name.upper()}")


def _set(when: Timestamp, seconds: int | None) -> None:
    if seconds is not None:
        when.FromSeconds(seconds)
