"""Recorded requests of the Responses API: read back into the contract, and in one form to compare."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import TYPE_CHECKING, Any

from conformance.inexpressible import Inexpressible
from google.protobuf.json_format import ParseDict

from trunkline.v1.gateway_service_pb2 import GenerateRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

DIALECT = "openai_responses"
ROLES = {"user": "ROLE_USER", "assistant": "ROLE_ASSISTANT", "system": "ROLE_SYSTEM", "developer": "ROLE_SYSTEM"}
# What the contract has fields for; all else travels in provider_options.
SAID = {"model", "instructions", "input", "max_output_tokens", "temperature", "top_p", "top_logprobs", "reasoning"}
SAID |= {"tools", "tool_choice", "parallel_tool_calls", "text", "stream"}


def request_of(body: Any) -> GenerateRequest:
    """The contract's request that means what `body` does."""
    given = body.get("input")
    if given is None:
        raise Inexpressible("a prompt that the provider keeps")
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    request: dict[str, Any] = {"messages": [*messages_of(items)], "config": config_of(body)}
    request["system_instruction"] = body.get("instructions") or ""
    request["tools"] = [tool_of(tool) for tool in body.get("tools") or ()]
    request["tool_choice"] = choice_of(body)
    request["response_format"] = format_of((body.get("text") or {}).get("format") or {})
    # The API stores and includes otherwise than we do where it is told nothing.
    options = {"store": True, "include": []} | {k: v for k, v in body.items() if k not in SAID and v is not None}
    for name, ours in (("reasoning", {"effort", "summary"}), ("text", {"format"})):
        if rest := {k: v for k, v in (body.get(name) or {}).items() if k not in ours and v is not None}:
            options[name] = rest
    request["provider_options"] = {DIALECT: options}
    return ParseDict(request, GenerateRequest())


def messages_of(items: list[Any]) -> Iterator[Any]:
    """One message for each run of items of the model or of tools, and for each other item."""
    run: Any = None
    for item in items:
        role, parts = message_of(item)
        if run and run["role"] == role and role in {"ROLE_ASSISTANT", "ROLE_TOOL"}:
            run["parts"] += parts
            continue
        if run:
            yield run
        run = {"role": role, "parts": parts}
    yield run


def message_of(item: Any) -> tuple[str, list[Any]]:
    kind = item.get("type", "message")
    match kind:
        case "message" if item["role"] not in ROLES:
            raise Inexpressible(f"a message of {item['role']}")
        case "message":
            return ROLES[item["role"]], parts_of(item["content"])
        case "reasoning":
            return "ROLE_ASSISTANT", [{"reasoning": {}} | state_of("openai.reasoning", item)]
        case "function_call":
            call = {"id": item["call_id"], "name": item["name"], "arguments_json": item["arguments"]}
            more = {key: value for key, value in item.items() if key not in {"type", "call_id", "name", "arguments"}}
            return "ROLE_ASSISTANT", [{"tool_call": call} | (state_of("openai.item", more) if more else {})]
        case "function_call_output":
            result = {"tool_call_id": item["call_id"], "parts": parts_of(item["output"])}
            return "ROLE_TOOL", [{"tool_result": result}]
    part = {"dialect": DIALECT, "type": kind, "json": json.dumps(item)}
    role = "ROLE_USER" if kind.endswith(("_output", "_response")) else "ROLE_ASSISTANT"
    return role, [{"provider_part": part}]


def state_of(form: str, members: Any) -> Any:
    return {"provider_state": {"format": form, "data": json.dumps(members)}}


def parts_of(content: Any) -> list[Any]:
    pieces = [{"type": "input_text", "text": content}] if isinstance(content, str) else content
    return [part_of(piece) for piece in pieces]


def part_of(piece: Any) -> Any:
    match piece["type"]:
        case "input_text" | "output_text" | "text":
            if piece.get("annotations"):
                raise Inexpressible("annotations sent back")
            return {"text": piece["text"]}
        case "refusal":
            return {"refusal": piece["refusal"]}
        case "input_image":
            return {"media": image_of(piece)}
        case "input_file":
            return {"media": file_of(piece)}
    return {"provider_part": {"dialect": DIALECT, "type": piece["type"], "json": json.dumps(piece)}}


def image_of(piece: Any) -> Any:
    # Addresses and the provider's files have no types; the contract's says only that it is an image.
    media = media_of(piece["image_url"]) if "image_url" in piece else {"provider_file_id": piece["file_id"]}
    details = {"low": {"detail": "DETAIL_LOW"}, "high": {"detail": "DETAIL_HIGH"}}
    return {"mime_type": "image/*"} | media | details.get(piece.get("detail", ""), {})


