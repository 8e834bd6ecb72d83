"""Tools and the choice among them, in the Responses API's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import DecodeError, Raw
from msgspec.json import Decoder

from trunkline.v1.content_pb2 import FunctionTool, ProviderTool, Tool, ToolChoice
from trunkline_server.dialects.openai_responses.wire import DIALECT
from trunkline_server.errors import InvalidRequest, Violation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline.v1.gateway_service_pb2 import GenerateRequest
    from trunkline_server.dialects.dialect import Quirks
    from trunkline_server.dialects.notes import Notes

MODES: Mapping[ToolChoice.Mode.ValueType, str] = {
    ToolChoice.MODE_UNSPECIFIED: "auto",
    ToolChoice.MODE_AUTO: "auto",
    ToolChoice.MODE_NONE: "none",
    ToolChoice.MODE_REQUIRED: "required",
}
# Strict mode wants to be told that there are no others.
NO_PARAMETERS = Raw(b'{"type":"object","properties":{},"additionalProperties":false}')
# What a choice says of a tool: an MCP server is chosen by its label.
_NAMES = ("type", "name", "server_label")

_OBJECT = Decoder(dict[str, Raw])

JsonObject = dict[str, Any]


def encode_tools(request: GenerateRequest, quirks: Quirks, notes: Notes) -> JsonObject:
    """`tools`, `tool_choice` and `parallel_tool_calls`.

    The settings of a provider's own tool are sent as they stand. Raises InvalidRequest where they are not JSON.
    """
    choice = request.tool_choice
    tools: dict[str, JsonObject] = {}
    for index, tool in enumerate(request.tools):
        _add_tool(tools, tool, f"tools[{index}]", notes)
    if choice.allowed_tools and not (quirks.allowed_tools or _names_one(choice)):
        tools = {name: tool for name, tool in tools.items() if name in choice.allowed_tools}
    if not tools:
        return {}
    encoded: JsonObject = {"tools": [*tools.values()]}
    if choice.mode or choice.allowed_tools:
        encoded["tool_choice"] = _tool_choice(choice, tools, quirks)
    if choice.HasField("parallel"):
        encoded["parallel_tool_calls"] = choice.parallel
    return encoded


def _names_one(choice: ToolChoice) -> bool:
    """Whether the one tool is named that must be called, which every host understands."""
    return choice.mode == ToolChoice.MODE_REQUIRED and len(choice.allowed_tools) == 1


def _add_tool(tools: dict[str, JsonObject], tool: Tool, path: str, notes: Notes) -> None:
    """Add a tool by its name, or by its place if it has none of its own."""
    if tool.HasField("cache_breakpoint"):
        notes.dropped(f"{path}.cache_breakpoint", "tools have none here: set it on a part of a message")
    if tool.HasField("function"):
        tools[tool.function.name] = _function(tool.function)
    elif encoded := _provider_tool(tool.provider_tool, f"{path}.provider_tool", notes):
        tools[path if tool.provider_tool.type in tools else tool.provider_tool.type] = encoded


def _function(function: FunctionTool) -> JsonObject:
    encoded: JsonObject = {"type": "function", "name": function.name}
    if function.description:
        encoded["description"] = function.description
    schema = function.parameters_json_schema
    encoded["parameters"] = Raw(schema.encode()) if schema else NO_PARAMETERS
    if function.HasField("strict"):
        encoded["strict"] = function.strict
    return encoded


def _provider_tool(tool: ProviderTool, path: str, notes: Notes) -> JsonObject | None:
    if tool.dialect != DIALECT:
        notes.dropped(
            path, f"only {tool.dialect or 'another dialect'} has this tool: remove it, or choose a target of it"
        )
        return None
    try:
        config = _OBJECT.decode(tool.config_json or "{}")
    except (DecodeError, RecursionError):
        raise InvalidRequest([Violation(f"{path}.config_json", "is not a JSON object")]) from None
    return {"type": tool.type} | {key: value for key, value in config.items() if key != "type"}


def _tool_choice(choice: ToolChoice, tools: dict[str, JsonObject], quirks: Quirks) -> str | JsonObject:
    mode = MODES[choice.mode]
    if mode == "none" or not choice.allowed_tools:
        return mode
    allowed = [_reference(tools[name]) for name in choice.allowed_tools if name in tools]
    if not allowed:
        # All that are allowed were left out: the others still are not.
        return "none"
    if mode == "required" and len(allowed) == 1:
        return allowed[0]
    if not quirks.allowed_tools:
        return mode
    return {"type": "allowed_tools", "mode": mode, "tools": allowed}


def _reference(tool: JsonObject) -> JsonObject:
    return {key: tool[key] for key in _NAMES if key in tool}
