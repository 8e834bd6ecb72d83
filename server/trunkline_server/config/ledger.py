"""What is wrong with the ledger's settings."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from trunkline_server.config.check import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trunkline_server.settings import Settings

SHORTEST_RETENTION = 7 * 86400.0


def ledger_problems(settings: Settings, _: object) -> Iterator[Problem]:
    """Everything that is wrong with them."""
    ledger = settings.ledger
    if ledger.retention < SHORTEST_RETENTION:
        yield Problem("ledger.retention", "at least 7d")
    if ledger.folder and not PurePath(ledger.folder).is_absolute():
        yield Problem("ledger.folder", "an absolute path")


def is_database_url(text: str) -> bool:
    """Whether it is the URL of a database that the ledger can be kept in."""
    try:
        url = urlsplit(text)
    except ValueError:
        return False
    if url.scheme == "sqlite":
        return url.path.startswith("/") and len(url.path) > 1 and not (url.netloc or url.query or url.fragment)
    return url.scheme == "postgresql" and len(url.path) > 1 and not url.fragment
