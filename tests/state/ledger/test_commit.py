from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_house import all_attempts
from ledger_rows import BEGIN, DAY, HOUR, SUBJECT, begun, ended, finished

from trunkline_server.state.histogram import Histogram
from trunkline_server.state.ledger.columns import ATTEMPT, CALL, attempt_values, call_of
from trunkline_server.state.ledger.commit import Taken, Withdrawn, take
from trunkline_server.state.ledger.database import Query, Statement, StoreFailed, script
from trunkline_server.state.ledger.packed import Merged, blob, merge_blobs, numbers
from trunkline_server.state.ledger.recovery import recover_instance
from trunkline_server.state.ledger.sums import ATTEMPT_SUMS, CALL_SUMS

if TYPE_CHECKING:
    from trunkline_server.state.ledger.commit import Entry
    from trunkline_server.state.ledger.database import Database, Script
    from trunkline_server.state.ledger.rows import AttemptRow


async def taken(database: Database, *entries: Entry, instance: str = "") -> Taken:
    return await database.transact(lambda: take(entries, database.dialect, instance))


async def calls(database: Database) -> list[Any]:
    return [call_of(row) for row in await database.fetch(f"SELECT {', '.join(CALL)} FROM calls ORDER BY call_id")]


async def test_rows_come_back_as_they_were_given(database: Database) -> None:
    full = finished(
        "c2",
        2,
        region="eu",
        provider_status=200,
        provider_code="x",
        cache_read_tokens=1,
        cache_write_tokens=0,
        reasoning_tokens=3,
        other_units={"search": 2},
        other_cost=5,
        saved=7,
        price_version="v1",
    )
    call = ended("c2", fell_back=True, interrupted=True, result="error", reason="INTERNAL", output_rate=None)
    assert await taken(database, finished(), full, ended(), call) == Taken(2, 2)
    assert await all_attempts(database) == [finished(), full]
    assert await calls(database) == [ended(), call]


async def test_a_second_finish_changes_nothing(database: Database) -> None:
    await taken(database, finished(), ended())
    before = await sums(database)
    again: list[Entry] = [finished(cost=999), begun(), ended(duration=1), finished()]
    assert await taken(database, *again) == Taken(0, 0)
    assert await all_attempts(database) == [finished()]
    assert await calls(database) == [ended()]
    assert await sums(database) == before


async def test_within_a_batch_too_the_first_finish_stands(database: Database) -> None:
    assert await taken(database, begun(), finished(cost=1), finished(cost=2), ended(), ended()) == Taken(1, 1)
    assert [row.cost for row in await all_attempts(database)] == [1]


async def test_an_open_attempt_is_finished_once(database: Database) -> None:
    assert await taken(database, begun(), instance="i1") == Taken(0, 0)
    assert await all_attempts(database) == [begun()]
    assert await taken(database, finished(cost=1)) == Taken(1, 0)
    assert await taken(database, finished(cost=2)) == Taken(0, 0)
    assert [row.cost for row in await all_attempts(database)] == [1]


async def test_an_attempt_that_has_ended_is_open_no_more_whoever_ended_it(database: Database) -> None:
    """A gateway that is only slow begins one again that others ended for it."""
    rows = [row for number in range(40) for row in (begun(f"c{number}"), begun(f"c{number}", 2))]
    await taken(database, *rows, instance="i1")
    await taken(database, *(finished(f"c{number}", outcome=7) for number in range(40)))
    assert await opened(database) == [(f"c{number}", 2) for number in sorted(range(40), key=str)]
    await taken(database, begun("c7"), instance="i1")
    await taken(database, finished("c7"), *(finished(f"c{number}", 2) for number in range(39)))
    assert await opened(database) == [("c39", 2)]
    assert [row.outcome for row in await all_attempts(database) if row.attempt == 1] == [7] * 40


async def test_an_attempt_that_an_earlier_version_left_open_is_finished(database: Database) -> None:
    row = begun()
    names = ", ".join(ATTEMPT)
    insert = Statement(
        f"INSERT INTO attempts ({names}) VALUES ({', '.join('?' * len(ATTEMPT))})", [attempt_values(row)]
    )
    await database.transact(script(insert))
    assert await taken(database, finished(cost=1)) == Taken(1, 0)
    assert await all_attempts(database) == [finished(cost=1)]


