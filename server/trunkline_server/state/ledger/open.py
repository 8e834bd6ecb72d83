"""From the settings to a ledger, and from a URL to a database."""

from __future__ import annotations

from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from trunkline.v1.identity_pb2 import AuditEvent
from trunkline_server.state.audit import COMMAND_LINE, event_of, insertion
from trunkline_server.state.ledger import journal
from trunkline_server.state.ledger.database import WORDS, StoreFailed, script
from trunkline_server.state.ledger.ledger import Ledger, begin_ledger
from trunkline_server.state.ledger.recovery import recover_abandoned
from trunkline_server.state.ledger.retention import Erased, erase
from trunkline_server.state.ledger.schema import NewerSchema, migrate
from trunkline_server.state.ledger.sqlite import SqliteDatabase

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trunkline_server.logs import Log
    from trunkline_server.settings import LedgerSettings
    from trunkline_server.state.ledger.database import Database


class LedgerNotOpened(Exception):
    """The ledger cannot be opened: why, and what to do about it, in our own words."""


class DriverMissing(LedgerNotOpened):
    """PostgreSQL is asked for, and what speaks to it is not installed."""

    def __init__(self) -> None:
        super().__init__("ledger.url names PostgreSQL, which needs asyncpg: install trunkline[postgres]")


async def open_ledger(settings: LedgerSettings, data_folder: Path, log: Log) -> Ledger:
    """The ledger that the settings name. Raises LedgerNotOpened."""
    database = open_database(url_of(settings, data_folder))
    try:
        with _in_words():
            return await begin_ledger(database, journal_folder(settings, data_folder), settings, log)
    except BaseException:
        await database.aclose()
        raise


async def erase_end_user(settings: LedgerSettings, data_folder: Path, end_user: str) -> Erased:
    """Take an end user's name out of the database and what waits for it, whether a gateway runs or not.

    Written down as an audit event, which does not say whose name it was. Raises LedgerNotOpened.
    """
    database = open_database(url_of(settings, data_folder))
    try:
        with _in_words():
            await migrate(database)
            folder = journal_folder(settings, data_folder)
            await recover_abandoned(database, folder)
            for path in (*folder.glob("slot-*/*.journal"), *folder.glob("slot-*/refused")):
                journal.blank(path, end_user)
            erased = await erase(database, end_user)
            detail = f"from {erased.attempts} attempts and {erased.calls} calls"
            event = event_of(AuditEvent.KIND_DATA_ERASED, COMMAND_LINE, detail=detail)
            await database.transact(script(insertion(event)))
            return erased
    finally:
        await database.aclose()


@contextmanager
def _in_words() -> Iterator[None]:
    try:
        yield
    except NewerSchema as newer:
        raise LedgerNotOpened(str(newer)) from newer
    except (StoreFailed, OSError) as error:
        why = WORDS[error.kind] if isinstance(error, StoreFailed) else "its folder cannot be written to"
        raise LedgerNotOpened(f"the ledger cannot be opened: {why}; see ledger.url and ledger.folder") from error


def url_of(settings: LedgerSettings, data_folder: Path) -> str:
    """Where the database is: without a URL a file in the user's data folder."""
    return settings.url.reveal() if settings.url else f"sqlite:///{quote(str(data_folder / 'ledger.sqlite3'))}"


def journal_folder(settings: LedgerSettings, data_folder: Path) -> Path:
    """Where journals are kept of gateways that write into this database: what is left there belongs into no other."""
    url = url_of(settings, data_folder)
    parts = urlsplit(url)
    # Who logs in makes no other database of it.
    place = f"{parts.netloc.rpartition('@')[2]}{parts.path}?{parts.query}"
    if parts.scheme == "sqlite":
        place = str(sqlite_path(url).resolve())
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
