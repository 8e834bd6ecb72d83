"""Gateway keys in the ledger's database. What is done to a key and the audit event of it are one transaction."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from trunkline_server.errors import KeysUnavailable
from trunkline_server.state.audit import insertion
from trunkline_server.state.identity.keys import ApiKey, HeldSecret
from trunkline_server.state.ledger.database import SLOW, Statement, StoreFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trunkline.v1.identity_pb2 import AuditEvent
    from trunkline_server.state.ledger.database import Database, Row, Script

_SECRETS = "digest, previous, previous_ends"
_COLUMNS = f"id, name, workspace, role, models, providers, strategies, created, expires, revoked, {_SECRETS}"
_FIND = f"SELECT {_COLUMNS} FROM api_keys WHERE id = ?"  # noqa: S608 - here and below: constants
_LIST = f"""SELECT {_COLUMNS} FROM api_keys WHERE id > ? AND (? = '' OR workspace = ?)
    AND (? = 1 OR revoked IS NULL AND (expires IS NULL OR expires > ?)) ORDER BY id LIMIT ?"""  # noqa: S608
_ADD = f"INSERT INTO api_keys ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
_ROTATE = f"""UPDATE api_keys SET previous = digest, previous_ends = ?, digest = ?
    WHERE id = ? AND revoked IS NULL AND (expires IS NULL OR expires > ?) RETURNING {_COLUMNS}"""  # noqa: S608
_REVOKE = f"UPDATE api_keys SET revoked = ? WHERE id = ? AND revoked IS NULL RETURNING {_COLUMNS}"  # noqa: S608
# Seconds that a call waits for its key to be found.
PATIENCE = 2.0


class KeyStore:
    """The keys. Every method raises KeysUnavailable when the database does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # The last read that took too long.
        self._late: asyncio.Future[list[Row]] | None = None

    async def find(self, key_id: str) -> ApiKey | None:
        """The key, revoked or not; None: there is none."""
        rows = await self._fetch(_FIND, [key_id])
        return _key(rows[0]) if rows else None

    async def has_any(self) -> bool:
        """Whether a key was ever made: none is ever removed."""
        return bool(await self._fetch("SELECT 1 FROM api_keys LIMIT 1", []))

    async def page(self, workspace: str, *, inactive: bool, now: int, after: str, limit: int) -> list[ApiKey]:
        """Keys in the order of their ids, after the id `after`; of one workspace unless that is empty."""
        rows = await self._fetch(_LIST, [after, workspace, workspace, int(inactive), now, limit])
        return [_key(row) for row in rows]

    async def add(self, key: ApiKey, event: AuditEvent) -> None:
        """Keep a new key."""
        await self._change(Statement(_ADD, [_row(key)]), event)

    async def rotate(self, key_id: str, digest: str, previous_ends: int, now: int, event: AuditEvent) -> ApiKey | None:
        """Give an active key another secret; the one of before is taken until `previous_ends`. None: no such key."""
        return await self._change(Statement(_ROTATE, [(previous_ends, digest, key_id, now)], returns=True), event)

    async def revoke(self, key_id: str, now: int, event: AuditEvent) -> ApiKey | None:
        """Refuse a key from now on. None: no such key, or it was revoked before."""
        return await self._change(Statement(_REVOKE, [(now, key_id)], returns=True), event)

    async def _change(self, statement: Statement, event: AuditEvent) -> ApiKey | None:
        """Do it and write it down, or neither. If the statement should return a row and does not, neither."""

        def run() -> Script[list[Row]]:
            rows = yield statement
            if rows or not statement.returns:
                yield insertion(event)
            return rows

        rows = await self._transact(run)
        return _key(rows[0]) if rows else None

    async def _fetch(self, sql: str, params: Sequence[Any]) -> list[Row]:
        """Whoever reads while somebody waits in vain is told at once.

        Not cancelled when it is late: a driver that breaks off a query waits for the database to agree.
        """
        if self._late is not None and not self._late.done():
            raise KeysUnavailable(SLOW)
        reading = asyncio.ensure_future(self._database.fetch(sql, params))
        reading.add_done_callback(_heard)
        await asyncio.wait([reading], timeout=PATIENCE)
        if not reading.done():
            self._late = reading
            raise KeysUnavailable(SLOW)
        try:
            return reading.result()
        except StoreFailed as failed:
            raise KeysUnavailable(failed.kind) from failed

    async def _transact(self, script: Callable[[], Script[list[Row]]]) -> list[Row]:
        try:
            return await self._database.transact(script)
        except StoreFailed as failed:
            raise KeysUnavailable(failed.kind) from failed


def _heard(reading: asyncio.Future[list[Row]]) -> None:
    """Whoever asked may be gone, however it ends."""
    if not reading.cancelled():
        reading.exception()


def _row(key: ApiKey) -> tuple[Any, ...]:
    lists = (msgspec.json.encode(names).decode() for names in (key.models, key.providers, key.strategies))
    previous = key.previous or HeldSecret("")
    times = (key.created, key.expires, key.revoked)
    return (
        *(key.id, key.name, key.workspace, key.role, *lists, *times, key.secret.digest),
        *(previous.digest or None, previous.ends),
    )


def _key(row: Row) -> ApiKey:
    key_id, name, workspace, role, models, providers, strategies, *times, digest, previous, ends = row
    created, expires, revoked = times
    return ApiKey(
        id=key_id,
        name=name,
        workspace=workspace,
        role=role,
        models=msgspec.json.decode(models, type=tuple[str, ...]),
        providers=msgspec.json.decode(providers, type=tuple[str, ...]),
        strategies=msgspec.json.decode(strategies, type=tuple[str, ...]),
        created=created,
        expires=expires,
        revoked=revoked,
        secret=HeldSecret(digest),
        previous=HeldSecret(previous, ends) if previous else None,
    )
