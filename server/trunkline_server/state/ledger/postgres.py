"""The ledger in PostgreSQL, for gateways on several machines. Needs asyncpg: the extra trunkline[postgres]."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import asyncpg

from trunkline_server.state.ledger.database import Dialect, Query, StoreFailed
from trunkline_server.state.ledger.packed import numbers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from trunkline_server.state.ledger.database import Failure, Row, Script, Statement, T

_MERGE = """
CREATE OR REPLACE FUNCTION merge_histograms(a BIGINT[], b BIGINT[]) RETURNS BIGINT[] LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN a IS NULL THEN b WHEN b IS NULL THEN a ELSE least(a[1], b[1]) || ARRAY(
        SELECT CASE WHEN i >= a[1] THEN coalesce(a[i - a[1] + 2], 0) ELSE 0 END
             + CASE WHEN i >= b[1] THEN coalesce(b[i - b[1] + 2], 0) ELSE 0 END
        FROM generate_series(
            least(a[1], b[1]), greatest(a[1] + cardinality(a) - 2, b[1] + cardinality(b) - 2)
        ) AS i ORDER BY i
    ) END
$$
"""
_REFUSE = """
CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'these rows are never changed or removed'; END
$$
"""
_APPEND_ONLY = """
CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
"""
DIALECT = Dialect(
    name="postgresql",
    histogram="BIGINT[]",
    pack=numbers,
    clustered="",
    label="({column} ->> {key}::text)",
    pairs="jsonb_each_text({column})",
    characters=lambda codes: f"string_agg({' || '.join(f'chr(({code})::int)' for code in codes)}, '')",
    strung="string_agg({column}, '')",
    # A number of ours: nothing else in the database should wait for it.
    alone="SELECT pg_advisory_xact_lock(7526181)",
    functions=(_MERGE, _REFUSE),
    append_only=(_APPEND_ONLY,),
)
# Seconds to connect, and for a statement of ours.
_CONNECT, _COMMAND = 10.0, 60.0
_CONNECTIONS = 4
# How often a transaction is run again that another one got in the way of.
_TRIES = 5
_KINDS: dict[str, Failure] = {
    "53100": "disk full",
    "25006": "read-only",
    "42501": "not allowed",
    "XX001": "damaged",
    "XX002": "damaged",
}
_CLASSES: dict[str, Failure] = {
    "08": "connection lost",
    "22": "refused",
    "23": "refused",
    "28": "not allowed",
    "3D": "not allowed",
    "40": "locked",
    "53": "connection lost",
    "55": "locked",
    "57": "connection lost",
}


class PostgresDatabase:
    """A pool of connections, opened when the first is needed."""

    dialect = DIALECT

    def __init__(self, url: str) -> None:
        self._url = url
        self._pool: asyncpg.Pool[Any] | None = None
        self._opening = asyncio.Lock()

    async def transact(self, script: Callable[[], Script[T]]) -> T:
        """Run a script in one transaction; again, when another transaction got in its way."""
        for _ in range(_TRIES - 1):
            try:
                return await self._transact(script)
            except StoreFailed as failed:
                if failed.kind != "locked":
                    raise
        return await self._transact(script)

    async def _transact(self, script: Callable[[], Script[T]]) -> T:
        async with self._connected() as connection, connection.transaction():
            running, found = script(), None
            try:
                while True:
                    found = await _execute(connection, running.send(found))  # type: ignore[arg-type]
            except StopIteration as stopped:
                result: T = stopped.value
                return result

    async def fetch(self, sql: str, params: Sequence[Any] = ()) -> list[Row]:
        """What a query finds."""
        async with self._connected() as connection:
            return list(map(tuple, await connection.fetch(_numbered(sql), *params)))

    async def fetch_all(self, queries: Sequence[Query]) -> list[list[Row]]:
        """What several queries find at one and the same moment."""
        async with (
            self._connected() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            return [list(map(tuple, await connection.fetch(_numbered(q.sql), *q.params))) for q in queries]

    async def aclose(self) -> None:
        """Wait for what runs, and close."""
        if self._pool is not None:
            await self._pool.close()

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[asyncpg.Connection[Any]]:
        try:
            async with (await self._opened()).acquire() as connection:
                yield connection
        except asyncpg.PostgresError as error:
            raise StoreFailed(_kind(error.sqlstate or "")) from error
        except (asyncpg.DataError, OverflowError, ValueError) as error:
            raise StoreFailed("refused") from error
        except (asyncpg.InterfaceError, OSError, TimeoutError) as error:
            raise StoreFailed("connection lost") from error

    async def _opened(self) -> asyncpg.Pool[Any]:
        async with self._opening:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    self._url,
                    min_size=1,
                    max_size=_CONNECTIONS,
                    timeout=_CONNECT,
                    command_timeout=_COMMAND,
                    server_settings={"application_name": "trunkline"},
                )
            return self._pool


async def _execute(connection: asyncpg.Connection[Any], statement: Statement) -> list[Row]:
    sql, rows = _numbered(statement.sql), statement.rows
    if not statement.returns:
        await (connection.executemany(sql, rows) if len(rows) != 1 else connection.execute(sql, *rows[0]))
        return []
    found = await (connection.fetchmany(sql, rows) if len(rows) != 1 else connection.fetch(sql, *rows[0]))
    return list(map(tuple, found))


@lru_cache(256)
def _numbered(sql: str) -> str:
    """PostgreSQL's placeholders: $1, $2, ... No SQL of ours has a ? for anything else."""
    number = 0

    def next_number(_: re.Match[str]) -> str:
        nonlocal number
        number += 1
        return f"${number}"

    return re.sub(r"\?", next_number, sql)


def _kind(state: str) -> Failure:
    return _KINDS.get(state) or _CLASSES.get(state[:2], "failed")
