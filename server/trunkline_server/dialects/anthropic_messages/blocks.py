"""The contract's parts as content blocks of the Messages API."""

from __future__ import annotations

import re
from base64 import b64encode
from typing import TYPE_CHECKING, Any, Literal

from msgspec import DecodeError, Raw
from msgspec.json import Decoder

from trunkline_server.dialects.lenient import decode_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trunkline.v1.content_pb2 import Citation, Media, Part, ProviderPart, ToolCall, ToolResult
    from trunkline_server.dialects.anthropic_messages.notes import Notes

DIALECT = "anthropic_messages"
SIGNATURE = "anthropic.signature"
REDACTED = "anthropic.redacted_thinking"
CITATION = "anthropic.citation"
TOOL_USE = "anthropic.tool_use"
# Types beside text/* whose bytes are text.
TEXT_TYPES = frozenset({"application/json", "application/xml", "application/yaml", "application/x-yaml"})
PDF = "application/pdf"

_OBJECT = Decoder(dict[str, Raw])
_NOT_OF_AN_ID = re.compile(r"[^a-zA-Z0-9_-]")

JsonObject = dict[str, Any]


def encode_part(part: Part, path: str, notes: Notes) -> JsonObject | None:
    """The block that says `part`; None where there is none, which is noted unless nothing is lost by it.

    `path` is the part's own.
    """
    block = _block(part, path, notes)
    if block is not None and block["type"] != "text" and part.citations:
        notes.lost(f"{path}.citations", "only texts have citations here")
    if part.HasField("cache_breakpoint"):
        _cache(block, part, f"{path}.cache_breakpoint", notes)
    return block


def _cache(block: JsonObject | None, part: Part, path: str, notes: Notes) -> None:
    if block is None or part.HasField("reasoning"):
        notes.dropped(path, "nothing can be cached here: set it on another part")
    else:
        notes.cache(block, part.cache_breakpoint, path)


def _block(part: Part, path: str, notes: Notes) -> JsonObject | None:
    match part.WhichOneof("data"):
        case "reasoning":
            return _thinking(part, path, notes)
        case "tool_call":
            return _tool_use(part, path, notes)
        case "provider_part":
            _leave_out_state(part, path, notes)
            return _provider_block(part.provider_part, f"{path}.provider_part", notes)
        case "media":
            _leave_out_state(part, path, notes)
            return _media(part.media, f"{path}.media", notes)
        case "tool_result":
            _leave_out_state(part, path, notes)
            return _tool_result(part.tool_result, f"{path}.tool_result", notes)
    _leave_out_state(part, path, notes)
    return _text(part, path, notes)


def _leave_out_state(part: Part, path: str, notes: Notes) -> None:
    if part.HasField("provider_state"):
        notes.lost(
            f"{path}.provider_state", f"{part.provider_state.format} is not of this provider, or not of this part"
        )


def _text(part: Part, path: str, notes: Notes) -> JsonObject | None:
    """A text, or a refusal's words. The API refuses texts of nothing but white space; they say nothing."""
    text = part.text or part.refusal
    if not text.strip():
        return None
    block: JsonObject = {"type": "text", "text": text}
    if citations := [*_citations(part.citations, f"{path}.citations", notes)]:
        block["citations"] = citations
    return block


def _citations(citations: Sequence[Citation], path: str, notes: Notes) -> Iterator[Raw]:
    for index, citation in enumerate(citations):
        said = _object(citation.provider_state.data) if citation.provider_state.format == CITATION else None
        if said is None:
            notes.lost(f"{path}[{index}]", "only citations that this provider gave can be sent to it")
        else:
            yield Raw(citation.provider_state.data.encode())


def _thinking(part: Part, path: str, notes: Notes) -> JsonObject | None:
    state = part.provider_state
    if state.format == SIGNATURE:
        return {"type": "thinking", "thinking": part.reasoning.text, "signature": state.data}
    if state.format == REDACTED:
        return {"type": "redacted_thinking", "data": state.data}
    notes.lost(f"{path}.reasoning", "the provider takes back only its own reasoning, signed in provider_state")
    return None


