"""Which calls hold the figures of their attempt: whatever came when, an attempt is counted once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger_rows import BEGIN, SUBJECT, begun, ended, finished
from msgspec import structs

from trunkline.v1.gateway_service_pb2 import UsageStatsRequest
from trunkline_server.core import Identity
from trunkline_server.state.ledger.commit import take
from trunkline_server.state.ledger.database import Statement, script
from trunkline_server.state.ledger.held import HELD, held_values
from trunkline_server.state.ledger.open import open_database
from trunkline_server.state.ledger.schema import MIGRATIONS, migrate
from trunkline_server.state.ledger.usage import usage_stats

if TYPE_CHECKING:
    from trunkline_server.state.ledger.commit import Entry
    from trunkline_server.state.ledger.database import Database

SECOND, MINUTE, HOUR = 10**6, 60 * 10**6, 3600 * 10**6
OTHER = structs.replace(SUBJECT, labels={"team": "ads"})


async def taken(database: Database, *entries: Entry) -> None:
    await database.transact(lambda: take(entries, database.dialect))


async def held(database: Database) -> dict[str, Any]:
    """By attempt whether it is held, and by call what it holds."""
    attempts = await database.fetch("SELECT call_id, attempt, held FROM attempts")
    calls = await database.fetch(f"SELECT call_id, {', '.join(HELD)} FROM calls")
    return {f"{call_id}/{attempt}": bool(is_held) for call_id, attempt, is_held in attempts} | {
        call_id: values for call_id, *values in calls
    }


async def counted(database: Database, start: int = BEGIN - HOUR, end: int = BEGIN + HOUR) -> dict[str, tuple[int, int]]:
    """Attempts and cost by label, from the rows."""
    request = UsageStatsRequest()
    request.group_by.add(kind="KIND_LABEL", label="team")
    request.start_time.FromMicroseconds(start)
    answer = await usage_stats(database, request, Identity(role="admin"), now=end, rollups=False)
    return {row.group[0]: (row.totals.attempts, row.totals.cost_nano_usd) for row in answer.rows if row.totals.attempts}


async def test_a_call_holds_the_attempt_that_comes_with_it(database: Database) -> None:
    await taken(database, finished(), ended())
    assert await held(database) == {"c1/1": True, "c1": list(held_values(finished()))}


async def test_a_call_holds_an_attempt_that_was_there_before(database: Database) -> None:
    await taken(database, finished())
    assert await counted(database) == {"search": (1, 3000)}
    await taken(database, ended())
    assert await held(database) == {"c1/1": True, "c1": list(held_values(finished()))}
    assert await counted(database) == {"search": (1, 3000)}


@pytest.mark.parametrize(
    ("attempt", "call"),
    [
        (finished(started=BEGIN + MINUTE), ended()),
        (finished(provider="groq"), ended()),
        (finished(model="o3"), ended()),
        (finished(region="eu"), ended()),
        (finished(outcome=4), ended()),
        (finished(subject=OTHER), ended()),
        (finished(other_units={"search": 1}), ended()),
        (finished(), ended(attempts=2)),
    ],
)
async def test_what_a_question_tells_apart_is_not_held(database: Database, attempt: Any, call: Any) -> None:
    for entries in ([attempt, call], [attempt], [call]):
        await taken(database, *entries)
    if call.attempts == 1:
        assert await held(database) == {"c1/1": False, "c1": [None] * len(HELD)}
    team = attempt.subject.labels["team"]
    assert await counted(database) == ({team: (1, 3000)} if attempt.duration is not None else {})


async def test_an_attempt_that_ends_after_its_call_is_not_held(database: Database) -> None:
    for row in (begun(), ended(), finished()):
        await taken(database, row)
    assert await held(database) == {"c1/1": False, "c1": [None] * len(HELD)}


async def test_an_attempt_whose_call_is_there_already_is_counted_by_itself(database: Database) -> None:
    await taken(database, ended())
    await taken(database, finished(), ended())
    assert await held(database) == {"c1/1": False, "c1": [None] * len(HELD)}
    assert await counted(database) == {"search": (1, 3000)}


async def test_a_call_does_not_hold_what_was_written_otherwise(database: Database) -> None:
    """The attempt that stands is the first that came, not the one that comes with the call."""
    await taken(database, finished(cost=5))
    await taken(database, finished(cost=999), finished(number=2, cost=7), ended(attempts=2))
    assert await held(database) == {"c1/1": False, "c1/2": False, "c1": [None] * len(HELD)}
    assert await counted(database) == {"search": (2, 12)}


async def test_a_second_end_changes_nothing(database: Database) -> None:
    await taken(database, finished(), ended())
    before = await held(database)
    await taken(database, finished(cost=999), ended(duration=1))
    await taken(database, ended())
    assert await held(database) == before


async def test_attempts_are_counted_where_they_began(database: Database) -> None:
    """A call may begin before the question's time, and its attempt in it, or the other way around."""
    early, late = BEGIN + 20 * SECOND, BEGIN + 40 * SECOND
    await taken(database, finished(started=late), ended(started=early))
    assert (await held(database))["c1/1"]
    between = BEGIN + 30 * SECOND
    assert await counted(database, end=between) == {}
    assert await counted(database, start=between) == {"search": (1, 3000)}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(data=st.data())
async def test_in_any_order_and_as_often_as_it_comes(database: Database, data: st.DataObject) -> None:
    number = data.draw(st.integers(0, 2**60))
    calls = [f"{number:x}-{n}" for n in range(3)]
    team = {"labels": {"team": f"{number:x}"}}
    subject = structs.replace(SUBJECT, **team)
    entries: list[Entry] = [
        row for each in calls for row in (finished(each, subject=subject), ended(each, subject=subject))
    ]
    order = data.draw(st.permutations([*entries, *entries]))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(order) - 1), max_size=4)))
    for start, end in zip([0, *cuts], [*cuts, len(order)], strict=True):
        await taken(database, *order[start:end])
    assert (await counted(database))[f"{number:x}"] == (3, 9000)


async def test_rows_of_an_older_ledger_are_counted_as_before(url: str) -> None:
    database = open_database(url)
    await migrate(database, MIGRATIONS[:3])
    values = {
        "workspace": "w",
        "operation": "Generate",
        "labels": '{"team": "search"}',
        "started": BEGIN,
        "provider": "p",
    }
    text = dict.fromkeys(
        ("api_key", "end_user", "task", "agent", "strategy", "arm", "requested_model", "model", "region"), ""
    )
    both = {"call_id": "old", **values, **text, "duration": 5, "outcome": 1}
    attempt = dict.fromkeys(("provider_status", "saved"), 0) | dict.fromkeys(
        ("instance", "provider_code", "price_version"), ""
    )
    call = {"result": "success", "reason": "", "finish_reason": 1, "attempts": 1, "fell_back": 0, "interrupted": 0}
    rows = {
        "attempts": {**both, **attempt, "attempt": 1, "certainty": 1, "other_units": "{}", "cost": 7},
        "calls": {**both, **call},
    }
    for table, row in rows.items():
        sql = f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})"
        await database.transact(script(Statement(sql, [tuple(row.values())])))
    await migrate(database)
    await taken(database, finished(), ended())
    assert await counted(database) == {"search": (2, 3007)}
    await database.aclose()
