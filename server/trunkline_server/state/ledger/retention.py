"""What leaves the ledger: rows when their time is over, and a person's name when that is asked for. Rollups stay."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from trunkline_server.state.ledger.cells import expire_cells, forget_person
from trunkline_server.state.ledger.database import Statement

if TYPE_CHECKING:
    from trunkline_server.state.ledger.database import Database, Script

# Rows that one transaction touches: other writers wait no longer than for a few hundred of them.
BATCH = 500
# Seconds between two transactions.
PAUSE = 0.05

# What is deleted in turn, and by what. Open attempts are not: they are counted when they end.
_EXPIRED = {
    "attempts": ("call_id, attempt", "duration IS NOT NULL AND started < ?"),
    "calls": ("call_id", "started < ?"),
    "feedback": ("call_id, metric", "started < ?"),
    "decisions": ("call_id", "decided < ?"),
    # Those that are pending are not: state/budgets resolves each.
    "budget_holds": ("call_id, attempt, account", "state <> 0 AND expires < ?"),
}
# One that is open may end meanwhile: it is first.
_NAMED = {"open_attempts": "call_id, attempt", "attempts": "call_id, attempt", "calls": "call_id"}


class Erased(NamedTuple):
    """How many rows no longer name the person."""

    # Open ones among them.
    attempts: int
    calls: int


# Of calls of an end user: what is kept of a prompt.
_DECISIONS = f"""
DELETE FROM decisions WHERE call_id IN (
    SELECT d.call_id FROM decisions AS d JOIN calls AS c ON c.call_id = d.call_id
    WHERE c.end_user = ? AND c.end_user <> '' LIMIT {BATCH}
) RETURNING 1
"""


async def expire(database: Database, before: int) -> int:
    """Delete the rows of what began before a time. Returns how many. Raises StoreFailed, having deleted some."""
    deleted = 0
    for table, (key, condition) in _EXPIRED.items():
        chosen = f"SELECT {key} FROM {table} WHERE {condition} LIMIT {BATCH}"
        deleted += await _repeat(database, f"DELETE FROM {table} WHERE ({key}) IN ({chosen}) RETURNING 1", before)
    await database.transact(lambda: expire_cells(before))
    return deleted


async def erase(database: Database, end_user: str) -> Erased:
    """Take an end user's name out of every row that is in the database now, and forget what was decided for it.

    Raises StoreFailed, having done some.
    """
    await _repeat(database, _DECISIONS, end_user)
    counts = {}
    for table, key in _NAMED.items():
        chosen = f"SELECT {key} FROM {table} WHERE end_user = ? AND end_user <> '' LIMIT {BATCH}"
        change = f"UPDATE {table} SET end_user = '' WHERE ({key}) IN ({chosen}) RETURNING 1"
        counts[table] = await _repeat(database, change, end_user)
    await database.transact(lambda: forget_person(end_user, database.dialect))
    return Erased(counts["attempts"] + counts["open_attempts"], counts["calls"])


async def _repeat(database: Database, sql: str, value: int | str) -> int:
    """Until there is nothing left to do."""
    total = 0
    while True:
        done = await database.transact(lambda: _count(sql, value))
        total += done
        if done < BATCH:
            return total
        await asyncio.sleep(PAUSE)


def _count(sql: str, value: int | str) -> Script[int]:
    return len((yield Statement(sql, [(value,)], returns=True)))
