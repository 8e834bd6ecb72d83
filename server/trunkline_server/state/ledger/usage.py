"""UsageStats over the ledger: from rollups where they serve, else from the rows, with the same figures from both."""

from __future__ import annotations

import asyncio
from itertools import chain, islice
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from trunkline.v1.gateway_service_pb2 import UsageDimension, UsageRow, UsageStatsResponse
from trunkline_server.state.ledger.calendar import HOUR
from trunkline_server.state.ledger.cells import usable
from trunkline_server.state.ledger.figures import Figures
from trunkline_server.state.ledger.order import Place
from trunkline_server.state.ledger.paging import encode_place
from trunkline_server.state.ledger.queries import Queries
from trunkline_server.state.ledger.question import question_of
from trunkline_server.state.ledger.reading import read, read_all
from trunkline_server.state.ledger.resets import last_reset
from trunkline_server.state.ledger.sources import (
    DAY,
    Piece,
    cells_for,
    countable_from,
    from_rows,
    pieces,
    pieces_of_calls,
    rollups_for,
    segments,
    slices,
    starting,
    with_cells,
)
from trunkline_server.state.ledger.tally import Tally
from trunkline_server.state.ledger.timestamps import LATEST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from trunkline.v1.gateway_service_pb2 import UsageStatsRequest
    from trunkline_server.core import Identity
    from trunkline_server.state.ledger.database import Database, Query, Row
    from trunkline_server.state.ledger.order import Key
    from trunkline_server.state.ledger.question import Question
    from trunkline_server.state.ledger.sources import Cells, Segment, Source

    # A query of a segment and what takes its rows; queries and what takes the rows of each.
    Kind = tuple[Callable[[Segment], Query | None], Callable[[list[Row]], None]]
    Asked = list[tuple[Query, Callable[[list[Row]], None]]]

# Parts that are read in one go, and how many such goes there are at once: a database has two readers.
_AT_ONCE, _SIDE_BY_SIDE = 3, 3
# Most ledgers have no other units: to look for them in every row would take a quarter of the time.
_UNITS = "SELECT 1 FROM unit_sums WHERE grain = 'day' AND start >= ? AND start < ? LIMIT 1"
# Their starts are found in indexes, one at a time.
_EXTENT = """
SELECT (SELECT min(started) FROM attempts), (SELECT min(started) FROM calls), (SELECT max(started) FROM attempts),
       (SELECT max(started) FROM calls), (SELECT min(start) FROM call_sums WHERE grain = 'hour')
"""


class Sources(NamedTuple):
    """What there may be besides rows: rollups, the largest first, and cells."""

    rollups: tuple[Source, ...] = ()
    cells: Cells | None = None


class Kept(NamedTuple):
    """Which rows the ledger has: the first and the last one's start, and from when on none is deleted."""

    first: int
    last: int
    complete: int


async def usage_stats(
    database: Database, request: UsageStatsRequest, identity: Identity, now: int, *, rollups: bool = True
) -> UsageStatsResponse:
    """The figures that the request asks for, as far as `identity` may see them.

    `now` in microseconds since 1970. Without `rollups` all is counted from the rows: slower, and the same. The event
    loop stays free: databases read, and threads add up. Raises InvalidRequest and LedgerUnreadable.
    """
    since = await last_reset(database, _scope(request, identity))
    question = question_of(request, identity, now, since)
    sources = Sources(rollups_for(question), cells_for(question)) if rollups else Sources()
    kept = await _kept(database)
    start = countable_from(question, sources.rollups, kept.complete)
    counted = starting(question, start) if start < question.end else question
    tally = await _count(database, counted, sources, kept) if start < question.end else Tally(question.group_by)
    response = await asyncio.to_thread(_answer, request, counted, tally)
    response.start_time.FromMicroseconds(start)
    return response


def _scope(request: UsageStatsRequest, identity: Identity) -> str:
    """The one workspace that the question is about; empty if it may be several."""
    if identity.role == "caller":
        return identity.workspace
    for each in request.filters:
        if each.dimension.kind == UsageDimension.KIND_WORKSPACE and len(each.values) == 1:
            return each.values[0]
    return ""


async def _kept(database: Database) -> Kept:
    """Rows are deleted from the oldest on: where rollups go back further, what is before the first row is deleted."""
    ((attempt, call, last_attempt, last_call, counted),) = await read(database, _EXTENT)
    starts, ends = (
        [t for t in (attempt, call) if t is not None],
        [t for t in (last_attempt, last_call) if t is not None],
    )
    if not starts:
        return Kept(0, 0, 0 if counted is None else LATEST)
    first = min(starts)
    return Kept(first, max(ends), first if counted is not None and counted + HOUR <= first else 0)


