"""Requests of generateContent read back: into the contract's, and into one form that says the same.

The API takes every name in camel case and in snake case, schemas in two forms, bytes in two alphabets.
"""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any

from google.protobuf.json_format import ParseDict

from trunkline.v1 import content_pb2
from trunkline.v1.content_pb2 import Media, ResponseFormat, ToolChoice
from trunkline.v1.gateway_service_pb2 import GenerateRequest, GenerationConfig, Thinking
from trunkline_server.dialects.gemini_generate_content.parts import DIALECT, SIGNATURE, SYNTHETIC_ID

if TYPE_CHECKING:
    from collections.abc import Iterator

NUMBERS = {
    "maxOutputTokens": "max_output_tokens",
    "temperature": "temperature",
    "topP": "top_p",
    "topK": "top_k",
    "presencePenalty": "presence_penalty",
    "frequencyPenalty": "frequency_penalty",
    "seed": "seed",
}
LEVELS = {
    "MINIMAL": Thinking.EFFORT_MINIMAL,
    "LOW": Thinking.EFFORT_LOW,
    "MEDIUM": Thinking.EFFORT_MEDIUM,
    "HIGH": Thinking.EFFORT_HIGH,
}
MODES = {"AUTO": ToolChoice.MODE_AUTO, "ANY": ToolChoice.MODE_REQUIRED, "NONE": ToolChoice.MODE_NONE}
# What stands in these is the caller's own: its names are left alone.
_OPAQUE = {"args", "response", "properties", "responseJsonSchema", "parametersJsonSchema", "$defs"}
_SCHEMAS = {"parameters": "parametersJsonSchema", "responseSchema": "responseJsonSchema"}


class NotExpressible(Exception):
    """The contract has no word for something in a request."""


# --- one form -----------------------------------------------------------------------------------------------------


def meaning_of(body: Any) -> Any:
    """The body in one form: two bodies that mean the same are equal in it."""
    plain = _without_nothing(_plain(_in_lists(body)))
    plain.pop("model", None)
    plain.get("systemInstruction", {}).pop("role", None)
    if "tools" in plain:
        plain["tools"] = [*_tools(plain["tools"])]
    _level_settings(plain.get("generationConfig", {}))
    if (choice := plain.get("toolConfig", {}).get("functionCallingConfig")) is not None:
        choice["mode"] = choice.get("mode", "AUTO").upper()
        if choice == {"mode": "AUTO"}:
            del plain["toolConfig"]["functionCallingConfig"]
    return _without_nothing(plain)


def _level_settings(settings: Any) -> None:
    """Without what goes without saying."""
    for name, usual in (("candidateCount", 1), ("responseMimeType", "text/plain")):
        if settings.get(name) == usual:
            del settings[name]
    thinking = settings.get("thinkingConfig", {})
    if "thinkingLevel" in thinking:
        thinking["thinkingLevel"] = thinking["thinkingLevel"].upper()


def _in_lists(body: Any) -> Any:
    """What the API takes by itself, too, as the one of a list."""
    body = {_camel(name): value for name, value in body.items()}
    for name in ("tools", "contents"):
        if isinstance(body.get(name), dict):
            body[name] = [body[name]]
    said = [_in_parts(content) for content in body["contents"]]
    instructions = _in_parts(body.pop("systemInstruction", None) or {})
    more = {"systemInstruction": instructions} if instructions["parts"] else {}
    return body | {"contents": [content for content in said if content["parts"]]} | more


def _in_parts(content: Any) -> Any:
    parts = content.get("parts") or []
    listed = [parts] if isinstance(parts, dict) else parts
    said = [part for part in listed if part not in ({}, {"text": ""})]
    order = sorted(range(len(said)), key=lambda place: _name_of_result(said[place]))
    return content | {"parts": [said[place] for place in order]}


def _name_of_result(part: Any) -> str:
    """Results belong to calls by their names, in whatever order they stand."""
    result = part.get("functionResponse") or part.get("function_response") or {}
    return "" if "id" in result else str(result.get("name", ""))


def _tools(tools: Any) -> Iterator[Any]:
    """Functions in one list, and each of the provider's tools by itself, in one order."""
    functions = [function for tool in tools for function in tool.get("functionDeclarations", [])]
    if functions:
        yield {"functionDeclarations": functions}
    others = [{kind: said} for tool in tools for kind, said in tool.items() if kind != "functionDeclarations"]
    yield from sorted(others, key=lambda tool: next(iter(tool)))


