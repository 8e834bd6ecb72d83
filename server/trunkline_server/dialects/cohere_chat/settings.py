"""How to generate, in the words of Cohere's chat API: sampling, thinking, tools, the form of the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from msgspec import Raw

from trunkline.v1.content_pb2 import ResponseFormat, ToolChoice
from trunkline.v1.gateway_service_pb2 import Thinking
from trunkline_server.dialects.cohere_chat.messages import DIALECT
from trunkline_server.dialects.function_tools import allowed_functions, encode_tools, note_format
from trunkline_server.dialects.notes import known_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline.v1.gateway_service_pb2 import GenerateRequest, GenerationConfig
    from trunkline_server.dialects.dialect import Quirks
    from trunkline_server.dialects.notes import Notes

MAX_STOP_SEQUENCES = 5
# Settings of the contract, and what the API calls them.
PLAIN: tuple[tuple[Literal["max_output_tokens", "temperature", "seed"], str], ...] = (
    ("max_output_tokens", "max_tokens"),
    ("temperature", "temperature"),
    ("seed", "seed"),
)
# The same, with the least and the most that the API takes.
RANGED: tuple[tuple[Literal["top_p", "top_k", "presence_penalty", "frequency_penalty"], str, float, float], ...] = (
    ("top_p", "p", 0.01, 0.99),
    ("top_k", "k", 0, 500),
    ("presence_penalty", "presence_penalty", 0, 1),
    ("frequency_penalty", "frequency_penalty", 0, 1),
)
# What each effort means to a model that counts its thoughts. As much as can be: no limit.
BUDGETS: Mapping[Thinking.Effort.ValueType, int] = {
    Thinking.EFFORT_MINIMAL: 1024,
    Thinking.EFFORT_LOW: 2048,
    Thinking.EFFORT_MEDIUM: 8192,
    Thinking.EFFORT_HIGH: 16384,
}
HIDING = frozenset({Thinking.VISIBILITY_OMITTED, Thinking.VISIBILITY_SUMMARY})

JsonObject = dict[str, Any]


def encode_settings(config: GenerationConfig, quirks: Quirks, notes: Notes) -> JsonObject:
    """Length, sampling, stop sequences, logprobs and thinking."""
    config = known_settings(config, quirks, notes)
    body: JsonObject = {theirs: getattr(config, name) for name, theirs in PLAIN if config.HasField(name)}
    body |= _ranged(config, notes)
    if config.stop_sequences:
        body["stop_sequences"] = _stop_sequences(config, notes)
    if config.HasField("top_logprobs"):
        if config.top_logprobs:
            notes.changed("config.top_logprobs", "the provider tells no other likely tokens: 0 is sent")
        body["logprobs"] = True
    return body | _thinking(config.thinking, notes)


def _ranged(config: GenerationConfig, notes: Notes) -> JsonObject:
    body: JsonObject = {}
    for name, theirs, least, most in RANGED:
        if config.HasField(name):
            value = getattr(config, name)
            sent = min(max(value, least), most)
            if sent != value:
                notes.changed(f"config.{name}", f"the provider takes from {least} to {most}: {sent} is sent")
            body[theirs] = sent
    return body


def _stop_sequences(config: GenerationConfig, notes: Notes) -> list[str]:
    count = len(config.stop_sequences)
    if count > MAX_STOP_SEQUENCES:
        what = f"the provider takes {MAX_STOP_SEQUENCES} stop sequences: the first {MAX_STOP_SEQUENCES} of {count} are"
        notes.changed("config.stop_sequences", f"{what} sent")
    return list(config.stop_sequences[:MAX_STOP_SEQUENCES])


def _thinking(wanted: Thinking, notes: Notes) -> JsonObject:
    if wanted.visibility in HIDING:
        notes.dropped("config.thinking.visibility", "the provider tells its thoughts as they are: unset it")
    has_budget = wanted.HasField("budget_tokens")
    if wanted.effort == Thinking.EFFORT_NONE or (has_budget and not wanted.budget_tokens):
        return {"thinking": {"type": "disabled"}}
    if not has_budget and not wanted.effort:
        return {}
    budget = wanted.budget_tokens if has_budget else BUDGETS.get(wanted.effort)
    return {"thinking": {"type": "enabled"} | ({"token_budget": budget} if budget else {})}


def encode_tool_settings(request: GenerateRequest, notes: Notes) -> JsonObject:
    """`tools`, `tool_choice` and `strict_tools`. Raises InvalidRequest."""
    choice = request.tool_choice
    tools = encode_tools(request, DIALECT, notes)
    if choice.HasField("parallel") and not choice.parallel:
        notes.dropped("tool_choice.parallel", "the model may always call several tools: unset it")
    if not tools:
        return {}
    body: JsonObject = {"tools": tools}
    if choice.mode == ToolChoice.MODE_REQUIRED:
        body["tool_choice"] = "REQUIRED"
    elif choice.mode == ToolChoice.MODE_NONE:
        body["tool_choice"] = "NONE"
    return body | _strict(request, notes)


def _strict(request: GenerateRequest, notes: Notes) -> JsonObject:
    """All functions are held to their schemas, or none is."""
    functions = [*allowed_functions(request)]
    strict = [path for path, function in functions if function.strict]
    if strict and len(strict) == len(functions):
        return {"strict_tools": True}
    for path in strict:
        notes.dropped(f"{path}.strict", "the provider holds all functions to their schemas, or none: set it on all")
    return {}


def encode_format(form: ResponseFormat, notes: Notes) -> JsonObject:
    """`response_format`."""
    if form.kind not in {ResponseFormat.KIND_JSON, ResponseFormat.KIND_JSON_SCHEMA}:
        return {}
    note_format(form, notes)
    has_schema = form.kind == ResponseFormat.KIND_JSON_SCHEMA
    schema = {"json_schema": Raw(form.json_schema.encode())} if has_schema else {}
    return {"response_format": {"type": "json_object"} | schema}
