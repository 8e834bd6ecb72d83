"""Recorded requests of Anthropic's Messages API: read back into the contract, and in one form to compare."""

from __future__ import annotations

import json
from base64 import b64decode
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from conformance.inexpressible import Inexpressible

from trunkline.v1 import content_pb2
from trunkline.v1 import gateway_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterator

DIALECT = "anthropic_messages"
MODES = {
    "auto": content_pb2.ToolChoice.MODE_AUTO,
    "any": content_pb2.ToolChoice.MODE_REQUIRED,
    "tool": content_pb2.ToolChoice.MODE_REQUIRED,
    "none": content_pb2.ToolChoice.MODE_NONE,
}
# What the contract has fields for; all else travels in provider_options.
SAID = {"model", "messages", "system", "tools", "tool_choice", "max_tokens", "temperature", "top_p", "top_k"}
SAID |= {"stop_sequences", "stream", "thinking", "output_format", "output_config"}


def meaning(body: Any) -> Any:
    """A body with what may be said in two ways said in one."""
    plain = without_nulls(body)
    plain["messages"] = [*_turns(plain["messages"])]
    if "tools" in plain:
        plain["tools"] = [_tool_meaning(tool) for tool in plain["tools"]]
    if plain.get("tool_choice", {}).get("disable_parallel_tool_use") is False:
        del plain["tool_choice"]["disable_parallel_tool_use"]
    plain["system"] = in_blocks(plain.get("system", []))
    if "output_format" in plain:
        plain["output_config"] = plain.get("output_config", {}) | {"format": plain.pop("output_format")}
    if plain.get("thinking", {}).get("type") == "adaptive":
        plain["output_config"] = {"effort": "high"} | plain.get("output_config", {})
    return {"tools": [], "stop_sequences": [], "stream": False} | plain


def _turns(messages: Any) -> Iterator[Any]:
    """Turns of the same side that follow each other are one."""
    for role, turns in groupby(messages, key=itemgetter("role")):
        yield {"role": role, "content": [block for turn in turns for block in in_blocks(turn["content"])]}


def _tool_meaning(tool: Any) -> Any:
    silent = (("description", ""), ("strict", False))
    return {name: value for name, value in tool.items() if (name, value) not in silent}


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_nulls(member) for name, member in value.items() if member is not None}
    return [without_nulls(member) for member in value] if isinstance(value, list) else value


def in_blocks(content: Any) -> Any:
    """A string is one text; texts of nothing but white space, which the API refuses, say nothing."""
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    return [
        _in_one_form(block) for block in blocks if block["type"] != "text" or block["text"].strip() or len(block) > 2
    ]


def _in_one_form(block: Any) -> Any:
    if block["type"] != "tool_result":
        return {name: value for name, value in block.items() if (name, value) != ("citations", [])}
    rest = {name: value for name, value in block.items() if value is not False}
    return rest | {"content": in_blocks(block.get("content", []))}


def request_of(asked: Any) -> pb.GenerateRequest:
    """What a recorded body asks for, in the contract's words. Raises Inexpressible."""
    body = without_nulls(asked)
    request = pb.GenerateRequest()
    system = in_blocks(body.get("system", []))
    if system:
        request.messages.add(role=content_pb2.ROLE_SYSTEM, parts=[part_of(block) for block in system])
    for turn in body["messages"]:
        add_turn(request, turn["role"], in_blocks(turn["content"]))
    request.tools.extend(tool_of(tool) for tool in body.get("tools", []))
    choose(request.tool_choice, body.get("tool_choice", {}))
    set_config(request, body)
    options = {name: value for name, value in body.items() if name not in SAID}
    if more := {k: v for k, v in body.get("output_config", {}).items() if k not in {"effort", "format"}}:
        options["output_config"] = more
    if options:
        request.provider_options[DIALECT].update(options)
    return request


def add_turn(request: pb.GenerateRequest, role: str, blocks: list[Any]) -> None:
    if role != "user":
        roles = {"assistant": content_pb2.ROLE_ASSISTANT, "system": content_pb2.ROLE_SYSTEM}
        request.messages.add(role=roles[role], parts=[part_of(block) for block in blocks])
        return
    results = [block for block in blocks if block["type"] == "tool_result"]
    others = [block for block in blocks if block["type"] != "tool_result"]
    if results and blocks[: len(results)] != results:
        raise Inexpressible("words before a tool's result, in one turn")
    if results:
        request.messages.add(role=content_pb2.ROLE_TOOL, parts=[part_of(block) for block in results])
    if others:
        request.messages.add(role=content_pb2.ROLE_USER, parts=[part_of(block) for block in others])


def choose(choice: content_pb2.ToolChoice, said: Any) -> None:
    if not said:
        return
    choice.mode = MODES[said["type"]]
    if "name" in said:
        choice.allowed_tools.append(said["name"])
    if "disable_parallel_tool_use" in said:
        choice.parallel = not said["disable_parallel_tool_use"]


