"""Tools and formats for APIs that have OpenAI's form of a function but not its choice among some of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import DecodeError, Raw
from msgspec.json import Decoder

from trunkline_server.errors import InvalidRequest, Violation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trunkline.v1.content_pb2 import FunctionTool, ProviderTool, ResponseFormat
    from trunkline.v1.gateway_service_pb2 import GenerateRequest
    from trunkline_server.dialects.notes import Notes

NO_PARAMETERS = Raw(b'{"type":"object","properties":{}}')
NO_CACHE = "the provider has no cache breakpoints: unset it"
_OBJECT = Decoder(dict[str, Raw])

JsonObject = dict[str, Any]


def encode_tools(request: GenerateRequest, dialect: str, notes: Notes) -> list[JsonObject]:
    """The tools that may be called: of those of `request`, the allowed ones. `strict` is for the dialect to say.

    Raises InvalidRequest where the settings of a provider's tool are not JSON.
    """
    return [*_tools(request, dialect, notes)]


def allowed_functions(request: GenerateRequest) -> Iterator[tuple[str, FunctionTool]]:
    """The functions that may be called, with their paths in the request."""
    for index, tool in enumerate(request.tools):
        if tool.HasField("function") and _is_allowed(tool.function.name, request):
            yield f"tools[{index}].function", tool.function


def _is_meant(tool: ProviderTool, dialect: str, request: GenerateRequest) -> bool:
    """Whether it may be used; of another dialect's there is always something to tell."""
    return tool.dialect != dialect or _is_allowed(tool.type, request)


def _is_allowed(name: str, request: GenerateRequest) -> bool:
    allowed = request.tool_choice.allowed_tools
    return not allowed or name in allowed


def _tools(request: GenerateRequest, dialect: str, notes: Notes) -> Iterator[JsonObject]:
    functions = dict(allowed_functions(request))
    for index, tool in enumerate(request.tools):
        path = f"tools[{index}]"
        if tool.HasField("cache_breakpoint"):
            notes.dropped(f"{path}.cache_breakpoint", NO_CACHE)
        if tool.HasField("provider_tool") and _is_meant(tool.provider_tool, dialect, request):
            yield from _provider_tool(tool.provider_tool, dialect, f"{path}.provider_tool", notes)
        elif f"{path}.function" in functions:
            yield {"type": "function", "function": _function(tool.function)}


def _function(function: FunctionTool) -> JsonObject:
    encoded: JsonObject = {"name": function.name}
    if function.description:
        encoded["description"] = function.description
    schema = function.parameters_json_schema
    encoded["parameters"] = Raw(schema.encode()) if schema else NO_PARAMETERS
    return encoded


def _provider_tool(tool: ProviderTool, dialect: str, path: str, notes: Notes) -> Iterator[JsonObject]:
    if tool.dialect != dialect:
        notes.dropped(
            path, f"only {tool.dialect or 'another dialect'} has this tool: remove it, or choose its provider"
        )
        return
    try:
        config = _OBJECT.decode(tool.config_json or "{}")
    except (DecodeError, RecursionError):
        raise InvalidRequest([Violation(f"{path}.config_json", "is not a JSON object")]) from None
    yield {"type": tool.type} | {key: value for key, value in config.items() if key != "type"}


def note_format(form: ResponseFormat, notes: Notes) -> None:
    """Warn of what a JSON format has no words for: its name, and whether it may be strayed from."""
    if form.name:
        notes.dropped("response_format.name", "a schema has no name here: unset it, or write a title into the schema")
    if form.HasField("strict") and not form.strict:
        notes.dropped("response_format.strict", "the provider always holds the model to the schema: unset it")
