"""Recorded requests of Ollama's own chat API: read back into the contract, and in one form to compare."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

from conformance.inexpressible import Inexpressible

from trunkline.v1 import content_pb2
from trunkline.v1 import gateway_service_pb2 as pb

DIALECT = "ollama_chat"
OPTIONS = {
    "num_predict": "max_output_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "seed": "seed",
}
# What the contract has fields for; all else travels in provider_options.
SAID = {"model", "messages", "tools", "format", "think", "logprobs", "top_logprobs", "stream", "options"}
NOTHING: tuple[Any, ...] = (None, "", {}, [])


def meaning(body: Any) -> Any:
    """A body without what says nothing, and with what is meant by saying nothing."""
    said = {name: value for name, value in body.items() if value not in NOTHING}
    options = {name: value for name, value in said.get("options", {}).items() if value not in NOTHING}
    messages = [_plain_message(message) for message in body["messages"]]
    return {"stream": True} | said | {"options": options, "messages": messages}


def _plain_message(message: Any) -> Any:
    plain = {name: value for name, value in message.items() if value not in NOTHING}
    calls = [{"function": _plain_function(call["function"])} | _id(call) for call in plain.get("tool_calls", [])]
    # A result says its tool and its call in either of two ways.
    plain.pop("tool_name", None)
    return {"content": ""} | plain | ({"tool_calls": calls} if calls else {})


def _plain_function(function: Any) -> Any:
    return {"name": function["name"], "arguments": function.get("arguments") or {}}


def _id(call: Any) -> Any:
    return {"id": call["id"]} if call.get("id") else {}


def request_of(asked: Any) -> pb.GenerateRequest:
    """What a recorded body asks for, in the contract's words. Raises Inexpressible."""
    body = {name: value for name, value in asked.items() if value not in NOTHING}
    request = pb.GenerateRequest()
    for message in body["messages"]:
        add_message(request, message)
    for tool in body.get("tools", []):
        said, function = tool["function"], request.tools.add().function
        function.name, function.description = said["name"], said.get("description", "")
        function.parameters_json_schema = json.dumps(said["parameters"])
    options = {name: value for name, value in body.items() if name not in SAID}
    if more := set_config(request.config, body):
        options["options"] = more
    set_format(request.response_format, body.get("format"))
    if options:
        request.provider_options[DIALECT].update(options)
    return request


def add_message(request: pb.GenerateRequest, message: Any) -> None:
    parts = []
    if message.get("thinking"):
        parts.append(content_pb2.Part(reasoning=content_pb2.Reasoning(text=message["thinking"])))
    if message.get("content") or not message.get("tool_calls"):
        parts.append(content_pb2.Part(text=message.get("content") or ""))
    parts += [image(data) for data in message.get("images") or ()]
    if message["role"] == "tool":
        if not message.get("tool_call_id"):
            raise Inexpressible("a result without its call")
        result = content_pb2.ToolResult(tool_call_id=message["tool_call_id"], parts=parts)
        result.name = message.get("tool_name") or message.get("name") or ""
        request.messages.add(role=content_pb2.ROLE_TOOL, parts=[content_pb2.Part(tool_result=result)])
        return
    for call in message.get("tool_calls") or ():
        function = call["function"]
        said = content_pb2.ToolCall(id=call.get("id") or "", name=function["name"])
        said.arguments_json = json.dumps(function.get("arguments") or {})
        parts.append(content_pb2.Part(tool_call=said))
    request.messages.add(role=content_pb2.Role.Value(f"ROLE_{message['role'].upper()}"), parts=parts)


def image(data: str) -> content_pb2.Part:
    return content_pb2.Part(media=content_pb2.Media(mime_type="image/png", data=b64decode(data)))


def set_config(config: pb.GenerationConfig, body: Any) -> Any:
    """Set what the contract has words for; what it has none for is given back."""
    more = {name: value for name, value in body.get("options", {}).items() if value not in NOTHING}
    for name, ours in OPTIONS.items():
        if name in more:
            setattr(config, ours, more.pop(name))
    stop = more.pop("stop", [])
    config.stop_sequences.extend([stop] if isinstance(stop, str) else stop)
    if body.get("logprobs"):
        config.top_logprobs = body.get("top_logprobs", 0)
    match body.get("think"):
        case False:
            config.thinking.effort = pb.Thinking.EFFORT_NONE
        case True:
            # Any budget means no more than that it thinks.
            config.thinking.budget_tokens = 1
        case str(level):
            config.thinking.effort = pb.Thinking.Effort.Value(f"EFFORT_{level.upper()}")
    return more


def set_format(form: content_pb2.ResponseFormat, said: Any) -> None:
    if said == "json":
        form.kind = content_pb2.ResponseFormat.KIND_JSON
    elif said is not None:
        form.kind, form.json_schema = content_pb2.ResponseFormat.KIND_JSON_SCHEMA, json.dumps(said)
