"""Calls of days that are over, added up in the background: what questions would otherwise count from rows.

who           Days by all that a caller says of a call, labels and end user among it, and why it failed.
hour_cells    Hours and days in the dimensions of the rollups `hour` and `detail`, which lack distributions.
detail_cells

Cells are a copy of rows and live no longer than these: retention deletes them, and erasing a person takes the name out.
A day's cells serve while they count as many calls as the rollup of that day: one that comes late makes them useless,
and they are made again. Writing a call costs nothing for that.
"""

from __future__ import annotations

import asyncio
from operator import add
from typing import TYPE_CHECKING, Any

from trunkline_server.state.ledger.calendar import HOUR
from trunkline_server.state.ledger.database import Query, Statement
from trunkline_server.state.ledger.figures import ATTEMPT_SUMS, CALL_SUMS, DISTRIBUTIONS, TOKENS
from trunkline_server.state.ledger.queries import figures_of_calls

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from trunkline_server.state.ledger.database import Database, Dialect, Row, Script
    from trunkline_server.state.ledger.sources import Cells

DAY = 24 * HOUR
# Cells of a day beyond which they save too little.
MOST = 20_000
# About how many calls are read at once, and how many cells are written by one statement.
AT_ONCE, BATCH = 20_000, 500
# Microseconds after a day in which its last calls come in, and seconds between two days that are read.
LATE, PAUSE = HOUR, 0.05

_COARSE = ("workspace", "operation", "provider", "model", "region", "outcome")
DIMENSIONS: Mapping[Cells, Sequence[str]] = {
    "who": (
        "workspace", "api_key", "end_user", "task", "agent", "strategy", "arm", "operation", "requested_model",
        "labels", "reason",
    ),
    "hour_cells": _COARSE,
    "detail_cells": (*_COARSE, "api_key", "task", "agent", "strategy", "arm"),
}  # fmt: skip

# How many calls a day has, and how many its cells count.
_CALLS = """
SELECT start, CAST(SUM(calls) AS BIGINT) FROM call_sums WHERE grain = 'day' AND start >= ? AND start < ? GROUP BY start
"""
_COUNTED = "SELECT day, calls FROM cell_days WHERE kind = ?"
_USABLE = """
SELECT d.day FROM cell_days AS d WHERE d.kind = ? AND d.day >= ? AND d.day < ? AND d.worth = 1
AND d.calls = (SELECT SUM(s.calls) FROM call_sums AS s WHERE s.grain = 'day' AND s.start = d.day)
"""
_ERASURES = "SELECT COUNT(*) FROM erasures"
_FORGET = "DELETE FROM cells WHERE kind = ? AND start >= ? AND start < ?"
_MARK = (
    "INSERT INTO cell_days (kind, day, calls, worth) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (kind, day) DO UPDATE SET calls = excluded.calls, worth = excluded.worth"
)


def usable(kind: Cells, start: int, end: int) -> Query:
    """Finds the days whose cells count everything."""
    return Query(_USABLE, (kind, start - start % DAY, end))


