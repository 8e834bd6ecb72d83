"""Tools, the choice among them, and the form of the answer, in the words of Bedrock's Converse API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Raw

from trunkline.v1.content_pb2 import FunctionTool, ProviderTool, ResponseFormat, Tool, ToolChoice
from trunkline_server.dialects.anthropic_messages.tools import ANSWER_JSON, FOLLOW_SCHEMA
from trunkline_server.dialects.bedrock_converse.blocks import DIALECT, json_object
from trunkline_server.errors import InvalidRequest, Violation

if TYPE_CHECKING:
    from trunkline.v1.gateway_service_pb2 import GenerateRequest
    from trunkline_server.dialects.bedrock_converse.models import Model
    from trunkline_server.dialects.bedrock_converse.notes import Notes

NO_PARAMETERS = Raw(b'{"type":"object","properties":{}}')
# A tool of the conversation that nobody names.
NAMELESS = "tool"
ANY_PARAMETERS = Raw(b'{"type":"object"}')

JsonObject = dict[str, Any]


def encode_tools(request: GenerateRequest, model: Model, notes: Notes) -> JsonObject:
    """`toolConfig`; empty = it is not sent. Raises InvalidRequest for a provider's tool whose settings are no JSON."""
    none = request.tool_choice.mode == ToolChoice.MODE_NONE
    called = _called(request)
    if none and not called:
        return {}
    tools = _tools(request, model, notes)
    if none and tools:
        notes.dropped("tool_choice.mode", "the tools of the conversation must be declared: the model may call them")
    if not tools and called:
        notes.changed("tools", "the tools of the conversation must be declared: by name, and the model may call them")
        tools = [_declared(name, ANY_PARAMETERS) for name in called]
    if not tools:
        return {}
    chosen = {} if none else _tool_choice(request.tool_choice, model, notes)
    return {"tools": tools} | ({"toolChoice": chosen} if chosen else {})


def forces_tool(config: JsonObject) -> bool:
    """Whether what encode_tools gave makes the model call a tool."""
    return not {"any", "tool"}.isdisjoint(config.get("toolChoice", {}))


def _called(request: GenerateRequest) -> list[str]:
    """The names of the tools that were called in the conversation. The API wants to know one for results alone, too."""
    parts = [part for message in request.messages for part in message.parts]
    names = (part.tool_call.name or part.tool_result.name for part in parts)
    nameless = [NAMELESS] if any(part.HasField("tool_result") for part in parts) else []
    return list(dict.fromkeys(name for name in names if name)) or nameless


def _tools(request: GenerateRequest, model: Model, notes: Notes) -> list[JsonObject]:
    choice, blocks = request.tool_choice, []
    # The API has no word for a choice among some: where one is forced it is named, else the others are not sent.
    only_some = choice.allowed_tools and not _names_one(choice, model)
    for index, tool in enumerate(request.tools):
        if only_some and (tool.function.name or tool.provider_tool.type) not in choice.allowed_tools:
            continue
        block = _tool(tool, f"tools[{index}]", model, notes)
        if block is None:
            continue
        blocks.append(block)
        if tool.HasField("cache_breakpoint"):
            blocks += notes.cache_point(tool.cache_breakpoint, f"tools[{index}].cache_breakpoint", model)
    return blocks


def _names_one(choice: ToolChoice, model: Model) -> bool:
    forced = choice.mode == ToolChoice.MODE_REQUIRED and model.forced_tools
    return forced and model.named_tools and len(choice.allowed_tools) == 1


def _tool(tool: Tool, path: str, model: Model, notes: Notes) -> JsonObject | None:
    if tool.HasField("provider_tool"):
        return _provider_tool(tool.provider_tool, f"{path}.provider_tool", notes)
    return _function(tool.function, f"{path}.function", model, notes)


def _declared(name: str, schema: Raw, **more: Any) -> JsonObject:
    return {"toolSpec": {"name": name} | more | {"inputSchema": {"json": schema}}}


def _function(function: FunctionTool, path: str, model: Model, notes: Notes) -> JsonObject:
    more: JsonObject = {}
    if function.description:
        more["description"] = function.description
    if function.HasField("strict") and model.schemas:
        more["strict"] = function.strict
    elif function.strict:
        notes.dropped(f"{path}.strict", "the model cannot be held to a schema: unset it, or choose another one")
    schema = function.parameters_json_schema
    return _declared(function.name, Raw(schema.encode()) if schema else NO_PARAMETERS, **more)


def _provider_tool(tool: ProviderTool, path: str, notes: Notes) -> JsonObject | None:
    """`{type: config}`: the API names the kind of a tool by its only key, such as systemTool."""
    if tool.dialect != DIALECT:
        notes.dropped(
            path, f"only {tool.dialect or 'another dialect'} has this tool: remove it, or choose a target of it"
        )
        return None
    config = json_object(tool.config_json or "{}")
    if config is None:
        raise InvalidRequest([Violation(f"{path}.config_json", "is not a JSON object")])
    return {tool.type: config}


def _tool_choice(choice: ToolChoice, model: Model, notes: Notes) -> JsonObject:
    if choice.HasField("parallel") and not choice.parallel:
        notes.dropped(
            "tool_choice.parallel", "the provider cannot be kept to one call: unset it, or choose another one"
        )
    if choice.mode == ToolChoice.MODE_AUTO:
        return {"auto": {}}
    if choice.mode != ToolChoice.MODE_REQUIRED:
        return {}
    if not model.forced_tools:
        notes.changed("tool_choice.mode", "the model cannot be made to call a tool: it is left to decide")
        return {}
    return {"tool": {"name": choice.allowed_tools[0]}} if _names_one(choice, model) else {"any": {}}


def encode_format(form: ResponseFormat, system: list[JsonObject], model: Model, notes: Notes) -> JsonObject:
    """`textFormat` of outputConfig; where the model has none, an instruction is added to `system`."""
    if form.kind not in {ResponseFormat.KIND_JSON, ResponseFormat.KIND_JSON_SCHEMA}:
        return {}
    if form.kind == ResponseFormat.KIND_JSON_SCHEMA and model.schemas:
        if form.HasField("strict") and not form.strict:
            notes.dropped("response_format.strict", "the provider holds the model to the schema always: unset it")
        return _text_format(form)
    told = ANSWER_JSON
    if form.kind == ResponseFormat.KIND_JSON_SCHEMA:
        told += f" {FOLLOW_SCHEMA}\n{form.json_schema}"
    system.append({"text": told})
    notes.changed("response_format.kind", "the model cannot be held to this: it is told so in the system text")
    if form.name:
        notes.dropped("response_format.name", "a schema has no name here: unset it, or write a title into the schema")
    return {}


def _text_format(form: ResponseFormat) -> JsonObject:
    schema = {"schema": form.json_schema} | ({"name": form.name} if form.name else {})
    return {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": schema}}}