def _tool_use(part: Part, path: str, notes: Notes) -> JsonObject:
    call = part.tool_call
    block: JsonObject = {"type": "tool_use", "id": _id(call.id), "name": call.name}
    block["input"] = _input(call, f"{path}.tool_call.arguments_json", notes)
    state = part.provider_state
    if state.format == TOOL_USE and (more := _object(state.data)) is not None:
        return more | block
    _leave_out_state(part, path, notes)
    return block


def _input(call: ToolCall, path: str, notes: Notes) -> Any:
    if not call.arguments_json.strip():
        return {}
    if _object(call.arguments_json) is not None:
        return Raw(call.arguments_json.encode())
    notes.changed(path, "is not a JSON object, which the provider demands: sent as the text of one")
    return {"invalid_json": call.arguments_json}


def _id(name: str) -> str:
    """A tool call's id in the API's letters: other providers use dots, colons and more."""
    return _NOT_OF_AN_ID.sub(lambda letter: f"_{ord(letter[0]):x}_", name)


def _tool_result(result: ToolResult, path: str, notes: Notes) -> JsonObject:
    block: JsonObject = {"type": "tool_result", "tool_use_id": _id(result.tool_call_id)}
    parts = (encode_part(part, f"{path}.parts[{index}]", notes) for index, part in enumerate(result.parts))
    if content := [part for part in parts if part is not None]:
        block["content"] = content
    if result.is_error:
        block["is_error"] = True
    return block


def _provider_block(part: ProviderPart, path: str, notes: Notes) -> JsonObject | None:
    if part.dialect != DIALECT:
        notes.lost(path, f"only {part.dialect or 'another dialect'} understands it")
        return None
    block = _object(part.json)
    if block is None:
        notes.lost(f"{path}.json", "it is not a JSON object: the answer that it comes from may have been cut off")
        return None
    return {"type": part.type} | block


def _media(media: Media, path: str, notes: Notes) -> JsonObject | None:
    kind = _kind(media)
    if kind is None:
        notes.lost(path, f"the provider takes images, PDF, and texts as bytes: not {_mime(media) or 'this'}")
        return None
    block: JsonObject = {"type": kind, "source": _source(media, kind)}
    if media.name and kind == "document":
        block["title"] = media.name
    elif media.name:
        notes.dropped(f"{path}.name", "an image has no name here: unset it")
    if media.detail:
        notes.dropped(f"{path}.detail", "the provider has no such setting: unset it, or send a smaller image")
    return block


def _kind(media: Media) -> Literal["image", "document"] | None:
    """What the API calls it; None = it takes no such thing."""
    mime = _mime(media)
    if mime.startswith("image/"):
        return "image"
    if mime == PDF or (media.HasField("provider_file_id") and not mime.startswith(("audio/", "video/"))):
        return "document"
    if media.HasField("uri"):
        is_pdf = media.uri.partition("?")[0].lower().endswith(".pdf")
        return None if mime else "document" if is_pdf else "image"
    text = mime.startswith("text/") or mime in TEXT_TYPES
    return "document" if text and _is_text(media.data) else None


def _mime(media: Media) -> str:
    mime = media.mime_type.lower().partition(";")[0].strip()
    return "image/jpeg" if mime == "image/jpg" else mime


def _source(media: Media, kind: str) -> JsonObject:
    if media.HasField("provider_file_id"):
        return {"type": "file", "file_id": media.provider_file_id}
    if media.HasField("uri"):
        return {"type": "url", "url": media.uri}
    mime = _mime(media)
    if kind == "image" or mime == PDF:
        return {"type": "base64", "media_type": mime, "data": b64encode(media.data).decode()}
    return {"type": "text", "media_type": "text/plain", "data": media.data.decode()}


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _object(text: str) -> dict[str, Raw] | None:
    """The members of a JSON object; None = it is not one."""
    try:
        return decode_json(_OBJECT, text.encode())
    except DecodeError:
        return None