def file_of(piece: Any) -> Any:
    name = {"name": piece["filename"]} if "filename" in piece else {}
    if "file_id" in piece:
        return {"provider_file_id": piece["file_id"]} | name
    if "file_url" in piece:
        return {"mime_type": "application/pdf", "uri": piece["file_url"]} | name
    return media_of(piece["file_data"]) | name


def media_of(url: str) -> Any:
    if not url.startswith("data:"):
        return {"uri": url}
    mime, _, data = url.removeprefix("data:").partition(";base64,")
    b64decode(data, validate=True)
    return {"mime_type": mime, "data": data}


def config_of(body: Any) -> Any:
    names = ("max_output_tokens", "temperature", "top_p", "top_logprobs")
    config = {name: body[name] for name in names if body.get(name) is not None}
    said = body.get("reasoning") or {}
    effort, summary = said.get("effort"), said.get("summary")
    if effort == "xhigh" or summary == "concise":
        raise Inexpressible(f"reasoning of {effort or 'no effort'}, told in {summary or 'no summary'}")
    thinking = {"effort": f"EFFORT_{effort.upper()}"} if effort else {}
    if summary:
        thinking["visibility"] = "VISIBILITY_FULL" if summary == "detailed" else "VISIBILITY_SUMMARY"
    return config | ({"thinking": thinking} if thinking else {})


def tool_of(tool: Any) -> Any:
    if tool["type"] != "function":
        settings = {key: value for key, value in tool.items() if key != "type"}
        return {"provider_tool": {"dialect": DIALECT, "type": tool["type"], "config_json": json.dumps(settings)}}
    if more := tool.keys() - {"type", "name", "description", "strict", "parameters"}:
        raise Inexpressible(f"a function with {', '.join(sorted(more))}")
    function = {key: tool[key] for key in ("name", "description", "strict") if tool.get(key) is not None}
    return {"function": function | {"parameters_json_schema": json.dumps(tool["parameters"])}}


def choice_of(body: Any) -> Any:
    choice, parallel = body.get("tool_choice", "auto"), body.get("parallel_tool_calls")
    chosen = {} if parallel is None else {"parallel": parallel}
    if isinstance(choice, str):
        return chosen | {"mode": f"MODE_{choice.upper()}"}
    if choice["type"] == "allowed_tools":
        names = [tool.get("name", tool["type"]) for tool in choice["tools"]]
        return chosen | {"mode": f"MODE_{choice['mode'].upper()}", "allowed_tools": names}
    return chosen | {"mode": "MODE_REQUIRED", "allowed_tools": [choice.get("name", choice["type"])]}


def format_of(form: Any) -> Any:
    match form.get("type", "text"):
        case "text":
            return {}
        case "json_object":
            return {"kind": "KIND_JSON"}
    if "description" in form:
        raise Inexpressible("a schema's description beside it")
    more = {"strict": form["strict"]} if form.get("strict") is not None else {}
    return {"kind": "KIND_JSON_SCHEMA", "name": form["name"], "json_schema": json.dumps(form["schema"])} | more


def meaning(body: Any) -> Any:
    """The body without what says nothing: nulls and defaults, and with each thing said in one way."""
    defaults = {"stream": False, "store": True, "include": [], "tool_choice": "auto", "instructions": "", "tools": []}
    plain = {key: value for key, value in body.items() if value is not None and value != defaults.get(key)}
    plain["text"] = {key: value for key, value in body.get("text", {}).items() if value != {"type": "text"}}
    if "tools" in plain:
        plain["tools"] = [tool_meaning(tool) for tool in plain["tools"]]
    items = body["input"]
    items = [item_meaning(item) for item in ([{"role": "user", "content": items}] if isinstance(items, str) else items)]
    return plain | {"input": [item for item in items if item.get("content") not in ([], [{"text": ""}])]}


def tool_meaning(tool: Any) -> Any:
    return {key: value for key, value in tool.items() if (key, value) != ("description", "")}


def item_meaning(item: Any) -> Any:
    if item.get("type", "message") != "message":
        # The provider says of its own items how they are.
        return {key: value for key, value in item.items() if key != "status"}
    content = item["content"]
    pieces = [{"type": "input_text", "text": content}] if isinstance(content, str) else content
    role = "system" if item["role"] == "developer" else item["role"]
    return {"role": role, "content": [piece_meaning(piece) for piece in pieces]}


def piece_meaning(piece: Any) -> Any:
    if piece["type"] in {"input_text", "output_text"}:
        return {"text": piece["text"]}
    return {"detail": "auto"} | piece if piece["type"] == "input_image" else piece
