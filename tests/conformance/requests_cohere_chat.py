"""Recorded requests of Cohere's chat API: read back into the contract, and in one form to compare."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

from conformance.inexpressible import Inexpressible

from trunkline.v1 import content_pb2
from trunkline.v1 import gateway_service_pb2 as pb

DIALECT = "cohere_chat"
SETTINGS = {
    "max_tokens": "max_output_tokens",
    "temperature": "temperature",
    "seed": "seed",
    "p": "top_p",
    "k": "top_k",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
}
MODES = {"REQUIRED": content_pb2.ToolChoice.MODE_REQUIRED, "NONE": content_pb2.ToolChoice.MODE_NONE}
# What the contract has fields for; all else travels in provider_options.
SAID = {"model", "messages", "documents", "tools", "tool_choice", "strict_tools", "response_format", "stop_sequences"}
SAID |= {"logprobs", "thinking", "stream", *SETTINGS}


def meaning(body: Any) -> Any:
    """A body with what may be said in two ways said in one."""
    plain = {name: value for name, value in body.items() if value is not None}
    plain = {"stream": False, "documents": [], "tools": [], "stop_sequences": []} | plain
    if not plain["tools"]:
        plain.pop("tool_choice", None)
    plain["documents"] = [document_data(document) for document in plain["documents"]]
    return plain | {"messages": [in_items(message) for message in body["messages"]]}


def in_items(message: Any) -> Any:
    content = message.get("content") or []
    items = [{"type": "text", "text": content}] if isinstance(content, str) else content
    rest = {name: value for name, value in message.items() if value not in (None, [], "")}
    return rest | {"content": [_in_one_form(item) for item in items if item != {"type": "text", "text": ""}]}


def _in_one_form(item: Any) -> Any:
    """A URL may be said by itself; the documents of results need no ids."""
    if item["type"] == "image_url" and isinstance(item["image_url"], str):
        return item | {"image_url": {"url": item["image_url"]}}
    return {"type": "document", "data": document_data(item["document"])} if item["type"] == "document" else item


def document_data(document: Any) -> Any:
    return document["data"] if isinstance(document, dict) else {"text": document}


def request_of(asked: Any) -> pb.GenerateRequest:
    """What a recorded body asks for, in the contract's words. Raises Inexpressible."""
    body = {name: value for name, value in asked.items() if value is not None}
    request = pb.GenerateRequest()
    for message in body["messages"]:
        add_message(request, in_items(message))
    documents = [media(document_data(document)) for document in body.get("documents", [])]
    request.messages[-1].parts.extend(content_pb2.Part(media=document) for document in documents)
    request.tools.extend(tool_of(tool, body) for tool in body.get("tools", []))
    if "tool_choice" in body:
        request.tool_choice.mode = MODES[body["tool_choice"]]
    set_config(request.config, body)
    set_format(request.response_format, body.get("response_format", {}))
    options = {name: value for name, value in body.items() if name not in SAID}
    if options:
        request.provider_options[DIALECT].update(options)
    return request


def tool_of(tool: Any, body: Any) -> content_pb2.Tool:
    if "function" not in tool:
        settings = json.dumps({name: value for name, value in tool.items() if name != "type"})
        theirs = content_pb2.ProviderTool(dialect=DIALECT, type=tool["type"], config_json=settings)
        return content_pb2.Tool(provider_tool=theirs)
    said = tool["function"]
    function = content_pb2.FunctionTool(name=said["name"], description=said.get("description", ""))
    function.parameters_json_schema = json.dumps(said["parameters"])
    if body.get("strict_tools"):
        function.strict = True
    return content_pb2.Tool(function=function)


def set_config(config: pb.GenerationConfig, body: Any) -> None:
    for name, ours in SETTINGS.items():
        if name in body:
            setattr(config, ours, body[name])
    config.stop_sequences.extend(body.get("stop_sequences", []))
    if body.get("logprobs"):
        config.top_logprobs = 0
    match body.get("thinking"):
        case {"type": "disabled"}:
            config.thinking.effort = pb.Thinking.EFFORT_NONE
        case {"token_budget": budget}:
            config.thinking.budget_tokens = budget
        case {"type": "enabled"}:
            config.thinking.effort = pb.Thinking.EFFORT_MAX


def set_format(form: content_pb2.ResponseFormat, said: Any) -> None:
    if said.get("type") != "json_object":
        return
    form.kind = content_pb2.ResponseFormat.KIND_JSON
    if schema := said.get("json_schema") or said.get("schema"):
        form.kind, form.json_schema = content_pb2.ResponseFormat.KIND_JSON_SCHEMA, json.dumps(schema)


def add_message(request: pb.GenerateRequest, message: Any) -> None:
    role = content_pb2.Role.Value(f"ROLE_{message['role'].upper()}")
    parts = [part_of(item) for item in message["content"]]
    if role == content_pb2.ROLE_TOOL:
        result = content_pb2.ToolResult(tool_call_id=message["tool_call_id"], parts=parts)
        request.messages.add(role=role, parts=[content_pb2.Part(tool_result=result)])
        return
    if "citations" in message:
        raise Inexpressible("citations sent back, which do not say which part they belong to")
    if plan := message.get("tool_plan"):
        part = content_pb2.Part(provider_state=content_pb2.ProviderState(format="cohere.tool_plan", data=plan))
        part.reasoning.text = plan
        parts.insert(0, part)
    for call in message.get("tool_calls", []):
        function = call["function"]
        said = content_pb2.ToolCall(id=call["id"], name=function["name"], arguments_json=function["arguments"])
        parts.append(content_pb2.Part(tool_call=said))
    request.messages.add(role=role, parts=parts)


def part_of(item: Any) -> content_pb2.Part:
    match item["type"]:
        case "text":
            return content_pb2.Part(text=item["text"])
        case "document":
            return content_pb2.Part(media=media(item["data"]))
        case "image_url":
            return content_pb2.Part(media=image(item["image_url"]))
        case "thinking":
            return content_pb2.Part(reasoning=content_pb2.Reasoning(text=item["thinking"]))
    said = content_pb2.ProviderPart(dialect=DIALECT, type=item["type"], json=json.dumps(item))
    return content_pb2.Part(provider_part=said)


def image(said: Any) -> content_pb2.Media:
    details = {"low": content_pb2.Media.DETAIL_LOW, "high": content_pb2.Media.DETAIL_HIGH}
    found = content_pb2.Media(detail=details.get(said.get("detail"), content_pb2.Media.DETAIL_UNSPECIFIED))
    if not said["url"].startswith("data:"):
        found.uri = said["url"]
        return found
    mime, _, data = said["url"].removeprefix("data:").partition(";base64,")
    found.mime_type, found.data = mime, b64decode(data)
    return found


def media(data: Any) -> content_pb2.Media:
    if data.keys() == {"title", "text"}:
        return content_pb2.Media(mime_type="text/plain", data=data["text"].encode(), name=data["title"])
    return content_pb2.Media(mime_type="application/json", data=json.dumps(data).encode())
