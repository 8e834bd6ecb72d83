"""What a gateway that died leaves behind: rows that had not reached the database, and attempts whose end nobody saw."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from msgspec import structs

from trunkline.v1 import call_pb2
from trunkline_server.errors import reason_name
from trunkline_server.state.budgets.holds import abandon
from trunkline_server.state.ledger import instances, journal
from trunkline_server.state.ledger.columns import ATTEMPT_BEGUN, begun_of
from trunkline_server.state.ledger.commit import Taken, Withdrawn, take
from trunkline_server.state.ledger.rows import AttemptRow, CallRow
from trunkline_server.state.ledger.slots import abandoned_slots

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from trunkline_server.state.ledger.commit import Entry
    from trunkline_server.state.ledger.database import Database
    from trunkline_server.state.ledger.slots import Slot

# Rows that go into one transaction.
BATCH = 500
# The second half: as earlier versions had them.
_BEGUN = f"SELECT {', '.join(ATTEMPT_BEGUN)} FROM"
_OPEN = f"{_BEGUN} open_attempts WHERE instance = ? UNION ALL {_BEGUN} attempts WHERE instance = ? AND duration IS NULL"
_LOST = reason_name(call_pb2.ERROR_REASON_INTERNAL)


async def recover_slot(database: Database, slot: Slot) -> Taken:
    """Take in what the slot's last gateway left; what was in flight is returned. May be repeated at any time."""
    paths = journal.files(slot.folder)
    entries, seen = await asyncio.to_thread(_read, paths)
    whole = [entry for entry in entries if not (isinstance(entry, AttemptRow) and entry.duration is None)]
    await _take_all(database, whole)
    lost = await _take_all(database, endings(entries, seen))
    for path in paths:
        path.unlink()
    ended = await recover_instance(database, slot.id, seen)
    await database.transact(partial(abandon, slot.id))
    return _sum([lost, ended])


def _read(paths: Sequence[Path]) -> tuple[list[Entry], int]:
    """What the files hold, and when they were written to last."""
    seen = max((path.stat().st_mtime_ns // 1000 for path in paths), default=0)
    return [entry for path in paths for entry in journal.read(path)], seen


async def recover_others(database: Database, slot: Slot, now: int) -> list[Taken]:
    """The same for slots of this machine that nobody holds, and for instances elsewhere that are taken for dead."""
    lost = await recover_abandoned(database, slot.folder.parent)
    for instance, seen in await instances.dead(database, slot.id, now):
        lost.append(await recover_instance(database, instance, seen))
        await instances.say_gone(database, instance)
    return lost


async def recover_abandoned(database: Database, root: Path) -> list[Taken]:
    """The same for the slots in a folder that nobody holds."""
    lost = []
    for slot in abandoned_slots(root):
        try:
            if journal.files(slot.folder):
                lost.append(await recover_slot(database, slot))
        finally:
            slot.release()
    return lost


async def recover_instance(database: Database, instance: str, seen: int) -> Taken:
    """End the attempts that a dead gateway left open in the database. If several do, each attempt is ended once.

    `seen`: its last sign of life.
    """
    open_rows = [begun_of(row) for row in await database.fetch(_OPEN, [instance, instance])]
    return await _take_all(database, endings(open_rows, seen))


def endings(entries: Sequence[Entry], seen: int) -> list[AttemptRow | CallRow]:
    """How attempts and calls end that nobody saw the end of: interrupted, at the last sign of life."""
    # Begun before finished: what is known last of an attempt stands.
    attempts = {(row.call_id, row.attempt): row for row in entries if isinstance(row, AttemptRow)}
    for entry in entries:
        if isinstance(entry, Withdrawn):
            attempts.pop((entry.call_id, entry.attempt), None)
    ended = {row.call_id for row in entries if isinstance(row, CallRow)}
    interrupted = [_interrupted(row, seen) for row in attempts.values() if row.duration is None]
    tries: dict[str, list[AttemptRow]] = {}
    for row in attempts.values():
        if row.call_id not in ended:
            tries.setdefault(row.call_id, []).append(row)
    return [*interrupted, *(_lost(rows, seen) for rows in tries.values())]


def _interrupted(row: AttemptRow, seen: int) -> AttemptRow:
    """Whether the provider did anything, and what it costs, is not known; what the row says of it stays."""
    return structs.replace(
        row,
        duration=max(0, seen - row.started),
        outcome=call_pb2.OUTCOME_INTERRUPTED,
        certainty=call_pb2.CERTAINTY_UNKNOWN,
        # The database does not say whether budgets hold money for it. If so, all of that counts as spent.
        reserved=True,
    )


def _lost(attempts: Sequence[AttemptRow], seen: int) -> CallRow:
    first, last = min(attempts, key=_order), max(attempts, key=_order)
    return CallRow(
        call_id=last.call_id,
        subject=last.subject,
        started=first.started,
        duration=max(0, seen - first.started),
        provider=last.provider,
        model=last.model,
        region=last.region,
        outcome=call_pb2.OUTCOME_INTERRUPTED if last.duration is None else last.outcome,
        result="error",
        reason=_LOST,
        attempts=last.attempt,
        fell_back=(first.provider, first.model) != (last.provider, last.model),
    )


def _order(row: AttemptRow) -> int:
    return row.attempt


async def _take_all(database: Database, entries: Sequence[Entry]) -> Taken:
    batches = [entries[at : at + BATCH] for at in range(0, len(entries), BATCH)]
    return _sum([await database.transact(partial(take, batch, database.dialect)) for batch in batches])


def _sum(taken: Sequence[Taken]) -> Taken:
    return Taken(sum(each.attempts for each in taken), sum(each.calls for each in taken))