def set_config(request: pb.GenerateRequest, body: Any) -> None:
    config = request.config
    config.max_output_tokens = body["max_tokens"]
    for name in ("temperature", "top_p", "top_k"):
        if name in body:
            setattr(config, name, body[name])
    config.stop_sequences.extend(body.get("stop_sequences", []))
    output = body.get("output_config", {})
    set_thinking(config.thinking, body.get("thinking", {}), output.get("effort"))
    if not config.thinking.ByteSize():
        config.ClearField("thinking")
    if form := body.get("output_format") or output.get("format"):
        request.response_format.kind = content_pb2.ResponseFormat.KIND_JSON_SCHEMA
        request.response_format.json_schema = json.dumps(form["schema"])


def set_thinking(thinking: pb.Thinking, said: Any, effort: str | None) -> None:
    if effort == "xhigh":
        raise Inexpressible("effort xhigh")
    if "budget_tokens" in said:
        thinking.budget_tokens = said["budget_tokens"]
    if said.get("type") == "disabled":
        thinking.effort = pb.Thinking.EFFORT_NONE
    elif said.get("type") == "adaptive":
        thinking.effort = pb.Thinking.Effort.Value(f"EFFORT_{(effort or 'high').upper()}")
    elif effort:
        raise Inexpressible("an effort without adaptive thinking")
    match said.get("display"):
        case "summarized":
            thinking.visibility = pb.Thinking.VISIBILITY_SUMMARY
        case "omitted":
            thinking.visibility = pb.Thinking.VISIBILITY_OMITTED


def part_of(block: Any) -> content_pb2.Part:
    part = content_pb2.Part()
    said = dict(block)
    cached = said.pop("cache_control", None)
    match said["type"]:
        case "text":
            part.text = said["text"]
            part.citations.extend(citation_of(each) for each in said.get("citations", []))
        case "image" | "document" if is_media(said):
            set_media(part.media, said)
        case "thinking":
            part.reasoning.text = said["thinking"]
            part.provider_state.format, part.provider_state.data = "anthropic.signature", said["signature"]
        case "redacted_thinking":
            part.reasoning.redacted = True
            part.provider_state.format, part.provider_state.data = "anthropic.redacted_thinking", said["data"]
        case "tool_use":
            set_call(part, said)
        case "tool_result":
            part.tool_result.tool_call_id = said["tool_use_id"]
            part.tool_result.is_error = said.get("is_error", False)
            part.tool_result.parts.extend(part_of(inner) for inner in in_blocks(said.get("content", [])))
        case kind:
            part.provider_part.dialect, part.provider_part.type = DIALECT, kind
            part.provider_part.json = json.dumps(said)
    if cached:
        set_breakpoint(part.cache_breakpoint, cached)
    return part


def citation_of(said: Any) -> content_pb2.Citation:
    state = content_pb2.ProviderState(format="anthropic.citation", data=json.dumps(said))
    return content_pb2.Citation(cited_text=said.get("cited_text", ""), provider_state=state)


def set_call(part: content_pb2.Part, said: Any) -> None:
    part.tool_call.id, part.tool_call.name = said["id"], said["name"]
    part.tool_call.arguments_json = json.dumps(said["input"])
    if more := {name: value for name, value in said.items() if name not in {"type", "id", "name", "input"}}:
        part.provider_state.format, part.provider_state.data = "anthropic.tool_use", json.dumps(more)


def is_media(block: Any) -> bool:
    """Whether the contract's media can say it: no citations asked for, no context, no content of blocks."""
    return block.keys() <= {"type", "source", "title"} and block["source"]["type"] in {"base64", "url", "file", "text"}


def set_media(media: content_pb2.Media, block: Any) -> None:
    source = block["source"]
    media.name = block.get("title", "")
    # Addresses and the provider's files have no types: the contract's say only what kind of block they are.
    media.mime_type = source.get("media_type", "application/pdf" if block["type"] == "document" else "image/*")
    match source["type"]:
        case "file":
            media.provider_file_id = source["file_id"]
        case "url":
            media.uri = source["url"]
        case "text":
            media.data = source["data"].encode()
        case _:
            media.data = b64decode(source["data"])


def set_breakpoint(cached: content_pb2.CacheBreakpoint, control: Any) -> None:
    cached.SetInParent()
    if "ttl" in control:
        cached.ttl.FromSeconds({"5m": 300, "1h": 3600}[control["ttl"]])


def tool_of(given: Any) -> content_pb2.Tool:
    tool, said = content_pb2.Tool(), dict(given)
    cached = said.pop("cache_control", None)
    kind = said.pop("type", "custom")
    if kind != "custom":
        tool.provider_tool.dialect, tool.provider_tool.type = DIALECT, kind
        tool.provider_tool.config_json = json.dumps(said)
    else:
        if said.keys() - {"name", "description", "input_schema", "strict"}:
            raise Inexpressible(f"a function with {sorted(said)}")
        tool.function.name, tool.function.description = said["name"], said.get("description", "")
        tool.function.parameters_json_schema = json.dumps(said["input_schema"])
        if "strict" in said:
            tool.function.strict = said["strict"]
    if cached:
        set_breakpoint(tool.cache_breakpoint, cached)
    return tool
