from __future__ import annotations

from typing import TYPE_CHECKING

from ledger_rows import SUBJECT, begun, ended, finished
from msgspec import structs

from trunkline_server.state.ledger.commit import take
from trunkline_server.state.ledger.database import Statement, script
from trunkline_server.state.ledger.retention import Erased, erase, expire

if TYPE_CHECKING:
    from trunkline_server.state.ledger.commit import Entry
    from trunkline_server.state.ledger.database import Database


async def fill(database: Database, *entries: Entry) -> None:
    await database.transact(lambda: take(entries, database.dialect))


async def test_a_person_is_erased_and_what_was_paid_stays(database: Database) -> None:
    bob = structs.replace(SUBJECT, end_user="bob")
    rows: list[Entry] = [row for number in range(700) for row in (finished(f"c{number}"), ended(f"c{number}"))]
    await fill(database, *rows, finished("b", subject=bob), ended("b", subject=bob), begun("open"))
    assert await erase(database, "ann") == Erased(701, 700)
    assert await erase(database, "ann") == Erased(0, 0)
    assert await erase(database, "") == Erased(0, 0)
    for table, left in (("attempts", [("bob", 1)]), ("open_attempts", []), ("calls", [("bob", 1)])):
        named = await database.fetch(f"SELECT end_user, COUNT(*) FROM {table} WHERE end_user <> '' GROUP BY end_user")
        assert named == left
    costs = await database.fetch("SELECT CAST(SUM(cost) AS BIGINT) FROM attempts")
    assert costs == [(701 * 3000,)]


async def test_feedback_leaves_with_its_call(database: Database) -> None:
    insert = (
        "INSERT INTO feedback (call_id, metric, score, workspace, started, submitted) VALUES ('c1', ?, 1, 'w', ?, 0)"
    )
    await database.transact(script(Statement(insert, [("old", 10), ("new", 20)])))
    assert await expire(database, 15) == 1
    assert await database.fetch("SELECT metric FROM feedback") == [("new",)]
