"""Questions with more groups than a page has rows, where figures of all groups are what takes the time.

Which groups there are is found first, by a query that finds nothing else. Then the figures of those on the page are
counted, and the totals by themselves. So only where all is counted from rows, and the order does not need the figures.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache, partial
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from trunkline_server.state.ledger.counting import add_up, queries_of
from trunkline_server.state.ledger.expressions import told_of_raw
from trunkline_server.state.ledger.queries import Only, Queries
from trunkline_server.state.ledger.reading import read
from trunkline_server.state.ledger.sources import FEW, PARTS, from_rows, segments, slices
from trunkline_server.state.ledger.tally import MAX_ROWS, too_many

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trunkline_server.state.ledger.counting import Kept
    from trunkline_server.state.ledger.database import Database, Row
    from trunkline_server.state.ledger.question import Question
    from trunkline_server.state.ledger.sources import Segment

    # A bucket's number, and the group as it is told.
    Group = tuple[int, tuple[str, ...]]

# How many times as many groups as a page has rows there are at least, for it to be worth while.
WORTH = 4
# With more groups in a part than this, rows are counted in fewer parts, of about so many calls: as many are sorted.
_CROWDED, _MOST_CALLS = 1000, 250_000
_CALLS = "SELECT COUNT(*) FROM calls WHERE started >= ? AND started < ?"
# Parameters that every database takes.
_MOST_VALUES = 10_000


class Chosen(NamedTuple):
    """The groups of a page, in order, whether there are more after them, and what lets through little else."""

    groups: Sequence[Group]
    more: bool
    only: Only | None

    def narrowed(self, question: Question) -> Question:
        """The question about no more time than the page's buckets. It has the same numbers for these."""
        if not question.bucketed or not self.groups:
            return question
        (first, _), (last, _) = self.groups[0], self.groups[-1]
        end = question.buckets[last + 1] if last + 1 < len(question.buckets) else question.end
        return replace(question, start=max(question.start, question.buckets[first]), end=end)


class Sample(NamedTuple):
    """What one part of the rows tells: about how many groups there are in all, and in how many parts to count."""

    groups: int
    parts: int


async def sample_of(database: Database, question: Question, kept: Kept) -> Sample:
    """Look at a part in the middle. Raises InvalidRequest, if it alone has too many groups, and LedgerUnreadable."""
    parts = [*_parts(question, kept, PARTS)]
    if len(parts) < FEW:
        return Sample(0, PARTS)
    part, found = parts[len(parts) // 2], _Groups(question)
    await found.read(database, [part])
    ((calls,),) = await read(database, _CALLS, (part.start, part.end))
    few = min(max(FEW, -(-calls * PARTS // _MOST_CALLS)), PARTS)
    buckets = max(1, len(question.buckets) * (part.end - part.start) // (question.end - question.start))
    return Sample(
        len(found.all) * len(question.buckets) // buckets,
        few if len(found.all) > _CROWDED else PARTS,
    )


async def choose(database: Database, question: Question, kept: Kept, parts: int) -> Chosen:
    """The groups of the page. Raises InvalidRequest, if there are too many in all, and LedgerUnreadable."""
    found = _Groups(question)
    await found.read(database, _parts(question, kept, parts))
    left = sorted(found.all)
    if question.after is not None:
        last = question.after.bucket, question.after.group
        left = [each for each in left if (question.buckets[each[0]], each[1]) > last]
    page = left[: question.page_size]
    return Chosen(page, len(left) > len(page), found.only(page))


def _parts(question: Question, kept: Kept, parts: int) -> Iterable[Segment]:
    return slices(segments(question, from_rows(question)), kept.first, kept.last, parts)


class _Groups:
    """The groups that are found."""

    def __init__(self, question: Question) -> None:
        self.all: set[Group] = set()
        self._question = question
        # What rows have for the bucket and the dimensions, and the group that this makes.
        self._group_of: dict[Row, Group] = {}
        # Labels are decoded: few of them differ.
        self._told = [lru_cache(MAX_ROWS)(partial(told_of_raw, each)) for each in question.group_by]

    async def read(self, database: Database, parts: Iterable[Segment]) -> None:
        """Find those of some parts of the rows."""
        queries = Queries(self._question, database.dialect)
        await add_up(database, queries_of(parts, (queries.keys, self._add), (queries.keys_of_attempts, self._add)), 1)

    def _add(self, rows: Iterable[Row]) -> None:
        for row in set(rows).difference(self._group_of):
            bucket, *values = row
            group = bucket, tuple([told(value) for told, value in zip(self._told, values, strict=True)])
            self._group_of[row] = group
            self.all.add(group)
        if len(self.all) > MAX_ROWS:
            raise too_many()

    def only(self, page: Sequence[Group]) -> Only | None:
        """By the dimension that leaves out the most. None: there is none, or it takes too many values."""
        some, found = set(page), list[tuple[int, Only]]()
        rows = [row for row, group in self._group_of.items() if group in some]
        for index, dimension in enumerate(self._question.group_by, 1):
            values = {row[index] for row in rows}
            if 0 < len(values) <= _MOST_VALUES:
                let_through = sum(row[index] in values for row in self._group_of)
                found.append((let_through, Only(dimension, tuple(values))))
        return min(found, key=itemgetter(0))[1] if found else None
