"""Tools, and which of them may be called, in the words of the chat completions API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import DecodeError, Raw
from msgspec.json import Decoder

from trunkline.v1.content_pb2 import ToolChoice
from trunkline_server.dialects.lenient import decode_json
from trunkline_server.dialects.openai_chat.messages import DIALECT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline.v1.content_pb2 import FunctionTool, ProviderTool, Tool
    from trunkline.v1.gateway_service_pb2 import GenerateRequest
    from trunkline_server.dialects.openai_chat.notes import Notes

MODES: Mapping[ToolChoice.Mode.ValueType, str] = {
    ToolChoice.MODE_UNSPECIFIED: "auto",
    ToolChoice.MODE_AUTO: "auto",
    ToolChoice.MODE_NONE: "none",
    ToolChoice.MODE_REQUIRED: "required",
}
# Strict mode wants to be told that there are no others.
NO_PARAMETERS = Raw(b'{"type":"object","properties":{},"additionalProperties":false}')
_OBJECT = Decoder(dict[str, Raw])

JsonObject = dict[str, Any]


def encode_tools(request: GenerateRequest, notes: Notes) -> JsonObject:
    """tools, tool_choice and parallel_tool_calls, as far as there are any."""
    choice, quirks = request.tool_choice, notes.quirks
    tools = [
        encoded
        for index, tool in enumerate(request.tools)
        if _may_be_sent(tool, choice, allowed_tools=quirks.allowed_tools or _names_one(choice))
        and (encoded := _tool(tool, f"tools[{index}]", notes)) is not None
    ]
    if not tools:
        return {}
    fields: JsonObject = {"tools": tools}
    if choice.mode or choice.allowed_tools:
        fields["tool_choice"] = _tool_choice(choice, notes)
    if choice.HasField("parallel") and quirks.parallel_switch:
        fields["parallel_tool_calls"] = choice.parallel
    elif choice.HasField("parallel"):
        notes.dropped("tool_choice.parallel", "the provider has no such setting: unset it")
    return fields


def _names_one(choice: ToolChoice) -> bool:
    """Whether the one tool is named that must be called, which every host understands."""
    return choice.mode == ToolChoice.MODE_REQUIRED and len(choice.allowed_tools) == 1


def _may_be_sent(tool: Tool, choice: ToolChoice, *, allowed_tools: bool) -> bool:
    if allowed_tools or not choice.allowed_tools:
        return True
    return (tool.function.name or tool.provider_tool.type) in choice.allowed_tools


def _tool(tool: Tool, path: str, notes: Notes) -> JsonObject | None:
    if tool.HasField("provider_tool"):
        encoded = _provider_tool(tool.provider_tool, f"{path}.provider_tool", notes)
    else:
        encoded = {"type": "function", "function": _function(tool.function)}
    if encoded is not None and tool.HasField("cache_breakpoint"):
        encoded |= notes.cache_control(tool.cache_breakpoint, f"{path}.cache_breakpoint")
    return encoded


def _provider_tool(tool: ProviderTool, path: str, notes: Notes) -> JsonObject | None:
    if tool.dialect != DIALECT:
        notes.dropped(
            path, f"only {tool.dialect or 'another dialect'} understands it: choose a provider that speaks it"
        )
        return None
    try:
        config = decode_json(_OBJECT, tool.config_json.encode()) if tool.config_json else {}
    except DecodeError:
        notes.dropped(f"{path}.config_json", "is not a JSON object")
        return None
    return {"type": tool.type} | config


def _function(function: FunctionTool) -> JsonObject:
    encoded: JsonObject = {"name": function.name}
    if function.description:
        encoded["description"] = function.description
    schema = function.parameters_json_schema
    encoded["parameters"] = Raw(schema.encode()) if schema else NO_PARAMETERS
    if function.HasField("strict"):
        encoded["strict"] = function.strict
    return encoded


def _tool_choice(choice: ToolChoice, notes: Notes) -> str | JsonObject:
    mode = MODES[choice.mode]
    word = notes.quirks.required_word if mode == "required" else mode
    if mode == "none" or not choice.allowed_tools:
        return word
    tools = [{"type": "function", "function": {"name": name}} for name in choice.allowed_tools]
    if _names_one(choice):
        return tools[0]
    if not notes.quirks.allowed_tools:
        return word
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}
