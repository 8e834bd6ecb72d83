"""What users, systems and tools say, as content of the Responses API's input: texts, images, files."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any, Literal

from msgspec import DecodeError, Raw
from msgspec.json import Decoder

from trunkline.v1.content_pb2 import Media
from trunkline_server.dialects.breakpoints import prompt_cache_breakpoint
from trunkline_server.dialects.lenient import decode_json
from trunkline_server.dialects.openai_responses.wire import DIALECT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trunkline.v1.content_pb2 import Part, ProviderPart
    from trunkline_server.dialects.notes import Notes
    from trunkline_server.dialects.openai_responses.models import Facts

DETAILS: Mapping[Media.Detail.ValueType, str] = {Media.DETAIL_LOW: "low", Media.DETAIL_HIGH: "high"}
# The API wants a name for a file's bytes, and reads its kind from the ending.
ENDINGS = {
    "application/json": "json",
    "application/msword": "doc",
    "application/pdf": "pdf",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": "pptx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "text/csv": "csv",
    "text/html": "html",
    "text/markdown": "md",
    "text/plain": "txt",
}
_UNTAKEN = ("audio/", "video/")
_OBJECT = Decoder(dict[str, Raw])

JsonObject = dict[str, Any]


def encode_content(part: Part, path: str, facts: Facts, notes: Notes) -> JsonObject | None:
    """The content that says `part`, a text or media; None = there is none, which is noted. `path` is the part's own."""
    leave_out_state(part, path, notes)
    if part.citations:
        notes.lost(f"{path}.citations", "only the model's own texts have citations here")
    content = _content(part, path, notes)
    if part.HasField("cache_breakpoint"):
        where = f"{path}.cache_breakpoint"
        if content is None or not facts.breakpoints:
            leave_out_breakpoint(part, path, notes)
        else:
            content["prompt_cache_breakpoint"] = prompt_cache_breakpoint(part.cache_breakpoint, where, notes)
    return content


def said_plainly(content: list[JsonObject]) -> str | list[JsonObject]:
    """A text by itself as a string, which every host takes; all else as it is."""
    if len(content) == 1 and content[0].keys() == {"type", "text"}:
        text: str = content[0]["text"]
        return text
    return content


def encode_tool_output(parts: Iterable[Part], path: str, facts: Facts, notes: Notes) -> str | list[JsonObject]:
    """What a tool returned: one string where it is all text. `path` is that of the parts."""
    each = [encode_content(part, f"{path}[{index}]", facts, notes) for index, part in enumerate(parts)]
    content = [piece for piece in each if piece is not None]
    if all(piece.keys() == {"type", "text"} for piece in content):
        return "\n".join(piece["text"] for piece in content)
    return content


def encode_provider_part(part: ProviderPart, path: str, notes: Notes) -> JsonObject | None:
    """A part in the API's own words, as it stands; None = it is not, or not the API's, which is noted."""
    if part.dialect != DIALECT:
        notes.lost(path, f"only {part.dialect or 'another dialect'} understands it")
        return None
    members = read_object(part.json)
    if members is None:
        notes.lost(f"{path}.json", "it is not a JSON object: the answer that it comes from may have been cut off")
        return None
    return {"type": part.type} | {key: value for key, value in members.items() if key != "type"}


def leave_out_state(part: Part, path: str, notes: Notes) -> None:
    """Note that the part's state, if it has one, is not sent."""
    if part.HasField("provider_state"):
        state = part.provider_state.format or "it"
        notes.lost(f"{path}.provider_state", f"{state} is not of this provider, or not of this part")


def leave_out_breakpoint(part: Part, path: str, notes: Notes) -> None:
    """Note that the part's cache breakpoint, if it has one, is not sent."""
    if part.HasField("cache_breakpoint"):
        why = "the provider caches prompts by itself and takes no breakpoint here"
        notes.dropped(f"{path}.cache_breakpoint", why)


def read_object(text: str) -> dict[str, Raw] | None:
    """The members of a JSON object but those that are null; None = it is not one."""
    try:
        members = decode_json(_OBJECT, text.encode())
    except DecodeError:
        return None
    return {key: value for key, value in members.items() if bytes(value) != b"null"}


def _content(part: Part, path: str, notes: Notes) -> JsonObject | None:
    match part.WhichOneof("data"):
        case "text":
            return {"type": "input_text", "text": part.text}
        case "media":
            return _media(part.media, f"{path}.media", notes)
    notes.lost(path, "only the model says this")
    return None


def _media(media: Media, path: str, notes: Notes) -> JsonObject | None:
    mime = media.mime_type.lower().partition(";")[0].strip()
    if mime.startswith(_UNTAKEN) or media.WhichOneof("source") is None:
        notes.lost(path, f"the provider takes images and documents here: not {mime or 'this'}")
        return None
    if _kind(media, mime) == "image":
        return _image(media, path, notes)
    return _file(media, mime, path, notes)


def _kind(media: Media, mime: str) -> Literal["image", "file"]:
    """An address without a type is an image's unless it says otherwise, an uploaded file a document."""
    if mime or media.HasField("data"):
        return "image" if mime.startswith("image/") else "file"
    document = media.uri.partition("?")[0].lower().endswith(tuple(ENDINGS.values()))
    return "image" if media.HasField("uri") and not document else "file"


def _image(media: Media, path: str, notes: Notes) -> JsonObject:
    if media.name:
        notes.dropped(f"{path}.name", "an image has no name here: unset it")
    image: JsonObject = {"type": "input_image"}
    if media.HasField("provider_file_id"):
        image["file_id"] = media.provider_file_id
    else:
        image["image_url"] = media.uri or _data_url(media)
    # Some hosts insist on being told.
    image["detail"] = DETAILS.get(media.detail, "auto")
    return image


def _file(media: Media, mime: str, path: str, notes: Notes) -> JsonObject:
    if media.detail:
        notes.dropped(f"{path}.detail", "it is of images only: unset it")
    if media.HasField("data"):
        name = media.name or f"document.{ENDINGS.get(mime, 'bin')}"
        return {"type": "input_file", "filename": name, "file_data": _data_url(media)}
    if media.name:
        notes.dropped(f"{path}.name", "the provider takes the file's own name: unset it")
    if media.HasField("uri"):
        return {"type": "input_file", "file_url": media.uri}
    return {"type": "input_file", "file_id": media.provider_file_id}


def _data_url(media: Media) -> str:
    return f"data:{media.mime_type};base64,{b64encode(media.data).decode()}"
