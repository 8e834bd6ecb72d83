"""Counts what a question asks for: from rollups where they serve, else from the rows, with the same figures from both.

The event loop stays free: databases read, and threads add up.
"""

from __future__ import annotations

import asyncio
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, NamedTuple

from trunkline_server.state.ledger.calendar import HOUR
from trunkline_server.state.ledger.cells import usable
from trunkline_server.state.ledger.queries import Queries
from trunkline_server.state.ledger.reading import read, read_all
from trunkline_server.state.ledger.sources import (
    DAY,
    PARTS,
    ROWS,
    Piece,
    cells_for,
    from_rows,
    pieces,
    pieces_of_calls,
    rollups_for,
    segments,
    slices,
    with_cells,
)
from trunkline_server.state.ledger.tally import Tally
from trunkline_server.state.ledger.timestamps import LATEST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from trunkline_server.state.ledger.database import Database, Query, Row
    from trunkline_server.state.ledger.queries import Only
    from trunkline_server.state.ledger.question import Question
    from trunkline_server.state.ledger.sources import Cells, Segment, Source

    # A query of a segment and what takes its rows; queries and what takes the rows of each.
    Kind = tuple[Callable[[Segment], Query | None], Callable[[list[Row]], Any]]
    Asked = list[tuple[Query, Callable[[list[Row]], Any]]]

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
    """What there is besides rows: rollups, the largest first, and cells of some days."""

    rollups: tuple[Source, ...] = ()
    cells: Cells = ""
    days: frozenset[int] = frozenset()


class Kept(NamedTuple):
    """Which rows the ledger has: the first and the last one's start, and from when on none is deleted."""

    first: int
    last: int
    complete: int


async def sources_of(database: Database, question: Question, kept: Kept) -> Sources:
    """What serves the question. Raises LedgerUnreadable."""
    rollups = rollups_for(question)
    for cells in cells_for(question):
        days = await read(database, *usable(cells, max(question.start, kept.complete), question.end))
        if days:
            return Sources(rollups, cells, frozenset(day for (day,) in days))
    return Sources(rollups)


async def kept_rows(database: Database) -> Kept:
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


async def count(
    database: Database,
    question: Question,
    sources: Sources,
    kept: Kept,
    *,
    parts: int = PARTS,
    only: Only | None = None,
) -> Tally:
    """Several parts at once: there are two readers, and neither should wait for what is added up.

    `parts`: in how many the rows are counted. `only` goes with rows alone. Raises InvalidRequest, if there are too many
    groups, and LedgerUnreadable.
    """
    queries, tally = Queries(question, database.dialect, only), Tally(question.group_by)
    units = await read(database, _UNITS, (question.start - question.start % DAY, question.end))
    attempts, calls = _pieces(question, sources, kept)

    def asked(found: Iterable[Piece], *kinds: Kind) -> Iterator[Asked]:
        return queries_of(slices(segments(question, found), kept.first, kept.last, parts), *kinds)

    of_attempts = ((queries.attempts, tally.add_attempts), *([(queries.units, tally.add_units)] if units else []))
    of_calls = ((queries.calls, tally.add_calls), (queries.histograms, tally.add_histograms))
    scores = queries_of(
        segments(question, [Piece("rows", question.start, question.end)]), (queries.scores, tally.add_scores)
    )
    if sources.rollups:
        everything = chain(asked(attempts, *of_attempts), asked(calls, *of_calls), scores)
    else:
        everything = chain(asked(calls, *of_attempts, *of_calls), scores)
    await add_up(database, everything, _AT_ONCE if parts == PARTS else 1)
    return tally


async def add_up(database: Database, asked: Iterator[Asked], at_once: int) -> None:
    """Ask it all, so many parts in one go, and have the answers taken, by one at a time."""
    adding = asyncio.Lock()
    await asyncio.gather(*(_add(database, asked, at_once, adding) for _ in range(_SIDE_BY_SIDE)))


def are_rows_alone(question: Question, sources: Sources, kept: Kept) -> bool:
    """Whether nothing serves the question but rows: of cells there may be none that fit its buckets."""
    return not sources.rollups and all(each.source in ROWS for each in _pieces(question, sources, kept)[1])


def _pieces(question: Question, sources: Sources, kept: Kept) -> tuple[Sequence[Piece], Sequence[Piece]]:
    """Where attempts are counted from, and calls: from the same, if there is no rollup for them."""
    attempts = pieces(question, sources.rollups) if sources.rollups else from_rows(question)
    calls = pieces_of_calls(question, sources.rollups, kept.complete) if sources.rollups else attempts
    return attempts, with_cells(question, calls, sources.cells, sources.days) if sources.days else calls


def queries_of(cut: Iterable[Segment], *kinds: Kind) -> Iterator[Asked]:
    """What to ask of each part, at one and the same moment, and what takes the answers."""
    for segment in cut:
        yield [(asked, adder) for query, adder in kinds if (asked := query(segment)) is not None]


async def _add(database: Database, asked: Iterator[Asked], at_once: int, adding: asyncio.Lock) -> None:
    """Ask and add, several parts at a time: what is in memory at once is bounded."""
    while some := [*chain.from_iterable(islice(asked, at_once))]:
        found = await read_all(database, [query for query, _ in some])
        async with adding:
            await asyncio.to_thread(_add_all, [adder for _, adder in some], found)


def _add_all(adders: Sequence[Callable[[list[Row]], None]], found: Sequence[list[Row]]) -> None:
    for add, rows in zip(adders, found, strict=True):
        add(rows)
