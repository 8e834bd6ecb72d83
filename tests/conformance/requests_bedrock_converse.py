"""Recorded requests of Bedrock's Converse API: read back into the contract, and in one form to compare."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

from conformance.inexpressible import Inexpressible

from trunkline.v1 import content_pb2
from trunkline.v1 import gateway_service_pb2 as pb
from trunkline_server.dialects.bedrock_converse.media import MIME_TYPES

DIALECT = "bedrock_converse"
# The media types of each kind, by the API's names for them.
FORMATS = {kind: {form: mime for mime, form in reversed([*types.items()])} for kind, types in MIME_TYPES.items()}
# What the contract has fields for; all else travels in provider_options.
SAID = {"messages", "system", "toolConfig", "inferenceConfig", "outputConfig", "additionalModelRequestFields"}
SAID |= {"modelId"}
SETTINGS = {"maxTokens": "max_output_tokens", "temperature": "temperature", "topP": "top_p"}
EFFORTS = {"low": pb.Thinking.EFFORT_LOW, "medium": pb.Thinking.EFFORT_MEDIUM, "high": pb.Thinking.EFFORT_HIGH}


def meaning(body: Any) -> Any:
    """A body with what may be said in two ways said in one."""
    plain = {name: value for name, value in body.items() if value not in ([], {}, None) and name != "modelId"}
    turns: list[Any] = []
    for turn in plain["messages"]:
        if turns and turns[-1]["role"] == turn["role"]:
            turns[-1]["content"] += in_plain_blocks(turn["content"])
        else:
            turns.append({"role": turn["role"], "content": in_plain_blocks(turn["content"])})
    settings = {name: value for name, value in plain.get("inferenceConfig", {}).items() if value != []}
    output = json.loads(json.dumps(plain.get("outputConfig", {})))
    if "textFormat" in output:
        # The contract has no word for it.
        output["textFormat"]["structure"]["jsonSchema"].pop("description", None)
    if (plain.get("additionalModelRequestFields") or {}).get("thinking") == {"type": "adaptive"}:
        output = {"effort": "high"} | output
    return plain | {"messages": turns, "inferenceConfig": settings, "outputConfig": output}


def in_plain_blocks(content: Any) -> list[Any]:
    return [
        {"toolResult": in_plain_result(block["toolResult"])} if "toolResult" in block else block for block in content
    ]


def in_plain_result(result: Any) -> Any:
    """Success is what a result without a status means; JSON is the text of it."""
    content = [{"text": json.dumps(piece["json"])} if "json" in piece else piece for piece in result["content"]]
    return {"status": "success"} | result | {"content": content}


def request_of(body: Any) -> pb.GenerateRequest:
    """What a recorded body asks for, in the contract's words."""
    request = pb.GenerateRequest()
    if body.get("system"):
        request.messages.add(role=content_pb2.ROLE_SYSTEM, parts=parts_of(body["system"]))
    for turn in body["messages"]:
        add_turn(request, turn)
    set_tools(request, body.get("toolConfig") or {})
    rest = set_config(request, body)
    options = {name: value for name, value in body.items() if name not in SAID} | rest
    if options := {name: value for name, value in options.items() if value}:
        request.provider_options[DIALECT].update(options)
    return request


def add_turn(request: pb.GenerateRequest, turn: Any) -> None:
    if turn["role"] == "assistant":
        request.messages.add(role=content_pb2.ROLE_ASSISTANT, parts=parts_of(turn["content"]))
        return
    results = [block for block in turn["content"] if "toolResult" in block]
    others = [block for block in turn["content"] if "toolResult" not in block]
    if results and turn["content"][: len(results)] != results:
        raise Inexpressible("words before a tool's result, in one turn")
    if results:
        request.messages.add(role=content_pb2.ROLE_TOOL, parts=[result_of(block["toolResult"]) for block in results])
    if others:
        request.messages.add(role=content_pb2.ROLE_USER, parts=parts_of(others))


def parts_of(content: Any) -> list[content_pb2.Part]:
    parts: list[content_pb2.Part] = []
    for block in content:
        if "cachePoint" in block:
            set_breakpoint(parts, block["cachePoint"])
        else:
            parts.append(part_of(block))
    return parts


def set_breakpoint(parts: list[content_pb2.Part], said: Any) -> None:
    if not parts:
        raise Inexpressible("a cache point before everything")
    parts[-1].cache_breakpoint.SetInParent()
    if "ttl" in said:
        parts[-1].cache_breakpoint.ttl.FromSeconds({"5m": 300, "1h": 3600}[said["ttl"]])


