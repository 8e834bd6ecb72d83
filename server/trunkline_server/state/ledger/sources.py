"""Where an answer comes from: which spans of time from rollups, and which from the rows themselves. Pure.

A rollup serves where it has every dimension that the question names and no edge of the question cuts its span: whole
days in all its dimensions (`detail`), whole days and hours by workspace, operation, target and outcome. Rows serve
everything, as long as the ledger has them, and distributions of anything but whole days. Where attempts and calls are
both counted from rows, whole minutes are counted from what calls hold (held.py), which is one pass in place of two, and
whole days from cells (cells.py), where there are any.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from trunkline.v1.gateway_service_pb2 import UsageDimension
from trunkline_server.state.ledger.calendar import HOUR, MINUTE

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator

    from trunkline_server.state.ledger.dimensions import Dimension, Kind
    from trunkline_server.state.ledger.question import Question

# who, user, hour_cells, detail_cells, or LABEL or HOURS and a label's name.
Cells = str
# rows, minutes, hour, day, detail, or cells.
Source = str
# Those that read `attempts` and `calls`.
ROWS: frozenset[Source] = frozenset({"rows", "minutes"})
LABEL, HOURS = "label:", "hours:"

DAY = 24 * HOUR


def are_whole(source: Source) -> bool:
    """Whether these are cells that count the attempts that calls hold, too."""
    return source in {"who", "user"} or source.startswith((LABEL, HOURS))


def are_cells(source: Source) -> bool:
    """Whether this reads `cells`."""
    return source in {"hour_cells", "detail_cells"} or are_whole(source)


# Rows are counted in about this many parts: a small sort is faster than a large one. In fewer, where each part has so
# many groups that putting the parts together takes longer than sorting.
PARTS, FEW = 60, 4
_COARSE = frozenset(
    {
        UsageDimension.KIND_WORKSPACE,
        UsageDimension.KIND_OPERATION,
        UsageDimension.KIND_PROVIDER,
        UsageDimension.KIND_MODEL,
        UsageDimension.KIND_REGION,
        UsageDimension.KIND_OUTCOME,
    }
)
_DETAIL = _COARSE | {
    UsageDimension.KIND_API_KEY,
    UsageDimension.KIND_TASK,
    UsageDimension.KIND_AGENT,
    UsageDimension.KIND_STRATEGY,
    UsageDimension.KIND_ARM,
}
_WHO = frozenset(
    {
        UsageDimension.KIND_WORKSPACE,
        UsageDimension.KIND_API_KEY,
        UsageDimension.KIND_END_USER,
        UsageDimension.KIND_TASK,
        UsageDimension.KIND_AGENT,
        UsageDimension.KIND_STRATEGY,
        UsageDimension.KIND_ARM,
        UsageDimension.KIND_OPERATION,
        UsageDimension.KIND_REQUESTED_MODEL,
        UsageDimension.KIND_LABEL,
        UsageDimension.KIND_ERROR_REASON,
    }
)


_OF_HOURS = frozenset({UsageDimension.KIND_WORKSPACE, UsageDimension.KIND_OPERATION, UsageDimension.KIND_LABEL})


class Piece(NamedTuple):
    """A span of time and where it is counted from."""

    source: Source
    start: int
    end: int


class Segment(NamedTuple):
    """A piece in which all buckets are equally long: bucket (time - origin) // width after the bucket `first`."""

    source: Source
    start: int
    end: int
    origin: int
    width: int
    first: int


def rollups_for(question: Question) -> tuple[Source, ...]:
    """The rollups that have all dimensions of the question, the largest first."""
    kinds = _kinds(question)
    if kinds <= _COARSE:
        return "day", "hour"
    return ("detail",) if kinds <= _DETAIL else ()


def cells_for(question: Question) -> Iterator[Cells]:
    """The cells that have all dimensions of the question, and what its rollups lack; the best first."""
    kinds = _kinds(question)
    labels = {each.label for each in _dimensions(question) if each.kind == UsageDimension.KIND_LABEL}
    if kinds <= _COARSE:
        yield "hour_cells"
    elif kinds <= _DETAIL:
        yield "detail_cells"
    elif kinds <= _WHO:
        if kinds <= _OF_HOURS and len(labels) == 1 and _cuts_days(question):
            yield HOURS + labels.pop()
        yield "who"
    elif kinds <= _COARSE | {UsageDimension.KIND_END_USER}:
        yield "user"
    elif kinds <= _COARSE | {UsageDimension.KIND_LABEL} and len(labels) == 1:
        yield LABEL + labels.pop()


def _cuts_days(question: Question) -> bool:
    return question.bucketed and any(begins % DAY for begins in question.buckets)


def _kinds(question: Question) -> set[Kind.ValueType]:
    return {each.kind for each in _dimensions(question)}


def _dimensions(question: Question) -> list[Dimension]:
    return [*question.group_by, *(each.dimension for each in question.filters)]


def pieces(question: Question, rollups: Iterable[Source]) -> list[Piece]:
    """The question's time, cut into the largest pieces that one source each can serve."""
    return _joined(piece for start, end in _spans(question) for piece in _cut(start, end, tuple(rollups)))


def with_cells(question: Question, cut: Iterable[Piece], kind: Cells, days: Container[int]) -> list[Piece]:
    """The pieces, of which cells of these days serve what they can."""
    replaced = "minutes" if are_whole(kind) else "rows"
    found: list[Piece] = []
    for piece in cut:
        if piece.source != replaced:
            found.append(piece)
            continue
        for start, end in _spans(question):
            if clipped := _clipped(piece, start, end):
                found += _by_cells(clipped, kind, days)
    return _joined(found)


