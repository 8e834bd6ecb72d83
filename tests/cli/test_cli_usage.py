"""`trunkline usage`, `usage compare`, `calls` and `export` against a real ledger."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import databases
import pytest
from ledger_rows import BEGIN, SUBJECT, ended, finished
from ledger_serving import Serving, ledger_server
from msgspec import structs

from trunkline.v1.feedback_service_pb2 import SubmitFeedbackRequest
from trunkline_server.state.ledger.open import open_database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from cli.conftest import Command

HOUR = 3600 * 10**6
NOW = BEGIN // 10**6 + 86400
# All of 1 January 2026.
DAY = ("--from", "2026-01-01", "--to", "2026-01-02")


@pytest.fixture
async def serving(tmp_path: Path) -> AsyncIterator[Serving]:
    database = await databases.migrated(open_database(f"sqlite:///{tmp_path}/ledger.sqlite3"))
    async with ledger_server(database, NOW) as running:
        yield running
    await database.aclose()


async def told(command: Command, serving: Serving, *arguments: str) -> str:
    ran = await command.later(*arguments, "--address", serving.address)
    assert (ran.code, ran.err) == (0, "")
    return ran.out


async def table(command: Command, serving: Serving, *arguments: str) -> list[dict[str, str]]:
    head, *rows = [line.split("\t") for line in (await told(command, serving, *arguments)).splitlines()]
    return [dict(zip(head, row, strict=True)) for row in rows]


async def written(serving: Serving, name: str, at: int, cost: int | None = 3000, **fields: Any) -> None:
    """A call that began in the hour `at`, and its one attempt."""
    subject = structs.replace(SUBJECT, labels={"team": "search", "execution_id": fields.pop("execution", "run-1")})
    given = {"subject": subject, "started": BEGIN + at * HOUR, "provider": fields.pop("provider", "openai")}
    await serving.write(
        finished(name, **given, cost=cost, outcome=fields.get("outcome", 1)), ended(name, **given, **fields)
    )


async def test_usage_has_a_line_for_each_group_one_for_all_and_draws_the_calls(
    command: Command, serving: Serving
) -> None:
    for number in range(8):
        await written(serving, f"a{number}", 20)
    await written(serving, "b", 2, cost=1_234_567_891, provider="groq")
    await written(serving, "c", 3, cost=None, provider="groq", result="error", reason="INTERNAL", outcome=4)
    openai, groq, every = await table(command, serving, "usage", "--by", "provider", *DAY, "--order", "requests desc")
    assert [row["provider"] for row in (openai, groq, every)] == ["openai", "groq", "all"]
    assert (openai["calls"], openai["success"], openai["USD"], openai["unpriced"]) == ("8", "100.0%", "0.000024", "0")
    assert (groq["calls"], groq["errors"], groq["success"]) == ("2", "1", "50.0%")
    assert (groq["USD"], groq["unpriced"]) == ("1.234567891", "1")
    assert [(row["attempts"], row["uptime"]) for row in (openai, groq, every)] == [
        ("8", "100.0%"),
        ("2", "50.0%"),
        ("10", "90.0%"),
    ]
    assert (every["calls"], every["USD"]) == ("10", "1.234591891")
    assert openai["calls over time"] == "▁" * 20 + "█" + "▁" * 3
    assert groq["calls over time"] == "▁▁██" + "▁" * 20
    assert every["calls over time"] == "▁▁▂▂" + "▁" * 16 + "█" + "▁" * 3


async def test_a_bucket_makes_a_line_for_each_span_in_the_zone(command: Command, serving: Serving) -> None:
    await written(serving, "a", 1)
    await written(serving, "b", 23)
    rows = await table(
        command,
        serving,
        "usage",
        "--bucket",
        "day",
        "--zone",
        "Europe/Berlin",
        "--from",
        "2026-01-01",
        "--to",
        "2026-01-03",
    )
    assert [(row["from"], row["calls"]) for row in rows] == [
        ("2026-01-01T00:00+01:00", "1"),
        ("2026-01-02T00:00+01:00", "1"),
        ("all", "2"),
    ]


async def test_executions_and_filters(command: Command, serving: Serving) -> None:
    for name, execution in (("a", "run-1"), ("b", "run-2"), ("c", "run-2")):
        await written(serving, name, 1, execution=execution)
    rows = await table(command, serving, "usage", "--by", "execution,label:team", *DAY)
    assert [(row["execution"], row["label:team"], row["calls"]) for row in rows] == [
        ("run-1", "search", "1"),
        ("run-2", "search", "2"),
        ("all", "all", "3"),
    ]
    both = ("--filter", "execution=run-1", "--filter", "execution=run-2")
    assert (await table(command, serving, "usage", *both, *DAY))[0]["calls"] == "3"
    only = ("--filter", "execution=run-1", "--filter", "provider=openai")
    assert (await table(command, serving, "usage", *only, *DAY))[0]["calls"] == "1"


async def test_json_is_the_contracts_and_csv_has_every_figure(command: Command, serving: Serving) -> None:
    await written(serving, "a", 1, cost=2_500_000_000)
    await written(serving, "b", 2, provider="=groq", result="cancelled", outcome=15)
    await serving.feedback.SubmitFeedback(SubmitFeedbackRequest(call_id="a", metric="relevance", score=0.5))
    whole = json.loads(await told(command, serving, "usage", "--json", *DAY))
    assert whole["totals"]["costNanoUsd" if "costNanoUsd" in whole["totals"] else "cost_nano_usd"] == "2500003000"
    text = await told(command, serving, "usage", "--csv", "--by", "provider", "--bucket", "hour", *DAY)
    groq, openai = sorted(csv.DictReader(io.StringIO(text)), key=lambda row: row["provider"])
    assert (groq["provider"], groq["from"], groq["cancelled"]) == ("'=groq", "2026-01-01T02:00+00:00", "1")
    assert (openai["cost_usd"], openai["usd_per_success"], openai["requests"]) == ("2.50", "2.50", "1")
    assert (openai["total_time.count"], openai["scores.relevance.mean"], openai["usage.input_tokens"]) == (
        "1",
        "0.5",
        "10",
    )
    assert (groq["total_time.p50"], groq["success_rate"]) == ("", "")


async def test_compare_sets_models_side_by_side_with_intervals(command: Command, serving: Serving) -> None:
    for number in range(24):
        await written(serving, f"a{number}", number, cost=1000 + number % 2 * 1000, duration=(number + 1) * 10**6)
        await serving.feedback.SubmitFeedback(
            SubmitFeedbackRequest(call_id=f"a{number}", metric="relevance", score=number % 2)
        )
    await written(serving, "b", 1, provider="groq", result="error", reason="INTERNAL", outcome=4)
    await written(serving, "c", 2, provider="together", cost=None)
    asked = ("usage", "compare", "--by", "provider", *DAY)
    groq, openai, together = await table(command, serving, *asked)
    assert openai["success"] == "100.0% (86.2% to 100.0%)"
    assert groq["success"] == "0.0% (0.0% to 79.3%)"
    # Half of the values on either side of 12.5, give or take sqrt(24) of them; times are within 2%.
    middle, low, high = (float(word.strip("()")) for word in openai["total p50"].split() if word != "to")
    assert (middle, low, high) == pytest.approx((12, 7, 18), rel=0.02)
    # By hand: 1.96 standard errors of the mean of 24 hours.
    assert openai["USD a success"] == "0.0000015 (0.000001296 to 0.000001704)"
    assert openai["relevance"] == "0.500 (0.296 to 0.704)"
    assert (groq["USD a success"], groq["relevance"], groq["total p50"]) == ("-", "-", "-")
    assert [(row["USD a success"], row["unpriced"]) for row in (openai, together)] == [
        (openai["USD a success"], "0"),
        ("-", "1"),
    ], "what has no price is not free"

    rows = json.loads(await told(command, serving, *asked, "--json"))["rows"]
    assert [(row["provider"], row["requests"], row["unpriced_attempts"]) for row in rows] == [
        ("groq", 1, 0),
        ("openai", 24, 0),
        ("together", 1, 1),
    ]
    assert rows[1]["usd_per_success"] == pytest.approx({"value": 1.5e-6, "low": 1.296e-6, "high": 1.704e-6}, rel=1e-3)
    assert rows[2]["usd_per_success"] is None
    assert rows[2]["total_time.p50"].keys() == {"value"}, "one value has no interval"
    cells = [*csv.DictReader(io.StringIO(await told(command, serving, *asked, "--csv")))]
    assert [row["provider"] for row in cells] == ["groq", "openai", "together"]
    assert float(cells[1]["usd_per_success.high"]) == pytest.approx(1.704e-6, rel=1e-3)
    assert (cells[2]["usd_per_success"], cells[2]["total_time.p50.low"]) == ("", "")


async def test_a_call_is_scored_and_statistics_begin_anew(command: Command, serving: Serving) -> None:
    await written(serving, "a", 1)
    for score in ("0.25", "0.75"):
        assert await told(command, serving, "feedback", "a", "relevance", score) == f"a: relevance {score}\n"
    openai = await table(command, serving, "usage", "compare", "--by", "provider", *DAY)
    assert [row["relevance"] for row in openai] == ["0.750"], "the last score counts"
    unknown = await command.later("feedback", "nobody", "relevance", "1", "--address", serving.address)
    assert (unknown.code, "no call" in unknown.err) == (1, True)
    assert (await command.later("feedback", "a", "relevance", "2", "--address", serving.address)).code == 2

    assert json.loads(await told(command, serving, "usage", "--json"))["totals"]["requests"] == "1"
    said = await told(command, serving, "usage", "reset", "--workspace", SUBJECT.workspace)
    assert said == f"workspace {SUBJECT.workspace}: statistics begin at 2026-01-02 00:00:00Z\n"
    assert (await told(command, serving, "usage", "reset")).startswith("every workspace: ")
    assert json.loads(await told(command, serving, "usage", "--json"))["totals"]["requests"] == "0"


async def test_calls_are_listed_as_asked(command: Command, serving: Serving) -> None:
    await written(serving, "a", 1)
    await written(serving, "b", 2, result="error", reason="INTERNAL", outcome=4, duration=9 * 10**6, cost=None)
    rows = await table(command, serving, "calls", *DAY)
    assert [(row["call"], row["result"], row["why"], row["USD"]) for row in rows] == [
        ("b", "error", "INTERNAL (SERVER_ERROR)", "unpriced"),
        ("a", "success", "-", "0.000003"),
    ]
    for asked in (
        ("--result", "error"),
        ("--filter", "error_reason=INTERNAL"),
        ("--slower-than", "8"),
        ("--limit", "1"),
    ):
        assert [row["call"] for row in await table(command, serving, "calls", *asked, *DAY)] == ["b"]
    as_json = json.loads(await told(command, serving, "calls", "--json", *DAY))
    assert [call["id"] for call in as_json["calls"]] == ["b", "a"]


async def test_exports_are_written_as_they_come(command: Command, serving: Serving) -> None:
    await written(serving, "a", 1)
    await written(serving, "b", 2)
    lines = [json.loads(line) for line in (await told(command, serving, "export")).splitlines()]
    assert [(line["call_id"], line["attempt"]) for line in lines] == [("a", 1), ("b", 1)]
    text = await told(command, serving, "export", "--of", "calls", "--csv", "--from", "2026-01-01T02:00")
    assert [row["call_id"] for row in csv.DictReader(io.StringIO(text))] == ["b"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--by", "colour"), "there are workspace"),
        (("--bucket", "fortnight"), "there are minute, hour, day, week, month"),
        (("--zone", "Mars"), "no such time zone"),
        (("--since", "yesterday"), "say 90m, 24h, 7d, 4w"),
        (("--from", "soon"), "no time"),
        (("--since", "1d", "--from", "2026-01-01"), "not both"),
        (("--filter", "provider"), "NAME=VALUE"),
        (("--filter", "colour=red"), "there are workspace"),
        (("--json", "--csv"), "not both"),
        (("compare", "--by", "model", "--json", "--csv"), "not both"),
    ],
)
def test_wrong_usage_is_told_in_words(command: Command, arguments: tuple[str, ...], words: str) -> None:
    ran = command("usage", *arguments)
    assert ran.code == 2
    assert words in " ".join(ran.err.split())


def test_no_gateway_is_unavailable(command: Command) -> None:
    for report in ("usage", "calls", "export"):
        ran = command(report, "--address", "127.0.0.1:1")
        assert (ran.code, ran.out) == (3, "")


async def test_budgets_say_so_where_there_are_none(command: Command, serving: Serving) -> None:
    assert (await told(command, serving, "budgets")).startswith("budget\tof\tkind")
