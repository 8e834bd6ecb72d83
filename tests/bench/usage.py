"""`make bench-usage`: how long UsageStats takes over a million attempts of a month.

    python -m bench.usage [ATTEMPTS] [SQLITE FILE that holds them already]

Prints the milliseconds of each question, the median of five, and the longest that the event loop was held up meanwhile.
Ends with 1 if a bar is not met: 100 ms from rollups, 1.5 s where rows have to be counted.
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
    Question("by model, days of Berlin", ROWS, {"group_by": ["model"], "bucket": "day", "time_zone": "Europe/Berlin"}),
    Question("by label team", ROWS, {"group_by": ["label:team"]}),
    Question("by execution", ROWS, {"group_by": ["execution"]}),
    Question("by end user", ROWS, {"group_by": ["end_user"]}),
    Question("by error reason", ROWS, {"group_by": ["error_reason"]}),
    Question(
        "by requested model, of one team", ROWS, {"group_by": ["requested_model"], "filters": {"label:team": "a"}}
    ),
    Question("the last two days, by minute", ROWS, {"bucket": "minute", "start_time": END - timedelta(days=2)}),
)


async def measure(database: Database, question: Question) -> tuple[float, float]:
    """Milliseconds of an answer, and the longest wait of the loop."""
    request = usage_request({"start_time": FIRST, "end_time": END, **question.query})  # type: ignore[typeddict-item]
    waits: list[float] = []
    watch = asyncio.create_task(_watch(waits))
    taken = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        await usage_stats(database, request, ANYBODY, now=round(END.timestamp()) * 10**6)
        taken.append((time.perf_counter() - begin) * 1000)
    watch.cancel()
    return median(taken), max(waits) * 1000


async def _watch(waits: list[float]) -> None:
    while True:
        begin = time.perf_counter()
        await asyncio.sleep(0.001)
        waits.append(time.perf_counter() - begin - 0.001)


async def judge(url: str) -> bool:
    """Ask everything, print the figures, and say whether all bars are met."""
    database, met = open_database(url), True
    await migrate(database)
    print(f"{'question':34}{'ms':>8}{'bar':>8}{'loop held, ms':>16}")
    for question in QUESTIONS:
        taken, held = await measure(database, question)
        missed = taken > question.bar
        met = met and not missed
        print(f"{question.name:34}{taken:8.0f}{question.bar:8.0f}{held:16.0f}{'  missed' * missed}")
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
