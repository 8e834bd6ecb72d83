"""Rows for which the queue has no room: in files of the journal's folder until there is some.

They are as safe as the journal's: what is left of them when a gateway dies its successor takes in.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from trunkline_server.state.ledger import journal
from trunkline_server.state.ledger.rows import CallRow

if TYPE_CHECKING:
    from pathlib import Path

# Rows of a file, which are taken back at once.
ROWS = 500


class Overflow:
    """The rows of one gateway, the oldest first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: deque[Path] = deque()
        self._made = self._rows = 0

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._files)

    def add(self, row: CallRow) -> None:
        """Keep a row. Raises OSError."""
        if not self._files or self._rows >= ROWS:
            self._made += 1
            self._rows = 0
            self._files.append(self._folder / f"overflow-{self._made:08d}.journal")
        self._rows += 1
        journal.append(self._files[-1], row)

    def oldest(self) -> list[CallRow]:
        """The rows of the oldest file."""
        return [row for row in journal.read(self._files[0]) if isinstance(row, CallRow)]

    def forget(self) -> Path:
        """Forget the oldest file, whose rows are elsewhere now: which it is."""
        if len(self._files) == 1:
            self._rows = ROWS
        return self._files.popleft()
