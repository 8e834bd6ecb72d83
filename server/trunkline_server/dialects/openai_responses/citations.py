"""Citations as the Responses API's annotations, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Raw
from msgspec.json import Decoder

from trunkline.v1.content_pb2 import Citation, ProviderState
from trunkline_server.dialects.openai_responses.content import read_object
from trunkline_server.dialects.openai_responses.wire import ANNOTATION, compact, read

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trunkline_server.dialects.notes import Notes

_MOST = (1 << 31) - 1
_ANNOTATION = Decoder(dict[str, Any])

JsonObject = dict[str, Any]


def encode_annotations(citations: Sequence[Citation], path: str, notes: Notes) -> list[Raw | JsonObject]:
    """The annotations of an earlier answer's text. `path` is that of the citations."""
    encoded: list[Raw | JsonObject] = []
    for index, citation in enumerate(citations):
        state = citation.provider_state
        if state.format == ANNOTATION and read_object(state.data) is not None:
            encoded.append(Raw(state.data.encode()))
        elif citation.uri and citation.HasField("start_index") and citation.HasField("end_index"):
            encoded.append(_url_citation(citation))
        else:
            notes.lost(f"{path}[{index}]", "the provider takes addresses with their place in the text, and its own")
    return encoded


def _url_citation(citation: Citation) -> JsonObject:
    return {
        "type": "url_citation",
        "start_index": citation.start_index,
        "end_index": citation.end_index,
        "title": citation.title,
        "url": citation.uri,
    }


def decode_annotation(raw: Raw) -> Citation:
    """What an annotation of any type says. Its indices count code points, as ours do. Raises UpstreamError."""
    annotation = read(_ANNOTATION, raw)
    citation = Citation(
        title=_word(annotation, "title") or _word(annotation, "filename"),
        uri=_word(annotation, "url"),
        source_id=_word(annotation, "file_id"),
    )
    kind = annotation.get("type")
    # Of a file there is only the place at which to set the mark.
    names = ("index", "index") if kind == "file_citation" else ("start_index", "end_index")
    start, end = (_index(annotation, name) for name in names)
    if 0 <= start <= end:
        citation.start_index, citation.end_index = start, end
    if kind != "url_citation":
        citation.provider_state.CopyFrom(ProviderState(format=ANNOTATION, data=compact(raw)))
    return citation


def _word(annotation: JsonObject, name: str) -> str:
    value = annotation.get(name)
    return value if isinstance(value, str) else ""


def _index(annotation: JsonObject, name: str) -> int:
    """An index of the text. -1 = there is none."""
    value = annotation.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST else -1
