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


def test_a_record_that_is_longer_than_a_file_has_one_of_its_own(tmp_path: Path) -> None:
    written = Journal(tmp_path, lambda path: path.unlink(), size=400)
    for call_id in ("short", "c" * 1000, "short as well"):
        written.end(ended(call_id))
    assert [row.call_id for file in journal.files(tmp_path) for row in journal.read(file)] == [
        "short",
        "c" * 1000,
        "short as well",
    ]
    written.close()
