"""How to generate, in the Responses API's words: length, sampling, reasoning, the form of the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from msgspec import Raw

from trunkline.v1.content_pb2 import ResponseFormat
from trunkline.v1.gateway_service_pb2 import Thinking
from trunkline_server.dialects.openai_responses.models import EFFORTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trunkline.v1.gateway_service_pb2 import GenerationConfig
    from trunkline_server.dialects.dialect import Quirks
    from trunkline_server.dialects.notes import Notes
    from trunkline_server.dialects.openai_responses.models import Facts

# The API refuses less.
MIN_OUTPUT_TOKENS = 16
EFFORT_WORDS: Mapping[Thinking.Effort.ValueType, str] = {
    Thinking.EFFORT_NONE: "none",
    Thinking.EFFORT_MINIMAL: "minimal",
    Thinking.EFFORT_LOW: "low",
    Thinking.EFFORT_MEDIUM: "medium",
    Thinking.EFFORT_HIGH: "high",
    Thinking.EFFORT_MAX: "max",
}
SUMMARIES: Mapping[Thinking.Visibility.ValueType, str] = {
    Thinking.VISIBILITY_SUMMARY: "auto",
    Thinking.VISIBILITY_FULL: "detailed",
}
UNKNOWN: tuple[Literal["top_k", "presence_penalty", "frequency_penalty", "seed"], ...] = (
    "top_k",
    "presence_penalty",
    "frequency_penalty",
    "seed",
)
SAMPLING: tuple[Literal["temperature", "top_p", "top_logprobs"], ...] = ("temperature", "top_p", "top_logprobs")

JsonObject = dict[str, Any]


def encode_settings(config: GenerationConfig, facts: Facts, quirks: Quirks, notes: Notes) -> JsonObject:
    """max_output_tokens, temperature, top_p, top_logprobs and `reasoning`."""
    reasoning = _reasoning(config.thinking, facts, notes)
    settings: JsonObject = {}
    if config.HasField("max_output_tokens"):
        settings["max_output_tokens"] = _max_output_tokens(config.max_output_tokens, notes)
    effort = reasoning.get("effort", facts.default_effort)
    settings |= _sampling(config, facts.sampling or not facts.thinks or effort == "none", notes)
    for name in _unknown(config, settings, quirks):
        settings.pop(name, None)
        notes.dropped(f"config.{name}", f"the provider does not know {name}: unset it, or choose another one")
    return settings | ({"reasoning": reasoning} if reasoning else {})


def _unknown(config: GenerationConfig, settings: JsonObject, quirks: Quirks) -> Iterator[str]:
    """The settings that neither the API nor this vendor of it has a word for."""
    yield from (name for name in UNKNOWN if config.HasField(name))
    if config.stop_sequences:
        yield "stop_sequences"
    yield from sorted(quirks.unsupported & settings.keys())


def _max_output_tokens(wanted: int, notes: Notes) -> int:
    if wanted < MIN_OUTPUT_TOKENS:
        notes.changed("config.max_output_tokens", f"the provider takes at least {MIN_OUTPUT_TOKENS}: that is sent")
    return max(wanted, MIN_OUTPUT_TOKENS)


def _sampling(config: GenerationConfig, allowed: bool, notes: Notes) -> JsonObject:
    """A model that takes no sampling settings has their defaults: asking for those leaves nothing to warn of."""
    sent: JsonObject = {}
    for name in SAMPLING:
        if not config.HasField(name):
            continue
        if allowed:
            sent[name] = getattr(config, name)
        elif name == "top_logprobs" or getattr(config, name) != 1:
            notes.dropped(f"config.{name}", f"the model takes no {name} while it thinks: unset it")
    return sent


def _reasoning(thinking: Thinking, facts: Facts, notes: Notes) -> JsonObject:
    reasoning: JsonObject = {}
    if effort := _effort(thinking, facts, notes):
        reasoning["effort"] = effort
    if facts.thinks and thinking.visibility in SUMMARIES:
        reasoning["summary"] = SUMMARIES[thinking.visibility]
    return reasoning


def _effort(thinking: Thinking, facts: Facts, notes: Notes) -> str:
    """The word for how much to think; "" = nothing is said of it. An effort wins over a budget."""
    wanted = EFFORT_WORDS.get(thinking.effort, "")
    if not wanted and thinking.HasField("budget_tokens"):
        if thinking.budget_tokens:
            notes.dropped(
                "config.thinking.budget_tokens", "the provider has efforts instead: set config.thinking.effort"
            )
        else:
            wanted = "none"
    if not wanted or wanted in facts.efforts or (wanted == "none" and not facts.thinks):
        return wanted if facts.efforts else ""
    if not facts.efforts:
        notes.dropped("config.thinking.effort", "the model has no such setting: unset it, or choose another one")
        return ""
    return _nearest(wanted, facts, notes)


def _nearest(wanted: str, facts: Facts, notes: Notes) -> str:
    """The next effort above, or the most there is."""
    more = EFFORTS[EFFORTS.index(wanted) :]
    sent = next((effort for effort in facts.efforts if effort in more), facts.efforts[-1])
    notes.changed("config.thinking.effort", f"the model has no effort {wanted}: {sent} is sent")
    return sent


def encode_format(form: ResponseFormat) -> JsonObject:
    """`text`, where the answer must have a form. The JSON schema is sent byte for byte as it stands."""
    if form.kind == ResponseFormat.KIND_JSON:
        return {"text": {"format": {"type": "json_object"}}}
    if form.kind != ResponseFormat.KIND_JSON_SCHEMA:
        return {}
    schema: JsonObject = {"type": "json_schema", "name": form.name or "response"}
    schema["schema"] = Raw(form.json_schema.encode())
    if form.HasField("strict"):
        schema["strict"] = form.strict
    return {"text": {"format": schema}}
