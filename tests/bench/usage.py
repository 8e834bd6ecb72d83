"""`make bench-usage`: how long UsageStats takes over a million attempts of a month.

    python -m bench.usage [ATTEMPTS] [SQLITE FILE that holds them already]

Prints what the gateway does in the background for days that are over, then the milliseconds of each question, the
median of five, its CPU time, and the longest that the event loop was held up meanwhile. Ends with 1 if a bar is not
met: 100 ms from rollups, 1.5 s for what they do not have. The last questions are counted row by row, all of them, as
the others are for the day that is not over.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import uvloop
from bench.figures import machine
from ledger_rows import BEGIN
from ledger_traffic import DAYS, fill

from trunkline_client.usage import usage_request
from trunkline_server.core import ANYBODY
from trunkline_server.state.ledger.cells import make_cells
from trunkline_server.state.ledger.open import open_database
from trunkline_server.state.ledger.schema import migrate
from trunkline_server.state.ledger.usage import usage_stats

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline_server.state.ledger.database import Database

REPEATS = 5
ROLLUP, ROWS = 100.0, 1500.0
FIRST = datetime.fromtimestamp(BEGIN // 10**6, UTC)
END = FIRST + timedelta(days=DAYS)
NOW = round(END.timestamp()) * 10**6
BERLIN = {"bucket": "day", "time_zone": "Europe/Berlin"}
ONE_DAY = {"start_time": END - timedelta(days=1)}


class Question(NamedTuple):
    """What is asked of the whole month, if `query` does not say otherwise, and its bar in milliseconds."""

    name: str
    bar: float
    query: Mapping[str, Any]


QUESTIONS = (
    Question("everything", ROLLUP, {}),
    Question("by provider and model", ROLLUP, {"group_by": ["provider", "model"]}),
    Question("by workspace, a row a day", ROLLUP, {"group_by": ["workspace"], "bucket": "day"}),
    Question("by model, the dearest first", ROLLUP, {"group_by": ["model"], "order_by": "cost_nano_usd desc"}),
    Question("by outcome", ROLLUP, {"group_by": ["outcome"]}),
    Question("by key and task", ROWS, {"group_by": ["api_key", "task"]}),
    Question("the last day, by model", ROLLUP, {"group_by": ["model"], **ONE_DAY}),
    Question("the last day, by hour", ROLLUP, {"bucket": "hour", **ONE_DAY}),
    Question("by model, days of Berlin", ROWS, {"group_by": ["model"], **BERLIN}),
    Question("by label team", ROWS, {"group_by": ["label:team"]}),
    Question("by execution", ROWS, {"group_by": ["execution"]}),
    Question("by end user", ROWS, {"group_by": ["end_user"]}),
    Question("by error reason", ROWS, {"group_by": ["error_reason"]}),
    Question(
        "by requested model, of one team", ROWS, {"group_by": ["requested_model"], "filters": {"label:team": "a"}}
    ),
    Question("the last two days, by minute", ROWS, {"bucket": "minute", "start_time": END - timedelta(days=2)}),
    Question("by label team and model", ROWS, {"group_by": ["label:team", "model"]}),
    Question("by end user and provider", ROWS, {"group_by": ["end_user", "provider"]}),
    Question("by end user and outcome", ROWS, {"group_by": ["end_user", "outcome"]}),
    Question("by execution and model", ROWS, {"group_by": ["execution", "model"]}),
    Question("by execution, end user and model", ROWS, {"group_by": ["execution", "end_user", "model"]}),
    Question("by execution and workspace", ROWS, {"group_by": ["execution", "workspace"]}),
    Question("of one execution, by model", ROWS, {"group_by": ["model"], "filters": {"execution": "run-7"}}),
    Question(
        "by end user of one team, slowest",
        ROWS,
        {"group_by": ["end_user"], "filters": {"label:team": "a"}, "order_by": "total_time.p99 desc"},
    ),
    Question("by label team and hour", ROWS, {"group_by": ["label:team"], "bucket": "hour"}),
    Question("by label team, days of Berlin", ROWS, {"group_by": ["label:team"], **BERLIN}),
    Question("by execution, days of Berlin", ROWS, {"group_by": ["execution"], **BERLIN}),
    Question("by end user, days of Berlin", ROWS, {"group_by": ["end_user"], **BERLIN}),
)


async def measure(database: Database, question: Question) -> tuple[float, float, float]:
    """Milliseconds of an answer and of CPU time, and the longest wait of the loop."""
    request = usage_request({"start_time": FIRST, "end_time": END, **question.query})  # type: ignore[typeddict-item]
    waits: list[float] = []
    watch = asyncio.create_task(_watch(waits))
    taken, spent = [], []
    for _ in range(REPEATS):
        begin, cpu = time.perf_counter(), time.process_time()
        await usage_stats(database, request, ANYBODY, now=NOW)
        taken.append((time.perf_counter() - begin) * 1000)
        spent.append((time.process_time() - cpu) * 1000)
    watch.cancel()
    return median(taken), median(spent), max(waits) * 1000


async def _watch(waits: list[float]) -> None:
    while True:
        begin = time.perf_counter()
        await asyncio.sleep(0.001)
        waits.append(time.perf_counter() - begin - 0.001)


async def judge(url: str) -> bool:
    """Ask everything, print the figures, and say whether all bars are met."""
    database, met = open_database(url), True
    await migrate(database)
    begin, cpu = time.perf_counter(), time.process_time()
    await make_cells(database, NOW)
    print(f"days that are over: {time.perf_counter() - begin:.1f} s, CPU {time.process_time() - cpu:.1f} s")
    print(f"{'question':34}{'ms':>8}{'bar':>8}{'CPU ms':>8}{'loop held, ms':>16}")
    for question in QUESTIONS:
        taken, spent, held = await measure(database, question)
        missed = taken > question.bar
        met = met and not missed
        print(
            f"{question.name:34}{taken:8.0f}{question.bar:8.0f}{spent:8.0f}{held:16.0f}{'  missed' * missed}",
            flush=True,
        )
    await database.aclose()
    return met


def main(attempts: str = "1000000", file: str = "") -> int:
    """Fill a database, unless there is one, and ask."""
    print(f"{attempts} attempts in {DAYS} days; {machine()}")
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(file).absolute() if file else Path(folder) / 'ledger.sqlite3'}"
        if not file:
            uvloop.run(fill(url, int(attempts)))
        return 0 if uvloop.run(judge(url)) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
