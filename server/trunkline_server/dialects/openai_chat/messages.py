"""A conversation as messages of the chat completions API."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from msgspec import DecodeError, Raw
from msgspec.json import Decoder

from trunkline.v1.content_pb2 import ROLE_ASSISTANT, ROLE_SYSTEM, ROLE_TOOL, ROLE_USER, Message, Part, Role
from trunkline_server.dialects.breakpoints import prompt_cache_breakpoint
from trunkline_server.dialects.lenient import decode_json
from trunkline_server.dialects.openai_chat import thinkers
from trunkline_server.dialects.openai_chat.media import encode_media

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from trunkline.v1.content_pb2 import ProviderPart, ToolResult
    from trunkline.v1.gateway_service_pb2 import GenerateRequest
    from trunkline_server.dialects.openai_chat.notes import Notes

DIALECT = "openai_chat"
# A provider part of this type is a call of a custom tool, not a piece of content.
CUSTOM = "custom"
# A list of OpenRouter's reasoning_details, as it gave them.
REASONING_DETAILS = "openrouter.reasoning_details"
ROLES: Mapping[Role.ValueType, str] = {ROLE_SYSTEM: "system", ROLE_USER: "user", ROLE_ASSISTANT: "assistant"}
_OBJECT = Decoder(dict[str, Raw])
_LIST = Decoder(list[Raw])

JsonObject = dict[str, Any]


def encode_messages(request: GenerateRequest, notes: Notes) -> Iterator[JsonObject]:
    """The messages, and in `notes` what of them cannot be said."""
    if request.system_instruction:
        yield {"role": "system", "content": request.system_instruction}
    if request.prompt:
        yield {"role": "user", "content": request.prompt}
    functions = _functions(request.messages) if notes.quirks.tool_result_names else {}
    thinks = thinkers.thinks(request, notes.quirks)
    for index, message in enumerate(request.messages):
        path = f"messages[{index}]"
        if message.role == ROLE_TOOL:
            yield from _tool_results(message, path, functions, notes)
        else:
            encoded = _Encoding(message, path, notes).message()
            if thinks and message.role == ROLE_ASSISTANT:
                encoded.setdefault("reasoning_content", thinkers.NOTHING_THOUGHT)
            yield encoded


def _functions(messages: Sequence[Message]) -> Mapping[str, str]:
    """The name of the function of each tool call."""
    parts = [part for message in messages for part in message.parts if part.HasField("tool_call")]
    return {part.tool_call.id: part.tool_call.name for part in parts}


def _tool_results(message: Message, path: str, functions: Mapping[str, str], notes: Notes) -> Iterator[JsonObject]:
    if message.name:
        notes.dropped(f"{path}.name", "a message of tool results has no name here: unset it")
    for index, part in enumerate(message.parts):
        at = f"{path}.parts[{index}]"
        _leave_out_state(part, at, notes)
        if part.HasField("cache_breakpoint"):
            notes.dropped(f"{at}.cache_breakpoint", "nothing can be cached here: set it on another message's part")
        result = part.tool_result
        encoded = {"role": "tool", "tool_call_id": _tool_call_id(result.tool_call_id, notes)}
        if name := notes.quirks.tool_result_names and (result.name or functions.get(result.tool_call_id)):
            encoded["name"] = name
        yield encoded | {"content": _result(result, f"{at}.tool_result", notes)}


def _result(result: ToolResult, path: str, notes: Notes) -> str:
    if result.is_error:
        notes.dropped(f"{path}.is_error", "the provider has no mark for it: let the result's text say so, and unset it")
    texts = []
    for index, piece in enumerate(result.parts):
        if piece.HasField("text"):
            texts.append(piece.text)
        else:
            notes.lost(f"{path}.parts[{index}]", "a tool's result is text here: send other parts in a user's message")
    return "\n".join(texts)


class _Encoding:
    """One message on its way into the provider's words."""

    def __init__(self, message: Message, path: str, notes: Notes) -> None:
        self._message = message
        self._path = path
        self._notes = notes
        self._content: list[JsonObject] = []
        self._refusals: list[str] = []
        self._calls: list[JsonObject] = []
        self._thoughts: list[str] = []
        self._details: list[Raw] = []

    def message(self) -> JsonObject:
        for index, part in enumerate(self._message.parts):
            self._add(part, f"{self._path}.parts[{index}]")
        encoded: JsonObject = {"role": ROLES[self._message.role]}
        if self._message.name and self._notes.quirks.names:
            encoded["name"] = self._message.name
        elif self._message.name:
            self._notes.dropped(f"{self._path}.name", "the provider knows no names of speakers: unset it")
        encoded["content"] = self._whole_content()
        if self._thoughts:
            encoded[self._notes.quirks.reasoning_field] = "\n".join(self._thoughts)
        if self._details:
            encoded["reasoning_details"] = self._details
        if self._refusals:
            encoded["refusal"] = "\n".join(self._refusals)
        if self._calls:
            encoded["tool_calls"] = self._calls
        return encoded

    def _whole_content(self) -> str | list[JsonObject] | None:
        """One text as a string, which every host takes; else parts. Without any content null or, to say nothing, ""."""
        if not self._content:
            return None if self._refusals or self._calls else ""
        only = self._content[0]
        return only["text"] if len(self._content) == 1 and only.keys() == {"type", "text"} else self._content

    def _add(self, part: Part, path: str) -> None:
        kind = part.WhichOneof("data")
        if kind == "reasoning":
            self._add_reasoning(part, path)
        else:
            _leave_out_state(part, path, self._notes)
        block = self._block(part, path)
        if part.HasField("cache_breakpoint"):
            self._cache(block, part, f"{path}.cache_breakpoint")
        if block is not None and part.provider_part.type == CUSTOM:
            self._calls.append(block)
        elif block is not None:
            self._content.append(block)
        elif kind == "refusal":
            self._refusals.append(part.refusal)
        elif kind == "tool_call":
            self._calls.append(_tool_call(part, self._notes))

    def _block(self, part: Part, path: str) -> JsonObject | None:
        """The part as one of content; None if it is none, or has been left out with a warning."""
        match part.WhichOneof("data"):
            case "text":
                return {"type": "text", "text": part.text}
            case "refusal" if not self._notes.quirks.refusals:
                return {"type": "text", "text": part.refusal}
            case "provider_part":
                return _provider_block(part.provider_part, f"{path}.provider_part", self._notes)
            case "media" if self._message.role == ROLE_USER:
                return encode_media(part.media, f"{path}.media", self._notes)
            case "media":
                self._notes.lost(
                    f"{path}.media", "the provider takes media from users only: send it in a user's message"
                )
        return None

    def _cache(self, block: JsonObject | None, part: Part, path: str) -> None:
        if block is None:
            self._notes.dropped(path, "nothing can be cached here: set it on another part")
        elif self._notes.breakpoints and self._message.role != ROLE_ASSISTANT:
            block["prompt_cache_breakpoint"] = prompt_cache_breakpoint(part.cache_breakpoint, path, self._notes)
        else:
            block |= self._notes.cache_control(part.cache_breakpoint, path)

    def _add_reasoning(self, part: Part, path: str) -> None:
        quirks = self._notes.quirks
        details = _details(part) if quirks.reasoning_details else []
        if not details:
            _leave_out_state(part, path, self._notes)
        self._details += details
        if not part.reasoning.text:
            return
        if quirks.reasoning_field == "content":
            thought = [{"type": "text", "text": part.reasoning.text}]
            self._content.append({"type": "thinking", "thinking": thought})
        elif quirks.reasoning_field:
            self._thoughts.append(part.reasoning.text)
        else:
            self._notes.lost(f"{path}.reasoning", "the provider takes back no reasoning: leave it out")


