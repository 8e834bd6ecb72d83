"""Everything that can be wrong with a request by itself, all at once. Pure."""

from __future__ import annotations

import json
import re
from math import inf
from typing import TYPE_CHECKING

from trunkline.v1 import call_pb2, content_pb2
from trunkline.v1.gateway_service_pb2 import GenerateRequest, GenerationConfig, Thinking
from trunkline_server.errors import Violation
from trunkline_server.layers.validate_routing import routing_violations
from trunkline_server.spans import seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trunkline.v1.call_pb2 import CallContext
    from trunkline.v1.gateway_service_pb2 import StreamOptions

MAX_STOP_SEQUENCES = 16
MAX_LABELS = 32
# Characters.
LONGEST_LABEL = 256
LONGEST_END_USER = 200
ROLES = frozenset(content_pb2.Role.values()) - {content_pb2.ROLE_UNSPECIFIED}
# Who may say bare text.
_SPEAKERS = ROLES - {content_pb2.ROLE_TOOL}
# The least and the most of GenerationConfig's fields; None = no bound. That of top_p is exclusive, and not among them.
RANGES: Mapping[str, tuple[float, float | None]] = {
    "max_output_tokens": (1, None),
    "temperature": (0, 2),
    "top_k": (1, None),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
    "seed": (0, None),
    "top_logprobs": (0, 20),
}
# Below: fields themselves, as ListFields gives them. To ask a message for many by name takes longer.
_RANGES = {
    GenerationConfig.DESCRIPTOR.fields_by_name[name]: (least, inf if most is None else most)
    for name, (least, most) in RANGES.items()
}
_FIELDS = GenerateRequest.DESCRIPTOR.fields_by_name
_PROMPT, _MESSAGES, _CONFIG = _FIELDS["prompt"], _FIELDS["messages"], _FIELDS["config"]
# What most requests have none of.
_RARE = frozenset(
    _FIELDS[name] for name in ("tools", "tool_choice", "response_format", "stream_options", "routing", "context")
)
ROLES_OF_PARTS = {
    "tool_call": content_pb2.ROLE_ASSISTANT,
    "refusal": content_pb2.ROLE_ASSISTANT,
    "reasoning": content_pb2.ROLE_ASSISTANT,
    "tool_result": content_pb2.ROLE_TOOL,
}
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LABEL = re.compile(r"[A-Za-z0-9._-]{1,64}")
_MIME_TYPE = re.compile(r"[a-z]+/[A-Za-z0-9.+_-]+(;.*)?")


def violations(request: GenerateRequest) -> list[Violation]:
    """Every bad field, in the order of the request. Empty = the request is valid."""
    said = dict(request.ListFields())
    found: list[Violation] = []
    # One of them has to be there, and not both.
    if (_PROMPT in said) is (_MESSAGES in said) or not all(map(_is_plain, said.get(_MESSAGES, ()))):
        found += _conversation(request)
    if _CONFIG in said:
        found += _config(said[_CONFIG])
    if not _RARE.isdisjoint(said):
        found += _rare(request)
    return found


def _rare(request: GenerateRequest) -> Iterator[Violation]:
    if request.tools or request.HasField("tool_choice"):
        yield from _tools(request)
    if request.HasField("response_format"):
        yield from _response_format(request.response_format)
    if request.HasField("stream_options"):
        yield from _stream_options(request.stream_options)
    if request.HasField("routing"):
        yield from routing_violations(request)
    if request.HasField("context"):
        yield from _context(request.context)


def _conversation(request: GenerateRequest) -> Iterator[Violation]:
    if request.prompt and request.messages:
        yield Violation("prompt", "is set together with messages: set one of them")
    elif not request.prompt and not request.messages:
        yield Violation("messages", "is empty: send at least one message, or a prompt")
    for index, message in enumerate(request.messages):
        if not _is_plain(message):
            yield from _message(message, f"messages[{index}]")


def _is_plain(message: content_pb2.Message) -> bool:
    """Most messages are bare text of one who may say it: nothing else of them can be wrong."""
    parts = message.parts
    if not parts or message.role not in _SPEAKERS:
        return False
    return all(map(_is_bare_text, parts))


def _message(message: content_pb2.Message, path: str) -> Iterator[Violation]:
    if message.role not in ROLES:
        yield Violation(f"{path}.role", "is not set or not known: use SYSTEM, USER, ASSISTANT or TOOL")
    if not message.parts:
        yield Violation(f"{path}.parts", "is empty: send at least one part")
    for index, part in enumerate(message.parts):
        if message.role == content_pb2.ROLE_TOOL or not _is_bare_text(part):
            yield from _part(part, message.role, f"{path}.parts[{index}]")


def _is_bare_text(part: content_pb2.Part) -> bool:
    """Bare text can be wrong only by where it stands."""
    return part.HasField("text") and not (part.HasField("provider_state") or part.HasField("cache_breakpoint"))


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
    elif kind == "media":
        yield from _media(part.media, f"{path}.media")
    elif kind == "provider_part":
        yield from _provider_part(part.provider_part, f"{path}.provider_part")
    if part.HasField("provider_state") and not part.provider_state.format:
        yield Violation(f"{path}.provider_state.format", "is empty: send the part as the answer had it")
    if part.HasField("cache_breakpoint") and seconds(part.cache_breakpoint.ttl) < 0:
        yield Violation(f"{path}.cache_breakpoint.ttl", "must be at least 0s")