async def make_cells(database: Database, now: int) -> None:
    """Make what is lacking, of the days that are over at `now` and whose rows are all there. Raises StoreFailed."""
    ((first,),) = await database.fetch("SELECT min(started) FROM calls")
    if first is None:
        return
    days = await database.fetch(_CALLS, (first, (now - LATE) // DAY * DAY))
    for kind in DIMENSIONS:
        counted: dict[int, int] = dict(await database.fetch(_COUNTED, (kind,)))
        for day, calls in days:
            if counted.get(day) != calls:
                await _make(database, kind, day, calls)
                await asyncio.sleep(PAUSE)


async def _make(database: Database, kind: Cells, day: int, calls: int) -> None:
    """Some hours at a time: no reader is kept from questions for long."""
    ((erasures,),) = await database.fetch(_ERASURES)
    made, sql = _Day(kind, day), _select(kind, database.dialect)
    hours = max(1, min(24, 24 * AT_ONCE // calls))
    for hour in range(0, 24, hours):
        start, end = day + hour * HOUR, day + min(24, hour + hours) * HOUR
        await asyncio.to_thread(made.add, await database.fetch(sql, (start, end)))
    rows = await asyncio.to_thread(made.rows)
    await database.transact(lambda: _replace(made, rows, erasures, database.dialect))


class _Day:
    """A day's cells, as they are read hour by hour."""

    def __init__(self, kind: Cells, start: int) -> None:
        self.kind: Cells = kind
        self.start = start
        self.calls = 0
        # By start and dimensions: the sums, and the buckets as characters. None: there are too many.
        self._cells: dict[Row, tuple[list[Any], list[str]]] | None = {}

    @property
    def worth(self) -> bool:
        """Whether the cells are few enough to be kept."""
        return self._cells is not None

    def add(self, found: Iterable[Row]) -> None:
        """Add what _select found."""
        size = 1 + len(DIMENSIONS[self.kind])
        for *row, buckets, calls in found:
            self.calls += calls
            if self._cells is not None:
                sums, characters = self._cells.setdefault(tuple(row[:size]), ([0] * (len(row) - size), []))
                sums[:] = map(add, sums, row[size:])
                characters.append(buckets or "")
        if self._cells is not None and len(self._cells) > MOST:
            self._cells = None

    def rows(self) -> list[Row]:
        """The cells as _insert takes them."""
        # PostgreSQL's sums are decimals.
        return [
            (self.kind, *key, *(each if isinstance(each, float) else int(each) for each in sums), "".join(characters))
            for key, (sums, characters) in (self._cells or {}).items()
        ]


def _replace(day: _Day, rows: Sequence[Row], erasures: int, dialect: Dialect) -> Script[None]:
    """Put them in the place of what is there, unless a person was erased meanwhile whose name they may hold."""
    if dialect.alone:
        yield Statement(dialect.alone, returns=True)
    ((now_erased,),) = yield Statement(_ERASURES, returns=True)
    if now_erased != erasures:
        return
    yield Statement(_FORGET, [(day.kind, day.start, day.start + DAY)])
    for at in range(0, len(rows), BATCH):
        yield Statement(_insert(day.kind), rows[at : at + BATCH])
    yield Statement(_MARK, [(day.kind, day.start, day.calls, int(day.worth))])


def forget_person(end_user: str, dialect: Dialect) -> Script[None]:
    """Take the person's name out of the cells that are there, and have those thrown away that are being made."""
    if dialect.alone:
        yield Statement(dialect.alone, returns=True)
    yield Statement("INSERT INTO erasures (number) SELECT COUNT(*) + 1 FROM erasures")
    yield Statement("UPDATE cells SET end_user = '' WHERE kind = 'who' AND end_user = ?", [(end_user,)])


def expire_cells(before: int) -> Script[None]:
    """Delete the cells of days whose rows are deleted."""
    for kind in DIMENSIONS:
        yield Statement("DELETE FROM cells WHERE kind = ? AND start < ?", [(kind, before)])
    yield Statement("DELETE FROM cell_days WHERE day < ?", [(before,)])


def _select(kind: Cells, dialect: Dialect) -> str:
    """The SQL that adds up calls: when the cell begins, its dimensions and sums, the buckets, and how many calls."""
    width = HOUR if kind == "hour_cells" else DAY
    columns = (f"t.started - t.started % {width}", *(f"t.{name}" for name in DIMENSIONS[kind]))
    figures = (*figures_of_calls(dialect, held=kind == "who"), "COUNT(*)")
    by = ", ".join(map(str, range(1, len(columns) + 1)))
    selected = ", ".join((*columns, *figures))
    return f"SELECT {selected} FROM calls AS t WHERE t.started >= ? AND t.started < ? GROUP BY {by}"


def _insert(kind: Cells) -> str:
    attempts = (*ATTEMPT_SUMS, *TOKENS) if kind == "who" else ()
    columns = ("kind", "start", *DIMENSIONS[kind], *attempts, *CALL_SUMS, *DISTRIBUTIONS, "buckets")
    return f"INSERT INTO cells ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
