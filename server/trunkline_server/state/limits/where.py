"""Where Valkey is."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import unquote, urlsplit


class Where(NamedTuple):
    """What a URL says."""

    host: str
    port: int
    tls: bool
    user: str
    password: str
    database: int


def where(url: str) -> Where:
    """valkey://user:password@host:port/database; valkeys:// over TLS; redis:// and rediss:// are the same. Raises
    ValueError.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"valkey", "valkeys", "redis", "rediss"} or not parts.hostname or parts.query:
        raise ValueError("not a URL of Valkey")
    return Where(
        parts.hostname,
        parts.port or 6379,
        parts.scheme in {"valkeys", "rediss"},
        unquote(parts.username or ""),
        unquote(parts.password or ""),
        int(parts.path.strip("/") or 0),
    )
