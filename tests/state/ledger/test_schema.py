from __future__ import annotations

import asyncio

import pytest

from trunkline_server.state.ledger.open import open_database
from trunkline_server.state.ledger.schema import MIGRATIONS, NewerSchema, migrate


async def test_gateways_that_start_at_once_make_the_tables_once(url: str) -> None:
    several = [open_database(url) for _ in range(4)]
    await asyncio.gather(*map(migrate, several))
    for database in several:
        assert await database.fetch("SELECT COUNT(*) FROM attempts") == [(0,)]
        assert await database.fetch("SELECT version FROM schema_version") == [(len(MIGRATIONS),)]
        await database.aclose()


async def test_an_older_database_gets_what_it_lacks(url: str) -> None:
    database = open_database(url)
    await migrate(database)
    more = (*MIGRATIONS, ("CREATE TABLE extra (n BIGINT NOT NULL)", "INSERT INTO extra (n) VALUES (1)"))
    await migrate(database, more)
    await migrate(database, more)
    assert await database.fetch("SELECT n FROM extra") == [(1,)]
    with pytest.raises(NewerSchema, match=f"has version {len(more)}, this Trunkline knows {len(MIGRATIONS)}"):
        await migrate(database)
    await database.aclose()


async def test_a_migration_that_fails_leaves_nothing(url: str) -> None:
    database = open_database(url)
    broken = (*MIGRATIONS, ("CREATE TABLE extra (n BIGINT NOT NULL)", "INSERT INTO nowhere (n) VALUES (1)"))
    with pytest.raises(Exception, match="failed"):
        await migrate(database, broken)
    await migrate(database)
    assert await database.fetch("SELECT COUNT(*) FROM attempts") == [(0,)]
    await database.aclose()
