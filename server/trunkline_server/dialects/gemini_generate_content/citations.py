"""What Gemini says that an answer rests on, as the contract's citations: bytes become code points."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline.v1.content_pb2 import Citation
from trunkline_server.dialects.gemini_generate_content.wire import Segment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from trunkline_server.dialects.gemini_generate_content.wire import CitedSource, Grounding

# The number of a part, and a citation of its text.
Cited = tuple[int, Citation]
_NOWHERE = Segment()


class Texts:
    """The texts of a whole answer, to find pieces of them in."""

    def __init__(self, texts: Mapping[int, str], places: Sequence[tuple[int, int]]) -> None:
        self._texts = texts
        self._places = places
        self._bytes = {index: text.encode() for index, text in texts.items()}

    def locate(self, segment: Segment) -> Cited:
        """The part that `segment` lies in, and its indices. Raises LookupError where it lies in none.

        Which part an index counts from is not always said, and is counted differently in streams: where the words of
        the piece are given, they decide.
        """
        words = (segment.text or "").encode()
        for index, offset in self._candidates(segment.part_index or 0):
            start, end = offset + (segment.start_index or 0), offset + (segment.end_index or 0)
            if 0 <= start < end <= len(self._bytes[index]) and (not words or self._bytes[index][start:end] == words):
                return index, self._citation(index, start, end)
        for index, text in self._bytes.items():
            if words and text.count(words) == 1:
                start = text.index(words)
                return index, self._citation(index, start, start + len(words))
        raise LookupError

    def last(self) -> Cited:
        """The last part, cited as a whole."""
        return max(self._texts), Citation()

    def _candidates(self, part_index: int) -> Iterator[tuple[int, int]]:
        """Parts that may be meant, and from which byte on."""
        if 0 <= part_index < len(self._places):
            index, characters = self._places[part_index]
            if index in self._texts:
                yield index, len(self._texts[index][:characters].encode())
        yield from ((index, 0) for index in self._texts)

    def _citation(self, index: int, start: int, end: int) -> Citation:
        """In code points. A byte inside a character counts as its first."""
        text = self._bytes[index]
        first, last = len(text[:start].decode(errors="ignore")), len(text[:end].decode(errors="ignore"))
        return Citation(start_index=first, end_index=last)


def citations(texts: Texts, grounding: Grounding, quoted: Iterable[CitedSource]) -> Iterator[Cited]:
    """Each source once for each piece that rests on it; a piece that cannot be found is the whole of the last text."""
    told: set[tuple[int, bytes]] = set()
    for index, citation in [*_grounded(texts, grounding), *_quoted(texts, quoted)]:
        key = (index, citation.SerializeToString(deterministic=True))
        if key not in told:
            told.add(key)
            yield index, citation


def _grounded(texts: Texts, grounding: Grounding) -> Iterator[Cited]:
    chunks = grounding.grounding_chunks or []
    for support in grounding.grounding_supports or []:
        places = [place for place in support.grounding_chunk_indices or [] if 0 <= place < len(chunks)]
        for chunk in [chunks[place] for place in places]:
            source = chunk.web or chunk.retrieved_context or chunk.maps
            if source is not None:
                index, citation = _place(texts, support.segment or _NOWHERE)
                _name(citation, source.uri, source.title)
                citation.cited_text = source.text or ""
                yield index, citation


def _quoted(texts: Texts, quoted: Iterable[CitedSource]) -> Iterator[Cited]:
    for source in quoted:
        if source.uri or source.title or source.end_index:
            segment = Segment(start_index=source.start_index, end_index=source.end_index)
            index, citation = _place(texts, segment)
            _name(citation, source.uri, source.title)
            yield index, citation


def _place(texts: Texts, segment: Segment) -> Cited:
    try:
        return texts.locate(segment)
    except LookupError:
        return texts.last()


def _name(citation: Citation, uri: str | None, title: str | None) -> None:
    citation.uri, citation.title = uri or "", title or ""