def _by_cells(piece: Piece, kind: Cells, days: Container[int]) -> Iterator[Piece]:
    width = HOUR if kind == "hour_cells" or kind.startswith(HOURS) else DAY
    low, high = -(-piece.start // width) * width, piece.end // width * width
    if low >= high:
        yield piece
        return
    yield piece._replace(end=low)
    for day in range(low - low % DAY, high, DAY):
        source = kind if day in days else piece.source
        yield Piece(source, max(low, day), min(high, day + DAY))
    yield piece._replace(start=high)


def _spans(question: Question) -> Iterator[tuple[int, int]]:
    """The buckets' beginnings and ends, as far as they are asked for."""
    for begins, ends in zip(question.buckets, (*question.buckets[1:], question.end), strict=True):
        yield max(begins, question.start), min(ends, question.end)


def _joined(pieces: Iterable[Piece]) -> list[Piece]:
    """The pieces without those that are empty; what is beside each other and of the same source is one."""
    found: list[Piece] = []
    for piece in pieces:
        if piece.start >= piece.end:
            continue
        if found and found[-1].source == piece.source and found[-1].end == piece.start:
            found[-1] = Piece(piece.source, found[-1].start, piece.end)
        else:
            found.append(piece)
    return found


def _cut(start: int, end: int, rollups: tuple[Source, ...]) -> Iterator[Piece]:
    if start >= end:
        return
    if not rollups:
        yield Piece("rows", start, end)
        return
    largest, *smaller = rollups
    width = HOUR if largest == "hour" else DAY
    low, high = -(-start // width) * width, end // width * width
    if low >= high:
        yield from _cut(start, end, tuple(smaller))
        return
    yield from _cut(start, low, tuple(smaller))
    yield Piece(largest, low, high)
    yield from _cut(high, end, tuple(smaller))


def from_rows(question: Question) -> list[Piece]:
    """The question's time without any rollups."""
    start, end = question.start, question.end
    low, high = -(-start // MINUTE) * MINUTE, end // MINUTE * MINUTE
    odd = question.bucketed and any(begins % MINUTE for begins in question.buckets)
    if odd or low >= high:
        return [Piece("rows", start, end)]
    return _joined((Piece("rows", start, low), Piece("minutes", low, high), Piece("rows", high, end)))


def pieces_of_calls(question: Question, rollups: tuple[Source, ...], complete: int) -> list[Piece]:
    """The same for calls. Of the rollups only `day` has distributions: the others serve where rows are deleted."""
    width = DAY if "detail" in rollups else HOUR
    border, found = -(-complete // width) * width, list[Piece]()
    without_rows = pieces(question, rollups)
    for piece in pieces(question, [each for each in rollups if each == "day"]):
        turn = min(max(border, piece.start), piece.end) if piece.source == "rows" else piece.start
        found += [clipped for each in without_rows if (clipped := _clipped(each, piece.start, turn))]
        if turn < piece.end:
            found.append(Piece(piece.source, turn, piece.end))
    return found


def _clipped(piece: Piece, start: int, end: int) -> Piece | None:
    low, high = max(piece.start, start), min(piece.end, end)
    return Piece(piece.source, low, high) if low < high else None


def slices(cut: Iterable[Segment], first: int, last: int, parts: int = PARTS) -> Iterator[Segment]:
    """The segments in parts, which bound what one query reads and sorts. No row is outside of `first` and `last`."""
    longest = DAY * PARTS // parts
    for each in cut:
        low, high = each.start, each.end
        if each.source in ROWS:
            low, high = max(low, first), min(high, last + 1)
        width = min(longest, max(-(-(high - low) // parts), 15 * MINUTE)) if each.source in ROWS else 8 * DAY
        for start in range(low, high, width):
            yield each._replace(start=start, end=min(start + width, high))


def segments(question: Question, cut: Iterable[Piece]) -> Iterator[Segment]:
    """The pieces, cut where the length of buckets changes: with daylight saving time, between months."""
    runs = [*_runs(question)]
    for piece in cut:
        for origin, end, width, first in runs:
            if piece.start < end and origin < piece.end:
                yield Segment(piece.source, max(piece.start, origin), min(piece.end, end), origin, width, first)


def _runs(question: Question) -> Iterator[tuple[int, int, int, int]]:
    """Runs of buckets of the same length: origin, end, width, and which bucket is the first."""
    edges = (*question.buckets, max(question.end, question.buckets[-1] + 1))
    first = 0
    for index in range(1, len(edges)):
        width = edges[first + 1] - edges[first]
        if index == len(edges) - 1 or edges[index + 1] - edges[index] != width:
            yield edges[first], edges[index], width, first
            first = index


def countable_from(question: Question, rollups: tuple[Source, ...], complete: int) -> int:
    """From when the question can be answered, if rows from before `complete` are deleted."""
    for start in (question.start, -(-question.start // HOUR) * HOUR, -(-question.start // DAY) * DAY):
        moved = _from(question, start)
        if moved is None or all(each.source != "rows" or each.start >= complete for each in pieces(moved, rollups)):
            return min(start, question.end)
    return min(max(complete, question.start), question.end)


def _from(question: Question, start: int) -> Question | None:
    return starting(question, start) if start < question.end else None


def starting(question: Question, start: int) -> Question:
    """The same question about a later start, which is before its end."""
    past = sum(1 for begins in question.buckets if begins <= start)
    return replace(question, start=start, buckets=question.buckets[past - 1 :] if question.bucketed else (start,))
