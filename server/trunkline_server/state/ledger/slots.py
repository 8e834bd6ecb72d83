"""Which gateway of this machine has which journal: each takes a numbered folder and holds a lock on it while it lives.

A gateway that starts takes the first that is free, so it finds what its predecessor left.
"""

from __future__ import annotations

import os
import sys
from itertools import count
from typing import TYPE_CHECKING
from uuid import uuid4

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class Slot:
    """A folder of our own, and the name under which its gateways write into the database."""

    def __init__(self, folder: Path, descriptor: int) -> None:
        self.folder = folder
        self._descriptor = descriptor
        self.id = self._read_id()

    def _read_id(self) -> str:
        path = self.folder / "id"
        if not path.exists():
            path.write_text(uuid4().hex)
        return path.read_text()

    def release(self) -> None:
        """Let another gateway have it."""
        os.close(self._descriptor)


def take_slot(root: Path) -> Slot:
    """The first that no living gateway holds. Raises OSError if the folder cannot be written to."""
    return next(slot for number in count() if (slot := _take(root / f"slot-{number}")) is not None)


def abandoned_slots(root: Path) -> Iterator[Slot]:
    """The slots of gateways that are dead, one after the other. Whoever gets one releases it."""
    for folder in sorted(root.glob("slot-*")):
        slot = _take(folder)
        if slot is not None:
            yield slot


def _take(folder: Path) -> Slot | None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(descriptor)
    except OSError:
        os.close(descriptor)
        return None
    return Slot(folder, descriptor)