def _tool_call(call: content_pb2.ToolCall, path: str) -> Iterator[Violation]:
    if not call.id:
        yield Violation(f"{path}.id", "is empty: send the id that the answer had")
    if not call.name:
        yield Violation(f"{path}.name", "is empty: send the name that the answer had")


def _tool_result(result: content_pb2.ToolResult, path: str) -> Iterator[Violation]:
    if not result.tool_call_id:
        yield Violation(f"{path}.tool_call_id", "is empty: send the tool call's id")
    for index, part in enumerate(result.parts):
        if part.WhichOneof("data") not in ("text", "media"):
            yield Violation(f"{path}.parts[{index}]", "a tool's result is made of text and media parts")
        elif part.HasField("media"):
            yield from _media(part.media, f"{path}.parts[{index}].media")


def _media(media: content_pb2.Media, path: str) -> Iterator[Violation]:
    source = media.WhichOneof("source")
    if source is None or not getattr(media, source):
        yield Violation(path, "has no source: set data, uri or provider_file_id")
    if source == "data" and not _MIME_TYPE.fullmatch(media.mime_type):
        yield Violation(f"{path}.mime_type", "is needed with data: image/png, application/pdf, audio/wav, ...")
    if media.detail not in content_pb2.Media.Detail.values():
        yield Violation(f"{path}.detail", "is not known: use LOW or HIGH")


def _provider_part(part: content_pb2.ProviderPart, path: str) -> Iterator[Violation]:
    if not part.dialect:
        yield Violation(f"{path}.dialect", "is empty: send the part as the answer had it")
    if not _is_json_object(part.json):
        yield Violation(f"{path}.json", "is not a JSON object: send the part as the answer had it")


def _config(config: GenerationConfig) -> Iterator[Violation]:
    others = False
    for field, value in config.ListFields():
        if field not in _RANGES:
            others = True
            continue
        least, most = _RANGES[field]
        if not least <= value <= most:  # as no NaN is
            bound = f"from {least} to {most}" if most < inf else f"at least {least}"
            yield Violation(f"config.{field.name}", f"must be {bound}")
    if others:
        yield from _unranged(config)


def _unranged(config: GenerationConfig) -> Iterator[Violation]:
    if config.HasField("top_p") and not 0 < config.top_p <= 1:
        yield Violation("config.top_p", "must be above 0 and at most 1")
    if config.HasField("thinking"):
        yield from _thinking(config.thinking)
    if len(config.stop_sequences) > MAX_STOP_SEQUENCES:
        yield Violation("config.stop_sequences", f"has {len(config.stop_sequences)}: at most {MAX_STOP_SEQUENCES}")
    for index, stop in enumerate(config.stop_sequences):
        if not stop:
            yield Violation(f"config.stop_sequences[{index}]", "is empty")


def _thinking(thinking: Thinking) -> Iterator[Violation]:
    if thinking.effort not in Thinking.Effort.values():
        yield Violation("config.thinking.effort", "is not known: use NONE to MAX")
    if thinking.visibility not in Thinking.Visibility.values():
        yield Violation("config.thinking.visibility", "is not known: use OMITTED, SUMMARY or FULL")
    if thinking.budget_tokens < 0:
        yield Violation("config.thinking.budget_tokens", "must be at least 0")


def _tools(request: GenerateRequest) -> Iterator[Violation]:
    names: set[str] = set()
    for index, tool in enumerate(request.tools):
        if tool.WhichOneof("kind") is None:
            yield Violation(f"tools[{index}]", "is empty: set function or provider_tool")
            continue
        if tool.HasField("provider_tool"):
            yield from _provider_tool(tool.provider_tool, f"tools[{index}].provider_tool")
            names.add(tool.provider_tool.type)
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


def _provider_tool(tool: content_pb2.ProviderTool, path: str) -> Iterator[Violation]:
    for name in ("dialect", "type"):
        if not getattr(tool, name):
            yield Violation(f"{path}.{name}", "is empty")
    if tool.config_json and not _is_json_object(tool.config_json):
        yield Violation(f"{path}.config_json", "is not a JSON object")


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


def _context(context: CallContext) -> Iterator[Violation]:
    if len(context.end_user_id) > LONGEST_END_USER or not context.end_user_id.isprintable():
        yield Violation("context.end_user_id", f"must be at most {LONGEST_END_USER} printable characters")
    if context.priority not in call_pb2.Priority.values():
        yield Violation("context.priority", "is not known: use BATCH, NORMAL or INTERACTIVE")
    if len(context.labels) > MAX_LABELS:
        yield Violation("context.labels", f"has {len(context.labels)}: at most {MAX_LABELS}")
    for name, value in context.labels.items():
        if not _LABEL.fullmatch(name):
            yield Violation("context.labels", "has a name that is not 1 to 64 letters, digits, . _ or -")
        elif len(value) > LONGEST_LABEL:
            yield Violation(f"context.labels[{name}]", f"must be at most {LONGEST_LABEL} characters")


def _is_json_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
