"""The conversation as Ollama's chat API has it."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

from msgspec import DecodeError, Raw
from msgspec.json import Decoder

from trunkline.v1.content_pb2 import ROLE_ASSISTANT, ROLE_SYSTEM, ROLE_TOOL, ROLE_USER
from trunkline_server.dialects.function_tools import NO_CACHE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trunkline.v1.content_pb2 import Media, Message, Part, Role, ToolCall, ToolResult
    from trunkline.v1.gateway_service_pb2 import GenerateRequest
    from trunkline_server.dialects.notes import Notes

DIALECT = "ollama_chat"
ROLES: Mapping[Role.ValueType, str] = {ROLE_SYSTEM: "system", ROLE_USER: "user", ROLE_ASSISTANT: "assistant"}
_OBJECT = Decoder(dict[str, Raw])

JsonObject = dict[str, Any]


def encode_messages(request: GenerateRequest, notes: Notes) -> list[JsonObject]:
    """`messages`: the texts of each joined by line feeds, its images beside them."""
    talk = _Conversation(notes)
    if request.system_instruction:
        talk.messages.append({"role": "system", "content": request.system_instruction})
    for index, message in enumerate(request.messages):
        talk.add(message, f"messages[{index}]")
    return talk.messages


class _Conversation:
    def __init__(self, notes: Notes) -> None:
        self.messages: list[JsonObject] = []
        self._notes = notes
        # Of each tool call so far, the function's name: results need it.
        self._names: dict[str, str] = {}

    def add(self, message: Message, path: str) -> None:
        """Add a message; results of tools are messages of their own."""
        if message.name:
            self._notes.dropped(f"{path}.name", "speakers have no names here: write it into the text")
        parts = [(part, f"{path}.parts[{place}]") for place, part in enumerate(message.parts)]
        for part, where in parts:
            self._note_extras(part, where)
        if message.role == ROLE_TOOL:
            self.messages += [self._tool_result(part.tool_result, f"{where}.tool_result") for part, where in parts]
        else:
            self.messages.append({"role": ROLES[message.role]} | self._said(message.role, parts))

    def _note_extras(self, part: Part, path: str) -> None:
        # Reasoning stands or falls with its state.
        if part.HasField("provider_state") and not part.HasField("reasoning"):
            self._notes.lost(f"{path}.provider_state", f"{part.provider_state.format} is not of this provider")
        if part.HasField("cache_breakpoint"):
            self._notes.dropped(f"{path}.cache_breakpoint", NO_CACHE)
        if part.citations:
            self._notes.lost(f"{path}.citations", "the provider is not told of citations")

    def _said(self, role: Role.ValueType, parts: list[tuple[Part, str]]) -> JsonObject:
        said: JsonObject = {"content": _joined(part.text or part.refusal for part, _ in parts)}
        if thoughts := _joined(thought for part, where in parts for thought in self._thoughts(part, where)):
            said["thinking"] = thoughts
        media = [(part.media, f"{where}.media") for part, where in parts if part.HasField("media")]
        if role == ROLE_ASSISTANT:
            for _, where in media:
                self._notes.lost(where, "the provider takes no media of the model's")
        elif images := self._images(media):
            said["images"] = images
        calls = [(part.tool_call, f"{where}.tool_call") for part, where in parts if part.HasField("tool_call")]
        if calls:
            said["tool_calls"] = [self._tool_call(call, where) for call, where in calls]
        for part, where in parts:
            if part.HasField("provider_part"):
                dialect = part.provider_part.dialect
                self._notes.lost(f"{where}.provider_part", f"only {dialect or 'another dialect'} understands it")
        return said

    def _thoughts(self, part: Part, path: str) -> Iterator[str]:
        if not part.HasField("reasoning"):
            return
        if part.HasField("provider_state") or part.reasoning.redacted:
            self._notes.lost(
                f"{path}.reasoning", f"it is another provider's: {part.provider_state.format or 'redacted'}"
            )
        else:
            yield part.reasoning.text

    def _images(self, media: list[tuple[Media, str]]) -> list[str]:
        return [image for one, where in media for image in self._image(one, where)]

    def _image(self, media: Media, path: str) -> Iterator[str]:
        if not media.HasField("data"):
            self._notes.lost(path, "the provider fetches nothing: send the image's bytes as data")
        elif not media.mime_type.lower().startswith("image/"):
            self._notes.lost(path, f"the provider takes images, not {media.mime_type}: send its text instead")
        else:
            if media.name:
                self._notes.dropped(f"{path}.name", "an image has no name here: unset it")
            if media.detail:
                self._notes.dropped(f"{path}.detail", "the provider has no such setting: unset it")
            yield b64encode(media.data).decode()

    def _tool_call(self, call: ToolCall, path: str) -> JsonObject:
        self._names[call.id] = call.name
        function = {"name": call.name, "arguments": self._arguments(call, f"{path}.arguments_json")}
        return ({"id": call.id} if call.id else {}) | {"function": function}

    def _arguments(self, call: ToolCall, path: str) -> Any:
        if not call.arguments_json.strip():
            return {}
        if _is_object(call.arguments_json):
            return Raw(call.arguments_json.encode())
        self._notes.changed(path, "is not a JSON object, which the provider demands: sent as the text of one")
        return {"invalid_json": call.arguments_json}

    def _tool_result(self, result: ToolResult, path: str) -> JsonObject:
        if result.is_error:
            self._notes.dropped(f"{path}.is_error", "results are not marked as errors here: say it in the text")
        for place, part in enumerate(result.parts):
            self._note_extras(part, f"{path}.parts[{place}]")
        message: JsonObject = {"role": "tool", "content": _joined(part.text for part in result.parts)}
        media = [
            (part.media, f"{path}.parts[{place}].media")
            for place, part in enumerate(result.parts)
            if part.HasField("media")
        ]
        if images := self._images(media):
            message["images"] = images
        if name := result.name or self._names.get(result.tool_call_id, ""):
            message["tool_name"] = name
        return message | {"tool_call_id": result.tool_call_id}


def _joined(texts: Iterator[str]) -> str:
    return "\n".join(text for text in texts if text)


def _is_object(text: str) -> bool:
    try:
        _OBJECT.decode(text)
    except (DecodeError, RecursionError):
        return False
    return True
