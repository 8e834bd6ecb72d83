"""What only a server can do: go away while it is used."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import asyncpg
import databases
import pytest
from ledger_rows import finished

from trunkline_server.logs import build_log
from trunkline_server.sections import Seconds
from trunkline_server.settings import LedgerSettings
from trunkline_server.state.ledger.database import StoreFailed
from trunkline_server.state.ledger.ledger import begin_ledger
from trunkline_server.state.ledger.open import open_database

if TYPE_CHECKING:
    from pathlib import Path

CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()"


async def test_connections_that_are_cut_lose_nothing(postgres: str, tmp_path: Path) -> None:
    url = await databases.new_database(postgres)
    settings = LedgerSettings(retention=Seconds(1e9))
    running = await begin_ledger(open_database(url), tmp_path, settings, build_log(io.BytesIO()))
    admin = await asyncpg.connect(url)
    for number in range(300):
        await running.finish(finished(f"c{number}"))
        if number % 50 == 0:
            await running.flush()
            await admin.execute(CUT.replace("$1", "current_database()"))
    await running.flush()
    assert await admin.fetchval("SELECT COUNT(*) FROM attempts") == 300
    assert await admin.fetchval("SELECT SUM(attempts) FROM attempt_sums WHERE grain = 'hour'") == 300
    await admin.close()
    await running.aclose()


async def test_a_server_that_is_not_there_is_told_in_words(tmp_path: Path) -> None:
    database = open_database(f"postgresql://nobody@/ledger?host={tmp_path}")
    with pytest.raises(StoreFailed, match="connection lost"):
        await database.fetch("SELECT 1")
    await database.aclose()
