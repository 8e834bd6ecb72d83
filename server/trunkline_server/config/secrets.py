"""Secrets of the configuration: what references name, read from the environment and from files. A part of config.py."""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from trunkline_server.config.check import Unfit
from trunkline_server.config.file import read_text
from trunkline_server.config.ledger import is_database_url
from trunkline_server.config.valkey import is_valkey_url
from trunkline_server.errors import Unreadable
from trunkline_server.settings import (
    SECRETS_GROUP,
    DatabaseUrl,
    Document,
    Header,
    Reference,
    Secret,
    ValkeyUrl,
    WebhookUrl,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

S = TypeVar("S", bound=Secret)

# env:NAME or file:/an/absolute/path (or one with a drive's letter).
LOCAL = r"env:[A-Za-z_][A-Za-z0-9_]*|file:(?:/|[A-Za-z]:[/\\]).+"
# A name in a store: aws-sm:NAME. A scheme has two characters at least, or C: would be one.
STORED = r"([a-z][a-z0-9+.-]+):[!-~]+"
BUILT_IN = ("env", "file", "aws-sm")
VISIBLE = r"[!-~]+"
VISIBLE_AND_BLANK = r"[ -~]*"


def readers(environ: Mapping[str, str]) -> dict[type, Callable[[object], object]]:
    """What reads each kind of secret. They raise Unfit, which shows nothing of it."""
    return {
        Secret: _secret_reader(environ),
        Header: _header_reader(environ),
        Document: _read_document,
        DatabaseUrl: _url_reader(environ),
        WebhookUrl: _webhook_reader(environ),
        ValkeyUrl: _valkey_reader(environ),
    }


class SecretFiles:
    """Reads the files of secrets again, while the gateway runs."""

    def stamp(self, secret: Secret) -> object:
        """Differs when the secret's file may have changed. None: it cannot be looked at."""
        try:
            found = Path(secret.origin.removeprefix("file:")).stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def read(self, secret: S) -> S:
        """The secret as its file has it now. Raises Unreadable."""
        try:
            if isinstance(secret, Document):
                return type(secret)(_text_of(secret.origin), secret.origin)
            return type(secret)(_resolved(secret.origin, {}, VISIBLE), secret.origin)
        except Unfit as unfit:
            raise Unreadable(str(unfit)) from None


def _secret_reader(environ: Mapping[str, str]) -> Callable[[object], Secret]:
    def read(value: object) -> Secret:
        if _is_local(value):
            return Secret(_resolved(str(value), environ, VISIBLE), str(value))
        if isinstance(value, str) and (match := re.fullmatch(STORED, value)) and _is_known(match[1]):
            return Reference(value)
        raise Unfit(
            "env:NAME or file:/path, or a name in a store such as aws-sm:NAME: "
            "the secret itself does not belong in the configuration"
        )

    return read


def _is_known(scheme: str) -> bool:
    if scheme in BUILT_IN:
        return scheme == "aws-sm"
    return bool(entry_points(group=SECRETS_GROUP, name=scheme))


def _header_reader(environ: Mapping[str, str]) -> Callable[[object], Header]:
    def read(value: object) -> Header:
        if _is_local(value):
            return Header(_resolved(str(value), environ, VISIBLE_AND_BLANK))
        if not isinstance(value, str) or not re.fullmatch(VISIBLE_AND_BLANK, value):
            raise Unfit("one line of ASCII text, env:NAME or file:/path")
        return Header(value)

    return read


def _webhook_reader(environ: Mapping[str, str]) -> Callable[[object], WebhookUrl]:
    def read(value: object) -> WebhookUrl:
        text = _resolved(str(value), environ, VISIBLE) if _is_local(value) else value
        if not isinstance(text, str) or not re.fullmatch(VISIBLE, text):
            raise Unfit("an https URL, env:NAME or file:/path")
        return WebhookUrl(text, str(value) if _is_local(value) else "")

    return read


def _url_reader(environ: Mapping[str, str]) -> Callable[[object], DatabaseUrl]:
    def read(value: object) -> DatabaseUrl:
        text = _resolved(str(value), environ, VISIBLE) if _is_local(value) else value
        if not isinstance(text, str) or not is_database_url(text):
            raise Unfit("sqlite:///path, postgresql://user@host/database, env:NAME or file:/path")
        if not _is_local(value) and (urlsplit(text).password is not None or "password" in text):
            raise Unfit("env:NAME or file:/path: a password does not belong in the configuration")
        return DatabaseUrl(text, str(value) if _is_local(value) else "")

    return read


def _valkey_reader(environ: Mapping[str, str]) -> Callable[[object], ValkeyUrl]:
    def read(value: object) -> ValkeyUrl:
        text = _resolved(str(value), environ, VISIBLE) if _is_local(value) else value
        if not isinstance(text, str) or not is_valkey_url(text):
            raise Unfit("valkey://host:port/database, valkeys:// over TLS, env:NAME or file:/path")
        if not _is_local(value) and "@" in text:
            raise Unfit("env:NAME or file:/path: a password does not belong in the configuration")
        return ValkeyUrl(text, str(value) if _is_local(value) else "")

    return read


def _read_document(value: object) -> Document:
    if not _is_local(value) or not str(value).startswith("file:"):
        raise Unfit("file:/path")
    return Document(_text_of(str(value)), str(value))


def _is_local(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(LOCAL, value) is not None


def _text_of(reference: str) -> str:
    text = read_text(Path(reference.removeprefix("file:")))
    if not text.strip():
        raise Unfit(f"{reference} to hold something")
    return text


def _resolved(reference: str, environ: Mapping[str, str], allowed: str) -> str:
    scheme, _, name = reference.partition(":")
    if scheme == "env" and name not in environ:
        raise Unfit(f"{reference} to be set")
    secret = environ[name] if scheme == "env" else read_text(Path(name)).rstrip("\r\n")
    if not secret or not re.fullmatch(allowed, secret):
        raise Unfit(f"{reference} to hold one line of visible ASCII characters")
    return secret
