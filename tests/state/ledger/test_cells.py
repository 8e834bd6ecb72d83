"""Cells: what they count is what the rows say, and they go when the rows do."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from ledger_rows import BEGIN, DAY, HOUR, SUBJECT, ended, finished
from msgspec import structs

from trunkline.v1.gateway_service_pb2 import UsageStatsRequest
from trunkline_server.core import Identity
from trunkline_server.state.ledger import cells
from trunkline_server.state.ledger.cells import make_cells
from trunkline_server.state.ledger.commit import take
from trunkline_server.state.ledger.database import Statement, script
from trunkline_server.state.ledger.retention import erase, expire
from trunkline_server.state.ledger.usage import usage_stats

if TYPE_CHECKING:
    from trunkline.v1.gateway_service_pb2 import UsageStatsResponse
    from trunkline_server.state.ledger.database import Database, Script

OVER = BEGIN + 4 * DAY
BERLIN = {"bucket": UsageStatsRequest.BUCKET_DAY, "time_zone": "Europe/Berlin"}


async def some_calls(database: Database, name: str, started: int, count: int = 3, **fields: Any) -> None:
    subject = structs.replace(SUBJECT, **fields)
    ids = [f"{name}-{n}" for n in range(count)]
    rows = [finished(each, subject=subject, started=started + n) for n, each in enumerate(ids)]
    ends = [ended(each, subject=subject, started=started + n, duration=n * 10**6) for n, each in enumerate(ids)]
    await database.transact(lambda: take([*rows, *ends], database.dialect))


async def answer(database: Database, *kinds: str, rollups: bool = True, **fields: Any) -> Any:
    request = UsageStatsRequest(**fields)
    for kind in kinds:
        request.group_by.add(kind=f"KIND_{kind}", label="team" if kind == "LABEL" else "")
    request.start_time.FromMicroseconds(BEGIN)
    return await usage_stats(database, request, Identity(role="admin"), now=OVER, rollups=rollups)


async def spoil(database: Database) -> None:
    """Have each cell tell a hundred errors more, so that it shows who asks them."""
    await database.transact(script(Statement("UPDATE cells SET errors = errors + 100")))


async def served(database: Database, *kinds: str, **fields: Any) -> int:
    """How many spoilt cells an answer came from."""
    told: UsageStatsResponse = await answer(database, *kinds, **fields)
    return told.totals.errors // 100


ASKED: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "who": (("LABEL", "END_USER"), {}),
    "hour_cells": (("MODEL",), BERLIN),
    "detail_cells": (("API_KEY", "TASK"), {}),
    "user": (("END_USER", "MODEL", "OUTCOME"), {}),
    "label:team": (("LABEL", "PROVIDER"), {}),
    "hours:team": (("LABEL", "WORKSPACE"), BERLIN),
}


@pytest.mark.parametrize("kind", ASKED)
async def test_days_that_are_over_are_counted_from_cells(database: Database, kind: str) -> None:
    for day in range(4):
        await some_calls(database, f"c{day}", BEGIN + day * DAY + HOUR)
    kinds, fields = ASKED[kind]
    before = await answer(database, *kinds, **fields)
    await make_cells(database, OVER)
    assert await answer(database, *kinds, **fields) == before
    assert await answer(database, *kinds, rollups=False, **fields) == before
    await spoil(database)
    # Of the first day rows may have been deleted, and the last one has only just ended.
    assert await served(database, *kinds, **fields) == 2


async def test_a_call_that_comes_late_is_counted_and_its_day_made_again(database: Database) -> None:
    await some_calls(database, "a", BEGIN)
    await make_cells(database, OVER)
    await some_calls(database, "b", BEGIN + HOUR, count=1)
    await spoil(database)
    assert (await answer(database, "LABEL")).totals.requests == 4
    assert await served(database, "LABEL") == 0
    await make_cells(database, OVER)
    await spoil(database)
    assert await served(database, "LABEL") == 1


async def test_what_is_made_is_not_made_again(database: Database) -> None:
    await some_calls(database, "a", BEGIN)
    await make_cells(database, OVER)
    await spoil(database)
    await make_cells(database, OVER)
    assert await served(database, "LABEL") == 1


async def test_a_day_of_too_many_cells_is_left_to_its_rows(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "MOST", 1)
    for user in "abc":
        await some_calls(database, user, BEGIN, end_user=user)
    await make_cells(database, OVER)
    assert await database.fetch("SELECT kind, COUNT(*) FROM cells GROUP BY kind ORDER BY kind") == [
        ("detail_cells", 1),
        ("hour_cells", 1),
    ]
    assert (await answer(database, "END_USER")).totals.requests == 9


async def test_labels_and_people_have_cells_where_these_are_few(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells, "SMALL", 0)
    monkeypatch.setattr(cells, "VALUES", 2)
    monkeypatch.setattr(cells, "LABELS", 1)
    for n, color in enumerate(("red", "red", "blue")):
        await some_calls(database, f"c{n}", BEGIN, labels={"color": color, "run": f"{n}", "rare": "x"}, end_user=color)
    await some_calls(database, "d", BEGIN, labels={"color": "red"}, end_user="red")
    await make_cells(database, OVER)
    kinds = await database.fetch(
        "SELECT kind, worth FROM cell_days WHERE kind LIKE 'label%' OR kind LIKE 'hours%' OR kind = 'user' ORDER BY 1"
    )
    assert kinds == [("hours:color", 1), ("label:color", 1), ("user", 1)], (
        "run has too many values, and more cells have a color than rare"
    )
    told = await answer(
        database, "MODEL", filters=[{"dimension": {"kind": "KIND_LABEL", "label": "color"}, "values": ["red"]}]
    )
    assert told.totals.requests == 9
    await some_calls(database, "e", BEGIN + DAY, count=1)
    await make_cells(database, OVER)
    assert await database.fetch("SELECT worth FROM cell_days WHERE kind = 'user' AND day = ?", (BEGIN + DAY,)) == [(0,)]


async def test_no_cell_names_a_person_who_was_erased(database: Database) -> None:
    await some_calls(database, "a", BEGIN, end_user="ann")
    await some_calls(database, "b", BEGIN, end_user="bob")
    await some_calls(database, "c", BEGIN + DAY, end_user="bob")
    await make_cells(database, OVER)
    await erase(database, "ann")
    assert await database.fetch("SELECT COUNT(*) FROM cells WHERE end_user = 'ann'") == [(0,)]
    assert await database.fetch("SELECT COUNT(*) FROM cells WHERE kind = 'user' AND end_user = ''") == [(1,)]
    told = await answer(database, "END_USER")
    assert {row.group[0]: row.totals.requests for row in told.rows} == {"": 3, "bob": 6}
    assert told == await answer(database, "END_USER", rollups=False)
    await spoil(database)
    assert await served(database, "END_USER") == 3


async def test_cells_that_were_read_before_somebody_was_erased_are_thrown_away(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await some_calls(database, "a", BEGIN, end_user="ann")
    replace, made = cells._replace, list[Any]()

    def wait(*given: Any) -> Script[None]:
        made.append(given)
        return script()()

    monkeypatch.setattr(cells, "_replace", wait)
    await make_cells(database, OVER)
    await erase(database, "ann")
    for given in made:
        await database.transact(partial(replace, *given))
    assert made
    assert await database.fetch("SELECT COUNT(*) FROM cells") == [(0,)]


async def test_cells_leave_with_their_rows(database: Database) -> None:
    for day in range(3):
        await some_calls(database, f"c{day}", BEGIN + day * DAY, count=2)
    await make_cells(database, OVER)
    await expire(database, BEGIN + DAY + 1)
    starts = await database.fetch("SELECT DISTINCT start FROM cells WHERE kind = 'who'")
    assert starts == [(BEGIN + 2 * DAY,)]
    assert (await answer(database, "LABEL")).totals.requests == 3
    await make_cells(database, OVER)
    assert (await answer(database, "LABEL")).totals.requests == 3
