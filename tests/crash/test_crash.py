"""A sample of `make crash`: gateways are killed, and their ledgers say the truth. And the judge is not bribed."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest
from crash.check import judge
from crash.load import Calls
from crash.run import run
from databases import new_database, postgres_server

if TYPE_CHECKING:
    from pathlib import Path

SAMPLE = [
    ("relaxed", "after an attempt's end is written down"),
    ("strict", "amid a transaction"),
    ("relaxed", "amid taking in what was left"),
    ("budgets", "after an attempt's end is written down"),
    ("budgets", "amid a transaction"),
    ("budgets", ""),
    ("periods", "amid a transaction"),
    ("periods", "amid taking in what was left"),
]


@pytest.mark.parametrize(("mode", "failpoint"), SAMPLE)
async def test_a_killed_gateway_leaves_a_true_ledger(tmp_path: Path, mode: str, failpoint: str) -> None:
    report = await run(tmp_path, mode, failpoint, seed=1)
    assert report.problems == []
    assert report.asked > 0


async def test_a_gateway_is_killed_when_a_day_has_just_ended(tmp_path: Path) -> None:
    report = await run(tmp_path, "periods", "before an attempt's end is written down", seed=5)
    assert report.problems == []
    assert report.days == 2


@pytest.mark.parametrize(
    ("mode", "failpoint"),
    [
        ("relaxed", "before rows leave the queue"),
        ("strict", "before rows leave the queue"),
        ("strict", ""),
        ("budgets", ""),
        ("periods", "after an attempt has its money"),
        ("budgets", "amid putting money aside"),
    ],
)
async def test_the_same_on_postgresql(tmp_path: Path, mode: str, failpoint: str) -> None:
    with postgres_server() as server:
        report = await run(tmp_path, mode, failpoint, seed=3, postgres=await new_database(server))
    assert report.problems == []
    assert report.asked > 0
    assert report.rows > 0


BRIBES = {
    "UPDATE calls SET cost = cost + 1 WHERE certainty IS NOT NULL": "and is held",
    "UPDATE attempts SET held = 1 - held": "and is held",
    "DELETE FROM attempts WHERE call_id = (SELECT min(call_id) FROM attempts)": "is not in the ledger",
    "UPDATE attempts SET cost = cost + 1": "stands as outcome",
    "UPDATE attempts SET duration = NULL WHERE call_id = (SELECT min(call_id) FROM attempts)": "is still open",
    "DELETE FROM calls": "has no call",
    "UPDATE attempt_sums SET cost = cost + 1 WHERE grain = 'day'": "by day the attempts come to",
    "UPDATE call_sums SET calls = calls + 1": "by hour the calls come to",
    "INSERT INTO attempts SELECT 'twin', attempt, instance, workspace, api_key, end_user, task, agent, strategy, arm,"
    " operation, requested_model, labels, started, provider, model, region, duration, outcome, provider_status,"
    " provider_code, certainty, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens,"
    " other_units, cost, input_cost, output_cost, cache_read_cost, cache_write_cost, reasoning_cost, other_cost, saved,"
    " price_version, retry, hedge, held FROM attempts LIMIT 1": "stands 2 times",
}


async def test_the_judge_sees_what_is_wrong(tmp_path: Path) -> None:
    assert (await run(tmp_path, "relaxed", "before a call's end is written down", seed=2)).problems == []
    ledger, log = tmp_path / "ledger.sqlite3", tmp_path / "asked.log"
    answered = set(log.read_text().split()) & _whole(ledger)
    for bribe, problem in BRIBES.items():
        database = sqlite3.connect(ledger, isolation_level=None)
        database.execute("BEGIN")
        database.execute(bribe)
        database.execute("COMMIT")
        report = judge(ledger, log, "strict", [Calls(made=answered, answered=answered)])
        assert any(problem in found for found in report.problems), (bribe, report.problems)
        database.close()


def _whole(ledger: Path) -> set[str]:
    with sqlite3.connect(ledger) as database:
        rows = database.execute("SELECT json_extract(labels, '$.n') FROM attempts WHERE outcome = 1 AND certainty = 1")
        return {n for (n,) in rows}


async def test_the_judge_sees_a_budget_that_is_wrong(tmp_path: Path) -> None:
    assert (await run(tmp_path, "periods", "before a call's end is written down", seed=4)).problems == []
    ledger, log = tmp_path / "ledger.sqlite3", tmp_path / "asked.log"
    for bribe, problem in {
        "UPDATE budget_accounts SET posted = posted + 1": "payers paid",
        "UPDATE budget_holds SET posted = posted + 1": "each payer's part",
        "UPDATE budget_holds SET amount = amount + 1 WHERE account LIKE '%day%'": "extended and resolved alike",
        "UPDATE budget_accounts SET overage = overage + 1": "an account is the sum",
        "UPDATE budget_holds SET state = 0 WHERE call_id = (SELECT min(call_id) FROM budget_holds)": "still live",
        "UPDATE budget_holds SET account = replace(account, '20', '21') WHERE rowid % 3 = 0": "there were two days",
        "DELETE FROM budget_holds WHERE call_id = (SELECT min(call_id) FROM budget_holds)": "were settled for",
    }.items():
        with sqlite3.connect(ledger) as database:
            database.execute(bribe)
        problems = judge(ledger, log, "periods", []).problems
        assert any(problem in found for found in problems), (bribe, problems)