async def opened(database: Database) -> list[Any]:
    return await database.fetch("SELECT call_id, attempt FROM open_attempts ORDER BY call_id, attempt")


async def test_what_was_never_sent_is_withdrawn_and_what_has_ended_is_not(database: Database) -> None:
    await taken(database, begun(), finished("c2"))
    await taken(database, Withdrawn("c1", 1), Withdrawn("c2", 1))
    assert await all_attempts(database) == [finished("c2")]


async def sums(database: Database) -> dict[str, Any]:
    """What each grain adds up to: of attempts and of calls."""
    found = {}
    for table, names in {"attempt_sums": ATTEMPT_SUMS, "call_sums": CALL_SUMS}.items():
        columns = ", ".join(f"CAST(SUM({name}) AS BIGINT)" for name in names)
        for grain, *values in await database.fetch(f"SELECT grain, {columns} FROM {table} GROUP BY grain"):
            found[f"{table} {grain}"] = dict(zip(names, values, strict=True))
    return found


async def test_rollups_count_each_row_once_in_each_grain(database: Database) -> None:
    rows = [
        finished("c1"),
        finished("c2", 1, outcome=4, cost=None, certainty=3, started=BEGIN + HOUR),
        finished("c2", 2, certainty=2, started=BEGIN + HOUR, other_units={"search": 2, "image": 1}),
        finished("c3", 1, provider="groq", started=BEGIN + DAY, other_units={"search": 3}),
    ]
    ends = [
        ended("c1"),
        ended("c2", result="error", reason="STREAM_INTERRUPTED", interrupted=True, fell_back=True),
        ended("c3", result="cancelled", reason="CANCELLED"),
    ]
    entries: list[Entry] = [*rows, *ends]
    for entry in entries:
        await taken(database, entry)
    found = await sums(database)
    for grain in ("hour", "day", "detail"):
        counted = found[f"attempt_sums {grain}"]
        assert counted["attempts"] == 4
        assert counted["cost"] == 9000
        assert (counted["unpriced"], counted["estimated"], counted["estimated_cost"]) == (1, 1, 3000)
        counted = found[f"call_sums {grain}"]
        assert [counted[name] for name in CALL_SUMS[:6]] == [3, 1, 1, 1, 1, 1]
        assert (counted["times"], counted["time_sum"], counted["rate_sum"]) == (1, 600_000, 50)
    units = await database.fetch(
        "SELECT unit, CAST(SUM(amount) AS BIGINT) FROM unit_sums WHERE grain = 'day' GROUP BY unit"
    )
    assert dict(units) == {"search": 5, "image": 1}
    names = await database.fetch("SELECT DISTINCT api_key, task FROM attempt_sums WHERE grain <> 'detail'")
    assert names == [("", "")]


async def test_histograms_are_merged_as_if_recorded_at_once(database: Database) -> None:
    durations = [1, 1000, 250_000, 250_001, 90_000_000, 3, 1000, 4_000_000_000]
    expected = Histogram()
    for number, duration in enumerate(durations):
        await taken(database, ended(f"c{number}", duration=duration))
        expected.record(duration / 1e6)
    merged = Merged()
    for (packed,) in await database.fetch("SELECT time_buckets FROM call_sums"):
        merged.add(packed)
    assert merged.buckets() == expected.buckets
    rows = await database.fetch("SELECT time_bucket, COUNT(*) FROM calls GROUP BY time_bucket")
    assert dict(rows) == expected.buckets


# Counts that are narrow, that are not, and that are just about not.
COUNTS = st.integers(1, 2**40) | st.integers(1, 300)
BUCKETS = st.dictionaries(st.integers(-641, 1279), COUNTS, min_size=1, max_size=8)


@given(st.lists(BUCKETS, min_size=1, max_size=5))
def test_packing_loses_nothing(histograms: list[dict[int, int]]) -> None:
    expected: dict[int, int] = {}
    both, blobbed = Merged(), None
    for number, each in enumerate(histograms):
        both.add(blob(each) if number % 2 else numbers(each))
        blobbed = merge_blobs(blobbed, blob(each))
        for bucket, count in each.items():
            expected[bucket] = expected.get(bucket, 0) + count
    alone = Merged()
    alone.add(blobbed)
    assert both.buckets() == alone.buckets() == expected


