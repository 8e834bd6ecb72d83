"""A ledger's rows as they stand in its database, and what must hold of them whatever happened to the gateway.

Calls are known by the label `n`, which the tests give to each.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from typing import TYPE_CHECKING, Any

from trunkline_server.state.ledger.held import HELD

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    Rows = list[dict[str, Any]]

_SUMS = "SELECT coalesce(sum(attempts), 0), coalesce(sum(cost), 0), coalesce(sum(input_tokens), 0) FROM attempt_sums"
_CALL_SUMS = "SELECT coalesce(sum(calls), 0), coalesce(sum(successes), 0) FROM call_sums"


def read_rows(ledger: Path) -> tuple[Rows, Rows, list[str]]:
    """The attempts, the calls, and where the sums say something else."""
    with sqlite3.connect(ledger) as database:
        attempts, calls = _rows(database, "attempts"), _rows(database, "calls")
        wrong = [*_wrong_sums(database, attempts, calls), *_wrongly_held(attempts, calls)]
        still_open = [{**row, "duration": None} for row in _rows(database, "open_attempts")]
        return [*attempts, *still_open], calls, wrong


def _rows(database: sqlite3.Connection, table: str) -> Rows:
    database.row_factory = sqlite3.Row
    rows = [dict(row) for row in database.execute(f"SELECT * FROM {table}")]
    return [{**row, "n": json.loads(row["labels"]).get("n", "")} for row in rows]


def stands_twice(what: str, rows: Rows, *key: str) -> list[str]:
    """Rows that have the same key as another."""
    counts = Counter(" ".join(str(row[column]) for column in key) for row in rows)
    return [f"{what} {name} stands {count} times" for name, count in counts.items() if count > 1]


def still_open(attempts: Rows) -> list[str]:
    """Attempts that have not ended."""
    return [f"attempt {row['n']} is still open" for row in attempts if row["duration"] is None]


def without_a_call(attempts: Rows, calls: Rows) -> list[str]:
    """Attempts of calls that are not there."""
    ended = {row["n"] for row in calls}
    return [f"attempt {row['n']} has no call" for row in attempts if row["n"] not in ended]


def _wrongly_held(attempts: Rows, calls: Rows) -> Iterator[str]:
    """What calls hold that no attempt is held as, and the other way around."""
    held = {row["call_id"]: [row[name] for name in HELD] for row in attempts if row["held"]}
    holding = {row["call_id"]: [row[name] for name in HELD] for row in calls if row["certainty"] is not None}
    for call_id in held.keys() | holding.keys():
        if held.get(call_id) != holding.get(call_id):
            yield f"attempt of {call_id} is {held.get(call_id)} and is held as {holding.get(call_id)}"


def _wrong_sums(database: sqlite3.Connection, attempts: Rows, calls: Rows) -> Iterator[str]:
    database.row_factory = None
    whole = (
        len(attempts),
        sum(row["cost"] or 0 for row in attempts),
        sum(row["input_tokens"] or 0 for row in attempts),
    )
    ended = (len(calls), sum(row["result"] == "success" for row in calls))
    for grain in ("hour", "day", "detail"):
        sums = database.execute(f"{_SUMS} WHERE grain = ?", [grain]).fetchone()
        if sums != whole:
            yield f"by {grain} the attempts come to {sums}, the rows to {whole}"
        sums = database.execute(f"{_CALL_SUMS} WHERE grain = ?", [grain]).fetchone()
        if sums != ended:
            yield f"by {grain} the calls come to {sums}, the rows to {ended}"