async def _count(database: Database, question: Question, sources: Sources, kept: Kept) -> Tally:
    """Several parts at once: there are two readers, and neither should wait for what is added up."""
    queries, tally = Queries(question, database.dialect), Tally(question.group_by)
    units = await read(database, _UNITS, (question.start - question.start % DAY, question.end))
    attempts, calls = await _pieces(database, question, sources, kept)

    def asked(found: Iterable[Piece], *kinds: Kind) -> Iterator[Asked]:
        return _asked(slices(segments(question, found), kept.first, kept.last), *kinds)

    of_attempts = ((queries.attempts, tally.add_attempts), *([(queries.units, tally.add_units)] if units else []))
    of_calls = ((queries.calls, tally.add_calls), (queries.histograms, tally.add_histograms))
    scores = _asked(
        segments(question, [Piece("rows", question.start, question.end)]), (queries.scores, tally.add_scores)
    )
    if sources.rollups:
        everything = chain(asked(attempts, *of_attempts), asked(calls, *of_calls), scores)
    else:
        everything = chain(asked(calls, *of_attempts, *of_calls), scores)
    adding = asyncio.Lock()
    await asyncio.gather(*(_add(database, everything, adding) for _ in range(_SIDE_BY_SIDE)))
    return tally


async def _pieces(
    database: Database, question: Question, sources: Sources, kept: Kept
) -> tuple[Sequence[Piece], Sequence[Piece]]:
    """Where attempts are counted from, and calls: from the same, if there is no rollup for them."""
    attempts = pieces(question, sources.rollups) if sources.rollups else from_rows(question)
    calls = pieces_of_calls(question, sources.rollups, kept.complete) if sources.rollups else attempts
    if sources.cells is not None:
        days = await read(database, *usable(sources.cells, max(question.start, kept.complete), question.end))
        calls = with_cells(question, calls, sources.cells, {day for (day,) in days})
    return attempts, calls


def _asked(cut: Iterable[Segment], *kinds: Kind) -> Iterator[Asked]:
    """What to ask of each part, at one and the same moment, and what takes the answers."""
    for segment in cut:
        yield [(asked, adder) for query, adder in kinds if (asked := query(segment)) is not None]


async def _add(database: Database, asked: Iterator[Asked], adding: asyncio.Lock) -> None:
    """Ask and add, several parts at a time: what is in memory at once is bounded."""
    while some := [*chain.from_iterable(islice(asked, _AT_ONCE))]:
        found = await read_all(database, [query for query, _ in some])
        async with adding:
            await asyncio.to_thread(_add_all, [adder for _, adder in some], found)


def _add_all(adders: Sequence[Callable[[list[Row]], None]], found: Sequence[list[Row]]) -> None:
    for add, rows in zip(adders, found, strict=True):
        add(rows)


def _answer(request: UsageStatsRequest, question: Question, tally: Tally) -> UsageStatsResponse:
    """One page of the rows, in their order, and the totals of all."""
    results = tally.results()
    if not question.bucketed and not question.group_by:
        results.setdefault((0, ()), Figures())
    response, everything = UsageStatsResponse(), Figures()
    for figures in results.values():
        everything.merge(figures)
    response.totals.CopyFrom(everything.totals())
    response.end_time.FromMicroseconds(question.end)
    rows = _ordered(question, results)
    if question.after is not None:
        rows = [row for row in rows if row[0] > question.after.key]
    for key, figures in rows[: question.page_size]:
        response.rows.append(_row(question, key, figures))
    if len(rows) > question.page_size:
        last, _ = rows[question.page_size - 1]
        response.next_page_token = encode_place(request, Place(question.start, question.end, *last))
    return response


def _ordered(question: Question, results: Mapping[tuple[int, tuple[str, ...]], Figures]) -> list[tuple[Key, Figures]]:
    keyed = [
        (question.order.key(question.buckets[bucket], group, figures), figures)
        for (bucket, group), figures in results.items()
    ]
    return sorted(keyed, key=itemgetter(0))


def _row(question: Question, key: Key, figures: Figures) -> UsageRow:
    _, _, bucket, group = key
    row = UsageRow(group=group, totals=figures.totals())
    if question.bucketed:
        row.bucket_start_time.FromMicroseconds(bucket)
    return row