def _plain(value: Any, name: str = "") -> Any:
    if isinstance(value, list):
        return [_plain(item, name) for item in value]
    if not isinstance(value, dict):
        return _bytes(value) if name == "data" else value
    members: dict[str, Any] = {}
    for key, member in value.items():
        camel = _camel(key)
        if camel in _SCHEMAS and member is not None:
            members[_SCHEMAS[camel]] = schema_of(member)
        else:
            members[camel] = member if camel in _OPAQUE else _plain(member, camel)
    return members


def _bytes(data: str) -> str:
    return base64.b64encode(base64.urlsafe_b64decode(data.replace("+", "-").replace("/", "_"))).decode()


def schema_of(schema: Any) -> Any:
    """A schema of OpenAPI's kind as a JSON schema: its types are in lower case."""
    if isinstance(schema, list):
        return [schema_of(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    members: dict[str, Any] = {}
    for key, member in schema.items():
        camel = _camel(key)
        if camel == "properties":
            members[camel] = {name: schema_of(inner) for name, inner in member.items()}
        else:
            members[camel] = member.lower() if camel == "type" and isinstance(member, str) else schema_of(member)
    return members


def _camel(name: str) -> str:
    return re.sub(r"_([a-z])", lambda match: match[1].upper(), name)


def _without_nothing(value: Any, name: str = "") -> Any:
    """Without what says nothing: null, empty settings, a thought that is none, a description without words."""
    if isinstance(value, list):
        return [_without_nothing(item, name) for item in value]
    if not isinstance(value, dict) or name in _OPAQUE:
        return value
    members = {key: _without_nothing(member, key) for key, member in value.items()}
    says_nothing = {"generationConfig": {}, "toolConfig": {}, "thought": False, "description": "", "safetySettings": []}
    return {
        key: member
        for key, member in members.items()
        if member is not None and not (key in says_nothing and member == says_nothing[key])
    }


# --- the contract's -----------------------------------------------------------------------------------------------


def request_of(body: Any) -> GenerateRequest:
    """The request that a body says. Raises NotExpressible."""
    rest = meaning_of(body)
    request = GenerateRequest()
    system = [_only(part, "text") for part in rest.pop("systemInstruction", {}).get("parts", [])]
    if len(system) > 1:
        parts = [content_pb2.Part(text=each) for each in system]
        request.messages.add(role=content_pb2.ROLE_SYSTEM, parts=parts)
    else:
        request.system_instruction = "".join(system)
    _add_messages(request, rest.pop("contents"))
    _add_tools(request, rest.pop("tools", []))
    _choose(request, rest.get("toolConfig", {}).pop("functionCallingConfig", None))
    _configure(request, rest.get("generationConfig", {}))
    options = {key: value for key, value in rest.items() if value != {}}
    if options:
        ParseDict({"provider_options": {DIALECT: options}}, request)
    return request


def _only(part: Any, name: str) -> Any:
    if part.keys() != {name}:
        raise NotExpressible(f"{sorted(part)}")
    return part[name]


class _Ids:
    """Which call a result belongs to, where neither has an id: the first of that name that has none yet."""

    def __init__(self) -> None:
        self._count = 0
        self._open: list[tuple[str, str]] = []

    def of_call(self, call: Any) -> str:
        given = call.get("id") or f"{SYNTHETIC_ID}test-{self._count}"
        self._count += 1
        self._open.append((given, call["name"]))
        return str(given)

    def of_result(self, result: Any) -> str:
        if "id" in result:
            return str(result["id"])
        found = next((each for each in self._open if each[1] == result["name"]), None)
        if found is None:
            raise NotExpressible("a result without a call")
        self._open.remove(found)
        return found[0]


def _add_messages(request: GenerateRequest, contents: Any) -> None:
    ids = _Ids()
    for content in contents:
        results = [part["functionResponse"] for part in content["parts"] if "functionResponse" in part]
        if results:
            message = request.messages.add(role=content_pb2.ROLE_TOOL)
            for result in results:
                _add_result(message, result, ids)
            if len(results) < len(content["parts"]):
                raise NotExpressible("words in one content with results")
            continue
        role = content_pb2.ROLE_ASSISTANT if content.get("role") == "model" else content_pb2.ROLE_USER
        request.messages.add(role=role).parts.extend(_part(part, ids) for part in content["parts"])


def _add_result(message: content_pb2.Message, said: Any, ids: _Ids) -> None:
    result = message.parts.add().tool_result
    result.tool_call_id, result.name = ids.of_result(said), said["name"]
    result.parts.add(text=json.dumps(said["response"]))
    for part in said.get("parts", []):
        result.parts.add(media=_media(part))


def _part(said: Any, ids: _Ids) -> content_pb2.Part:
    rest = dict(said)
    part = content_pb2.Part()
    if "thoughtSignature" in rest:
        part.provider_state.format, part.provider_state.data = SIGNATURE, rest.pop("thoughtSignature")
    if rest.keys() == {"text", "thought"}:
        part.reasoning.text = rest["text"]
    elif "functionCall" in rest:
        call = _only(rest, "functionCall")
        part.tool_call.id, part.tool_call.name = ids.of_call(call), call["name"]
        part.tool_call.arguments_json = json.dumps(call.get("args", {}))
    elif rest.keys() <= {"inlineData", "fileData", "mediaResolution"}:
        part.media.CopyFrom(_media(rest))
    elif rest.keys() == {"text"}:
        part.text = rest["text"]
    elif len(rest.keys() - {"thought"}) != 1:
        raise NotExpressible(f"a part of {sorted(rest)}")
    else:
        (kind,) = rest.keys() - {"thought"}
        part.provider_part.dialect, part.provider_part.type = DIALECT, kind
        part.provider_part.json = json.dumps(rest)
    return part


def _media(said: Any) -> Media:
    details = {"MEDIA_RESOLUTION_LOW": Media.DETAIL_LOW, "MEDIA_RESOLUTION_HIGH": Media.DETAIL_HIGH}
    media = Media()
    if "mediaResolution" in said:
        media.detail = details[said["mediaResolution"]["level"]]
    source = said.get("inlineData") or said["fileData"]
    media.mime_type = source.get("mimeType", "")
    if "data" in source:
        media.data = base64.b64decode(source["data"])
    else:
        media.uri = source["fileUri"]
    return media


def _add_tools(request: GenerateRequest, tools: Any) -> None:
    for tool in tools:
        for kind, said in tool.items():
            if kind != "functionDeclarations":
                config = json.dumps(said) if said else ""
                request.tools.add().provider_tool.CopyFrom(
                    content_pb2.ProviderTool(dialect=DIALECT, type=kind, config_json=config)
                )
            else:
                for function in said:
                    _add_function(request, function)


def _add_function(request: GenerateRequest, said: Any) -> None:
    if said.keys() - {"name", "description", "parametersJsonSchema"}:
        raise NotExpressible(f"function {sorted(said)}")
    schema = said.get("parametersJsonSchema")
    function = request.tools.add().function
    function.name, function.description = said["name"], said.get("description", "")
    function.parameters_json_schema = json.dumps(schema) if schema is not None else ""


def _choose(request: GenerateRequest, said: Any) -> None:
    if said is None:
        return
    if said["mode"] not in MODES:
        raise NotExpressible(f"mode {said['mode']}")
    if said.get("allowedFunctionNames") and any(tool.HasField("provider_tool") for tool in request.tools):
        raise NotExpressible("functions to choose from, beside all of the provider's tools")
    request.tool_choice.mode = MODES[said["mode"]]
    request.tool_choice.allowed_tools.extend(said.get("allowedFunctionNames", []))


def _configure(request: GenerateRequest, rest: Any) -> None:
    """Take from `rest` what the contract has words for."""
    config = GenerationConfig()
    ParseDict({NUMBERS[key]: rest.pop(key) for key in [*rest] if key in NUMBERS}, config)
    config.stop_sequences.extend(rest.pop("stopSequences", []))
    if rest.pop("responseLogprobs", False):
        config.top_logprobs = rest.pop("logprobs", 0)
    if "thinkingConfig" in rest:
        _think(config.thinking, rest.pop("thinkingConfig"))
    if config.ByteSize():
        request.config.CopyFrom(config)
    if rest.get("responseMimeType") == "application/json":
        del rest["responseMimeType"]
        _form(request.response_format, rest.pop("responseJsonSchema", None))
    if rest.keys() & {"candidateCount", "responseMimeType", "logprobs"}:
        raise NotExpressible(f"generationConfig {sorted(rest)}")


def _think(thinking: Thinking, said: Any) -> None:
    if said.get("thinkingBudget", 0) < 0:
        raise NotExpressible("thinkingBudget: as many tokens as the model likes")
    if "thinkingBudget" in said:
        thinking.budget_tokens = said["thinkingBudget"]
    if "thinkingLevel" in said:
        thinking.effort = LEVELS[said["thinkingLevel"].upper()]
    if "includeThoughts" in said:
        thinking.visibility = Thinking.VISIBILITY_FULL if said["includeThoughts"] else Thinking.VISIBILITY_OMITTED


def _form(form: ResponseFormat, schema: Any) -> None:
    form.kind = ResponseFormat.KIND_JSON if schema is None else ResponseFormat.KIND_JSON_SCHEMA
    form.json_schema = "" if schema is None else json.dumps(schema)
