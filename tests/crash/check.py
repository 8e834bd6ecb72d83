"""What a ledger has to say after a crash, held against what the provider and the callers know."""

from __future__ import annotations

import sqlite3
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import asyncpg
from budget_books import LIVE, WRONG
from crash.provider import USED
from ledger_truth import read_rows, stands_twice, still_open, without_a_call

from trunkline.v1 import call_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from crash.load import Calls

# Modes in which budgets pay for everything: one for ever, and one of each day.
WITH_BUDGETS = ("budgets", "periods")
# In mode "periods": attempts after which the day ends.
ROLLED_AFTER = 10
_SETTLED = """SELECT json_extract(account, '$[0]'), COUNT(*) FROM budget_holds WHERE state = 1
    GROUP BY CASE WHEN json_extract(account, '$[1]') = '' THEN account ELSE '' END"""
_BY_DAY = """SELECT account, COUNT(*) FROM budget_holds WHERE json_extract(account, '$[1]') <> ''
    GROUP BY account ORDER BY account"""
_COLUMNS = "SELECT column_name FROM information_schema.columns WHERE table_name = $1 ORDER BY ordinal_position"
_COPIED = (
    "attempts", "open_attempts", "calls", "attempt_sums", "call_sums", "budget_accounts", "budget_holds",
)  # fmt: skip
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
    # For which budgets have accounts.
    days: int = 0
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
    if mode in WITH_BUDGETS:
        report.problems += _unbalanced(ledger)
    if mode == "periods":
        report.problems += _out_of_period(report, ledger)
    return report


def _unbalanced(ledger: Path) -> Iterator[str]:
    """What is wrong with the books of budgets that pay for everything."""
    with sqlite3.connect(ledger) as database:
        for row in database.execute(LIVE):
            yield f"a hold is still live: {row}"
        for what, query in WRONG.items():
            for row in database.execute(query):
                yield f"{what}, but {row}"
        ((attempts,),) = database.execute("SELECT COUNT(*) FROM attempts")
        for budget, settled in database.execute(_SETTLED):
            if settled != attempts:
                yield f"{settled} holds of {budget} were settled for {attempts} attempts"


def _out_of_period(report: Report, ledger: Path) -> Iterator[str]:
    """The first attempts are of the first day, whenever they ended, and none of the later ones is."""
    with sqlite3.connect(ledger) as database:
        days = [*database.execute(_BY_DAY)]
    report.days = len(days)
    if report.days > 2:
        yield f"there were two days, and accounts of {report.days}"
    elif report.days == 2 and days[0][1] > ROLLED_AFTER:
        yield f"{days[0][1]} attempts are of the first day, which had {ROLLED_AFTER}"


async def copy_ledger(url: str, file: Path) -> None:
    """Copy what is judged from PostgreSQL into an SQLite file."""
    source = await asyncpg.connect(url)
    with sqlite3.connect(file) as target:
        for table in _COPIED:
            rows = [dict(row) for row in await source.fetch(f"SELECT * FROM {table}")]
            named = await source.fetch(_COLUMNS, table)
            columns = [name for (name,) in named if not name.endswith("_buckets")]
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
