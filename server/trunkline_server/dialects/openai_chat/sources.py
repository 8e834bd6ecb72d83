"""What an answer of the chat completions API rests on, and the images in it."""

from __future__ import annotations

from base64 import b64decode
from binascii import Error
from typing import TYPE_CHECKING, Any

from trunkline.v1.content_pb2 import Citation, Media

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trunkline_server.dialects.openai_chat.wire import Annotation, Completion, Image

MAX_SOURCES = 100
_MAX_INDEX = (1 << 31) - 1


def citation_of(annotation: Annotation) -> Citation | None:
    """None = it is of another kind. Indices that make no span are left out: then it is of the whole text."""
    cited = annotation.url_citation
    if cited is None:
        return None
    citation = Citation(uri=cited.url or "", title=cited.title or "", cited_text=cited.content or "")
    start, end = cited.start_index, cited.end_index
    if isinstance(start, int) and isinstance(end, int) and 0 <= start < end <= _MAX_INDEX:
        citation.start_index, citation.end_index = start, end
    return citation


def sources_of(completion: Completion) -> list[Citation]:
    """The sources that stand beside an answer (Perplexity, xAI), in their order, to which the text refers by number."""
    told = completion.search_results or completion.citations
    return [*_sources(told[:MAX_SOURCES])] if isinstance(told, list) else []


def _sources(told: list[Any]) -> Iterator[Citation]:
    for source in told:
        if isinstance(source, str):
            yield Citation(uri=source)
        elif isinstance(source, dict):
            said = {key: source[key] for key in ("url", "title") if isinstance(source.get(key), str)}
            yield Citation(uri=said.get("url", ""), title=said.get("title", ""))


def media_of(image: Image) -> Media | None:
    """An image's bytes or address; None = it has neither."""
    url = (image.image_url and image.image_url.url) or ""
    head, comma, data = url.partition(",")
    if not (comma and head.startswith("data:") and head.endswith(";base64")):
        return Media(uri=url) if url and not url.startswith("data:") else None
    try:
        return Media(mime_type=head[len("data:") :].partition(";")[0], data=b64decode(data, validate=True))
    except (Error, ValueError):
        return None
