"""What a ledger has to say after a crash, held against what the provider and the callers know."""

from __future__ import annotations

import sqlite3
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import asyncpg
from crash.provider import USED
from ledger_truth import read_rows, stands_twice, still_open, without_a_call

from trunkline.v1 import call_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from crash.load import Calls

# What a whole answer costs at 1 and 2 USD a million tokens, in nano-USD.
COST = USED[0] * 1000 + USED[1] * 2000
# How an attempt may have ended that the provider never saw.
UNSEEN = {
    call_pb2.OUTCOME_INTERRUPTED,
    call_pb2.OUTCOME_CANCELLED,
    call_pb2.OUTCOME_NOT_SENT,
    call_pb2.OUTCOME_NOT_CONNECTED,
}


@dataclass
class Report:
    """What was found. No problem: the ledger keeps its promise."""

    asked: int = 0
    rows: int = 0
    # Of what the provider was asked: not in the ledger.
    missing: int = 0
    # Rows whose end nobody saw.
    lost: int = 0
    problems: list[str] = field(default_factory=list)


def judge(ledger: Path, log: Path, mode: str, lives: Sequence[Calls]) -> Report:
    """Hold the ledger against the provider's own log and against what the callers saw."""
    asked = Counter(log.read_text().split())
    attempts, calls, sums = read_rows(ledger)
    report = Report(sum(asked.values()), len(attempts))
    _each_once(report, asked, attempts, calls)
    _none_missing(report, asked, attempts, mode, _in_flight(lives))
    _as_seen(report, attempts, calls, lives)
    report.problems += sums
    if mode == "budgets":
        report.problems += _unbalanced(ledger)
    return report


def _unbalanced(ledger: Path) -> list[str]:
    """What is wrong with a budget that pays for everything."""
    replayed = """SELECT COUNT(*), COALESCE(SUM(COALESCE(cost, amount)), 0) FROM budget_holds JOIN attempts
        ON attempts.call_id = budget_holds.call_id AND attempts.attempt = budget_holds.attempt WHERE state = 1"""
    with sqlite3.connect(ledger) as database:
        ((held,),) = database.execute("SELECT COUNT(*) FROM budget_holds WHERE state = 0")
        ((posted,),) = database.execute("SELECT posted FROM budget_accounts")
        ((settled, cost),) = database.execute(replayed)
        ((attempts,),) = database.execute("SELECT COUNT(*) FROM attempts")
    problems = {
        f"{held} holds are still live": held != 0,
        f"{posted} was spent, and the ledger replayed comes to {cost}": posted != cost,
        f"{settled} holds were settled for {attempts} attempts": settled != attempts,
    }
    return [problem for problem, there in problems.items() if there]


async def copy_ledger(url: str, file: Path) -> None:
    """Copy what is judged from PostgreSQL into an SQLite file."""
    source = await asyncpg.connect(url)
    with sqlite3.connect(file) as target:
        for table in ("attempts", "calls", "attempt_sums", "call_sums", "budget_accounts", "budget_holds"):
            rows = [dict(row) for row in await source.fetch(f"SELECT * FROM {table}")]
            columns = [name for name in rows[0] if not name.endswith("_buckets")] if rows else ["grain", "labels"]
            target.execute(f"CREATE TABLE {table} ({', '.join(columns)})")
            values = f"VALUES ({', '.join('?' * len(columns))})"
            target.executemany(f"INSERT INTO {table} {values}", [[row[name] for name in columns] for row in rows])
    await source.close()


def _in_flight(lives: Sequence[Calls]) -> set[str]:
    return set().union(*(life.made - life.answered - life.given_up for life in lives))


def _each_once(
    report: Report, asked: Counter[str], attempts: list[dict[str, Any]], calls: list[dict[str, Any]]
) -> None:
    report.problems += [*stands_twice("attempt", attempts, "n"), *stands_twice("call", calls, "n")]
    report.problems += [f"{n} was asked {count} times" for n, count in asked.items() if count > 1]
    report.problems += [*still_open(attempts), *without_a_call(attempts, calls)]
    report.lost = sum(row["certainty"] == call_pb2.CERTAINTY_UNKNOWN for row in attempts)
    seen = [row for row in attempts if row["n"] not in asked and row["outcome"] not in UNSEEN]
    report.problems += [f"{row['n']} was never asked and ended as {row['outcome']}" for row in seen]


def _none_missing(
    report: Report, asked: Counter[str], attempts: list[dict[str, Any]], mode: str, in_flight: set[str]
) -> None:
    missing = set(asked) - {row["n"] for row in attempts}
    report.missing = len(missing)
    allowed = in_flight if mode == "relaxed" else set()
    report.problems += [f"{n} was asked and is not in the ledger" for n in sorted(missing - allowed)]


def _as_seen(
    report: Report, attempts: list[dict[str, Any]], calls: list[dict[str, Any]], lives: Sequence[Calls]
) -> None:
    answered = set().union(*(life.answered for life in lives))
    by_number = {row["n"]: row for row in attempts}
    results = {row["n"]: row["result"] for row in calls}
    for n in answered:
        row = by_number.get(n)
        if row is None:
            report.problems.append(f"{n} was answered and is not in the ledger")
        elif (row["outcome"], row["cost"], row["input_tokens"], row["output_tokens"]) != (
            call_pb2.OUTCOME_SUCCESS, COST, *USED
        ):  # fmt: skip
            report.problems.append(f"{n} was answered and stands as outcome {row['outcome']}, cost {row['cost']}")
        if results.get(n) not in ("success", "error"):
            report.problems.append(f"{n} was answered and its call is {results.get(n)}")
