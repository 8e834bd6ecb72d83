"""Sampling, thinking and the form of the answer, in the words of the chat completions API and its copies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from msgspec import Raw

from trunkline.v1.content_pb2 import ResponseFormat
from trunkline.v1.gateway_service_pb2 import Thinking
from trunkline_server.dialects.openai_chat import thinkers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trunkline.v1.gateway_service_pb2 import GenerateRequest, GenerationConfig
    from trunkline_server.dialects.dialect import Quirks
    from trunkline_server.dialects.openai_chat.notes import Notes

# Settings that are called the same in the contract and in the API.
SAMPLING: tuple[Literal["temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty", "seed"], ...] = (
    "temperature",
    "top_p",
    "top_k",
    "presence_penalty",
    "frequency_penalty",
    "seed",
)
# The least first.
EFFORTS: Mapping[Thinking.Effort.ValueType, str] = {
    Thinking.EFFORT_NONE: "none",
    Thinking.EFFORT_MINIMAL: "minimal",
    Thinking.EFFORT_LOW: "low",
    Thinking.EFFORT_MEDIUM: "medium",
    Thinking.EFFORT_HIGH: "high",
    Thinking.EFFORT_MAX: "xhigh",
}
_RANKS = {word: rank for rank, word in enumerate(EFFORTS.values())}
# Another word for as much as can be.
_RANKS["max"] = _RANKS["xhigh"]
# Hosts that know schemas only take this one for any JSON object.
ANY_OBJECT = Raw(b'{"type":"object"}')

JsonObject = dict[str, Any]


def encode_settings(request: GenerateRequest, notes: Notes) -> JsonObject:
    """What its config says, thinking included, and in `notes` what cannot be said."""
    fields: JsonObject = {}
    config = request.config
    unheard = thinkers.unheard(request, notes.quirks)
    for name, said in _settings(config, notes.quirks):
        if name in notes.quirks.unsupported:
            notes.dropped(f"config.{name}", f"the provider does not know {name}: unset it, or choose another one")
        elif name in unheard:
            notes.dropped(f"config.{name}", "the model does not heed it while it thinks: set thinking.effort to NONE")
        else:
            fields |= _lowered(name, said, notes)
    count, most = len(config.stop_sequences), notes.quirks.max_stop_sequences
    if count > most and "stop_sequences" not in notes.quirks.unsupported:
        what = f"the provider takes {most} stop sequences: the first {most} of {count} are sent"
        notes.changed("config.stop_sequences", what)
    if thinkers.keeps_from_thinking(request, notes.quirks):
        return fields | _not_thinking(config.thinking, notes)
    return fields | _thinking(config.thinking, notes) if config.HasField("thinking") else fields


def _settings(config: GenerationConfig, quirks: Quirks) -> Iterator[tuple[str, JsonObject]]:
    """Each setting of the request: its name in the contract, and what says it in the API."""
    if config.HasField("max_output_tokens"):
        yield "max_output_tokens", {quirks.max_tokens_field: config.max_output_tokens}
    for name in SAMPLING:
        if config.HasField(name):
            yield name, {quirks.seed_field if name == "seed" else name: getattr(config, name)}
    if config.stop_sequences:
        yield "stop_sequences", {"stop": config.stop_sequences[: quirks.max_stop_sequences]}
    if config.HasField("top_logprobs"):
        yield "top_logprobs", {"logprobs": True, "top_logprobs": config.top_logprobs}


def _lowered(name: str, said: JsonObject, notes: Notes) -> JsonObject:
    highest = notes.quirks.highest.get(name)
    if highest is None or said[name] <= highest:
        return said
    notes.changed(f"config.{name}", f"the provider takes at most {highest:g}: that is sent")
    return said | {name: highest}


def _thinking(thinking: Thinking, notes: Notes) -> JsonObject:
    fields = _how_much(thinking, notes)
    if thinking.visibility == Thinking.VISIBILITY_OMITTED:
        if notes.quirks.thinking == "object":
            fields.setdefault("reasoning", {})["exclude"] = True
        elif notes.quirks.reasoning_field:
            notes.dropped("config.thinking.visibility", "the provider shows what it thinks: unset it")
    return fields


def _how_much(thinking: Thinking, notes: Notes) -> JsonObject:
    match notes.quirks.thinking:
        case "effort":
            effort = _effort(thinking, notes)
            return {"reasoning_effort": effort} if effort else {}
        case "object":
            return _object(thinking, notes)
        case "switch":
            return _switch(thinking, notes)
        case "budget":
            return _budget(thinking, notes)
        case "deepseek":
            return _switch_and_effort(thinking, notes)
    for name in ("effort", "budget_tokens"):
        if getattr(thinking, name):
            notes.dropped(f"config.thinking.{name}", "the provider cannot be told how much to think: unset it")
    return {}


def _effort(thinking: Thinking, notes: Notes) -> str:
    """The word for it that is nearest to what the host knows. Empty = nothing was said."""
    if not thinking.effort:
        _leave_out_budget(thinking, notes)
        return ""
    wanted, known = EFFORTS[thinking.effort], notes.quirks.efforts
    # Little is not nothing; between two that are as near it is more, as DeepSeek itself has it.
    words = known if wanted == "none" else [word for word in known if word != "none"]
    sent = min(words, key=lambda word: (abs(_RANKS[word] - _RANKS[wanted]), -_RANKS[word]))
    if _RANKS[sent] != _RANKS[wanted]:
        notes.changed("config.thinking.effort", f"the provider knows {', '.join(known)}: {sent} is sent")
    return sent


def _leave_out_budget(thinking: Thinking, notes: Notes) -> None:
    if thinking.HasField("budget_tokens"):
        notes.dropped("config.thinking.budget_tokens", "the provider counts no tokens of thinking: set effort instead")


def _object(thinking: Thinking, notes: Notes) -> JsonObject:
    """OpenRouter's: one of the two."""
    if thinking.effort:
        return {"reasoning": {"effort": _effort(thinking, notes)}}
    return {"reasoning": {"max_tokens": thinking.budget_tokens}} if thinking.HasField("budget_tokens") else {}


