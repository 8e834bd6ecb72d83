"""Calls of days that are over, added up in the background: what questions would otherwise count from rows.

who           Days by all that a caller says of a call, labels and end user among it, and why it failed.
user          Days by the rollups' dimensions of targets and an end user; by these and one label, for labels that most
label:NAME    calls have and that have few values. Only where they are far fewer than the calls.
hours:NAME    Hours by one of these labels and little else, for days of other time zones.
hour_cells    Hours and days in the dimensions of the rollups `hour` and `detail`, which lack distributions.
detail_cells

Cells are a copy of rows and live no longer than these: retention deletes them, and erasing a person takes the name out.
A day's cells serve while they count as many calls as the rollup of that day: one that comes late makes them useless,
and they are made again. Writing a call costs nothing for that.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from operator import add
from typing import TYPE_CHECKING, Any

import msgspec

from trunkline_server.state.ledger.calendar import HOUR
from trunkline_server.state.ledger.database import Query, Statement
from trunkline_server.state.ledger.figures import ATTEMPT_SUMS, CALL_SUMS, DISTRIBUTIONS, TOKENS
from trunkline_server.state.ledger.queries import figures_of_calls
from trunkline_server.state.ledger.sources import HOURS, LABEL, are_whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from trunkline_server.state.ledger.database import Database, Dialect, Row, Script
    from trunkline_server.state.ledger.sources import Cells

DAY = 24 * HOUR
# Cells of a day beyond which they save too little.
MOST = 20_000
# How many calls a cell of `user` and `label` stands for at least, and days that are so small that it does not matter.
WORTH, SMALL = 4, 1000
# Labels of a day that have cells, and the values of one beyond which it has none.
LABELS, VALUES = 4, 100
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
    "user": (*_COARSE, "end_user"),
    "hour_cells": _COARSE,
    "detail_cells": (*_COARSE, "api_key", "task", "agent", "strategy", "arm"),
}  # fmt: skip
_OF_LABEL, _OF_HOURS = (*_COARSE, "labels"), ("workspace", "operation", "labels")

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


async def _make(database: Database, kind: Cells, day: int, calls: int) -> None:
    """Those of labels before those that tell which labels there are: what these say is done is done."""
    ((erasures,),) = await database.fetch(_ERASURES)
    made = await _read(database, kind, day, calls)
    for name in made.labels() if kind == "who" else ():
        await _make(database, LABEL + name, day, calls)
        await _make(database, HOURS + name, day, calls)
    rows = await asyncio.to_thread(made.rows)
    await database.transact(lambda: _replace(made, rows, erasures, database.dialect))
    await asyncio.sleep(PAUSE)


async def _read(database: Database, kind: Cells, day: int, calls: int) -> _Day:
    """Some hours at a time: no reader is kept from questions for long."""
    made, sql = _Day(kind, day), _select(kind, database.dialect)
    hours = max(1, min(24, 24 * AT_ONCE // calls))
    for hour in range(0, 24, hours):
        start, end = day + hour * HOUR, day + min(24, hour + hours) * HOUR
        found = await database.fetch(sql, (*_names(kind), start, end))
        await asyncio.to_thread(made.add, found)
    return made


def _names(kind: Cells) -> tuple[str, ...]:
    """Of cells of a label its name."""
    return (kind.partition(":")[2],) if kind.startswith((LABEL, HOURS)) else ()


def _dimensions(kind: Cells) -> Sequence[str]:
    return DIMENSIONS.get(kind, _OF_HOURS if kind.startswith(HOURS) else _OF_LABEL)


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
        if self._cells is None:
            return False
        sparse = self.kind == "user" or bool(_names(self.kind))
        return not sparse or len(self._cells) * WORTH <= max(self.calls, SMALL)

    def labels(self) -> list[str]:
        """The names of labels with few values that most cells have."""
        place = 1 + _dimensions(self.kind).index("labels")
        texts = Counter(key[place] for key in self._cells or ())
        counts: dict[str, Counter[str]] = {}
        for text, count in texts.items():
            for name, value in msgspec.json.decode(text, type=dict[str, str]).items():
                counts.setdefault(name, Counter())[value] += count
        few = {name: values.total() for name, values in counts.items() if len(values) <= VALUES}
        return sorted(few, key=few.__getitem__, reverse=True)[:LABELS]

    def add(self, found: Iterable[Row]) -> None:
        """Add what _select found."""
        size = 1 + len(_dimensions(self.kind))
        for *row, buckets, calls in found:
            self.calls += calls
            if self._cells is not None:
                sums, characters = self._cells.setdefault(tuple(row[:size]), ([0] * (len(row) - size), []))
                sums[:] = map(add, sums, row[size:])
                characters.append(buckets or "")
        if self._cells is not None and len(self._cells) > MOST:
            self._cells = None

    def rows(self) -> list[Row]:
        """The cells as _insert takes them: none if they are not worth it."""
        if self._cells is None or not self.worth:
            return []
        # PostgreSQL's sums are decimals.
        return [
            (
                *(self.kind, *self._key(key)),
                *(each if isinstance(each, float) else int(each) for each in sums),
                "".join(characters),
            )
            for key, (sums, characters) in self._cells.items()
        ]

    def _key(self, key: Row) -> Row:
        """Cells of a label have the value of it, and it alone, as calls have their labels."""
        if not (names := _names(self.kind)):
            return key
        *others, value = key
        labels = {names[0]: value} if value else {}
        return *others, msgspec.json.encode(labels).decode()


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
    yield Statement("UPDATE cells SET end_user = '' WHERE kind IN ('who', 'user') AND end_user = ?", [(end_user,)])


def expire_cells(before: int) -> Script[None]:
    """Delete the cells of days whose rows are deleted."""
    yield Statement("DELETE FROM cells WHERE kind IN (SELECT DISTINCT kind FROM cell_days) AND start < ?", [(before,)])
    yield Statement("DELETE FROM cell_days WHERE day < ?", [(before,)])


def _select(kind: Cells, dialect: Dialect) -> str:
    """The SQL that adds up calls: when the cell begins, its dimensions and sums, the buckets, and how many calls."""
    width = HOUR if kind == "hour_cells" or kind.startswith(HOURS) else DAY
    columns = (f"t.started - t.started % {width}", *(f"t.{name}" for name in _dimensions(kind)))
    if _names(kind):
        columns = (*columns[:-1], f"coalesce({dialect.label.format(column='t.labels', key='?')}, '')")
    figures = (*figures_of_calls(dialect, held=are_whole(kind)), "COUNT(*)")
    by = ", ".join(map(str, range(1, len(columns) + 1)))
    selected = ", ".join((*columns, *figures))
    return f"SELECT {selected} FROM calls AS t WHERE t.started >= ? AND t.started < ? GROUP BY {by}"


def _insert(kind: Cells) -> str:
    attempts = (*ATTEMPT_SUMS, *TOKENS) if are_whole(kind) else ()
    columns = ("kind", "start", *_dimensions(kind), *attempts, *CALL_SUMS, *DISTRIBUTIONS, "buckets")
    return f"INSERT INTO cells ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
