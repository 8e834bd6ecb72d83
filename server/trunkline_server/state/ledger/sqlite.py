"""The ledger in an SQLite file: one thread writes, others read, none of them is the event loop's."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import time
from functools import lru_cache, partial
from itertools import chain
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any

from trunkline_server.state.ledger.database import Dialect, Query, Statement, StoreFailed, portions
from trunkline_server.state.ledger.packed import blob, merge_blobs

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

    from trunkline_server.state.ledger.database import Failure, Row, Script, T

    # What is to be done, and who waits for what comes of it.
    _Job = tuple[Callable[[], object], asyncio.Future[Any]]

DIALECT = Dialect(
    name="sqlite",
    histogram="BLOB",
    pack=blob,
    clustered="WITHOUT ROWID",
    label="json_extract({column}, '$.\"' || {key} || '\"')",
    pairs="json_each({column})",
    characters=lambda codes: f"group_concat(char({', '.join(codes)}), '')",
    strung="group_concat({column}, '')",
    append_only=tuple(
        f"CREATE TRIGGER {{table}}_no_{change} BEFORE {change} ON {{table}} "
        "BEGIN SELECT RAISE(ABORT, 'these rows are never changed or removed'); END"
        for change in ("UPDATE", "DELETE")
    ),
)
# Seconds that a transaction waits for another process to end its own.
PATIENCE = 5.0
# Seconds between two tries to be the one that makes a new file what it is to be.
_PAUSE = 0.01
# Threads that read at once.
_READERS = 2
_INSERT = re.compile(r"(INSERT .* VALUES )(\([?, 0]+\))(.*)")
# ON CONFLICT, RETURNING.
_OLDEST = (3, 35, 0)

_KINDS: dict[int, Failure] = {
    sqlite3.SQLITE_FULL: "disk full",
    sqlite3.SQLITE_IOERR_SHMSIZE: "disk full",
    sqlite3.SQLITE_BUSY: "locked",
    sqlite3.SQLITE_LOCKED: "locked",
    sqlite3.SQLITE_READONLY: "read-only",
    sqlite3.SQLITE_CANTOPEN: "not allowed",
    sqlite3.SQLITE_PERM: "not allowed",
    sqlite3.SQLITE_AUTH: "not allowed",
    sqlite3.SQLITE_CORRUPT: "damaged",
    sqlite3.SQLITE_NOTADB: "damaged",
}


class SqliteDatabase:
    """A file, in WAL mode: readers never wait for the writer, and each commit is on the disk when it returns."""

    dialect = DIALECT

    def __init__(self, path: Path, *, patience: float = PATIENCE) -> None:
        self._path = path
        self._patience = patience
        self._writer = _Thread("ledger-writer", self._open_writer)
        self._readers = [_Thread(f"ledger-reader-{n}", self._open_reader) for n in range(_READERS)]
        self._reading = 0

    async def transact(self, script: Callable[[], Script[T]]) -> T:
        """Run a script in one transaction."""
        return await self._writer.run(lambda connection: _transact(connection, script))

    async def fetch(self, sql: str, params: Sequence[Any] = ()) -> list[Row]:
        """What a query finds."""
        return (await self.fetch_all([Query(sql, params)]))[0]

    async def fetch_all(self, queries: Sequence[Query]) -> list[list[Row]]:
        """What several queries find at one and the same moment."""
        self._reading = (self._reading + 1) % _READERS
        return await self._readers[self._reading].run(lambda connection: _read(connection, queries))

    async def aclose(self) -> None:
        """Wait for what is written, break off what is read, close."""
        for reader in self._readers:
            await reader.aclose(interrupt=True)
        await self._writer.aclose()

    def _open_writer(self) -> sqlite3.Connection:
        if sqlite3.sqlite_version_info < _OLDEST:
            raise StoreFailed("failed")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = self._connect()
        _begin_wal(connection, time.monotonic() + self._patience)
        connection.execute("PRAGMA synchronous=FULL")
        # The file's size after a checkpoint of a burst.
        connection.execute(f"PRAGMA journal_size_limit={64 << 20}")
        connection.create_function("merge_histograms", 2, merge_blobs, deterministic=True)
        return connection

    def _open_reader(self) -> sqlite3.Connection:
        connection = self._connect()
        connection.execute("PRAGMA query_only=ON")
        # Of pages, and of what is sorted before a temporary file is used. temp_store=MEMORY would have no file, but
        # an allocation for each row that is sorted, and allocations of two readers wait for each other.
        connection.execute(f"PRAGMA cache_size={-32 << 10}")
        return connection

    def _connect(self) -> sqlite3.Connection:
        # Each connection stays on its own thread; only interrupt() and close() come from another.
        return sqlite3.connect(
            self._path, timeout=self._patience, isolation_level=None, cached_statements=64, check_same_thread=False
        )


def _begin_wal(connection: sqlite3.Connection, until: float) -> None:
    """Several that open a new file at once are in each other's way here, and SQLite does not wait by itself."""
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if _kind(error) != "locked" or time.monotonic() >= until:
                raise
            time.sleep(_PAUSE)
        else:
            return


