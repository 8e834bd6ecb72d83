"""Gateway keys: how they are written, what is kept of them, and what holds of one now.

A key is tl_<id>_<secret>. The id is public; of the secret only an HMAC under the server's pepper is kept, so that who
reads the database cannot call, and who has the pepper cannot guess 256 random bits.
"""

from __future__ import annotations

import hmac
import re
import secrets
import string

from msgspec import Struct

from trunkline_server.core import Identity, Role

# Characters: 62 bits of an id, 256 of a secret.
_ID_LENGTH = 12
_SECRET_LENGTH = 43
_ID_ALPHABET = string.digits + string.ascii_lowercase
_SECRET_ALPHABET = string.digits + string.ascii_letters
_FORM = re.compile(rf"tl_([0-9a-z]{{{_ID_LENGTH}}})_([0-9A-Za-z]{{{_SECRET_LENGTH}}})")
# Microseconds since 1970: never.
FOREVER = 1 << 62


class HeldSecret(Struct, frozen=True):
    """What is kept of a secret."""

    digest: str
    # Microseconds since 1970, from when it is not taken any more; None: as long as its key.
    ends: int | None = None


# Stands where a key has no (second) secret, so that the check takes as long. No secret has this digest.
_NO_SECRET = HeldSecret("-" * 64, 0)


class ApiKey(Struct, frozen=True, kw_only=True):
    """A key. Times are microseconds since 1970."""

    id: str
    name: str
    workspace: str
    role: Role
    models: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    strategies: tuple[str, ...] = ()
    created: int
    # None: never.
    expires: int | None = None
    revoked: int | None = None
    # The one of now, and the one before while it is still taken.
    secret: HeldSecret
    previous: HeldSecret | None = None

    def identity(self) -> Identity:
        """Who calls with it."""
        return Identity(self.workspace, self.id, self.role, self.models, self.providers, self.strategies)

    def is_active(self, now: int) -> bool:
        """Whether it is taken: neither revoked nor expired."""
        return self.revoked is None and (self.expires is None or now < self.expires)


def new_key_id() -> str:
    """An id that no other key has."""
    return "".join(secrets.choice(_ID_ALPHABET) for _ in range(_ID_LENGTH))


def is_key_id(text: str) -> bool:
    """Whether a key may have this id."""
    return len(text) == _ID_LENGTH and all(character in _ID_ALPHABET for character in text)


def new_secret() -> str:
    """A secret that nobody can guess."""
    return "".join(secrets.choice(_SECRET_ALPHABET) for _ in range(_SECRET_LENGTH))


def write_key(key_id: str, secret: str) -> str:
    """The key as callers send it."""
    return f"tl_{key_id}_{secret}"


def read_key(token: str) -> tuple[str, str] | None:
    """The id and the secret of what a caller sent; None: it is not written as a key is."""
    match = _FORM.fullmatch(token)
    return (match[1], match[2]) if match else None


def digest_of(pepper: bytes, secret: str) -> str:
    """What is kept of a secret."""
    return hmac.digest(pepper, secret.encode(), "sha256").hex()


def valid_until(key: ApiKey | None, digest: str, now: int) -> int:
    """Until when whoever has the secret of this digest may use the key; 0: not now.

    Compares twice whatever there is, in time that does not depend on what is kept: a key that does not exist, one that
    is revoked and a wrong secret take the same work.
    """
    current = key.secret if key else _NO_SECRET
    previous = (key.previous if key else None) or _NO_SECRET
    is_current = hmac.compare_digest(current.digest, digest)
    is_previous = hmac.compare_digest(previous.digest, digest)
    if key is None or not key.is_active(now) or not (is_current or is_previous):
        return 0
    ends = FOREVER if is_current else previous.ends or 0
    until = min(ends, key.expires or FOREVER)
    return until if now < until else 0
