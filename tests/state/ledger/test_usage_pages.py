"""Pages, orders, and what is told of times whose rows are deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from ledger_rows import BEGIN, DAY, HOUR, SUBJECT, ended, finished
from msgspec import structs

from trunkline.v1.gateway_service_pb2 import UsageDimension, UsageStatsRequest
from trunkline_server.core import ANYBODY
from trunkline_server.errors import InvalidRequest, LedgerUnreadable
from trunkline_server.state.ledger import tally
from trunkline_server.state.ledger.commit import take
from trunkline_server.state.ledger.database import Statement, script
from trunkline_server.state.ledger.sqlite import SqliteDatabase
from trunkline_server.state.ledger.usage import usage_stats

if TYPE_CHECKING:
    from pathlib import Path

    from trunkline.v1.gateway_service_pb2 import UsageStatsResponse
    from trunkline_server.state.ledger.commit import Entry
    from trunkline_server.state.ledger.database import Database

PROVIDER = UsageDimension(kind=UsageDimension.KIND_PROVIDER)
WORKSPACE = UsageDimension(kind=UsageDimension.KIND_WORKSPACE)
TEAM = UsageDimension(kind=UsageDimension.KIND_LABEL, label="team")
TASK = UsageDimension(kind=UsageDimension.KIND_TASK)
END = BEGIN + 5 * DAY


async def written(database: Database, call_id: str, started: int, **fields: Any) -> None:
    cost = fields.pop("cost", 3000)
    rows: list[Entry] = [
        finished(call_id, started=started, cost=cost, **fields),
        ended(call_id, started=started, **fields),
    ]
    await database.transact(lambda: take(rows, database.dialect))


def request_of(*group_by: UsageDimension, start: int = BEGIN, **asked: Any) -> UsageStatsRequest:
    request = UsageStatsRequest(group_by=group_by, **asked)
    request.start_time.FromMicroseconds(start)
    return request


async def ask(database: Database, request: UsageStatsRequest, now: int = END) -> UsageStatsResponse:
    return await usage_stats(database, request, ANYBODY, now)


async def pages(database: Database, request: UsageStatsRequest) -> list[tuple[str, ...]]:
    """The groups of all pages. Between two of them calls go on, and time does."""
    found, now = [], END
    while True:
        page = await ask(database, request, now)
        assert page.totals.requests == 9
        found += [tuple(row.group) for row in page.rows]
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token
        await written(database, f"late{len(found)}", now + 1, provider=f"late{len(found)}")
        now += HOUR


@pytest.mark.parametrize(
    ("order", "groups"),
    [
        ("", "abcdefghi"),
        ("cost_nano_usd desc", "ihgfedabc"),
        ("cost_nano_usd", "abcdefghi"),
        ("usage.input_tokens desc", "ihgfedcba"),
        ("total_time.p50", "abcdefghi"),
    ],
)
async def test_pages_have_each_row_once_in_order_and_end_where_they_began(
    database: Database, order: str, groups: str
) -> None:
    for number, provider in enumerate("abcdefghi"):
        cost = 0 if provider in "abc" else number * 10**16
        result = {"result": "error", "reason": "INTERNAL"} if provider == "c" else {}
        rows: list[Entry] = [
            finished(provider, provider=provider, cost=cost, input_tokens=number, started=BEGIN + number),
            ended(provider, provider=provider, duration=10**6 * 2 ** min(number, 8), started=BEGIN + number, **result),
        ]
        await database.transact(lambda rows=rows: take(rows, database.dialect))  # type: ignore[misc]
    found = await pages(database, request_of(PROVIDER, order_by=order, page_size=2))
    if order == "total_time.p50":
        groups = "abdefghic"  # nothing of c was whole: it has no median, and comes last
    assert "".join(group for (group,) in found) == groups


async def test_a_token_is_for_its_own_query(database: Database) -> None:
    for provider in "ab":
        await written(database, provider, BEGIN, provider=provider)
    request = request_of(PROVIDER, page_size=1)
    request.page_token = (await ask(database, request)).next_page_token
    request.page_size = 5  # may change
    assert [row.group[0] for row in (await ask(database, request)).rows] == ["b"]
    request.order_by = "attempts"
    with pytest.raises(InvalidRequest, match="page_token"):
        await ask(database, request)


async def test_days_outlive_their_rows_and_what_needs_rows_says_from_when_on_it_counts(database: Database) -> None:
    """A row a day at 6:00; those of the first two days and a half are deleted."""
    for day in range(5):
        subject = structs.replace(SUBJECT, labels={"team": "t"})
        await written(database, f"c{day}", BEGIN + day * DAY + 6 * HOUR, subject=subject)
    kept = BEGIN + 2 * DAY + HOUR
    for table in ("calls", "attempts"):
        await database.transact(script(Statement(f"DELETE FROM {table} WHERE started < ?", [(kept,)])))
    for dimension, width in ((WORKSPACE, HOUR), (TASK, DAY)):
        days = await ask(database, request_of(dimension, bucket=UsageStatsRequest.BUCKET_DAY))
        assert [row.totals.requests for row in days.rows] == [1, 1, 1, 1, 1]
        assert [row.totals.attempts for row in days.rows] == [1, 1, 1, 1, 1]
        assert days.start_time.ToMicroseconds() == BEGIN
        cut = await ask(database, request_of(dimension, start=BEGIN + 5))
        assert cut.start_time.ToMicroseconds() == BEGIN + width
        assert cut.totals.requests == (5 if width == HOUR else 4)
    teams = await ask(database, request_of(TEAM))
    assert [tuple(row.group) for row in teams.rows] == [("t",)]
    assert teams.start_time.ToMicroseconds() == BEGIN + 2 * DAY + 6 * HOUR
    assert (teams.totals.requests, teams.totals.attempts) == (3, 3)
    berlin = await ask(database, request_of(WORKSPACE, bucket=UsageStatsRequest.BUCKET_DAY, time_zone="Europe/Berlin"))
    assert [row.totals.requests for row in berlin.rows] == [1, 1, 1, 1, 1]


async def test_more_rows_than_memory_should_hold_are_refused(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tally, "MAX_ROWS", 3)
    for provider in "abcd":
        await written(database, provider, BEGIN, provider=provider)
    assert (await ask(database, request_of())).totals.requests == 4
    with pytest.raises(InvalidRequest, match="group_by: makes more than 3 rows"):
        await ask(database, request_of(PROVIDER))


async def test_a_database_that_cannot_be_read_is_an_error_in_words_of_ours(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "there" / "is" / "none")
    with pytest.raises(LedgerUnreadable, match="the ledger cannot be read"):
        await ask(database, request_of())
    await database.aclose()
