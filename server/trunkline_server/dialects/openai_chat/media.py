"""Images, sounds and documents as content of the chat completions API."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

from trunkline.v1.content_pb2 import Media

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline_server.dialects.openai_chat.notes import Notes

# What the API calls a kind of sound.
SOUNDS: Mapping[str, str] = {
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/vnd.wave": "wav",
    "audio/mp3": "mp3",
    "audio/mpeg": "mp3",
}
DETAILS: Mapping[Media.Detail.ValueType, str] = {Media.DETAIL_LOW: "low", Media.DETAIL_HIGH: "high"}
_NOT_TAKEN = "the provider does not take this: leave it out, or choose another provider"

JsonObject = dict[str, Any]


def encode_media(media: Media, path: str, notes: Notes) -> JsonObject | None:
    """A part of a content list; None, and a warning, for what the host does not take."""
    kind = _kind(media)
    if kind not in notes.quirks.media:
        notes.lost(path, f"{_mime(media) or kind}: {_NOT_TAKEN}")
        return None
    if media.detail and kind != "image":
        notes.dropped(f"{path}.detail", "only images have it: unset it")
    if kind == "image":
        return _image(media, path, notes)
    if kind == "audio":
        return _sound(media, path, notes)
    if kind == "video":
        return {"type": "video_url", "video_url": {"url": _url(media)}}
    return _document(media) if notes.quirks.document == "document_url" else _file(media)


def _kind(media: Media) -> str:
    """image, audio, video, file; file_url for a document that the provider is to fetch."""
    if media.HasField("provider_file_id"):
        return "file"
    family = _mime(media).partition("/")[0]
    if family in {"image", "audio", "video"}:
        return family
    if not media.HasField("uri"):
        return "file"
    is_pdf = media.uri.partition("?")[0].lower().endswith(".pdf")
    # An address that does not tell its kind is most often an image's.
    return "file_url" if family or is_pdf else "image"


def _image(media: Media, path: str, notes: Notes) -> JsonObject:
    image: JsonObject = {"url": _url(media)}
    if media.detail:
        image["detail"] = DETAILS[media.detail]
    if media.name:
        notes.dropped(f"{path}.name", "an image has no name here: unset it")
    return {"type": "image_url", "image_url": image}


def _sound(media: Media, path: str, notes: Notes) -> JsonObject | None:
    if not media.HasField("data"):
        notes.lost(path, "the provider takes sound as bytes only: send data")
        return None
    if media.name:
        notes.dropped(f"{path}.name", "a sound has no name here: unset it")
    data = b64encode(media.data).decode()
    if notes.quirks.sound == "text":
        return {"type": "input_audio", "input_audio": data}
    form = SOUNDS.get(_mime(media)) or _mime(media).partition("/")[2].removeprefix("x-")
    return {"type": "input_audio", "input_audio": {"data": data, "format": form}}


def _file(media: Media) -> JsonObject:
    if media.HasField("provider_file_id"):
        return {"type": "file", "file": {"file_id": media.provider_file_id}}
    # The API wants a name with each file.
    named = {"filename": media.name or "document"}
    return {"type": "file", "file": named | {"file_data": _url(media)}}


def _document(media: Media) -> JsonObject:
    if media.HasField("provider_file_id"):
        return {"type": "file", "file_id": media.provider_file_id}
    document: JsonObject = {"type": "document_url", "document_url": _url(media)}
    if media.name:
        document["document_name"] = media.name
    return document


def _url(media: Media) -> str:
    """Its address, or itself as one."""
    if media.HasField("uri"):
        return media.uri
    return f"data:{_mime(media)};base64,{b64encode(media.data).decode()}"


def _mime(media: Media) -> str:
    mime = media.mime_type.lower().partition(";")[0].strip()
    return "image/jpeg" if mime == "image/jpg" else mime
