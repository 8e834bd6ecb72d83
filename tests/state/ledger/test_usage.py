"""UsageStats: from rollups, from rows and counted in plain Python, the same."""

from __future__ import annotations

from itertools import count
from math import ceil
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledger_rows import SUBJECT, ended, finished
from msgspec import structs
from state.ledger.usage_oracle import expected

from trunkline.v1.gateway_service_pb2 import UsageDimension, UsageFilter, UsageStatsRequest
from trunkline_server.core import Identity
from trunkline_server.errors import InvalidRequest
from trunkline_server.state.ledger import cells, choosing, tally, usage
from trunkline_server.state.ledger.cells import make_cells
from trunkline_server.state.ledger.commit import take
from trunkline_server.state.ledger.database import Statement, script
from trunkline_server.state.ledger.usage import usage_stats

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trunkline.v1.gateway_service_pb2 import UsageStatsResponse, UsageTotals
    from trunkline_server.state.ledger.database import Database
    from trunkline_server.state.ledger.rows import AttemptRow, CallRow, Subject

SECOND, HOUR, DAY = 10**6, 3600 * 10**6, 86400 * 10**6
# 27 March 2026, two days before Europe changes its clocks; Lord Howe and Sydney do a week later.
SPRING = 1774569600 * SECOND
LENGTH = 12 * DAY
ADMIN = Identity(role="admin")
NUMBERS = count(1)
ZONES = ("", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia")
Kind = UsageDimension.Kind
GROUPABLE = [UsageDimension(kind=kind) for kind in Kind.values()[1:] if kind != UsageDimension.KIND_LABEL]
GROUPABLE += [UsageDimension(kind=UsageDimension.KIND_LABEL, label=label) for label in ("team", "a.b-c")]

FILTERS = (
    UsageFilter(dimension=UsageDimension(kind=UsageDimension.KIND_MODEL), values=["groq/b/c", "openai/a", ""]),
    UsageFilter(dimension=UsageDimension(kind=UsageDimension.KIND_OUTCOME), values=["SUCCESS", ""]),
    UsageFilter(dimension=UsageDimension(kind=UsageDimension.KIND_LABEL, label="team"), values=["x", ""]),
    UsageFilter(dimension=UsageDimension(kind=UsageDimension.KIND_TASK), values=["review"]),
    UsageFilter(dimension=UsageDimension(kind=UsageDimension.KIND_ERROR_REASON), values=["INTERNAL"]),
)
# What rollups by the hour have, and those by the day.
COARSE = ("WORKSPACE", "OPERATION", "PROVIDER", "MODEL", "REGION", "OUTCOME")
DETAIL = (*COARSE, "API_KEY", "TASK", "AGENT", "STRATEGY", "ARM")


def some_time(chance: Random) -> int:
    """Whole hours and days too, on which much depends."""
    unit = chance.choice((1, HOUR, DAY))
    return SPRING + chance.randrange(LENGTH // unit) * unit


def some_subject(chance: Random, workspaces: Sequence[str]) -> Subject:
    labels = {label: chance.choice(("x", 'y"z', "é")) for label in ("team", "a.b-c") if chance.random() < 0.5}
    return structs.replace(
        SUBJECT,
        workspace=chance.choice(workspaces),
        api_key=chance.choice(("", "k1", "k2")),
        end_user=chance.choice(("", "ann")),
        task=chance.choice(("", "review")),
        strategy=chance.choice(("", "balanced")),
        arm=chance.choice(("", "b")),
        operation=chance.choice(("Generate", "StreamGenerate")),
        labels=labels,
    )


def some_attempt(chance: Random) -> dict[str, Any]:
    return {
        "duration": chance.choice((None, chance.randrange(10**8)))
        if chance.random() < 0.1
        else chance.randrange(10**8),
        "outcome": chance.choice((1, 1, 1, 2, 4, 6, 15)),
        "certainty": chance.choice((1, 1, 2, 3)),
        "provider": chance.choice(("openai", "groq")),
        "model": chance.choice(("a", "b/c")),
        "region": chance.choice(("", "eu")),
        "input_tokens": chance.choice((None, chance.randrange(10_000))),
        "output_tokens": chance.choice((None, chance.randrange(10_000))),
        "reasoning_tokens": chance.choice((None, chance.randrange(100))),
        "other_units": chance.choice(({}, {"search": 2}, {"search": 1, "image": 3})),
        "cost": chance.choice((None, chance.randrange(10**12))),
        "saved": chance.randrange(100),
        "retry": chance.random() < 0.3,
        "hedge": chance.random() < 0.2,
    }


def some_end(chance: Random) -> dict[str, Any]:
    return {
        "duration": round(chance.lognormvariate(14, 2)),
        "result": chance.choice(("success", "success", "error", "cancelled")),
        "fell_back": chance.random() < 0.3,
        "interrupted": chance.random() < 0.3,
        "time_to_first_token": chance.choice((None, 0, chance.randrange(10**7))),
        "output_rate": chance.choice((None, chance.lognormvariate(4, 1))),
    }


def some_request(chance: Random) -> UsageStatsRequest:
    known = chance.choice((COARSE, COARSE, DETAIL, None))
    groupable = [each for each in GROUPABLE if known is None or Kind.Name(each.kind).removeprefix("KIND_") in known]
    filters = [
        each for each in FILTERS if known is None or Kind.Name(each.dimension.kind).removeprefix("KIND_") in known
    ]
    request = UsageStatsRequest(
        bucket=chance.choice(UsageStatsRequest.Bucket.values()),
        time_zone=chance.choice(ZONES),
        group_by=chance.sample(groupable, chance.randrange(3)),
        filters=chance.sample(filters, chance.randrange(2)),
    )
    start, end = sorted((some_time(chance), some_time(chance) + 1))
    if request.bucket == UsageStatsRequest.BUCKET_MINUTE:
        end = min(end, start + 2 * DAY)
    request.start_time.FromMicroseconds(start)
    request.end_time.FromMicroseconds(end)
    return request


class Rows:
    """Rows of calls in workspaces that no other test has: many tests share a database."""

    def __init__(self, chance: Random, calls: int) -> None:
        number = next(NUMBERS)
        self.workspaces = [f"red{number}", f"blue{number}"]
        self.attempts: list[AttemptRow] = []
        self.calls: list[CallRow] = []
        self.scores: dict[tuple[str, str], float] = {}
        for index in range(calls):
            self._add(chance, f"call{number}-{index}")

    def _add(self, chance: Random, call_id: str) -> None:
        given: dict[str, Any] = {"subject": some_subject(chance, self.workspaces), "started": some_time(chance)}
        tries = [some_attempt(chance) for _ in range(chance.randrange(3))]
        self.attempts += [finished(call_id, attempt, **given, **fields) for attempt, fields in enumerate(tries, 1)]
        if chance.random() < 0.1:
            return  # it still runs
        target = {name: tries[-1][name] for name in ("provider", "model", "region", "outcome")} if tries else {}
        end = some_end(chance)
        nobody = {"provider": "", "model": "", "outcome": 0}
        reason = "INTERNAL" if end["result"] == "error" else ""
        self.calls.append(ended(call_id, **given, **end, **(target or nobody), reason=reason))
        for metric in ("relevance", "human_rating"):
            if chance.random() < 0.3:
                self.scores[call_id, metric] = chance.random()

    async def into(self, database: Database) -> None:
        await database.transact(lambda: take([*self.attempts, *self.calls], database.dialect))
        of = {call.call_id: call for call in self.calls}
        rows = [
            (call_id, metric, score, of[call_id].subject.workspace, of[call_id].started, 0)
            for (call_id, metric), score in self.scores.items()
        ]
        sql = "INSERT INTO feedback (call_id, metric, score, workspace, started, submitted) VALUES (?, ?, ?, ?, ?, ?)"
        if rows:
            await database.transact(script(Statement(sql, rows)))

    def only(self) -> UsageFilter:
        return UsageFilter(dimension=UsageDimension(kind=UsageDimension.KIND_WORKSPACE), values=self.workspaces)


def agrees(told: UsageTotals, counted: Mapping[str, Any]) -> None:
    """The totals are those of the oracle's sums and values."""
    for field in ("requests", "successes", "errors", "cancelled", "fallbacks", "interrupted_streams", "attempts"):
        assert getattr(told, field) == counted[field], field
    for field in ("cost_nano_usd", "unpriced_attempts", "saved_nano_usd", "wasted_nano_usd", "estimated_nano_usd"):
        assert getattr(told, field) == counted[field], field
    for field in ("estimated_attempts", "retries", "hedges"):
        assert getattr(told, field) == counted[field], field
    for field in ("input_tokens", "output_tokens"):
        assert getattr(told.usage, field) == counted[field], field
    assert told.usage.reasoning_output_tokens == counted["reasoning_tokens"]
    assert dict(told.usage.other_units) == counted["units"]
    assert {name: (score.count, pytest.approx(score.mean)) for name, score in told.scores.items()} == {
        name: (len(values), sum(values) / len(values)) for name, values in counted["scores"].items()
    }
    for field in ("total_time", "time_to_first_token", "output_rate"):
        distributed(getattr(told, field), counted[field])
    if counted["attempts"]:
        assert told.uptime == pytest.approx(1 - counted["faults"] / counted["attempts"])
    priced, cost = not counted["unpriced_attempts"], counted["cost_nano_usd"]
    assert told.HasField("nano_usd_per_success") == (priced and counted["successes"] > 0)
    if told.HasField("nano_usd_per_success"):
        assert told.nano_usd_per_success == ceil(cost / counted["successes"])
    assert told.HasField("tokens_per_usd") == (priced and cost > 0)
    if told.HasField("tokens_per_usd"):
        assert told.tokens_per_usd == pytest.approx((counted["input_tokens"] + counted["output_tokens"]) * 1e9 / cost)


def distributed(told: Any, values: list[float]) -> None:
    """Counts and means exactly; percentiles within 2% of the sorted values."""
    assert told.count == len(values)
    if values:
        assert told.mean == pytest.approx(sum(values) / len(values), rel=1e-9)
        ordered = sorted(values)
        for name, share in (("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99)):
            exact = ordered[max(1, ceil(share * len(values))) - 1]
            assert getattr(told, name) == pytest.approx(exact, rel=0.02, abs=1e-6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32))
async def test_rollups_rows_and_plain_python_agree(
    database: Database, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(cells, "PAUSE", 0)
    chance = Random(seed)
    rows, request = Rows(chance, calls=60), some_request(chance)
    await rows.into(database)
    request.filters.append(rows.only())
    start, end = (time.ToMicroseconds() for time in (request.start_time, request.end_time))
    if chance.random() < 0.3:
        await make_cells(database, SPRING + (LENGTH + 2 * DAY if chance.random() < 0.5 else chance.randrange(LENGTH)))
    fast = await usage_stats(database, request, ADMIN, now=end)
    same(fast, await usage_stats(database, request, ADMIN, now=end, rollups=False))

    groups = expected(request, rows.attempts, rows.calls, rows.scores, start, end)
    if not request.bucket and not request.group_by:
        groups[start, ()]  # one row, though there may be nothing to count
    told = {(bucket(row, start), tuple(row.group)): row.totals for row in fast.rows}
    assert told.keys() == groups.keys()
    assert [*told] == sorted(told)
    for key, totals in told.items():
        agrees(totals, groups[key])
    together = UsageStatsRequest(filters=request.filters)
    agrees(fast.totals, expected(together, rows.attempts, rows.calls, rows.scores, start, end)[start, ()])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32))
async def test_groups_that_are_chosen_first_are_told_the_same(
    database: Database, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Page by page, each of which has its groups chosen before they are counted, and all at once."""
    monkeypatch.setattr(cells, "PAUSE", 0)
    chance = Random(seed)
    rows, request = Rows(chance, calls=60), some_request(chance)
    request.group_by.extend(each for each in chance.sample(GROUPABLE, 2) if each not in request.group_by)
    await rows.into(database)
    if chance.random() < 0.3:
        await make_cells(database, SPRING + LENGTH + 2 * DAY)
    request.filters.append(rows.only())
    end, request.page_size = request.end_time.ToMicroseconds(), 10_000
    monkeypatch.setattr(usage, "WORTH", 10**6)
    whole = await usage_stats(database, request, ADMIN, now=end, rollups=False)
    monkeypatch.setattr(usage, "WORTH", 0)
    monkeypatch.setattr(choosing, "_CROWDED", chance.choice((0, 1000)))
    request.page_size = chance.choice((1, 3, 7))
    paged = await usage_stats(database, request, ADMIN, now=end, rollups=False)
    same_totals, token = paged.totals, paged.next_page_token
    while token:
        request.page_token = token
        page = await usage_stats(database, request, ADMIN, now=end, rollups=chance.random() < 0.5)
        assert len(page.rows) <= request.page_size
        paged.rows.extend(page.rows)
        token = page.next_page_token
        paged.next_page_token = ""
        assert page.totals.requests == same_totals.requests
    same(whole, paged)


async def test_groups_are_chosen_only_where_they_are_many(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen, choose = list[int](), choosing.choose

    async def watched(*given: Any) -> Any:
        found = await choose(*given)
        chosen.append(len(found.groups))
        return found

    monkeypatch.setattr(usage, "choose", watched)
    rows = Rows(Random(1), calls=200)
    await rows.into(database)
    request = UsageStatsRequest(group_by=GROUPABLE[:4], filters=[rows.only()], page_size=1)
    request.start_time.FromMicroseconds(SPRING)
    monkeypatch.setattr(usage, "WORTH", 1)
    page = await usage_stats(database, request, ADMIN, now=SPRING + LENGTH, rollups=False)
    assert (chosen, len(page.rows), bool(page.next_page_token)) == ([1], 1, True)
    request.order_by = "cost_nano_usd desc"
    dearest = await usage_stats(database, request, ADMIN, now=SPRING + LENGTH, rollups=False)
    assert chosen == [1], "the order needs everybody's cost"
    assert dearest.totals.requests == page.totals.requests
    monkeypatch.setattr(choosing, "MAX_ROWS", 3)
    request.order_by = ""
    with pytest.raises(InvalidRequest, match="group_by"):
        await usage_stats(database, request, ADMIN, now=SPRING + LENGTH, rollups=False)


async def test_histograms_may_be_counted_in_between(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in memory at once is bounded; nothing is lost or counted twice for that."""
    rows = Rows(Random(4), calls=200)
    await rows.into(database)
    end = max(each.started for each in rows.calls) + 1
    request = UsageStatsRequest(filters=[rows.only()])
    request.start_time.FromMicroseconds(min(each.started for each in rows.attempts))
    whole = await usage_stats(database, request, ADMIN, now=end, rollups=False)
    monkeypatch.setattr(tally, "_MOST_CHARACTERS", 3)
    assert whole.totals.total_time.count > 50
    same(whole, await usage_stats(database, request, ADMIN, now=end, rollups=False))


def bucket(row: Any, start: int) -> int:
    return row.bucket_start_time.ToMicroseconds() if row.HasField("bucket_start_time") else start


def same(one: UsageStatsResponse, other: UsageStatsResponse) -> None:
    """Field by field; sums of rates and of scores are floating and depend on the order of summing."""
    rounded = [type(each).FromString(each.SerializeToString()) for each in (one, other)]
    for response in rounded:
        for totals in [response.totals, *(row.totals for row in response.rows)]:
            totals.output_rate.mean = float(f"{totals.output_rate.mean:.9g}")
            for score in totals.scores.values():
                score.mean = float(f"{score.mean:.9g}")
    assert rounded[0] == rounded[1]
