"""Every test of what is kept in the ledger's database runs on both databases."""

from __future__ import annotations

from typing import TYPE_CHECKING

import databases
import pytest

from trunkline_server.state.ledger.open import open_database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from trunkline_server.state.ledger.database import Database


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    with databases.postgres_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.sqlite3"
    server: str = request.getfixturevalue("postgres")
    return await databases.new_database(server)


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    """A database with the ledger's tables."""
    database = await databases.migrated(open_database(url))
    yield database
    await database.aclose()
