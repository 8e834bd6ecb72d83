"""What a ledger has to say after a crash, held against what the provider and the callers know."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

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
    return report


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