def _details(part: Part) -> list[Raw]:
    if part.provider_state.format != REASONING_DETAILS:
        return []
    try:
        return decode_json(_LIST, part.provider_state.data.encode())
    except DecodeError:
        return []


def _leave_out_state(part: Part, path: str, notes: Notes) -> None:
    if part.HasField("provider_state"):
        name = part.provider_state.format
        notes.lost(f"{path}.provider_state", f"{name} is not of this provider, or not of this part")


def _provider_block(part: ProviderPart, path: str, notes: Notes) -> JsonObject | None:
    if part.dialect != DIALECT:
        notes.lost(path, f"only {part.dialect or 'another dialect'} understands it")
        return None
    try:
        return {"type": part.type} | decode_json(_OBJECT, part.json.encode())
    except DecodeError:
        notes.lost(f"{path}.json", "it is not a JSON object: the answer that it comes from may have been cut off")
        return None


def _tool_call(part: Part, notes: Notes) -> JsonObject:
    call = part.tool_call
    function = {"name": call.name, "arguments": call.arguments_json or "{}"}
    return {"id": _tool_call_id(call.id, notes), "type": "function", "function": function}


def _tool_call_id(name: str, notes: Notes) -> str:
    """An id that the host takes, the same for a call and its result: other providers' may be too long."""
    if re.fullmatch(notes.quirks.tool_call_id, name):
        return name
    return sha256(name.encode()).hexdigest()[:9]
