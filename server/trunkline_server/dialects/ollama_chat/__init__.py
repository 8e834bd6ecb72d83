"""Ollama's own chat API: newline-delimited JSON. This module is a Dialect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from msgspec import Raw
from msgspec.json import Encoder

from trunkline.v1.content_pb2 import ResponseFormat, ToolChoice
from trunkline.v1.gateway_service_pb2 import Thinking
from trunkline_server.dialects.dialect import Encoded
from trunkline_server.dialects.function_tools import allowed_functions, encode_tools, note_format
from trunkline_server.dialects.notes import Notes, known_settings
from trunkline_server.dialects.ollama_chat.errors import decode_error
from trunkline_server.dialects.ollama_chat.messages import DIALECT, encode_messages
from trunkline_server.dialects.ollama_chat.stream import OllamaStreamDecoder, decode_response
from trunkline_server.dialects.options import merge_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline.v1.gateway_service_pb2 import GenerateRequest, GenerationConfig
    from trunkline_server.dialects.dialect import Quirks, StreamDecoder

__all__ = ["decode_error", "decode_response", "encode_request", "stream_decoder"]

PATH = "/api/chat"
# Settings of the contract, and what `options` calls them.
OPTIONS: tuple[
    tuple[
        Literal[
            "max_output_tokens",
            "temperature",
            "top_p",
            "top_k",
            "presence_penalty",
            "frequency_penalty",
            "seed",
        ],
        str,
    ],
    ...,
] = (
    ("max_output_tokens", "num_predict"),
    ("temperature", "temperature"),
    ("top_p", "top_p"),
    ("top_k", "top_k"),
    ("presence_penalty", "presence_penalty"),
    ("frequency_penalty", "frequency_penalty"),
    ("seed", "seed"),
)
# Models that know no levels take each of them for "yes".
LEVELS: Mapping[Thinking.Effort.ValueType, str | bool] = {
    Thinking.EFFORT_NONE: False,
    Thinking.EFFORT_MINIMAL: "low",
    Thinking.EFFORT_LOW: "low",
    Thinking.EFFORT_MEDIUM: "medium",
    Thinking.EFFORT_HIGH: "high",
    Thinking.EFFORT_MAX: "high",
}
HIDING = frozenset({Thinking.VISIBILITY_OMITTED, Thinking.VISIBILITY_SUMMARY})
# What provider_options may not carry. keep_alive and what else `options` has (num_ctx, min_p, ...) are for it.
WRITTEN = frozenset(
    {"model", "messages", "tools", "format", "think", "logprobs", "top_logprobs", "stream", "options.stop"}
    | {f"options.{theirs}" for _, theirs in OPTIONS}
)
_ENCODER = Encoder()

JsonObject = dict[str, Any]


def encode_request(request: GenerateRequest, model: str, *, stream: bool, quirks: Quirks) -> Encoded:
    """The request for `model`, its fields always in the same order.

    The request is valid: its JSON schemas are JSON, and are sent byte for byte as they stand. Raises InvalidRequest.
    """
    notes = Notes()
    body: JsonObject = {"model": model, "messages": encode_messages(request, notes)}
    body |= _tools(request, notes)
    body |= _format(request.response_format, notes)
    body |= _settings(request.config, quirks, notes)
    # Said always: it streams unless it is told not to.
    body["stream"] = stream
    merge_options(body, request, DIALECT, WRITTEN)
    return Encoded(PATH, _ENCODER.encode(body), warnings=notes.warnings)


def stream_decoder() -> StreamDecoder:
    """A decoder for one streamed answer."""
    return OllamaStreamDecoder()


def _settings(config: GenerationConfig, quirks: Quirks, notes: Notes) -> JsonObject:
    config = known_settings(config, quirks, notes)
    options: JsonObject = {theirs: getattr(config, name) for name, theirs in OPTIONS if config.HasField(name)}
    if config.stop_sequences:
        options["stop"] = list(config.stop_sequences)
    body: JsonObject = {"options": options} if options else {}
    if config.HasField("top_logprobs"):
        body |= {"logprobs": True, "top_logprobs": config.top_logprobs}
    return body | _think(config.thinking, notes)


def _think(wanted: Thinking, notes: Notes) -> JsonObject:
    if wanted.visibility in HIDING:
        notes.dropped("config.thinking.visibility", "the provider tells its thoughts as they are: unset it")
    if wanted.effort:
        return {"think": LEVELS[wanted.effort]}
    if not wanted.HasField("budget_tokens"):
        return {}
    if wanted.budget_tokens:
        notes.changed("config.thinking.budget_tokens", "the provider does not count them: set effort instead")
    return {"think": bool(wanted.budget_tokens)}


def _tools(request: GenerateRequest, notes: Notes) -> JsonObject:
    choice = request.tool_choice
    tools = encode_tools(request, DIALECT, notes)
    for path, function in allowed_functions(request):
        if function.strict:
            notes.dropped(f"{path}.strict", "the provider does not hold the model to a tool's schema: unset it")
    if choice.HasField("parallel") and not choice.parallel:
        notes.dropped("tool_choice.parallel", "the model may always call several tools: unset it")
    if choice.mode == ToolChoice.MODE_REQUIRED:
        notes.dropped("tool_choice.mode", "the model cannot be made to call a tool: say so in the prompt")
    # There is no other way to say that none may be called.
    return {"tools": tools} if tools and choice.mode != ToolChoice.MODE_NONE else {}


def _format(form: ResponseFormat, notes: Notes) -> JsonObject:
    if form.kind not in {ResponseFormat.KIND_JSON, ResponseFormat.KIND_JSON_SCHEMA}:
        return {}
    note_format(form, notes)
    if form.kind == ResponseFormat.KIND_JSON:
        return {"format": "json"}
    return {"format": Raw(form.json_schema.encode())}
