"""Media in the words of Bedrock's Converse API: by format instead of MIME type, from bytes or from S3."""

from __future__ import annotations

import re
from base64 import b64encode
from typing import TYPE_CHECKING, Any
from unicodedata import normalize

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline.v1.content_pb2 import Media
    from trunkline_server.dialects.anthropic_messages.notes import Notes

# MIME types by what the API calls a thing, and its format.
MIME_TYPES: Mapping[str, Mapping[str, str]] = {
    "image": {"image/png": "png", "image/jpeg": "jpeg", "image/jpg": "jpeg", "image/gif": "gif", "image/webp": "webp"},
    "document": {
        "application/pdf": "pdf",
        "text/csv": "csv",
        "application/msword": "doc",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
        "application/vnd.ms-excel": "xls",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
        "text/html": "html",
        "text/plain": "txt",
        "text/markdown": "md",
        "application/json": "txt",
        "application/xml": "txt",
        "application/yaml": "txt",
        "application/x-yaml": "txt",
    },
    "video": {
        "video/x-matroska": "mkv",
        "video/quicktime": "mov",
        "video/mp4": "mp4",
        "video/webm": "webm",
        "video/x-flv": "flv",
        "video/mpeg": "mpeg",
        "video/x-ms-wmv": "wmv",
        "video/3gpp": "three_gp",
    },
    "audio": {
        "audio/mpeg": "mp3",
        "audio/mp3": "mp3",
        "audio/opus": "opus",
        "audio/wav": "wav",
        "audio/x-wav": "wav",
        "audio/aac": "aac",
        "audio/flac": "flac",
        "audio/mp4": "mp4",
        "audio/m4a": "m4a",
        "audio/x-m4a": "m4a",
        "audio/ogg": "ogg",
        "audio/webm": "webm",
        "audio/x-matroska": "mka",
        "audio/pcm": "pcm",
    },
}
_BY_MIME_TYPE = {mime: (kind, form) for kind, types in MIME_TYPES.items() for mime, form in types.items()}
# A name that several kinds have means the first of them: mp4 is a video.
_BY_EXTENSION = {form: (kind, form) for mime, (kind, form) in reversed(_BY_MIME_TYPE.items())}
_BY_EXTENSION |= {"jpg": ("image", "jpeg"), "3gp": ("video", "three_gp"), "mpg": ("video", "mpeg")}
_S3 = "s3://"
_MAX_NAME = 200
_NOT_OF_A_NAME = re.compile(r"[^A-Za-z0-9\s()\[\]-]+")
_SPACES = re.compile(r"\s+")

JsonObject = dict[str, Any]


class MediaEncoder:
    """Encodes the media of one request: no two of its documents may have one name."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._names: set[str] = set()

    def encode(self, media: Media, path: str, *, inside_result: bool = False) -> JsonObject | None:
        """The block that says `media`; None, and a note, where the API has none."""
        kind, form = _kind(media)
        if not kind or (kind == "audio" and inside_result):
            self._notes.lost(path, f"the provider takes no {media.mime_type or 'media of an unknown type'} here")
            return None
        source = self._source(media, path)
        if source is None:
            return None
        if media.detail:
            self._notes.dropped(f"{path}.detail", "the provider has no such setting: unset it, or send a smaller image")
        block: JsonObject = {"format": form}
        if kind == "document":
            block["name"] = self._name(media.name, form)
        elif media.name:
            self._notes.dropped(f"{path}.name", "only documents have names here: unset it")
        return {kind: block | {"source": source}}

    def _source(self, media: Media, path: str) -> JsonObject | None:
        if media.HasField("data"):
            return {"bytes": b64encode(media.data).decode()}
        if media.uri.startswith(_S3):
            return {"s3Location": {"uri": media.uri}}
        self._notes.lost(
            path, "the provider fetches from S3 only: send the bytes, or an address that begins with s3://"
        )
        return None

    def _name(self, asked: str, form: str) -> str:
        """A name that the API takes and that is not taken yet: it refuses most punctuation, and duplicates."""
        plain = normalize("NFKD", asked.removesuffix(f".{form}")).encode("ascii", "ignore").decode()
        plain = _SPACES.sub(" ", _NOT_OF_A_NAME.sub("-", plain)).strip(" -")[:_MAX_NAME]
        count, name = len(self._names) + 1, plain
        if not plain:
            name = f"Document {count}"
        while name.lower() in self._names:
            mark = f" ({count})"
            name, count = (plain or "Document")[: _MAX_NAME - len(mark)] + mark, count + 1
        self._names.add(name.lower())
        return name


def _kind(media: Media) -> tuple[str, str]:
    """What the API calls it, and its format; ("", "") = it takes no such thing."""
    mime = media.mime_type.lower().partition(";")[0].strip()
    if mime:
        other_text = ("document", "txt") if mime.startswith("text/") else ("", "")
        return _BY_MIME_TYPE.get(mime, other_text)
    return _BY_EXTENSION.get(media.uri.partition("?")[0].rpartition(".")[2].lower(), ("", ""))
