"""The database of keys and audit events, and the pepper, as the configuration says: for commands without a gateway."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from trunkline_server import config
from trunkline_server.cli.failures import ExitCode, Failed
from trunkline_server.settings import Settings
from trunkline_server.state.identity.pepper import PepperUnfit, pepper_of
from trunkline_server.state.ledger.database import WORDS, Database, StoreFailed
from trunkline_server.state.ledger.open import LedgerNotOpened, open_database, url_of
from trunkline_server.state.ledger.schema import NewerSchema, migrate


class Keeping(NamedTuple):
    """What keys are kept in, and what their digests are made with."""

    database: Database
    pepper: bytes


def place_of(settings: Settings) -> str:
    """Where the database is, without who logs in there."""
    parts = urlsplit(url_of(settings.ledger, config.data_folder()))
    host = parts.netloc.rpartition("@")[2]
    return unquote(parts.path[1:]) if parts.scheme == "sqlite" else f"{parts.scheme}://{host}{parts.path}"


@asynccontextmanager
async def keeping(settings: Settings) -> AsyncIterator[Keeping]:
    """The database with the tables of today; closed at the end. Raises Failed."""
    folder = config.data_folder()
    try:
        pepper = pepper_of(settings.server, folder)
        database = open_database(url_of(settings.ledger, folder))
    except (PepperUnfit, LedgerNotOpened) as unfit:
        raise Failed(ExitCode.USAGE, str(unfit)) from None
    try:
        await migrate(database)
        yield Keeping(database, pepper)
    except StoreFailed as failed:
        raise Failed(ExitCode.FAILED, f"the ledger cannot be opened: {WORDS[failed.kind]}; see ledger.url") from None
    except NewerSchema as newer:
        raise Failed(ExitCode.FAILED, str(newer)) from None
    finally:
        await database.aclose()