def test_any_number_of_narrow_histograms_can_be_added() -> None:
    """More than a lane has room for; and they become wide once a count needs it."""
    each, merged, blobbed = {-3: 255, 40: 1}, Merged(), None
    for _ in range(1000):
        merged.add(blob(each))
        blobbed = merge_blobs(blobbed, blob(each))
    alone = Merged()
    alone.add(blobbed)
    assert merged.buckets() == alone.buckets() == {-3: 255_000, 40: 1000}


def test_histograms_of_older_ledgers_are_read() -> None:
    """They have 64 bits for each bucket."""
    older = (1 << 14).to_bytes(2, "little") + (5).to_bytes(8, "little") + (7).to_bytes(8, "little")
    merged = Merged()
    merged.add(older)
    merged.add(blob({1: 1, 2: 3}))
    assert merged.buckets() == {0: 5, 1: 8, 2: 3}
    both = Merged()
    both.add(merge_blobs(older, blob({1: 1, 2: 3})))
    assert both.buckets() == merged.buckets()


async def test_labels_are_found_by_any_name(database: Database) -> None:
    labels = {"team": "search", "a.b-c": "d", "1": "one"}
    await taken(database, finished(subject=SUBJECT.__class__(workspace="w", operation="Generate", labels=labels)))
    label = database.dialect.label.format(column="labels", key="?")
    for name, value in [*labels.items(), ("none", None)]:
        assert await database.fetch(f"SELECT {label} FROM attempts", [name]) == [(value,)]


async def test_a_transaction_happens_as_a_whole_or_not_at_all(database: Database) -> None:
    def half() -> Script[None]:
        yield from take([finished()], database.dialect)
        yield from take([finished("c2", cost=2**70)], database.dialect)

    with pytest.raises(StoreFailed, match="refused"):
        await database.transact(half)
    assert await all_attempts(database) == []
    assert await sums(database) == {}


async def test_one_look_sees_one_moment(database: Database) -> None:
    async def write() -> None:
        for number in range(40):
            await taken(database, finished(f"c{number}"))

    async def look() -> None:
        while not writing.done():
            rows, counted = await database.fetch_all(
                [
                    Query("SELECT COUNT(*) FROM attempts"),
                    Query("SELECT COALESCE(CAST(SUM(attempts) AS BIGINT), 0) FROM attempt_sums WHERE grain = 'hour'"),
                ]
            )
            assert rows == counted

    writing = asyncio.ensure_future(write())
    await asyncio.gather(writing, look(), look())


async def test_two_writers_add_up(database: Database) -> None:
    async def write(who: str) -> None:
        for number in range(20):
            await taken(database, finished(f"{who}{number}"), finished("shared", number + 1), ended(f"{who}{number}"))

    await asyncio.gather(*(write(who) for who in "abc"))
    found = await sums(database)
    assert found["attempt_sums day"]["attempts"] == 3 * 20 + 20
    assert found["call_sums detail"]["calls"] == 60


def former(row: AttemptRow, instance: str) -> Statement:
    """An open attempt as earlier versions had it: among those that have ended."""
    values = {**dict(zip(ATTEMPT, attempt_values(row), strict=True)), "instance": instance}
    return Statement(
        f"INSERT INTO attempts ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})", [(*values.values(),)]
    )


async def test_where_an_attempt_was_made_is_known_after_its_gateway_has_died(database: Database) -> None:
    await taken(database, begun("c1", region="eu-west-1"), instance="dead")
    await database.transact(script(former(begun("c2", region="eu-west-1"), "dead")))
    await database.transact(
        script(Statement("INSERT INTO instances (id, seen, expires) VALUES ('dead', ?, 0)", [(BEGIN,)]))
    )
    await recover_instance(database, "dead", BEGIN)
    for table in ("attempts", "calls", "attempt_sums"):
        assert {region for (region,) in await database.fetch(f"SELECT region FROM {table}")} == {"eu-west-1"}


async def test_a_withdrawn_attempt_of_an_earlier_version_is_gone(database: Database) -> None:
    await database.transact(script(former(begun("c1"), "old")))
    await taken(database, Withdrawn("c1", 1))
    assert await database.fetch("SELECT 1 FROM attempts") == []
    await taken(database, finished("c2"), Withdrawn("c2", 1))
    assert await database.fetch("SELECT call_id FROM attempts") == [("c2",)]
