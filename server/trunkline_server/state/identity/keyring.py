"""The keyring: who presents a key. One that was found right is remembered for seconds, so that a call costs no read."""

from __future__ import annotations

import secrets
import time
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple, Protocol

from trunkline_server.core import ANYBODY, Identity, now
from trunkline_server.state.identity.keys import digest_of, read_key, valid_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline_server.state.identity.keys import ApiKey

# Seconds that a key is taken without another look: as long as a revocation by another process may take to be obeyed.
REMEMBERED = 5.0
# Keys in use at once; with more, the one that was looked up first is looked up again.
MAX_REMEMBERED = 10_000


class KeyReader(Protocol):
    """Where keys are kept. Raises KeysUnavailable."""

    async def find(self, key_id: str) -> ApiKey | None:
        """The key, revoked or not; None: there is none."""

    async def has_any(self) -> bool:
        """Whether a key was ever made."""


class _Remembered(NamedTuple):
    identity: Identity
    # On the clock of core.now(): when it is looked up again.
    stale: float
    # Microseconds since 1970: when the key or its secret ends.
    until: int


class Keyring:
    """Tells who presents a key. Remembers only those that are right, by a digest of the whole key."""

    def __init__(self, keys: KeyReader, pepper: bytes, *, wall: Callable[[], float] = time.time) -> None:
        """`wall` tells seconds since 1970."""
        self._keys = keys
        self._pepper = pepper
        self._salt = secrets.token_bytes(32)
        self._wall = wall
        self._remembered: dict[bytes, _Remembered] = {}
        # Goes up with every forget: what was read before is not remembered after.
        self._changes = 0
        self._any = False
        self._any_stale = 0.0

    def recall(self, token: str) -> Identity | None:
        """Who this is, if it was found right within the last seconds. Reads nothing."""
        found = self._remembered.get(self._name(token))
        if found is None or now() >= found.stale or self._wall() * 1e6 >= found.until:
            return None
        return found.identity

    async def identify(self, token: str) -> Identity | None:
        """Who this is; None: the key is wrong, expired or revoked. Raises KeysUnavailable."""
        if (identity := self.recall(token)) is not None:
            return identity
        if (parts := read_key(token)) is None:
            return None
        changes, stale = self._changes, now() + REMEMBERED
        key, digest = await self._keys.find(parts[0]), digest_of(self._pepper, parts[1])
        until = valid_until(key, digest, self._microseconds())
        if key is None or not until:
            self._remembered.pop(self._name(token), None)
            return None
        identity = key.identity()
        if changes == self._changes:
            self._remember(token, _Remembered(identity, stale, until))
        return identity

    def last_known(self, token: str | None) -> Identity | None:
        """Who it was when that was looked up last, however long ago; without a key everybody, if there was none then.

        For what may be told while keys cannot be looked up.
        """
        if token is None:
            return ANYBODY if self._any_stale and not self._any else None
        found = self._remembered.get(self._name(token))
        return None if found is None or self._microseconds() >= found.until else found.identity

    async def has_any(self) -> bool:
        """Whether a key was ever made, as it was within the last seconds. Raises KeysUnavailable."""
        if not self._any and now() >= self._any_stale:
            stale = now() + REMEMBERED
            self._any = await self._keys.has_any()
            self._any_stale = stale
        return self._any

    def forget(self, key_id: str) -> None:
        """A key was changed in this process: look it up again at its next use. Pass "" for one that is new."""
        self._changes += 1
        self._any_stale = 0.0
        self._remembered = {name: it for name, it in self._remembered.items() if it.identity.key != key_id}

    def _remember(self, token: str, found: _Remembered) -> None:
        name = self._name(token)
        # Anew at the end: the first is the one that was looked up first.
        self._remembered.pop(name, None)
        if len(self._remembered) >= MAX_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[name] = found

    def _name(self, token: str) -> bytes:
        """A keyed digest of this process's own, which nothing can be learned from. Once a call: a fast one."""
        return blake2b(token.encode(), key=self._salt, digest_size=32).digest()

    def _microseconds(self) -> int:
        return int(self._wall() * 1e6)
