"""What an SQLite file says when it cannot be written to, and what the ledger makes of it."""

from __future__ import annotations

import asyncio
import gc
import io
import sqlite3
import weakref
from functools import partial
from threading import Event, active_count
from typing import TYPE_CHECKING, Any

import pytest
from ledger_rows import ended, finished

from trunkline_server.logs import build_log
from trunkline_server.sections import Seconds
from trunkline_server.settings import LedgerSettings
from trunkline_server.state.ledger.commit import take
from trunkline_server.state.ledger.database import StoreFailed
from trunkline_server.state.ledger.ledger import begin_ledger
from trunkline_server.state.ledger.schema import migrate
from trunkline_server.state.ledger.sqlite import SqliteDatabase

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    database = SqliteDatabase(tmp_path / "ledger.sqlite3", patience=0.05)
    await migrate(database)
    yield database
    await database.aclose()


async def pragma(database: SqliteDatabase, text: str) -> int:
    found = await database._writer.run(lambda connection: connection.execute(f"PRAGMA {text}").fetchone())
    return int(found[0])


async def test_a_disk_that_fills_up_stops_nothing_for_good(database: SqliteDatabase, tmp_path: Path) -> None:
    settings = LedgerSettings(retention=Seconds(1e9))
    running = await begin_ledger(database, tmp_path / "journal", settings, build_log(io.BytesIO()))
    await running.tidy()
    await pragma(database, f"max_page_count={await pragma(database, 'page_count') + 20}")
    for number in range(1000):
        running.finish(finished(f"c{number}"))
        running.end_call(ended(f"c{number}"))
    while not running.health().failing:
        await asyncio.sleep(0.01)
    assert running.health().failing == "the disk is full"
    await pragma(database, f"max_page_count={1 << 30}")
    await running.flush()
    assert await database.fetch("SELECT COUNT(*) FROM attempts") == [(1000,)]
    assert await database.fetch("SELECT SUM(calls) FROM call_sums WHERE grain = 'day'") == [(1000,)]
    assert await database.fetch("PRAGMA integrity_check") == [("ok",)]
    await running.aclose()


async def test_another_process_that_holds_the_lock_is_named(database: SqliteDatabase, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "ledger.sqlite3", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreFailed, match="locked"):
        await database.transact(lambda: take([finished()], database.dialect))
    assert await database.fetch("SELECT COUNT(*) FROM attempts") == [(0,)], "readers do not wait"
    other.execute("ROLLBACK")
    await database.transact(lambda: take([finished()], database.dialect))
    other.close()


async def test_each_commit_is_on_the_disk(database: SqliteDatabase) -> None:
    full = 2
    assert await pragma(database, "synchronous") == full
    assert await database.fetch("PRAGMA journal_mode") == [("wal",)]


async def test_a_reader_cannot_write(database: SqliteDatabase) -> None:
    with pytest.raises(StoreFailed, match="read-only"):
        await database.fetch("DELETE FROM attempts")


async def test_closing_breaks_off_what_is_read(database: SqliteDatabase) -> None:
    endless = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n"
    reading = asyncio.ensure_future(database.fetch(endless))
    while database._readers[database._reading]._connection is None:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    await database.aclose()
    with pytest.raises(StoreFailed):
        await reading


class Busy(sqlite3.Connection):
    """The first tries to make the file one with a journal of its own are in the way of somebody else's."""

    tries = 0

    def execute(self, sql: str, *given: Any) -> sqlite3.Cursor:
        if "journal_mode" in sql:
            Busy.tries += 1
            if Busy.tries < 4:
                error = sqlite3.OperationalError("database is locked")
                error.sqlite_errorcode = sqlite3.SQLITE_BUSY
                raise error
        return super().execute(sql, *given)


async def test_many_may_open_a_new_file_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite does not wait there by itself; one that is locked for good is told of as ever."""
    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Busy))
    opened = SqliteDatabase(tmp_path / "ledger.sqlite3")
    await migrate(opened)
    assert Busy.tries == 4
    await opened.aclose()
    Busy.tries = -1_000_000
    locked = SqliteDatabase(tmp_path / "another.sqlite3", patience=0.02)
    with pytest.raises(StoreFailed, match="locked"):
        await migrate(locked)
    await locked.aclose()


async def test_what_nobody_waits_for_any_more_is_not_begun(database: SqliteDatabase) -> None:
    """But what is in hand is done to its end."""
    may_go, done = Event(), list[str]()

    def held(_: sqlite3.Connection) -> None:
        begun.set()
        may_go.wait()
        done.append("held")

    begun, faults = Event(), list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))
    writer = database._writer
    first, second = writer.run(held), writer.run(lambda _: done.append("second"))
    await asyncio.get_running_loop().run_in_executor(None, begun.wait)
    first.cancel()
    second.cancel()
    third = writer.run(lambda _: done.append("third"))
    may_go.set()
    await third
    assert done == ["held", "third"]
    assert not faults, "nobody is told twice"


async def test_a_bug_is_told_and_the_thread_goes_on(database: SqliteDatabase) -> None:
    class Bug(BaseException):
        pass

    def fail(_: sqlite3.Connection) -> None:
        raise Bug

    with pytest.raises(Bug):
        await database._writer.run(fail)
    assert await pragma(database, "user_version") == 0


async def test_a_failure_is_not_left_to_the_garbage_collector(database: SqliteDatabase) -> None:
    class Work:
        def __call__(self, _: sqlite3.Connection) -> None:
            raise StoreFailed("disk full")

    work = Work()
    known = weakref.ref(work)
    gc.disable()
    try:
        with pytest.raises(StoreFailed):
            await database._writer.run(work)
        del work
        await pragma(database, "user_version")  # the thread has let go of what it did before
        assert known() is None
    finally:
        gc.enable()


def test_a_loop_that_is_gone_before_its_answer_comes_is_in_nobodys_way(tmp_path: Path) -> None:
    database, may_go = SqliteDatabase(tmp_path / "l.sqlite3"), Event()

    async def leave() -> None:
        database._writer.run(lambda _: may_go.wait())

    async def come() -> int:
        may_go.set()
        try:
            return await pragma(database, "user_version")
        finally:
            await database.aclose()

    asyncio.run(leave())
    assert asyncio.run(come()) == 0


async def test_what_is_closed_says_so_and_its_threads_are_gone(tmp_path: Path) -> None:
    used, unused = (SqliteDatabase(tmp_path / name) for name in ("used", "unused"))
    await migrate(used)
    await used.fetch("SELECT 1")
    before = active_count()
    for each in (used, used, unused):
        await each.aclose()
    with pytest.raises(RuntimeError):
        await used.fetch("SELECT 1")
    threads = [each._thread for each in (used._writer, *used._readers) if each._thread.ident is not None]
    for thread in threads:
        thread.join(5)
    assert active_count() == before - len(threads)
    assert len(threads) == 2
