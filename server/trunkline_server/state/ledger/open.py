"""From a URL to a database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from trunkline_server.state.ledger.sqlite import SqliteDatabase

if TYPE_CHECKING:
    from trunkline_server.state.ledger.database import Database

SCHEMES = ("sqlite", "postgresql")


class DriverMissing(Exception):
    """PostgreSQL is asked for, and what speaks to it is not installed."""

    def __init__(self) -> None:
        super().__init__("ledger.url names PostgreSQL, which needs asyncpg: install trunkline[postgres]")


def open_database(url: str) -> Database:
    """The database of `sqlite:///path` or `postgresql://...`. Nothing is connected yet. Raises DriverMissing."""
    if url.startswith("sqlite:"):
        return SqliteDatabase(sqlite_path(url))
    try:
        from trunkline_server.state.ledger.postgres import PostgresDatabase  # noqa: PLC0415 - an extra
    except ModuleNotFoundError:
        raise DriverMissing from None
    return PostgresDatabase(url)


def sqlite_path(url: str) -> Path:
    """The file of `sqlite:///relative/path` or `sqlite:////absolute/path`."""
    return Path(unquote(urlsplit(url).path)[1:])