def part_of(block: Any) -> content_pb2.Part:
    part = content_pb2.Part()
    ((kind, said),) = block.items()
    match kind:
        case "text":
            part.text = said
        case "image" | "video" | "audio" | "document" if is_media(said):
            part.media.mime_type, part.media.name = FORMATS[kind][said["format"]], said.get("name", "")
            set_source(part.media, said["source"])
        case "toolUse" if said.keys() == {"toolUseId", "name", "input"}:
            part.tool_call.id, part.tool_call.name = said["toolUseId"], said["name"]
            part.tool_call.arguments_json = json.dumps(said["input"])
        case "reasoningContent" if "reasoningText" in said:
            part.reasoning.text = said["reasoningText"]["text"]
            if "signature" in said["reasoningText"]:
                part.provider_state.format = "bedrock.reasoning_signature"
                part.provider_state.data = said["reasoningText"]["signature"]
        case _:
            part.provider_part.dialect, part.provider_part.type = DIALECT, kind
            part.provider_part.json = json.dumps(block)
    return part


def is_media(said: Any) -> bool:
    """Whether the contract's media can say it: no citations asked for, no context, no text."""
    return said.keys() <= {"format", "name", "source"} and bool(said["source"].keys() & {"bytes", "s3Location"})


def set_source(media: content_pb2.Media, source: Any) -> None:
    if "s3Location" in source:
        media.uri = source["s3Location"]["uri"]
    else:
        media.data = b64decode(source["bytes"])


def result_of(said: Any) -> content_pb2.Part:
    part = content_pb2.Part()
    part.tool_result.tool_call_id = said["toolUseId"]
    for piece in said["content"]:
        if "json" in piece:
            part.tool_result.parts.add(text=json.dumps(piece["json"]))
        else:
            part.tool_result.parts.append(_text_or_media(piece))
    part.tool_result.is_error = said.get("status") == "error"
    return part


def _text_or_media(piece: Any) -> content_pb2.Part:
    part = part_of(piece)
    if part.HasField("provider_part"):
        raise Inexpressible(f"{part.provider_part.type} in a tool's result")
    return part


def set_tools(request: pb.GenerateRequest, config: Any) -> None:
    for tool in config.get("tools", []):
        if "cachePoint" in tool:
            request.tools[-1].cache_breakpoint.SetInParent()
        elif "toolSpec" in tool:
            set_function(request.tools.add().function, tool["toolSpec"])
        else:
            added = request.tools.add().provider_tool
            ((added.type, settings),) = tool.items()
            added.dialect, added.config_json = DIALECT, json.dumps(settings)
    for kind, said in (config.get("toolChoice") or {}).items():
        auto = kind == "auto"
        request.tool_choice.mode = content_pb2.ToolChoice.MODE_AUTO if auto else content_pb2.ToolChoice.MODE_REQUIRED
        if kind == "tool":
            request.tool_choice.allowed_tools.append(said["name"])


def set_function(function: content_pb2.FunctionTool, spec: Any) -> None:
    function.name, function.description = spec["name"], spec.get("description") or ""
    function.parameters_json_schema = json.dumps(spec["inputSchema"]["json"])
    if "strict" in spec:
        function.strict = spec["strict"]


def set_config(request: pb.GenerateRequest, body: Any) -> dict[str, Any]:
    """Set what the contract has words for; what it has none for is given back, as provider_options."""
    config, settings = request.config, dict(body.get("inferenceConfig") or {})
    for name, ours in SETTINGS.items():
        if (value := settings.pop(name, None)) is not None:
            setattr(config, ours, value)
    config.stop_sequences.extend(settings.pop("stopSequences", None) or [])
    output, fields = dict(body.get("outputConfig") or {}), dict(body.get("additionalModelRequestFields") or {})
    if "claude" in body.get("modelId", "") and "top_k" in fields:
        config.top_k = fields.pop("top_k")
    if isinstance(fields.get("thinking"), dict):
        set_thinking(config.thinking, fields.pop("thinking"), output.pop("effort", "high"))
    if "textFormat" in output:
        schema = output.pop("textFormat")["structure"]["jsonSchema"]
        request.response_format.kind = content_pb2.ResponseFormat.KIND_JSON_SCHEMA
        request.response_format.name, request.response_format.json_schema = schema.get("name", ""), schema["schema"]
    return {"inferenceConfig": settings, "outputConfig": output, "additionalModelRequestFields": fields}


def set_thinking(thinking: pb.Thinking, said: Any, effort: str) -> None:
    match said.get("type"):
        case "enabled":
            thinking.budget_tokens = said["budget_tokens"]
        case "adaptive":
            thinking.effort = EFFORTS[effort]
        case "disabled":
            thinking.effort = pb.Thinking.EFFORT_NONE
