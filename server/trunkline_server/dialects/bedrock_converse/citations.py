"""What words of an answer rest on, as Bedrock's Converse API tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.json import Decoder

from trunkline.v1.content_pb2 import Citation, ProviderState
from trunkline_server.dialects.bedrock_converse import wire
from trunkline_server.dialects.bedrock_converse.blocks import CITATION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from msgspec import Raw

_CITATION = Decoder(wire.Citation)


def citation_of(raw: Raw) -> Citation:
    """What a whole part rests on. The source is what the request called it or, a document of it, its number there."""
    said = wire.decoded(_CITATION, raw)
    location = said.location or wire.Location()
    return Citation(
        title=said.title or "",
        uri=(location.web and location.web.url) or "",
        cited_text="".join(piece.text or "" for piece in said.source_content or ()),
        source_id=said.source or next(_places(location), ""),
        provider_state=ProviderState(format=CITATION, data=wire.utf8(raw)),
    )


def _places(location: wire.Location) -> Iterator[str]:
    for place in (location.document_char, location.document_page, location.document_chunk):
        if place is not None and place.document_index is not None:
            yield str(place.document_index)
    found = location.search_result_location
    if found is not None and found.search_result_index is not None:
        yield str(found.search_result_index)
