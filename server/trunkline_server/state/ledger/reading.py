"""Reading the ledger for a caller: a database that fails is an error in words of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from trunkline_server.errors import LedgerUnreadable
from trunkline_server.state.ledger.database import Query, StoreFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trunkline_server.state.ledger.database import Database, Row, Script

T = TypeVar("T")


async def read(database: Database, sql: str, params: Sequence[object] = ()) -> list[Row]:
    """What a query finds. Raises LedgerUnreadable."""
    return (await read_all(database, [Query(sql, params)]))[0]


async def read_all(database: Database, queries: Sequence[Query]) -> list[list[Row]]:
    """What several queries find at one and the same moment. Raises LedgerUnreadable."""
    try:
        return await database.fetch_all(queries)
    except StoreFailed as failed:
        raise LedgerUnreadable(failed.kind) from failed


async def write(database: Database, script: Callable[[], Script[T]]) -> T:
    """What the transaction returns. Raises LedgerUnreadable."""
    try:
        return await database.transact(script)
    except StoreFailed as failed:
        raise LedgerUnreadable(failed.kind) from failed
