"""The chat completions API of OpenAI and of the many hosts that copy it. This module is a Dialect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from msgspec import Raw
from msgspec.json import Encoder

from trunkline.v1.call_pb2 import Warning as CallWarning
from trunkline.v1.content_pb2 import (
    ROLE_ASSISTANT,
    ROLE_SYSTEM,
    ROLE_TOOL,
    ROLE_USER,
    Message,
    ResponseFormat,
    Role,
    ToolCall,
    ToolChoice,
)
from trunkline_server.dialects.classify import answered_error as decode_error
from trunkline_server.dialects.dialect import Encoded
from trunkline_server.dialects.openai_chat_stream import ChatStreamDecoder, decode_response

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trunkline.v1.content_pb2 import FunctionTool
    from trunkline.v1.gateway_service_pb2 import GenerateRequest, GenerationConfig
    from trunkline_server.dialects.dialect import Quirks, StreamDecoder

__all__ = ["decode_error", "decode_response", "encode_request", "stream_decoder"]

PATH = "/chat/completions"
ROLES: Mapping[Role.ValueType, str] = {ROLE_SYSTEM: "system", ROLE_USER: "user", ROLE_ASSISTANT: "assistant"}
MODES: Mapping[ToolChoice.Mode.ValueType, str] = {
    ToolChoice.MODE_UNSPECIFIED: "auto",
    ToolChoice.MODE_AUTO: "auto",
    ToolChoice.MODE_NONE: "none",
    ToolChoice.MODE_REQUIRED: "required",
}
# Settings that are called the same in the contract and in the API.
SAMPLING: tuple[Literal["temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty", "seed"], ...] = (
    "temperature",
    "top_p",
    "top_k",
    "presence_penalty",
    "frequency_penalty",
    "seed",
)
# Strict mode wants to be told that there are no others.
NO_PARAMETERS = Raw(b'{"type":"object","properties":{},"additionalProperties":false}')
_ENCODER = Encoder()

JsonObject = dict[str, Any]


def encode_request(request: GenerateRequest, model: str, *, stream: bool, quirks: Quirks) -> Encoded:
    """The request for `model`, its fields always in the same order.

    The request is valid: its JSON schemas are JSON, and are sent byte for byte as they stand.
    """
    body: JsonObject = {"model": model, "messages": [*_messages(request)]}
    for name, fields in _settings(request.config, quirks):
        if name not in quirks.unsupported:
            body |= fields
    body |= _tools(request, quirks)
    body |= _response_format(request.response_format)
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return Encoded(PATH, _ENCODER.encode(body), warnings=[*_warnings(request, quirks)])


def stream_decoder() -> StreamDecoder:
    """A decoder for one streamed answer."""
    return ChatStreamDecoder()


def _messages(request: GenerateRequest) -> Iterator[JsonObject]:
    if request.system_instruction:
        yield {"role": "system", "content": request.system_instruction}
    if request.prompt:
        yield {"role": "user", "content": request.prompt}
    for message in request.messages:
        if message.role == ROLE_TOOL:
            yield from _tool_results(message)
        else:
            yield _message(message)


def _tool_results(message: Message) -> Iterator[JsonObject]:
    for part in message.parts:
        content = "\n".join(piece.text for piece in part.tool_result.parts)
        yield {"role": "tool", "tool_call_id": part.tool_result.tool_call_id, "content": content}


def _message(message: Message) -> JsonObject:
    encoded: JsonObject = {"role": ROLES[message.role]}
    if message.name:
        encoded["name"] = message.name
    encoded["content"] = _content([part.text for part in message.parts if part.HasField("text")])
    refusals = [part.refusal for part in message.parts if part.HasField("refusal")]
    if refusals:
        encoded["refusal"] = "\n".join(refusals)
    calls = [_tool_call(part.tool_call) for part in message.parts if part.HasField("tool_call")]
    if calls:
        encoded["tool_calls"] = calls
    return encoded


def _content(texts: list[str]) -> str | list[JsonObject] | None:
    """One text as a string, which every host takes; several as parts."""
    if len(texts) > 1:
        return [{"type": "text", "text": text} for text in texts]
    return texts[0] if texts else None


def _tool_call(call: ToolCall) -> JsonObject:
    function = {"name": call.name, "arguments": call.arguments_json or "{}"}
    return {"id": call.id, "type": "function", "function": function}


def _settings(config: GenerationConfig, quirks: Quirks) -> Iterator[tuple[str, JsonObject]]:
    """Each setting of the request: its name in the contract, and what says it in the API."""
    if config.HasField("max_output_tokens"):
        yield "max_output_tokens", {quirks.max_tokens_field: config.max_output_tokens}
    for name in SAMPLING:
        if config.HasField(name):
            yield name, {name: getattr(config, name)}
    if config.stop_sequences:
        yield "stop_sequences", {"stop": config.stop_sequences[: quirks.max_stop_sequences]}
    if config.HasField("top_logprobs"):
        yield "top_logprobs", {"logprobs": True, "top_logprobs": config.top_logprobs}


def _tools(request: GenerateRequest, quirks: Quirks) -> JsonObject:
    if not request.tools:
        return {}
    choice, functions = request.tool_choice, [tool.function for tool in request.tools]
    if choice.allowed_tools and not quirks.allowed_tools:
        functions = [function for function in functions if function.name in choice.allowed_tools]
    tools: JsonObject = {"tools": [{"type": "function", "function": _function(function)} for function in functions]}
    if choice.mode or choice.allowed_tools:
        tools["tool_choice"] = _tool_choice(choice, quirks)
    if choice.HasField("parallel"):
        tools["parallel_tool_calls"] = choice.parallel
    return tools


def _function(function: FunctionTool) -> JsonObject:
    encoded: JsonObject = {"name": function.name}
    if function.description:
        encoded["description"] = function.description
    schema = function.parameters_json_schema
    encoded["parameters"] = Raw(schema.encode()) if schema else NO_PARAMETERS
    if function.HasField("strict"):
        encoded["strict"] = function.strict
    return encoded


def _tool_choice(choice: ToolChoice, quirks: Quirks) -> str | JsonObject:
    mode = MODES[choice.mode]
    if mode == "none" or not choice.allowed_tools:
        return mode
    tools = [{"type": "function", "function": {"name": name}} for name in choice.allowed_tools]
    if mode == "required" and len(tools) == 1:
        return tools[0]
    if not quirks.allowed_tools:
        return mode
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}


def _response_format(form: ResponseFormat) -> JsonObject:
    if form.kind == ResponseFormat.KIND_JSON:
        return {"response_format": {"type": "json_object"}}
    if form.kind != ResponseFormat.KIND_JSON_SCHEMA:
        return {}
    schema: JsonObject = {"name": form.name or "response", "schema": Raw(form.json_schema.encode())}
    if form.HasField("strict"):
        schema["strict"] = form.strict
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def _warnings(request: GenerateRequest, quirks: Quirks) -> Iterator[CallWarning]:
    """What of the request is not said, or not as it stands."""
    for index, message in enumerate(request.messages):
        if message.role == ROLE_TOOL and message.name:
            yield _dropped(f"messages[{index}].name", "a message of tool results has no name here: unset it")
    for name, _ in _settings(request.config, quirks):
        if name in quirks.unsupported:
            yield _dropped(f"config.{name}", f"the provider does not know {name}: unset it, or choose another one")
    count, most = len(request.config.stop_sequences), quirks.max_stop_sequences
    if count > most and "stop_sequences" not in quirks.unsupported:
        yield CallWarning(
            kind=CallWarning.KIND_PARAMETER_CHANGED,
            field="config.stop_sequences",
            message=f"the provider takes {most} stop sequences: the first {most} of {count} are sent",
        )


def _dropped(field: str, why: str) -> CallWarning:
    return CallWarning(kind=CallWarning.KIND_PARAMETER_DROPPED, field=field, message=f"left out: {why}")
