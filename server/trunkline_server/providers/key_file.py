"""A key in a file: read again when the file has changed, without a restart and without a thread that watches."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from trunkline_server.errors import Unreadable
from trunkline_server.providers.credential import Held

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline_server.settings import Secret

# Seconds. The file is looked at when the key is used or shown, and no more often than this.
LOOK_EVERY: Final = 1.0


class Files(Protocol):
    """Who reads secrets from files."""

    def stamp(self, secret: Secret) -> object:
        """Differs when the secret's file may have changed."""

    def read(self, secret: Secret) -> Secret:
        """The secret as its file has it now. Raises Unreadable."""


class KeyFile:
    """A source of the key in a file. What the file cannot be used for leaves the key that was there before."""

    def __init__(
        self, key: Secret, files: Files, tell: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`tell` hears of each new key, and of content that cannot be used. `clock` gives seconds."""
        self._key = key
        self._files = files
        self._tell = tell
        self._clock = clock
        # Nothing was looked at yet: since the key was read its file may have changed.
        self._stamp: object = self
        self._looked = float("-inf")
        self._held = Held(key.hint())

    def look(self) -> Held:
        """How it is now: one call of the system a second at most, unless the file has changed."""
        if self._clock() - self._looked >= LOOK_EVERY:
            self._check()
        return self._held

    def refused(self) -> None:
        """Look at the file at once."""
        self._check()

    async def get(self) -> Secret:
        """The key."""
        self.look()
        return self._key

    def _check(self) -> None:
        self._looked = self._clock()
        stamp = self._files.stamp(self._key)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            key = self._files.read(self._key)
        except Unreadable as unreadable:
            note = f"its file has changed and the key before it is used: expected {unreadable}"
            self._held = replace(self._held, note=note)
            self._tell(note)
        else:
            self._take(key)

    def _take(self, key: Secret) -> None:
        version = self._held.version + (key != self._key)
        if key != self._key:
            self._tell("there is a new key in its file")
        self._key, self._held = key, Held(key.hint(), version)