def _switch(thinking: Thinking, notes: Notes) -> JsonObject:
    if not thinking.effort:
        _leave_out_budget(thinking, notes)
        return {}
    _tell_of_switch(thinking, notes)
    return {"thinking": {"type": "enabled" if thinking.effort != Thinking.EFFORT_NONE else "disabled"}}


def _switch_and_effort(thinking: Thinking, notes: Notes) -> JsonObject:
    if not thinking.effort or thinking.effort == Thinking.EFFORT_NONE:
        return _switch(thinking, notes)
    return {"thinking": {"type": "enabled"}, "reasoning_effort": _effort(thinking, notes)}


def _not_thinking(thinking: Thinking, notes: Notes) -> JsonObject:
    if thinking.effort not in {Thinking.EFFORT_UNSPECIFIED, Thinking.EFFORT_NONE} or thinking.budget_tokens:
        notes.dropped("config.thinking", "a model that must call a tool cannot think: let tool_choice.mode be AUTO")
    return {"thinking": {"type": "disabled"}}


def _budget(thinking: Thinking, notes: Notes) -> JsonObject:
    fields: JsonObject = {}
    if thinking.effort or thinking.HasField("budget_tokens"):
        fields["enable_thinking"] = thinking.effort != Thinking.EFFORT_NONE
    if thinking.HasField("budget_tokens") and fields["enable_thinking"]:
        return fields | {"thinking_budget": thinking.budget_tokens}
    _tell_of_switch(thinking, notes)
    return fields


def _tell_of_switch(thinking: Thinking, notes: Notes) -> None:
    if thinking.effort not in {Thinking.EFFORT_UNSPECIFIED, Thinking.EFFORT_NONE}:
        notes.changed("config.thinking.effort", "the provider thinks or does not: thinking is switched on")


def encode_format(form: ResponseFormat, messages: list[JsonObject], notes: Notes) -> JsonObject:
    """response_format. A schema that the host has no place for goes into `messages`."""
    known = notes.quirks.response_formats
    if form.kind == ResponseFormat.KIND_JSON:
        if "json_object" in known:
            return {"response_format": {"type": "json_object"}}
        return _schema({"name": "object", "schema": ANY_OBJECT}) if "json_schema" in known else _no_format(notes)
    if form.kind != ResponseFormat.KIND_JSON_SCHEMA:
        return {}
    if "json_schema" not in known:
        return _asked_for(form, messages, notes)
    schema: JsonObject = {"name": form.name or "response", "schema": Raw(form.json_schema.encode())}
    if form.HasField("strict"):
        schema["strict"] = form.strict
    return _schema(schema)


def _schema(schema: JsonObject) -> JsonObject:
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def _no_format(notes: Notes) -> JsonObject:
    notes.dropped("response_format", "the provider cannot be held to JSON: ask for it in the prompt, and check it")
    return {}


def _asked_for(form: ResponseFormat, messages: list[JsonObject], notes: Notes) -> JsonObject:
    """The schema as a part of the prompt."""
    notes.changed("response_format", "the provider cannot be held to a schema: it is asked for in the prompt; check it")
    messages.insert(
        0, {"role": "system", "content": f"Answer with JSON that follows this JSON schema:\n{form.json_schema}"}
    )
    if "json_object" in notes.quirks.response_formats:
        return {"response_format": {"type": "json_object"}}
    return {}
