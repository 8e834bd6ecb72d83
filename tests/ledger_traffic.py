"""A month of made-up traffic, for tests and measurements of queries over a million attempts.

    PYTHONPATH=tests python -m ledger_traffic FILE [ATTEMPTS]

writes such a ledger to an SQLite file.
"""

from __future__ import annotations

import asyncio
import sys
import time
from itertools import islice
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from ledger_rows import BEGIN, DAY

from trunkline_server.state.ledger.commit import take
from trunkline_server.state.ledger.open import open_database
from trunkline_server.state.ledger.rows import AttemptRow, CallRow, Subject
from trunkline_server.state.ledger.schema import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trunkline_server.state.ledger.commit import Entry
    from trunkline_server.state.ledger.database import Database

DAYS = 30
WORKSPACES = ("search", "support", "research")
MODELS = tuple(
    (provider, f"{provider}-{n}") for provider in ("openai", "anthropic", "gemini", "groq") for n in range(5)
)
TASKS = ("", "review", "summary", "chat")
SUCCESS, SERVER_ERROR, CANCELLED = 1, 4, 15


def subjects(random: Random) -> list[Subject]:
    """Who calls: two keys a workspace, each for a few tasks, on behalf of some people."""
    return [
        Subject(
            workspace=workspace,
            api_key=f"{workspace}-{key}",
            end_user=random.choice(("", "ann", "bob", f"user-{random.randrange(1000)}")),
            task=task,
            agent="agent" if task else "",
            operation=operation,
            requested_model="fast",
            labels={"team": random.choice("abc"), "execution_id": f"run-{random.randrange(500)}"},
        )
        for workspace in WORKSPACES
        for key in (1, 2)
        for task in TASKS
        for operation in ("Generate", "StreamGenerate")
        for _ in range(20)
    ]


def traffic(attempts: int, seed: int = 1) -> Iterator[Entry]:
    """Rows of so many attempts over DAYS from BEGIN, and of their calls: most go well, some fall back or fail."""
    random = Random(seed)
    callers = subjects(random)
    made = 0
    while made < attempts:
        started = BEGIN + int(made / attempts * DAYS * DAY)
        call_id = f"{started // 1000:012x}{random.getrandbits(64):016x}"
        tries = 2 if random.random() < 0.03 and made + 2 <= attempts else 1
        yield from call(random, call_id, random.choice(callers), started, tries)
        made += tries


def call(random: Random, call_id: str, subject: Subject, started: int, tries: int) -> Iterator[Entry]:
    """The rows of one call, which the last of its attempts ends."""
    for number in range(1, tries + 1):
        provider, model = random.choice(MODELS)
        luck = random.random()
        outcome = SERVER_ERROR if number < tries or luck < 0.01 else CANCELLED if luck < 0.02 else SUCCESS
        duration = int(random.lognormvariate(14, 0.7))
        tokens = random.randrange(50, 4000), random.randrange(10, 800)
        cost = None if model == "groq-4" else (tokens[0] * 150 + tokens[1] * 600 if outcome != SERVER_ERROR else 0)
        yield AttemptRow(
            call_id=call_id,
            attempt=number,
            subject=subject,
            started=started,
            provider=provider,
            model=model,
            duration=duration,
            outcome=outcome,
            certainty=2 if outcome == CANCELLED else 1,
            input_tokens=tokens[0],
            output_tokens=tokens[1],
            cost=cost,
            input_cost=cost and tokens[0] * 150,
            output_cost=cost and tokens[1] * 600,
            price_version="1",
        )
    streamed = subject.operation == "StreamGenerate" and outcome == SUCCESS
    yield CallRow(
        call_id=call_id,
        subject=subject,
        started=started,
        duration=duration + 2000,
        provider=provider,
        model=model,
        outcome=outcome,
        result={SUCCESS: "success", CANCELLED: "cancelled"}.get(outcome, "error"),
        reason="ALL_PROVIDERS_FAILED" if outcome == SERVER_ERROR else "",
        finish_reason=1 if outcome == SUCCESS else 0,
        attempts=tries,
        fell_back=tries > 1,
        time_to_first_token=duration // 10 if streamed else None,
        output_rate=tokens[1] / (duration * 0.9e-6) if streamed else None,
    )


async def load(database: Database, entries: Iterator[Entry], chunk: int = 50_000) -> None:
    """Take them all in, many at a time."""
    while batch := list(islice(entries, chunk)):
        await database.transact(lambda batch=batch: take(batch, database.dialect))  # type: ignore[misc]


async def fill(url: str, attempts: int) -> None:
    """Make the tables and load the traffic."""
    database = open_database(url)
    await migrate(database)
    await load(database, traffic(attempts))
    await database.aclose()


def main(file: str, attempts: str = "1000000") -> None:
    path, begin = Path(file).absolute(), time.perf_counter()
    asyncio.run(fill(f"sqlite:///{path}", int(attempts)))
    print(f"{attempts} attempts in {time.perf_counter() - begin:.0f} s, {path.stat().st_size >> 20} MiB")


if __name__ == "__main__":
    main(*sys.argv[1:])
