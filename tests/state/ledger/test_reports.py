"""Feedback, calls, exports and resets, over a real server and both databases."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.duration_pb2 import Duration
from grpc import StatusCode, aio
from ledger_rows import BEGIN, SUBJECT, begun, ended, finished
from ledger_serving import Serving, ledger_server
from msgspec import structs
from serving import reason

from trunkline.v1 import call_pb2
from trunkline.v1 import calls_pb2 as pb
from trunkline.v1.feedback_service_pb2 import SubmitFeedbackRequest
from trunkline.v1.gateway_service_pb2 import UsageDimension, UsageFilter, UsageStatsRequest
from trunkline_client import AsyncAdminClient, RoleNotAllowed
from trunkline_server.core import Identity
from trunkline_server.state.ledger.export import PAGE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trunkline_server.state.ledger.database import Database

SECOND, HOUR = 10**6, 3600 * 10**6
NOW = BEGIN // SECOND + 86400
RED, BLUE = Identity("red", role="caller"), Identity("blue", role="caller")
OPERATOR = Identity("ops", "k9", "operator")
Kind = UsageDimension.Kind


@pytest.fixture
async def serving(database: Database) -> AsyncIterator[Serving]:
    async with ledger_server(database, NOW) as running:
        yield running


def of(workspace: str, **changes: Any) -> dict[str, Any]:
    return {"subject": structs.replace(SUBJECT, workspace=workspace, **changes)}


def scored(call_id: str, score: float, metric: str = "relevance") -> SubmitFeedbackRequest:
    return SubmitFeedbackRequest(call_id=call_id, metric=metric, score=score)


async def scores(serving: Serving) -> dict[str, tuple[float, int]]:
    request = UsageStatsRequest()
    request.start_time.FromMicroseconds(BEGIN)
    told = await serving.gateway.UsageStats(request)
    return {metric: (score.mean, score.count) for metric, score in told.totals.scores.items()}


def where(kind: str, *values: str, label: str = "") -> UsageFilter:
    return UsageFilter(dimension=UsageDimension(kind=Kind.Value(f"KIND_{kind}"), label=label), values=values)


async def listed(serving: Serving, *filters: UsageFilter, **asked: Any) -> list[str]:
    return [call.id for call in (await serving.admin.ListCalls(pb.ListCallsRequest(filters=filters, **asked))).calls]


async def exported(serving: Serving, **asked: Any) -> str:
    return b"".join([piece.data async for piece in serving.admin.ExportUsage(pb.ExportUsageRequest(**asked))]).decode()


async def test_the_last_score_of_a_call_and_metric_counts(serving: Serving) -> None:
    await serving.write(ended("c1", **of("red")), ended("c2", **of("red")))
    serving.caller = RED
    for call_id, score in (("c1", 0.0), ("c2", 0.5), ("c1", 1.0), ("c1", 1.0)):
        await serving.feedback.SubmitFeedback(scored(call_id, score))
    await serving.feedback.SubmitFeedback(scored("c1", 0.25, "human_rating"))
    assert await scores(serving) == {"relevance": (0.75, 2), "human_rating": (0.25, 1)}


async def test_a_call_whose_row_is_queued_is_known(serving: Serving) -> None:
    serving.caller, serving.queue = RED, [ended("c1", **of("red"))]
    await serving.feedback.SubmitFeedback(scored("c1", 1.0))
    assert await scores(serving) == {"relevance": (1.0, 1)}


async def test_another_workspaces_call_is_as_unknown_as_one_that_never_was(serving: Serving) -> None:
    await serving.write(ended("c1", **of("red")))
    errors = []
    for caller, call_id in ((BLUE, "c1"), (BLUE, "c2"), (OPERATOR, "c1")):
        serving.caller = caller
        with pytest.raises(aio.AioRpcError) as caught:
            await serving.feedback.SubmitFeedback(scored(call_id, 1.0))
        errors.append((caught.value.code(), reason(caught.value), caught.value.details()))
    assert set(errors) == {(StatusCode.NOT_FOUND, "CALL_NOT_FOUND", errors[0][2])}
    serving.caller = RED
    assert await scores(serving) == {}


@pytest.mark.parametrize("score", [-0.1, 1.1, float("nan"), float("inf")])
async def test_bad_feedback_is_named_whole(serving: Serving, score: float) -> None:
    with pytest.raises(aio.AioRpcError) as caught:
        await serving.feedback.SubmitFeedback(SubmitFeedbackRequest(metric="a b", score=score))
    words = caught.value.details() or ""
    assert all(f"{field}: " in words for field in ("call_id", "metric", "score"))


async def test_calls_are_listed_with_all_that_is_known_of_them(serving: Serving) -> None:
    failed = finished("c1", 1, **of("red"), outcome=4, cost=None, provider_status=500, provider_code="boom")
    again = finished("c1", 2, **of("red"), provider="groq", model="m", other_units={"search": 2}, started=BEGIN + 9)
    await serving.write(failed, again, ended("c1", **of("red"), provider="groq", model="m", attempts=2, fell_back=True))
    serving.caller = RED
    (call,) = (await serving.admin.ListCalls(pb.ListCallsRequest())).calls
    assert (call.id, call.workspace, call.target.provider, call.result, call.fell_back) == (
        "c1",
        "red",
        "groq",
        1,
        True,
    )
    assert call.start_time.ToMicroseconds() == BEGIN
    assert (call.total_time.ToMicroseconds(), call.time_to_first_token.ToMicroseconds()) == (600_000, 200_000)
    assert dict(call.context.labels) == SUBJECT.labels
    assert [attempt.outcome for attempt in call.attempts] == [4, 1]
    assert (call.attempts[0].provider_status, call.attempts[0].provider_code) == (500, "boom")
    assert call.attempts[1].usage == call_pb2.Usage(input_tokens=10, output_tokens=20, other_units={"search": 2})
    assert not call.cost.HasField("total_nano_usd")  # of one attempt the price is not known
    assert not call.attempts[0].cost.HasField("total_nano_usd")
    assert call.attempts[1].cost.total_nano_usd == 3000


async def test_an_attempt_that_still_runs_when_its_call_has_ended_is_listed(serving: Serving) -> None:
    """Told of in the order in which they began, and what the call cost is not known until it has ended, too."""
    await serving.write(begun("c1", 1), finished("c1", 2), begun("c2"), ended("c1", attempts=2))
    (call,) = (await serving.admin.ListCalls(pb.ListCallsRequest())).calls
    assert [(each.outcome, each.HasField("duration")) for each in call.attempts] == [(0, False), (1, True)]
    assert not call.cost.HasField("total_nano_usd")


async def test_calls_are_listed_newest_first_and_as_filtered(serving: Serving) -> None:
    calls: dict[str, dict[str, Any]] = {
        "old": {"started": BEGIN + 1},
        "slow": {"duration": 9 * SECOND, "started": BEGIN + 2},
        "failed": {"result": "error", "reason": "INTERNAL", "outcome": 4, "started": BEGIN + 3},
        "gone": {"result": "cancelled", "outcome": 15, "started": BEGIN + 4},
        "other": {
            "provider": "groq",
            "model": "m/x",
            "started": BEGIN + 5,
            **of("red", task="chat", labels={"team": "t"}),
        },
    }
    await serving.write(*(ended(name, **{**of("red"), **fields}) for name, fields in calls.items()))
    assert await listed(serving) == ["other", "gone", "failed", "slow", "old"]
    assert await listed(serving, where("OUTCOME", "SERVER_ERROR", "CANCELLED")) == ["gone", "failed"]
    assert await listed(serving, where("ERROR_REASON", "INTERNAL")) == ["failed"]
    assert await listed(serving, where("PROVIDER", "groq")) == ["other"]
    assert await listed(serving, where("MODEL", "groq/m/x"), where("TASK", "chat")) == ["other"]
    assert await listed(serving, where("LABEL", "t", label="team")) == ["other"]
    assert await listed(serving, results=[pb.CALL_RESULT_ERROR, pb.CALL_RESULT_CANCELLED]) == ["gone", "failed"]
    assert await listed(serving, slower_than=Duration(seconds=8)) == ["slow"]
    request = pb.ListCallsRequest()
    request.start_time.FromMicroseconds(BEGIN + 2)
    request.end_time.FromMicroseconds(BEGIN + 4)
    assert [call.id for call in (await serving.admin.ListCalls(request)).calls] == ["failed", "slow"]


async def test_pages_of_calls_neither_repeat_nor_skip(serving: Serving) -> None:
    # Many began at once: their ids decide.
    await serving.write(*(ended(f"c{number:02}", **of("red"), started=BEGIN + number // 4) for number in range(30)))
    request, found = pb.ListCallsRequest(page_size=7), []
    while True:
        page = await serving.admin.ListCalls(request)
        found += [call.id for call in page.calls]
        await serving.write(ended(f"new{len(found)}", **of("red"), started=(NOW + 1) * SECOND))
        serving.now += 2
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert found == [f"c{number:02}" for number in reversed(range(30))]
    request.filters.append(where("PROVIDER", "groq"))
    with pytest.raises(aio.AioRpcError, match="page_token"):
        await serving.admin.ListCalls(request)


async def test_an_export_has_every_row_once_and_in_order(serving: Serving) -> None:
    count = 2 * PAGE + 7
    rows = [finished(f"c{n}", 1, **of("red"), started=BEGIN + n // 3) for n in range(count)]
    await serving.write(*rows, finished("open", 1, **of("red"), duration=None))
    lines = [json.loads(line) for line in (await exported(serving)).splitlines()]
    assert len(lines) == count
    assert [line["call_id"] for line in lines] == [
        row.call_id for row in sorted(rows, key=lambda row: (row.started, row.call_id))
    ]
    first = lines[0]
    assert first["start_time"] == "2026-01-01T00:00:00.000000+00:00"
    assert (first["labels"], first["outcome"], first["cost_nano_usd"]) == (SUBJECT.labels, "SUCCESS", 3000)
    assert first["cache_read_input_tokens"] is None
    assert len((await exported(serving, filters=[where("PROVIDER", "groq")])).splitlines()) == 0


async def test_an_export_has_the_cost_of_every_kind(serving: Serving) -> None:
    parts = dict.fromkeys(
        ("input_cost", "output_cost", "cache_read_cost", "cache_write_cost", "reasoning_cost", "other_cost"), 7
    )
    await serving.write(finished("c1", 1, **of("red"), **parts, cost=42))
    line = json.loads(await exported(serving))
    others = ("cost_nano_usd", "saved_nano_usd")
    assert sum(amount for name, amount in line.items() if name.endswith("_nano_usd") and name not in others) == 42


async def test_the_client_for_operators_lists_exports_and_resets(serving: Serving) -> None:
    await serving.write(
        *(finished(f"c{n}", 1, **of("red"), started=BEGIN + n) for n in range(3)), ended("c0", **of("red"))
    )
    async with AsyncAdminClient(serving.address) as client:
        assert [call.id for call in (await client.calls(pb.ListCallsRequest())).calls] == ["c0"]
        text = b"".join([piece async for piece in client.export_usage(pb.ExportUsageRequest())])
        assert len(text.splitlines()) == 3
        assert (await client.reset_statistics("red")).seconds == NOW
        serving.caller = RED
        with pytest.raises(RoleNotAllowed):
            await anext(aiter(client.export_usage(pb.ExportUsageRequest())))


async def test_csv_is_csv_and_no_formula(serving: Serving) -> None:
    labels = {"team": 'a "b", c', "x": "=1+1"}
    await serving.write(ended("c1", **of("red", end_user="=cmd|' /C calc'!A0", labels=labels)))
    text = await exported(serving, record=pb.ExportUsageRequest.RECORD_CALLS, format=pb.ExportUsageRequest.FORMAT_CSV)
    (row,) = csv.DictReader(io.StringIO(text))
    assert (row["call_id"], row["result"], row["duration_us"], row["reason"]) == ("c1", "success", "600000", "")
    assert row["end_user_id"] == "'=cmd|' /C calc'!A0"
    assert json.loads(row["labels"]) == labels


async def test_an_export_takes_no_more_memory_the_longer_it_is(serving: Serving) -> None:
    for chunk in range(10):
        await serving.write(*(finished(f"c{chunk}-{n}", 1, **of("red"), started=BEGIN + n) for n in range(2 * PAGE)))
    request, size = pb.ExportUsageRequest(), 0
    tracemalloc.start()
    try:
        async for piece in serving.reports.export(request, OPERATOR):
            size += len(piece.data)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size > 8_000_000
    assert most < 6_000_000


async def test_exports_and_resets_are_for_operators(serving: Serving) -> None:
    serving.caller = RED
    with pytest.raises(aio.AioRpcError) as caught:
        await exported(serving)
    assert (caught.value.code(), reason(caught.value)) == (StatusCode.PERMISSION_DENIED, "ROLE_NOT_ALLOWED")
    with pytest.raises(aio.AioRpcError) as caught:
        await serving.admin.ResetStatistics(pb.ResetStatisticsRequest())
    assert reason(caught.value) == "ROLE_NOT_ALLOWED"


async def test_a_reset_moves_the_default_start_and_nothing_else(serving: Serving) -> None:
    await serving.write(
        ended("c1", **of("red"), started=(NOW - 10) * SECOND), ended("c2", **of("blue"), started=(NOW - 10) * SECOND)
    )
    serving.caller = OPERATOR
    await serving.admin.ResetStatistics(pb.ResetStatisticsRequest(workspace="red"))
    serving.now += 5
    counts = {}
    for caller in (RED, BLUE, OPERATOR):
        serving.caller = caller
        counts[caller.workspace] = (await serving.gateway.UsageStats(UsageStatsRequest())).totals.requests
    assert counts == {"red": 0, "blue": 1, "ops": 2}
    serving.caller = RED
    told = UsageStatsRequest()
    told.start_time.FromMicroseconds((NOW - 60) * SECOND)
    assert (await serving.gateway.UsageStats(told)).totals.requests == 1
    assert await serving.database.fetch("SELECT workspace, time, by_workspace, by_key FROM resets") == [
        ("red", NOW * SECOND, "ops", "k9")
    ]
    serving.caller = OPERATOR
    await serving.admin.ResetStatistics(pb.ResetStatisticsRequest())
    serving.now += 5
    assert (await serving.gateway.UsageStats(UsageStatsRequest())).totals.requests == 0


async def test_no_field_of_one_workspace_is_in_an_answer_to_another(serving: Serving) -> None:
    """Every value of blue's rows has its mark; whatever red asks, the mark is not in the answer."""
    chance = Random(1)
    mark = "bluish"
    for workspace, marked in (("red", "plain"), ("blue", mark)):
        whose = {
            **of(
                workspace,
                **{name: f"{marked}{name}" for name in ("api_key", "end_user", "task", "agent", "strategy", "arm")},
                requested_model=f"{marked}-model",
                labels={"team": f"{marked}team"},
            ),
            "provider": f"{marked}provider",
            "model": f"{marked}m",
            "region": f"{marked}region",
        }
        for number in range(20):
            call_id, started = f"{marked}{number}", BEGIN + chance.randrange(20 * HOUR)
            units = {f"{marked}unit": 1}
            await serving.write(
                finished(call_id, **whose, started=started, other_units=units), ended(call_id, **whose, started=started)
            )
            serving.caller = Identity(workspace, role="caller")
            await serving.feedback.SubmitFeedback(scored(call_id, 1.0, f"{marked}metric"))
    serving.caller = RED
    groups = [UsageDimension(kind=kind) for kind in Kind.values()[1:] if kind != UsageDimension.KIND_LABEL]
    groups.append(UsageDimension(kind=UsageDimension.KIND_LABEL, label="team"))
    for bucket in UsageStatsRequest.Bucket.values():
        for filters in ([], [where("WORKSPACE", "blue", "red")]):
            for group_by in ([], groups, *([each] for each in groups)):
                request = UsageStatsRequest(group_by=group_by, filters=filters, bucket=bucket)
                request.start_time.FromMicroseconds(BEGIN)
                told = await serving.gateway.UsageStats(request)
                assert told.totals.requests == told.totals.attempts == 20
                assert mark not in str(told)
    calls = await serving.admin.ListCalls(pb.ListCallsRequest(page_size=1000))
    assert len(calls.calls) == 20
    assert mark not in str(calls)
    blue = UsageStatsRequest(filters=[where("WORKSPACE", "blue")])
    blue.start_time.FromMicroseconds(BEGIN)
    assert (await serving.gateway.UsageStats(blue)).totals.requests == 0


async def test_the_parts_of_a_listed_cost_add_up_to_it(serving: Serving) -> None:
    """Whatever it is made of: of an attempt, and of its call."""
    parts = {
        "input_cost": 1,
        "output_cost": 2,
        "cache_read_cost": 4,
        "cache_write_cost": 8,
        "reasoning_cost": 16,
        "other_cost": 32,
    }
    await serving.write(finished("c", 1, cost=63, **parts), finished("c", 2, cost=63, **parts), ended("c", attempts=2))
    (call,) = (await serving.admin.ListCalls(pb.ListCallsRequest())).calls
    for cost, times in ((call.cost, 2), *((attempt.cost, 1) for attempt in call.attempts)):
        told = {field.name: value for field, value in cost.ListFields() if field.name.endswith("_nano_usd")}
        assert told.pop("total_nano_usd") == 63 * times
        assert sorted(told.values()) == [times * part for part in parts.values()]
