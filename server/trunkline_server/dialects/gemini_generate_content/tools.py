"""Tools, which of them may be called, and the form of the answer, in Gemini's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import DecodeError, Raw
from msgspec.json import Decoder

from trunkline.v1.content_pb2 import ResponseFormat, ToolChoice
from trunkline_server.dialects.gemini_generate_content.contents import CACHE
from trunkline_server.dialects.gemini_generate_content.parts import DIALECT
from trunkline_server.errors import InvalidRequest, Violation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline.v1.content_pb2 import FunctionTool, ProviderTool, Tool
    from trunkline.v1.gateway_service_pb2 import GenerateRequest
    from trunkline_server.dialects.notes import Notes

JsonObject = dict[str, Any]

MODES: Mapping[ToolChoice.Mode.ValueType, str] = {
    ToolChoice.MODE_UNSPECIFIED: "AUTO",
    ToolChoice.MODE_AUTO: "AUTO",
    ToolChoice.MODE_NONE: "NONE",
    ToolChoice.MODE_REQUIRED: "ANY",
}
_OBJECT = Decoder(dict[str, Raw])


def encode_tools(request: GenerateRequest, notes: Notes) -> JsonObject:
    """`tools` and `toolConfig`. Raises InvalidRequest where the settings of a provider's own tool are not JSON."""
    functions, own = [], []
    for index, tool in enumerate(request.tools):
        path = f"tools[{index}]"
        _note(tool, path, notes)
        if tool.HasField("function") and _is_told(tool.function.name, request.tool_choice):
            functions.append(_function(tool.function))
        elif tool.provider_tool.dialect == DIALECT and _runs(tool.provider_tool.type, request.tool_choice):
            own.append(_own_tool(tool.provider_tool, f"{path}.provider_tool"))
    tools = [{"functionDeclarations": functions}, *own] if functions else own
    encoded: JsonObject = {"tools": tools} if tools else {}
    return encoded | _tool_config(request.tool_choice, [function["name"] for function in functions], notes)


def response_format(form: ResponseFormat, notes: Notes) -> JsonObject:
    """What of generationConfig says the form of the answer. A schema is always held to."""
    if form.kind not in (ResponseFormat.KIND_JSON, ResponseFormat.KIND_JSON_SCHEMA):
        return {}
    encoded: JsonObject = {"responseMimeType": "application/json"}
    if form.kind == ResponseFormat.KIND_JSON_SCHEMA:
        encoded["responseJsonSchema"] = Raw(form.json_schema.encode())
    if form.name:
        notes.dropped("response_format.name", "schemas have no names here: unset it, or say it as the schema's title")
    return encoded


def _note(tool: Tool, path: str, notes: Notes) -> None:
    if tool.HasField("cache_breakpoint"):
        notes.dropped(f"{path}.cache_breakpoint", CACHE)
    if tool.function.strict:
        notes.dropped(f"{path}.function.strict", "functions are not held to their schemas here: unset it")
    if tool.HasField("provider_tool") and tool.provider_tool.dialect != DIALECT:
        notes.dropped(f"{path}.provider_tool", f"only {tool.provider_tool.dialect} knows it")


def _is_told(name: str, choice: ToolChoice) -> bool:
    """Whether the model learns of a function. Where one must be called, toolConfig says which; else only this does."""
    told = choice.mode in (ToolChoice.MODE_NONE, ToolChoice.MODE_REQUIRED)
    return told or not choice.allowed_tools or name in choice.allowed_tools


def _runs(name: str, choice: ToolChoice) -> bool:
    """Whether a tool of the provider's own may be used: toolConfig speaks of functions only."""
    allowed = not choice.allowed_tools or name in choice.allowed_tools
    return allowed and choice.mode != ToolChoice.MODE_NONE


def _function(function: FunctionTool) -> JsonObject:
    encoded: JsonObject = {"name": function.name}
    if function.description:
        encoded["description"] = function.description
    if function.parameters_json_schema:
        encoded["parametersJsonSchema"] = Raw(function.parameters_json_schema.encode())
    return encoded


def _own_tool(tool: ProviderTool, path: str) -> JsonObject:
    try:
        return {tool.type: _OBJECT.decode(tool.config_json or "{}")}
    except (DecodeError, RecursionError):
        raise InvalidRequest([Violation(f"{path}.config_json", "is not a JSON object")]) from None


def _tool_config(choice: ToolChoice, functions: list[str], notes: Notes) -> JsonObject:
    if choice.HasField("parallel") and not choice.parallel:
        notes.dropped("tool_choice.parallel", "the model may always ask for several tools: take the first call only")
    if not functions:
        if choice.mode == ToolChoice.MODE_REQUIRED:
            notes.dropped("tool_choice.mode", "the provider's own tools cannot be demanded: use AUTO")
        return {}
    if not choice.mode and not choice.allowed_tools:
        return {}
    config: JsonObject = {"mode": MODES[choice.mode]}
    allowed = [name for name in choice.allowed_tools if name in functions]
    if choice.mode == ToolChoice.MODE_REQUIRED and allowed:
        config["allowedFunctionNames"] = allowed
    return {"toolConfig": {"functionCallingConfig": config}}
