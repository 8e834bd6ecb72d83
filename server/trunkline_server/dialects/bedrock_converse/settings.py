"""How to generate, in the words of Bedrock's Converse API: length, sampling, stop sequences, thinking."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trunkline.v1.gateway_service_pb2 import Thinking
from trunkline_server.dialects.anthropic_messages.settings import UNKNOWN
from trunkline_server.dialects.anthropic_messages.settings import encode_settings as encode_claude_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline.v1.gateway_service_pb2 import GenerationConfig
    from trunkline_server.dialects.anthropic_messages.settings import Situation
    from trunkline_server.dialects.bedrock_converse.models import Model
    from trunkline_server.dialects.bedrock_converse.notes import Notes
    from trunkline_server.dialects.dialect import Quirks

# Settings by what they are called in inferenceConfig and, of Claude's own, in additionalModelRequestFields.
_INFERENCE: Mapping[str, str] = {
    "max_tokens": "maxTokens",
    "temperature": "temperature",
    "top_p": "topP",
    "stop_sequences": "stopSequences",
}
_ADDITIONAL = ("top_k", "thinking")

JsonObject = dict[str, Any]


def encode_settings(
    config: GenerationConfig, situation: Situation, model: Model, quirks: Quirks, notes: Notes
) -> tuple[JsonObject, JsonObject, JsonObject]:
    """inferenceConfig, outputConfig (`effort`) and additionalModelRequestFields; empty = not sent."""
    if model.claude:
        settings = encode_claude_settings(config, situation, model.claude, quirks, notes)
    else:
        settings = _common_settings(config, quirks, notes)
    if not config.HasField("max_output_tokens"):
        # Converse takes a model's most by itself.
        settings.pop("max_tokens", None)
    inference = {name: settings[key] for key, name in _INFERENCE.items() if key in settings}
    output = {"effort": settings["effort"]} if "effort" in settings else {}
    return inference, output, {key: settings[key] for key in _ADDITIONAL if key in settings}


def _common_settings(config: GenerationConfig, quirks: Quirks, notes: Notes) -> JsonObject:
    """What every model takes. All else has names of each vendor's own."""
    settings: JsonObject = {}
    if config.HasField("max_output_tokens"):
        settings["max_tokens"] = config.max_output_tokens
    if config.HasField("temperature"):
        if config.temperature > 1:
            notes.changed("config.temperature", "the provider takes at most 1: 1 is sent")
        settings["temperature"] = min(config.temperature, 1.0)
    if config.HasField("top_p"):
        settings["top_p"] = config.top_p
    if config.stop_sequences:
        settings["stop_sequences"] = [*config.stop_sequences]
    unknown = [name for name in ("top_k", *UNKNOWN) if config.HasField(name)]  # type: ignore[arg-type]
    for name in sorted(quirks.unsupported & settings.keys()):
        del settings[name]
        unknown.append(name)
    for name in unknown:
        notes.dropped(f"config.{name}", f"the model does not know {name}: unset it, or choose another one")
    _note_thinking(config.thinking, notes)
    return settings


def _note_thinking(thinking: Thinking, notes: Notes) -> None:
    """The words for thinking are each vendor's own; only Claude's are known here."""
    why = "the model has settings of its own for this: unset it, or say them in provider_options"
    if thinking.effort:
        notes.dropped("config.thinking.effort", why)
    if thinking.HasField("budget_tokens"):
        notes.dropped("config.thinking.budget_tokens", why)
    if thinking.visibility in {Thinking.VISIBILITY_OMITTED, Thinking.VISIBILITY_SUMMARY}:
        notes.dropped("config.thinking.visibility", why)
