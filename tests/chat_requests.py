"""A recorded request of the chat completions API, read back into the contract; and bodies in one form, to compare."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from google.protobuf.json_format import ParseDict

from trunkline.v1 import content_pb2
from trunkline.v1.content_pb2 import Media, Message, Part, ResponseFormat, Tool, ToolChoice
from trunkline.v1.gateway_service_pb2 import GenerateRequest, Thinking
from trunkline_server.providers.row import Row
from trunkline_server.providers.table import ROWS

if TYPE_CHECKING:
    from trunkline_server.dialects.dialect import Quirks

# These rows speak a wire format of their own; their OpenAI-compatible endpoints take what most do.
COMPATIBLE = ROWS["openai_compatible"]


def chat_row(provider: str) -> Row:
    """The row by which a provider is asked in openai_chat."""
    row = ROWS.get(provider, COMPATIBLE)
    return row if row.dialect == "openai_chat" else COMPATIBLE


ROLES = {
    "system": content_pb2.ROLE_SYSTEM,
    "developer": content_pb2.ROLE_SYSTEM,
    "user": content_pb2.ROLE_USER,
    "assistant": content_pb2.ROLE_ASSISTANT,
    "tool": content_pb2.ROLE_TOOL,
}
SETTINGS = {
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "seed": "seed",
    "random_seed": "seed",
}
# What the contract has a place of its own for.
OWN = {"model", "messages", "stream", "stream_options", "stop", "logprobs", "top_logprobs", "tools", "tool_choice", "n"}
OWN |= {"parallel_tool_calls", "response_format", "reasoning_effort", "thinking", "enable_thinking", *SETTINGS}
OWN |= {"reasoning"}
EFFORTS = {"none", "minimal", "low", "medium", "high", "max"}
MODES = {
    "auto": ToolChoice.MODE_AUTO,
    "none": ToolChoice.MODE_NONE,
    "any": ToolChoice.MODE_REQUIRED,
    "required": ToolChoice.MODE_REQUIRED,
}


def as_tried(quirks: Quirks, body: dict[str, Any]) -> Quirks:
    """The quirks of a host, but for what it would not take: the recorded request has tried."""
    taken = frozenset({"image", "audio", "file", "file_url", "video"})
    quirks = replace(quirks, unsupported=frozenset(), highest={}, media=taken, tool_call_id=".+", names=True)
    quirks = replace(quirks, efforts=("none", "minimal", "low", "medium", "high", "xhigh"), cache_control=True)
    quirks = replace(quirks, thinks_by_itself=False)
    if isinstance(body.get("reasoning"), dict):
        return replace(quirks, thinking="object")
    if "enable_thinking" in body:
        return replace(quirks, thinking="budget")
    if "thinking" in body:
        return replace(quirks, thinking="deepseek" if "reasoning_effort" in body else "switch")
    if quirks.thinking == "deepseek":
        return replace(quirks, thinking="effort")
    return quirks


class Inexpressible(Exception):
    """The contract has no word for a part of the request: which."""


def request_of(body: dict[str, Any]) -> GenerateRequest:
    """The request whose encoding is `body`. Raises Inexpressible."""
    body = without_nulls(body)
    if body.get("n", 1) != 1:
        raise Inexpressible("several answers")
    request = GenerateRequest(messages=[_message(message) for message in body["messages"]])
    for name, setting in SETTINGS.items():
        if name in body:
            setattr(request.config, setting, body[name])
    stop = body.get("stop", [])
    request.config.stop_sequences.extend([stop] if isinstance(stop, str) else stop)
    if body.get("logprobs"):
        request.config.top_logprobs = body.get("top_logprobs", 0)
    _read_thinking(body, request)
    request.tools.extend(_tool(tool) for tool in body.get("tools", ()))
    if "tool_choice" in body:
        request.tool_choice.CopyFrom(_tool_choice(body["tool_choice"]))
    if "parallel_tool_calls" in body:
        request.tool_choice.parallel = body["parallel_tool_calls"]
    _read_format(body.get("response_format", {}), request.response_format)
    more = {key: value for key, value in body.items() if key not in OWN} | _more_of_thinking(body)
    if more:
        ParseDict(more, request.provider_options["openai_chat"])
    return request


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [without_nulls(inner) for inner in value] if isinstance(value, list) else value


def _message(message: dict[str, Any]) -> Message:
    if message.get("prefix"):
        raise Inexpressible("prefix")
    content = message.get("content", [])
    pieces = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if message["role"] == "tool":
        return Message(role=ROLES["tool"], parts=[_tool_result(message, pieces)])
    parts = [*_thoughts(message), *(_part(piece) for piece in pieces if piece != {"type": "text", "text": ""})]
    if "cache_control" in message and not parts:
        raise Inexpressible("a cache breakpoint of a message without content")
    if "cache_control" in message:
        _read_breakpoint(message, parts[-1])
    parts += [_tool_call(call) for call in message.get("tool_calls", ())]
    return Message(role=ROLES[message["role"]], name=message.get("name", ""), parts=parts)


def _thoughts(message: dict[str, Any]) -> list[Part]:
    text = message.get("reasoning_content") or message.get("reasoning") or ""
    part = Part(reasoning=content_pb2.Reasoning(text=text))
    if "reasoning_details" in message:
        part.provider_state.format = "openrouter.reasoning_details"
        part.provider_state.data = json.dumps(message["reasoning_details"])
    return [part] if text or "reasoning_details" in message else []


def _tool_result(message: dict[str, Any], pieces: list[Any]) -> Part:
    if "tool_call_id" not in message:
        raise Inexpressible("a result without its call")
    if any(piece["type"] != "text" for piece in pieces):
        raise Inexpressible("media in a tool's result")
    result = content_pb2.ToolResult(tool_call_id=message["tool_call_id"], name=message.get("name", ""))
    result.parts.extend(_part(piece) for piece in pieces)
    return Part(tool_result=result)


def _tool_call(call: dict[str, Any]) -> Part:
    if "cache_control" in call:
        raise Inexpressible("a cache breakpoint of a call")
    if call.get("type") == "custom":
        own = content_pb2.ProviderPart(dialect="openai_chat", type="custom", json=json.dumps(call))
        return Part(provider_part=own)
    function = call["function"]
    said = content_pb2.ToolCall(id=call["id"], name=function["name"], arguments_json=function["arguments"])
    return Part(tool_call=said)


def _part(piece: dict[str, Any]) -> Part:
    match piece["type"]:
        case "text":
            part = Part(text=piece["text"])
        case "image_url":
            part = Part(media=_image(piece["image_url"]))
        case "input_audio":
            part = Part(media=_sound(piece["input_audio"]))
        case "file":
            part = Part(media=_file(piece["file"]))
        case "document_url":
            part = Part(media=_from_url(piece["document_url"]))
            part.media.mime_type = part.media.mime_type or "application/pdf"
            part.media.name = piece.get("document_name", "")
        case "video_url":
            part = Part(media=_from_url(piece["video_url"]["url"]))
            part.media.mime_type = part.media.mime_type or "video/mp4"
        case kind:
            raise Inexpressible(kind)
    if "cache_control" in piece:
        _read_breakpoint(piece, part)
    elif "prompt_cache_breakpoint" in piece:
        part.cache_breakpoint.SetInParent()
    return part


def _read_breakpoint(said: dict[str, Any], holder: Part | Tool) -> None:
    holder.cache_breakpoint.SetInParent()
    if ttl := said["cache_control"].get("ttl"):
        holder.cache_breakpoint.ttl.seconds = {"5m": 300, "1h": 3600}[ttl]


def _sound(sound: Any) -> Media:
    """Sound as bytes alone does not say its form."""
    data, form = (sound, "mpeg") if isinstance(sound, str) else (sound["data"], sound.get("format", "mpeg"))
    return Media(mime_type=f"audio/{form}", data=base64.b64decode(data))


def _image(image: Any) -> Media:
    image = {"url": image} if isinstance(image, str) else image
    media = _from_url(image["url"])
    if image.get("detail") in ("low", "high"):
        media.detail = Media.DETAIL_LOW if image["detail"] == "low" else Media.DETAIL_HIGH
    return media


def _file(file: dict[str, Any]) -> Media:
    if "file_id" in file:
        return Media(provider_file_id=file["file_id"])
    media = _from_url(file["file_data"])
    media.name = file["filename"]
    media.mime_type = media.mime_type or "application/pdf"
    return media


def _from_url(url: str) -> Media:
    if not url.startswith("data:"):
        return Media(uri=url)
    head, _, data = url.removeprefix("data:").partition(",")
    try:
        return Media(mime_type=head.partition(";")[0], data=base64.b64decode(data, validate=True))
    except binascii.Error:
        raise Inexpressible("data that is damaged") from None


def _read_thinking(body: dict[str, Any], request: GenerateRequest) -> None:
    reasoning = body.get("reasoning", {})
    if "max_tokens" in reasoning:
        request.config.thinking.budget_tokens = reasoning["max_tokens"]
    effort = body.get("reasoning_effort") or reasoning.get("effort")
    switch = body.get("thinking", {}).get("type")
    if effort is None and switch is None and "enable_thinking" not in body:
        return
    if switch == "disabled" or body.get("enable_thinking") is False:
        effort = "none"
    effort = {"xhigh": "max"}.get(effort, effort or "medium")
    if effort not in EFFORTS:
        raise Inexpressible(f"effort {effort}")
    request.config.thinking.effort = Thinking.Effort.Value(f"EFFORT_{effort.upper()}")


def _more_of_thinking(body: dict[str, Any]) -> dict[str, Any]:
    """What else stands beside the words that the contract has, for provider_options."""
    words = {"thinking": {"type"}, "reasoning": {"effort", "max_tokens"}}
    rest = {name: {key: value for key, value in body.get(name, {}).items() if key not in words[name]} for name in words}
    return {name: said for name, said in rest.items() if said}


def _tool(tool: dict[str, Any]) -> Tool:
    if "function" not in tool:
        said = {key: value for key, value in tool.items() if key != "type"}
        provider_tool = content_pb2.ProviderTool(dialect="openai_chat", type=tool["type"], config_json=json.dumps(said))
        return Tool(provider_tool=provider_tool)
    if more := tool.keys() - {"type", "function", "cache_control"}:
        raise Inexpressible(f"a tool with {', '.join(sorted(more))}")
    read = Tool(function=_function(tool["function"]))
    if "cache_control" in tool:
        _read_breakpoint(tool, read)
    return read


def _function(function: dict[str, Any]) -> content_pb2.FunctionTool:
    said = content_pb2.FunctionTool(name=function["name"], description=function.get("description", ""))
    if "parameters" in function:
        said.parameters_json_schema = json.dumps(function["parameters"])
    if "strict" in function:
        said.strict = function["strict"]
    return said


def _tool_choice(choice: Any) -> ToolChoice:
    if isinstance(choice, str):
        return ToolChoice(mode=MODES[choice])
    if "function" not in choice:
        raise Inexpressible("a tool choice of another kind")
    return ToolChoice(mode=ToolChoice.MODE_REQUIRED, allowed_tools=[choice["function"]["name"]])


def _read_format(said: dict[str, Any], form: ResponseFormat) -> None:
    if said.get("type") == "json_object":
        form.kind = ResponseFormat.KIND_JSON
    if said.get("type") != "json_schema":
        return
    schema = said["json_schema"]
    if "description" in schema:
        raise Inexpressible("a schema's description beside it")
    form.kind, form.name, form.json_schema = (
        ResponseFormat.KIND_JSON_SCHEMA,
        schema.get("name", ""),
        json.dumps(schema["schema"]),
    )
    if "strict" in schema:
        form.strict = schema["strict"]


# --- one form for bodies that mean the same ---------------------------------------------------------------------------


# Names for the same.
SAME = {"max_completion_tokens": "max_tokens", "random_seed": "seed"}
NO_PARAMETERS = {"type": "object", "properties": {}, "additionalProperties": False}


def plain(body: dict[str, Any]) -> dict[str, Any]:
    """Without what is said in several ways, or says what goes without saying."""
    silent: tuple[Any, ...] = ({"type": "text"}, False, [])
    body = {SAME.get(name, name): value for name, value in without_nulls(body).items() if value not in silent}
    for name in ("stream_options", "n") if "tools" in body else ("stream_options", "n", "tool_choice"):
        body.pop(name, None)
    if isinstance(body.get("stop"), str):
        body["stop"] = [body["stop"]]
    if body.get("tool_choice") == "any":
        body["tool_choice"] = "required"
    if body.get("logprobs"):
        body.setdefault("top_logprobs", 0)
    _level_effort(body)
    if isinstance(body.get("tool_choice"), dict):
        body["tool_choice"].setdefault("type", "function")
    for tool in body.get("tools", ()):
        if "function" in tool:
            tool |= {"type": "function", "function": _plain_function(tool["function"])}
    return body | {"messages": [_plain_message(message) for message in body["messages"]]}


def _level_effort(body: dict[str, Any]) -> None:
    if "effort" in body.get("reasoning", {}):
        body["reasoning_effort"] = body["reasoning"].pop("effort")
    if not body.get("reasoning", True):
        del body["reasoning"]
    if body.get("reasoning_effort") == "max":
        body["reasoning_effort"] = "xhigh"


def _plain_function(function: dict[str, Any]) -> dict[str, Any]:
    known = ("name", "description", "parameters", "strict")
    return {"parameters": NO_PARAMETERS} | {key: function[key] for key in known if function.get(key) not in ("", None)}


def _plain_message(message: dict[str, Any]) -> dict[str, Any]:
    message = {key: value for key, value in message.items() if value not in ("", [], False)}
    if message["role"] == "developer":
        message["role"] = "system"
    if message["role"] == "tool":
        message.pop("name", None)
    if thought := message.pop("reasoning_content", None) or message.pop("reasoning", None):
        message["thought"] = thought
    message.pop("reasoning", None)
    for call in message.get("tool_calls", ()):
        call.pop("index", None)
    content = message.get("content")
    if "cache_control" in message:
        content = [{"type": "text", "text": content}] if isinstance(content, str) else content or [{}]
        content[-1]["cache_control"] = message.pop("cache_control")
    if isinstance(content, list):
        message["content"] = _plain_content(content, message["role"])
    return {key: value for key, value in message.items() if value != []}


def _plain_content(content: list[Any], role: str) -> Any:
    content = [piece for piece in content if piece != {"type": "text", "text": ""}]
    for piece in content:
        if piece["type"] == "input_audio" and isinstance(piece["input_audio"], dict):
            piece["input_audio"] = piece["input_audio"]["data"]
        if piece["type"] == "image_url":
            image = piece["image_url"]
            piece["image_url"] = {"url": image} if isinstance(image, str) else image
            if piece["image_url"].get("detail") == "auto":
                del piece["image_url"]["detail"]
    if role == "tool":
        return "\n".join(piece["text"] for piece in content)
    return content[0]["text"] if len(content) == 1 and content[0].keys() == {"type", "text"} else content
