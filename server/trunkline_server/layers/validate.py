"""Everything that can be wrong with a request by itself, all at once. Pure."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Literal

from trunkline.v1 import content_pb2
from trunkline_server.errors import Violation
from trunkline_server.spans import seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trunkline.v1.gateway_service_pb2 import GenerateRequest, GenerationConfig, StreamOptions

_Setting = Literal[
    "max_output_tokens", "temperature", "top_k", "presence_penalty", "frequency_penalty", "seed", "top_logprobs"
]
MAX_STOP_SEQUENCES = 16
ROLES = frozenset(content_pb2.Role.values()) - {content_pb2.ROLE_UNSPECIFIED}
# (field, least, most) of GenerationConfig; None = no bound. Least of top_p is exclusive.
RANGES: tuple[tuple[_Setting, float, float | None], ...] = (
    ("max_output_tokens", 1, None),
    ("temperature", 0, 2),
    ("top_k", 1, None),
    ("presence_penalty", -2, 2),
    ("frequency_penalty", -2, 2),
    ("seed", 0, None),
    ("top_logprobs", 0, 20),
)
ROLES_OF_PARTS = {
    "tool_call": content_pb2.ROLE_ASSISTANT,
    "refusal": content_pb2.ROLE_ASSISTANT,
    "tool_result": content_pb2.ROLE_TOOL,
}
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def violations(request: GenerateRequest) -> list[Violation]:
    """Every bad field, in the order of the request. Empty = the request is valid."""
    found = [*_conversation(request)]
    if request.HasField("config"):
        found += _config(request.config)
    if request.tools or request.HasField("tool_choice"):
        found += _tools(request)
    if request.HasField("response_format"):
        found += _response_format(request.response_format)
    if request.HasField("stream_options"):
        found += _stream_options(request.stream_options)
    return found


def _conversation(request: GenerateRequest) -> Iterator[Violation]:
    if request.prompt and request.messages:
        yield Violation("prompt", "is set together with messages: set one of them")
    elif not request.prompt and not request.messages:
        yield Violation("messages", "is empty: send at least one message, or a prompt")
    for index, message in enumerate(request.messages):
        yield from _message(message, f"messages[{index}]")


def _message(message: content_pb2.Message, path: str) -> Iterator[Violation]:
    if message.role not in ROLES:
        yield Violation(f"{path}.role", "is not set or not known: use SYSTEM, USER, ASSISTANT or TOOL")
    if not message.parts:
        yield Violation(f"{path}.parts", "is empty: send at least one part")
    for index, part in enumerate(message.parts):
        # Most parts are text, and text can be wrong only by where it stands.
        if message.role == content_pb2.ROLE_TOOL or not part.HasField("text"):
            yield from _part(part, message.role, f"{path}.parts[{index}]")


def _part(part: content_pb2.Part, role: content_pb2.Role.ValueType, path: str) -> Iterator[Violation]:
    kind = part.WhichOneof("data")
    if kind is None:
        yield Violation(path, "has no data: set text or another kind")
        return
    wanted = ROLES_OF_PARTS.get(kind)
    if wanted is not None and role != wanted:
        yield Violation(f"{path}.{kind}", f"stands only in messages of {content_pb2.Role.Name(wanted)}")
    elif wanted is None and role == content_pb2.ROLE_TOOL:
        yield Violation(f"{path}.{kind}", "a message of ROLE_TOOL holds only tool_result parts")
    if kind == "tool_call":
        yield from _tool_call(part.tool_call, f"{path}.tool_call")
    elif kind == "tool_result":
        yield from _tool_result(part.tool_result, f"{path}.tool_result")


def _tool_call(call: content_pb2.ToolCall, path: str) -> Iterator[Violation]:
    if not call.id:
        yield Violation(f"{path}.id", "is empty: send the id that the answer had")
    if not call.name:
        yield Violation(f"{path}.name", "is empty: send the name that the answer had")


def _tool_result(result: content_pb2.ToolResult, path: str) -> Iterator[Violation]:
    if not result.tool_call_id:
        yield Violation(f"{path}.tool_call_id", "is empty: send the tool call's id")
    for index, part in enumerate(result.parts):
        if part.WhichOneof("data") != "text":
            yield Violation(f"{path}.parts[{index}]", "a tool's result is made of text parts")


def _config(config: GenerationConfig) -> Iterator[Violation]:
    for name, least, most in RANGES:
        if config.HasField(name) and not _within(getattr(config, name), least, most):
            bound = f"from {least} to {most}" if most is not None else f"at least {least}"
            yield Violation(f"config.{name}", f"must be {bound}")
    if config.HasField("top_p") and not 0 < config.top_p <= 1:
        yield Violation("config.top_p", "must be above 0 and at most 1")
    if len(config.stop_sequences) > MAX_STOP_SEQUENCES:
        yield Violation("config.stop_sequences", f"has {len(config.stop_sequences)}: at most {MAX_STOP_SEQUENCES}")
    for index, stop in enumerate(config.stop_sequences):
        if not stop:
            yield Violation(f"config.stop_sequences[{index}]", "is empty")


def _within(value: float, least: float, most: float | None) -> bool:
    return value >= least and (most is None or value <= most)


def _tools(request: GenerateRequest) -> Iterator[Violation]:
    names: set[str] = set()
    for index, tool in enumerate(request.tools):
        if tool.WhichOneof("kind") is None:
            yield Violation(f"tools[{index}]", "is empty: set function")
            continue
        yield from _function(tool.function, f"tools[{index}].function", names)
        names.add(tool.function.name)
    yield from _tool_choice(request, names)


def _function(function: content_pb2.FunctionTool, path: str, earlier: set[str]) -> Iterator[Violation]:
    if not _NAME.fullmatch(function.name):
        yield Violation(f"{path}.name", "must be 1 to 64 letters, digits, _ or -")
    elif function.name in earlier:
        yield Violation(f"{path}.name", f"{function.name} stands twice")
    if function.parameters_json_schema and not _is_json_object(function.parameters_json_schema):
        yield Violation(f"{path}.parameters_json_schema", "is not a JSON object")


def _tool_choice(request: GenerateRequest, names: set[str]) -> Iterator[Violation]:
    choice = request.tool_choice
    if choice.mode not in content_pb2.ToolChoice.Mode.values():
        yield Violation("tool_choice.mode", "is not known: use AUTO, NONE or REQUIRED")
    if request.HasField("tool_choice") and not request.tools:
        yield Violation("tool_choice", "is set without tools")
    for index, name in enumerate(choice.allowed_tools):
        if name not in names:
            yield Violation(f"tool_choice.allowed_tools[{index}]", "names no tool of this request")


def _response_format(form: content_pb2.ResponseFormat) -> Iterator[Violation]:
    if form.kind not in content_pb2.ResponseFormat.Kind.values():
        yield Violation("response_format.kind", "is not known: use TEXT, JSON or JSON_SCHEMA")
    schema = form.kind == content_pb2.ResponseFormat.KIND_JSON_SCHEMA
    if schema and not _is_json_object(form.json_schema):
        yield Violation("response_format.json_schema", "is not a JSON object: send the schema as JSON text")
    if not schema and form.json_schema:
        yield Violation("response_format.json_schema", "is set without KIND_JSON_SCHEMA")
    if form.name and not _NAME.fullmatch(form.name):
        yield Violation("response_format.name", "must be 1 to 64 letters, digits, _ or -")


def _stream_options(options: StreamOptions) -> Iterator[Violation]:
    if options.HasField("coalesce_window") and not 0 <= seconds(options.coalesce_window) <= 1:
        yield Violation("stream_options.coalesce_window", "must be from 0s to 1s")
    if options.HasField("heartbeat_interval") and not 0.1 <= seconds(options.heartbeat_interval) <= 3600:
        yield Violation("stream_options.heartbeat_interval", "must be from 0.1s to 3600s")


def _is_json_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
