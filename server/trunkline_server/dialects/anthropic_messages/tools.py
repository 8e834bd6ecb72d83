"""Tools, the choice among them, and the form of the answer, in the Messages API's words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from msgspec import DecodeError, Raw
from msgspec.json import Decoder

from trunkline.v1.content_pb2 import FunctionTool, ProviderTool, ResponseFormat, Tool, ToolChoice
from trunkline_server.dialects.anthropic_messages.blocks import DIALECT
from trunkline_server.errors import InvalidRequest, Violation

if TYPE_CHECKING:
    from trunkline.v1.gateway_service_pb2 import GenerateRequest
    from trunkline_server.dialects.anthropic_messages.models import Facts
    from trunkline_server.dialects.anthropic_messages.notes import Notes

# Strict mode wants to be told that there are no others.
NO_PARAMETERS = Raw(b'{"type":"object","properties":{},"additionalProperties":false}')
ANSWER_JSON = "Answer with one JSON object and nothing else: no other words, no code fence."
FOLLOW_SCHEMA = "The JSON must follow this JSON schema:"

_OBJECT = Decoder(dict[str, Raw])
_DATE = re.compile(r"_\d{8}$")

JsonObject = dict[str, Any]


def encode_tools(request: GenerateRequest, facts: Facts, notes: Notes) -> JsonObject:
    """`tools` and `tool_choice`. Raises InvalidRequest where the settings of a provider's tool are not JSON."""
    choice = request.tool_choice
    encoded = [
        (index, tool, block)
        for index, tool in enumerate(request.tools)
        if (block := _tool(tool, f"tools[{index}]", facts, notes)) is not None
    ]
    # The API has no word for a choice among some: where one is forced it is named, else the others are not sent.
    if choice.allowed_tools and (choice.mode != ToolChoice.MODE_REQUIRED or not _names_one(choice, facts)):
        encoded = [each for each in encoded if _name(each[2]) in choice.allowed_tools]
    for index, tool, block in encoded:
        if tool.HasField("cache_breakpoint"):
            notes.cache(block, tool.cache_breakpoint, f"tools[{index}].cache_breakpoint")
    if not encoded:
        return {}
    tools: JsonObject = {"tools": [block for _, _, block in encoded]}
    if chosen := _tool_choice(choice, facts, notes):
        tools["tool_choice"] = chosen
    return tools


def forces_tool(tools: JsonObject) -> bool:
    """Whether what encode_tools gave makes the model call a tool."""
    return tools.get("tool_choice", {}).get("type") in {"any", "tool"}


def _names_one(choice: ToolChoice, facts: Facts) -> bool:
    return len(choice.allowed_tools) == 1 and facts.forced_tools


def _name(block: JsonObject) -> str:
    name = block.get("name", "")
    return bytes(name).decode("utf-8", "replace").strip().strip('"') if isinstance(name, Raw) else name


def _tool(tool: Tool, path: str, facts: Facts, notes: Notes) -> JsonObject | None:
    if tool.HasField("provider_tool"):
        return _provider_tool(tool.provider_tool, f"{path}.provider_tool", notes)
    return _function(tool.function, f"{path}.function", facts, notes)


def _function(function: FunctionTool, path: str, facts: Facts, notes: Notes) -> JsonObject:
    block: JsonObject = {"name": function.name}
    if function.description:
        block["description"] = function.description
    schema = function.parameters_json_schema
    block["input_schema"] = Raw(schema.encode()) if schema else NO_PARAMETERS
    if function.strict and facts.schemas:
        block["strict"] = True
    elif function.strict:
        notes.dropped(f"{path}.strict", "the model cannot be held to a schema: unset it, or choose another one")
    return block


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
    named = {"name": _DATE.sub("", tool.type)} if _DATE.search(tool.type) else {}
    return {"type": tool.type} | named | {key: value for key, value in config.items() if key != "type"}


def _tool_choice(choice: ToolChoice, facts: Facts, notes: Notes) -> JsonObject:
    if choice.mode == ToolChoice.MODE_NONE:
        return {"type": "none"}
    chosen: JsonObject = {}
    if choice.mode == ToolChoice.MODE_REQUIRED and not facts.forced_tools:
        notes.changed("tool_choice.mode", "the model cannot be made to call a tool: it is left to decide")
    elif choice.mode == ToolChoice.MODE_REQUIRED and _names_one(choice, facts):
        chosen = {"type": "tool", "name": choice.allowed_tools[0]}
    elif choice.mode == ToolChoice.MODE_REQUIRED:
        chosen = {"type": "any"}
    elif choice.mode == ToolChoice.MODE_AUTO:
        chosen = {"type": "auto"}
    if choice.HasField("parallel") and not choice.parallel:
        chosen = {"type": "auto"} | chosen | {"disable_parallel_tool_use": True}
    return chosen


def encode_format(form: ResponseFormat, system: list[JsonObject], facts: Facts, notes: Notes) -> JsonObject:
    """`output_config.format`; where the API has none, an instruction is added to `system`."""
    if form.kind not in {ResponseFormat.KIND_JSON, ResponseFormat.KIND_JSON_SCHEMA}:
        return {}
    if form.name:
        notes.dropped("response_format.name", "a schema has no name here: unset it, or write a title into the schema")
    if form.kind == ResponseFormat.KIND_JSON_SCHEMA and facts.schemas:
        if form.HasField("strict") and not form.strict:
            notes.dropped("response_format.strict", "the provider always holds the model to the schema: unset it")
        return {"format": {"type": "json_schema", "schema": Raw(form.json_schema.encode())}}
    told = ANSWER_JSON
    if form.kind == ResponseFormat.KIND_JSON_SCHEMA:
        told += f" {FOLLOW_SCHEMA}\n{form.json_schema}"
    system.append({"type": "text", "text": told})
    notes.changed(
        "response_format.kind", "the provider cannot hold the model to this: it is told so in the system text"
    )
    return {}
