"""A conversation as Gemini's `contents` and `systemInstruction`."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from msgspec import DecodeError, Raw
from msgspec.json import Decoder

from trunkline.v1.content_pb2 import ROLE_ASSISTANT, ROLE_SYSTEM, ROLE_TOOL, Media
from trunkline_server.dialects.gemini_generate_content.models import is_gemini_3
from trunkline_server.dialects.gemini_generate_content.parts import DIALECT, SIGNATURE, SYNTHETIC_ID
from trunkline_server.errors import InvalidRequest, Violation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trunkline.v1.content_pb2 import Message, Part, ToolCall, ToolResult
    from trunkline_server.dialects.notes import Notes

JsonObject = dict[str, Any]

_OBJECT = Decoder(dict[str, Raw])
_RESOLUTIONS: Mapping[Media.Detail.ValueType, str] = {
    Media.DETAIL_LOW: "MEDIA_RESOLUTION_LOW",
    Media.DETAIL_HIGH: "MEDIA_RESOLUTION_HIGH",
}
# Where the Files API keeps what it calls files/ID.
_FILES = "https://generativelanguage.googleapis.com/v1beta/"
CACHE = (
    "the provider caches by itself: unset it, or name a cache of your own as cachedContent in "
    "provider_options.gemini_generate_content"
)
# What the API documents for calls that another model made: Gemini 3 refuses calls without a signature.
# https://ai.google.dev/gemini-api/docs/thought-signatures
_FOREIGN_SIGNATURE = "skip_thought_signature_validator"


class Conversation:
    """Encodes the messages of one request."""

    def __init__(self, model: str, notes: Notes) -> None:
        self.contents: list[JsonObject] = []
        self.system: list[JsonObject] = []
        self._is_gemini_3 = is_gemini_3(model)
        self._notes = notes
        # The names of the tool calls so far by their ids, in the order of the calls.
        self._names: dict[str, str] = {}
        # The results that belong together: by their call's place, with what follows them.
        self._results: list[tuple[int, JsonObject, list[JsonObject]]] = []

    def add(self, messages: Sequence[Message]) -> None:
        """Take the messages. Raises InvalidRequest where a part that is to go back unchanged is not JSON."""
        for index, message in enumerate(messages):
            path = f"messages[{index}]"
            if message.name:
                self._notes.dropped(f"{path}.name", "speakers have no names here: say it in the text")
            if message.role == ROLE_TOOL:
                self._add_results(message, path)
                continue
            self._end_results()
            if message.role == ROLE_SYSTEM:
                self._add_system(message, path)
            else:
                self._add_content("model" if message.role == ROLE_ASSISTANT else "user", message, path)
        self._end_results()
        if not self.contents:
            # The API wants at least one.
            self.contents.append({"role": "user", "parts": [{"text": ""}]})
        if self._is_gemini_3:
            self._sign_foreign_calls()

    def _add_system(self, message: Message, path: str) -> None:
        if self.contents:
            self._notes.changed(path, "the provider takes instructions at the head only: it is moved there")
        for index, part in enumerate(message.parts):
            if part.HasField("text"):
                self.system.append({"text": part.text})
                self._note_cache(part, f"{path}.parts[{index}]")
            else:
                self._notes.lost(f"{path}.parts[{index}]", "instructions are text here: send it as the user's")

    def _add_content(self, role: str, message: Message, path: str) -> None:
        parts = []
        for index, part in enumerate(message.parts):
            place = f"{path}.parts[{index}]"
            encoded = self._part(part, place)
            if encoded is not None:
                self._sign(encoded, part, place)
                self._note_cache(part, place)
                parts.append(encoded)
        if parts:
            self.contents.append({"role": role, "parts": parts})

    def _part(self, part: Part, path: str) -> JsonObject | None:
        match part.WhichOneof("data"):
            case "media":
                return self._media(part.media, f"{path}.media")
            case "reasoning":
                return self._reasoning(part, path)
            case "tool_call":
                return self._call(part.tool_call, f"{path}.tool_call")
            case "provider_part":
                return self._own_part(part, f"{path}.provider_part")
            case "refusal":
                return {"text": part.refusal}
        return {"text": part.text}

    def _reasoning(self, part: Part, path: str) -> JsonObject | None:
        if not part.reasoning.text and part.provider_state.format != SIGNATURE:
            self._notes.lost(f"{path}.reasoning", "it has no words, and no signature of this provider's")
            return None
        return {"text": part.reasoning.text, "thought": True}

    def _call(self, call: ToolCall, path: str) -> JsonObject:
        # An id that comes again names the later call.
        self._names.pop(call.id, None)
        self._names[call.id] = call.name
        arguments = _object(call.arguments_json or "{}")
        if arguments is None:
            self._notes.lost(f"{path}.arguments_json", "it is not a JSON object")
        return {"functionCall": {**_id(call.id), "name": call.name, "args": arguments or {}}}

    def _own_part(self, part: Part, path: str) -> JsonObject | None:
        if part.provider_part.dialect != DIALECT:
            self._notes.lost(path, f"only {part.provider_part.dialect} understands it")
            return None
        own = _object(part.provider_part.json)
        if own is None:
            raise InvalidRequest([Violation(f"{path}.json", "is not a JSON object: send the part back unchanged")])
        return own

    def _sign(self, encoded: JsonObject, part: Part, path: str) -> None:
        if part.provider_state.format == SIGNATURE:
            encoded["thoughtSignature"] = part.provider_state.data
        elif part.HasField("provider_state"):
            self._notes.lost(f"{path}.provider_state", "it is another provider's")

    def _note_cache(self, part: Part, path: str) -> None:
        if part.HasField("cache_breakpoint"):
            self._notes.dropped(f"{path}.cache_breakpoint", CACHE)

    def _media(self, media: Media, path: str) -> JsonObject:
        encoded = _source(media)
        if media.name:
            self._notes.dropped(f"{path}.name", "files have no names here: say it in the text")
        if media.detail in _RESOLUTIONS:
            if self._is_gemini_3:
                encoded["mediaResolution"] = {"level": _RESOLUTIONS[media.detail]}
            else:
                self._notes.dropped(f"{path}.detail", "models before Gemini 3 look at all media alike: unset it")
        return encoded

    def _add_results(self, message: Message, path: str) -> None:
        for index, part in enumerate(message.parts):
            place = f"{path}.parts[{index}]"
            self._note_cache(part, place)
            self._add_result(part.tool_result, f"{place}.tool_result")

    def _add_result(self, result: ToolResult, path: str) -> None:
        texts, media = [], []
        for index, piece in enumerate(result.parts):
            place = f"{path}.parts[{index}]"
            self._note_cache(piece, place)
            if piece.HasField("media"):
                media.append(self._media(piece.media, f"{place}.media"))
            else:
                texts.append(piece.text)
        response: JsonObject = {**_id(result.tool_call_id), "name": self._name(result, path)}
        response["response"] = _response("\n".join(texts), is_error=result.is_error)
        if media and self._is_gemini_3:
            response["parts"], media = media, []
        calls = [*self._names]
        order = calls.index(result.tool_call_id) if result.tool_call_id in self._names else len(calls)
        self._results.append((order, {"functionResponse": response}, media))

    def _name(self, result: ToolResult, path: str) -> str:
        name = result.name or self._names.get(result.tool_call_id)
        if not name:
            self._notes.changed(f"{path}.name", "no call has this id: the id is sent as the function's name, set it")
        return name or result.tool_call_id

    def _end_results(self) -> None:
        """One content for the results of calls that were made together, in the order of the calls.

        Models before Gemini 3 take media beside the results only.
        """
        results = sorted(self._results, key=lambda result: result[0])
        self._results.clear()
        if results:
            parts = [response for _, response, _ in results] + [each for _, _, media in results for each in media]
            self.contents.append({"role": "user", "parts": parts})

    def _sign_foreign_calls(self) -> None:
        """Mark the calls of the current turn that Gemini did not make: the first of each content has to be signed."""
        for content in reversed(self.contents):
            parts = content["parts"]
            if content["role"] == "user" and any("functionResponse" not in part for part in parts):
                return
            calls = [part for part in parts if "functionCall" in part]
            if calls:
                calls[0].setdefault("thoughtSignature", _FOREIGN_SIGNATURE)


def _id(call_id: str) -> JsonObject:
    """Ids that were given here, because the model gave none, are nothing to it."""
    return {} if call_id.startswith(SYNTHETIC_ID) else {"id": call_id}


def _object(json: str) -> JsonObject | None:
    """The members of a JSON object as they stand; None = it is none."""
    try:
        return {**_OBJECT.decode(json)}
    except (DecodeError, RecursionError):
        return None


def _response(text: str, *, is_error: bool) -> JsonObject:
    """What a function gave: the API wants an object, and reads "output" and "error" in it."""
    if is_error:
        return {"error": text}
    result = _object(text)
    return {"output": text} if result is None else result


def _source(media: Media) -> JsonObject:
    mime_type = {"mimeType": media.mime_type} if media.mime_type else {}
    if media.WhichOneof("source") == "data":
        return {"inlineData": {**mime_type, "data": base64.b64encode(media.data).decode()}}
    uri = media.uri or media.provider_file_id
    return {"fileData": {**mime_type, "fileUri": f"{_FILES}{uri}" if uri.startswith("files/") else uri}}