class _Thread:
    """A thread with a connection of its own, opened when it is first used, and again after it could not be.

    One transaction has one answer, that is awaited on one event loop: of an executor the locks alone took more than
    what is done here.
    """

    def __init__(self, name: str, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = Thread(target=self._serve, name=name, daemon=True)
        self._connection: sqlite3.Connection | None = None
        self._closed = False

    def run(self, work: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        """Do the work on this thread, unless nobody waits any more once it is its turn. Raises StoreFailed."""
        if self._closed:
            raise RuntimeError("it is closed")
        if self._thread.ident is None:
            self._thread.start()
        return self._put(partial(self._run, work))

    def _put(self, work: Callable[[], T]) -> asyncio.Future[T]:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.put((work, future))
        return future

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            _do(*job)
            del job

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            if self._connection is None:
                self._connection = self._connect()
            return work(self._connection)
        except (sqlite3.Error, OverflowError, UnicodeError, OSError) as error:
            raise StoreFailed(_kind(error)) from error

    async def aclose(self, *, interrupt: bool = False) -> None:
        """Close the connection once the work in hand is done. A second time does nothing."""
        if self._closed:
            return
        self._closed = True
        if self._thread.ident is None:
            return
        if interrupt and self._connection is not None:
            self._connection.interrupt()
        closed = self._put(self._close)
        self._jobs.put(None)
        await closed

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _do(work: Callable[[], object], future: asyncio.Future[Any]) -> None:
    if future.cancelled():
        return
    try:
        tell, outcome = future.set_result, work()
    except BaseException as error:  # noqa: BLE001 - whoever waits for it is told
        tell, outcome = future.set_exception, error
    try:  # suppress() is three calls more
        future.get_loop().call_soon_threadsafe(_answer, future, tell, outcome)
    except RuntimeError:
        pass  # the loop is closed, and nobody waits
    finally:
        del work, future, tell, outcome  # else an error and what it tells of keep one another


def _answer(future: asyncio.Future[Any], tell: Callable[[Any], None], outcome: object) -> None:
    if not future.done():
        tell(outcome)


def _transact(connection: sqlite3.Connection, script: Callable[[], Script[T]]) -> T:
    # IMMEDIATE: a transaction that begins with reading could not be sure to be able to write later.
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = _play(connection, script())
        connection.execute("COMMIT")
    except BaseException:
        # Some failures, a full disk among them, have ended the transaction already.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return result


def _play(connection: sqlite3.Connection, running: Generator[Any, list[Row], T]) -> T:
    found: list[Row] = []
    try:
        statement = next(running)
        while True:
            if statement.locks:
                found = []
            elif statement.together:
                found = _inserted(connection, statement)
            elif statement.returns:
                found = _returned(connection, statement)
            else:
                connection.executemany(statement.sql, statement.rows)
                found = []
            statement = running.send(found)
    except StopIteration as stopped:
        result: T = stopped.value
        return result


def _returned(connection: sqlite3.Connection, statement: Statement) -> list[Row]:
    if statement.key and len(statement.rows) > 1 and _take_all(connection, statement):
        return [tuple(given[: statement.key]) for given in statement.rows]
    return [row for given in statement.rows for row in connection.execute(statement.sql, given).fetchall()]


def _inserted(connection: sqlite3.Connection, statement: Statement) -> list[Row]:
    return [
        row
        for some in portions(statement.rows)
        for row in connection.execute(_several(statement.sql, len(some)), list(chain.from_iterable(some))).fetchall()
    ]


def _take_all(connection: sqlite3.Connection, statement: Statement) -> bool:
    """Insert the rows if each of them is taken, many in one step. Otherwise nothing happens.

    SQLite gives up the interpreter's lock for every step, and gets it back late from an event loop that is busy: row by
    row that is most of what writing costs.
    """
    silent = statement.sql.rpartition(" RETURNING ")[0]
    connection.execute("SAVEPOINT at_once")
    taken = sum(
        connection.execute(_several(silent, len(some)), list(chain.from_iterable(some))).rowcount
        for some in portions(statement.rows)
    )
    if taken != len(statement.rows):
        connection.execute("ROLLBACK TO at_once")
    connection.execute("RELEASE at_once")
    return taken == len(statement.rows)


@lru_cache(64)
def _several(sql: str, count: int) -> str:
    """An INSERT of one row, as one of so many rows."""
    head, row, tail = _INSERT.fullmatch(sql).groups()  # type: ignore[union-attr]
    return f"{head}{', '.join([row] * count)}{tail}"


def _read(connection: sqlite3.Connection, queries: Sequence[Query]) -> list[list[Row]]:
    connection.execute("BEGIN")
    try:
        return [connection.execute(query.sql, query.params).fetchall() for query in queries]
    finally:
        connection.execute("ROLLBACK")


def _kind(error: Exception) -> Failure:
    if isinstance(error, OverflowError | UnicodeError | sqlite3.DataError | sqlite3.IntegrityError):
        return "refused"
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return "not allowed" if isinstance(error, OSError) else "failed"
    # Extended codes have the primary one in their low byte.
    return _KINDS.get(code) or _KINDS.get(code & 0xFF, "failed")
