from __future__ import annotations

import asyncio

import pytest
from ledger_rows import finished

from trunkline_server.state.ledger.columns import ATTEMPT, attempt_of, attempt_values
from trunkline_server.state.ledger.database import Statement, script
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


async def test_rows_from_before_are_neither_retries_nor_hedges(url: str) -> None:
    database = open_database(url)
    await migrate(database, MIGRATIONS[:3])
    row = finished()
    old = [name for name in ATTEMPT if name not in ("retry", "hedge")]
    values = [value for name, value in zip(ATTEMPT, attempt_values(row), strict=True) if name in old]
    insert = f"INSERT INTO attempts ({', '.join(old)}) VALUES ({', '.join('?' * len(old))})"
    await database.transact(script(Statement(insert, [tuple(values)])))
    await migrate(database)
    assert [attempt_of(each) for each in await database.fetch(f"SELECT {', '.join(ATTEMPT)} FROM attempts")] == [row]
    assert await database.fetch("SELECT retries, hedges FROM attempt_sums") == []
    await database.aclose()


async def test_a_migration_that_fails_leaves_nothing(url: str) -> None:
    database = open_database(url)
    broken = (*MIGRATIONS, ("CREATE TABLE extra (n BIGINT NOT NULL)", "INSERT INTO nowhere (n) VALUES (1)"))
    with pytest.raises(Exception, match="failed"):
        await migrate(database, broken)
    await migrate(database)
    assert await database.fetch("SELECT COUNT(*) FROM attempts") == [(0,)]
    await database.aclose()
