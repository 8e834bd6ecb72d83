"""The journal by itself: a record stays as long as the database may lack a row of its call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger_rows import ended, finished

from trunkline_server.state.ledger import journal
from trunkline_server.state.ledger.journal import Journal

if TYPE_CHECKING:
    from pathlib import Path


def test_a_call_is_forgotten_with_the_last_of_its_rows(tmp_path: Path) -> None:
    """Rows of one call may be committed in two transactions, and the gateway may die between them."""
    removed: list[Path] = []
    written = Journal(tmp_path, removed.append)
    written.begin(finished("c1", 1, duration=None))
    written.finish(finished("c1", 1))
    written.end(ended("c1"))
    (file,) = journal.files(tmp_path)

    written.committed("c1")
    written.tidy()
    assert removed == []
    assert [*journal.read(file)][-1] == ended("c1")

    written.committed("c1")
    written.tidy()
    assert removed == [file]
    written.close()
