"""A machine with gateways that keep a ledger, and that can be killed."""

from __future__ import annotations

import asyncio
import io
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal

from databases import Failing
from msgspec import json

from trunkline_server.logs import build_log
from trunkline_server.sections import Seconds
from trunkline_server.settings import LedgerSettings
from trunkline_server.state.ledger.columns import ATTEMPT, ATTEMPT_BEGUN, CALL, attempt_of, begun_of, call_of
from trunkline_server.state.ledger.ledger import begin_ledger
from trunkline_server.state.ledger.open import open_database

if TYPE_CHECKING:
    from pathlib import Path

    from trunkline_server.state.ledger.database import Database
    from trunkline_server.state.ledger.ledger import Ledger
    from trunkline_server.state.ledger.rows import AttemptRow, CallRow

    Mode = Literal["relaxed", "strict"]


class House:
    """A machine with a database, and the gateways on it."""

    def __init__(self, url: str, folder: Path, mode: Mode) -> None:
        self._url = url
        self.folder = folder
        self.mode: Mode = mode
        self.log = io.BytesIO()
        self.running: list[Ledger] = []
        self.reader = open_database(url)

    async def start(self, folder: Path | None = None) -> Ledger:
        database = Failing(open_database(self._url))
        settings = LedgerSettings(mode=self.mode, retention=Seconds(1e9))
        started = await begin_ledger(database, folder or self.folder, settings, build_log(self.log))
        self.running.append(started)
        return started

    async def kill(self, victim: Ledger) -> None:
        """What SIGKILL leaves: files, no locks, and a transaction that is done or not."""
        self.running.remove(victim)
        for task in (victim._housekeeping, victim._writer._task):
            task.cancel()
            await asyncio.wait([task])
        for file in (*victim._journal._full, victim._journal._file):
            file.close()
        victim._slot.release()
        await victim.database.aclose()

    async def stop(self) -> None:
        for each in self.running:
            await each.aclose()
        self.running.clear()

    async def aclose(self) -> None:
        await self.stop()
        await self.reader.aclose()

    async def attempts(self) -> list[AttemptRow]:
        return await all_attempts(self.reader)

    async def calls(self) -> list[CallRow]:
        return [
            call_of(row) for row in await self.reader.fetch(f"SELECT {', '.join(CALL)} FROM calls ORDER BY call_id")
        ]

    def logged(self) -> list[dict[str, Any]]:
        return [json.decode(line) for line in self.log.getvalue().splitlines()]


async def all_attempts(database: Database) -> list[AttemptRow]:
    """Those that have ended and those that are open, in the order of their keys."""
    ended = await database.fetch(f"SELECT {', '.join(ATTEMPT)} FROM attempts")
    still_open = await database.fetch(f"SELECT {', '.join(ATTEMPT_BEGUN)} FROM open_attempts")
    rows = [*map(attempt_of, ended), *map(begun_of, still_open)]
    return sorted(rows, key=attrgetter("call_id", "attempt"))


def failing(running: Ledger) -> Failing:
    """Its database, to be told to fail."""
    database = running.database
    assert isinstance(database, Failing)
    return database
