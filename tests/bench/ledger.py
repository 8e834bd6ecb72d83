"""What the ledger costs a call: begin, finish and end of the call, and the writer that takes its rows in."""

from __future__ import annotations

import tempfile
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from ledger_rows import begun, ended, finished

from trunkline_server.sections import Seconds
from trunkline_server.settings import LedgerSettings
from trunkline_server.state.ledger.ledger import begin_ledger
from trunkline_server.state.ledger.sqlite import SqliteDatabase

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from trunkline_server.logs import Log

# Calls that are measured together, waiting for the last of their commits.
CALLS = 512


@asynccontextmanager
async def ledger_work(log: Log) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Once: what CALLS calls cost a relaxed ledger in an SQLite file."""
    numbers = count()
    with tempfile.TemporaryDirectory() as folder:
        database = SqliteDatabase(Path(folder) / "ledger.sqlite3")
        ledger = await begin_ledger(database, Path(folder), LedgerSettings(retention=Seconds(1e9)), log)

        async def work() -> None:
            for _ in range(CALLS):
                call_id = f"{next(numbers):028x}"
                await ledger.begin(begun(call_id))
                await ledger.finish(finished(call_id))
                ledger.end_call(ended(call_id))
            await ledger.flush()

        yield work
        await ledger.aclose()
