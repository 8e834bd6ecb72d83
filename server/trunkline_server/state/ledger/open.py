"""From the settings to a ledger, and from a URL to a database."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from trunkline_server.state.ledger.ledger import Ledger, begin_ledger
from trunkline_server.state.ledger.sqlite import SqliteDatabase

if TYPE_CHECKING:
    from trunkline_server.logs import Log
    from trunkline_server.settings import LedgerSettings
    from trunkline_server.state.ledger.database import Database

SCHEMES = ("sqlite", "postgresql")


class DriverMissing(Exception):
    """PostgreSQL is asked for, and what speaks to it is not installed."""

    def __init__(self) -> None:
        super().__init__("ledger.url names PostgreSQL, which needs asyncpg: install trunkline[postgres]")


async def open_ledger(settings: LedgerSettings, data_folder: Path, log: Log) -> Ledger:
    """The ledger that the settings name. Raises DriverMissing, StoreFailed, NewerSchema and OSError."""
    url = url_of(settings, data_folder)
    database = open_database(url)
    try:
        return await begin_ledger(database, journal_folder(settings, data_folder), settings, log)
    except BaseException:
        await database.aclose()
        raise


def url_of(settings: LedgerSettings, data_folder: Path) -> str:
    """Where the database is: without a URL a file in the user's data folder."""
    return settings.url.reveal() if settings.url else f"sqlite:///{data_folder / 'ledger.sqlite3'}"


def journal_folder(settings: LedgerSettings, data_folder: Path) -> Path:
    """Where journals are kept of gateways that write into this database: what is left there belongs into no other."""
    parts = urlsplit(url_of(settings, data_folder))
    place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}?{parts.query}"
    return Path(settings.folder or data_folder) / f"journal-{sha256(place.encode()).hexdigest()[:12]}"


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
