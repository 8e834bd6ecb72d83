"""The journal by itself: a record stays as long as the database may lack a row of its call."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING
from zlib import crc32

from ledger_rows import ended, finished
from msgspec import msgpack, structs

from trunkline_server.state.ledger import journal
from trunkline_server.state.ledger.commit import Withdrawn
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

    written.committed([finished("c1", 1, duration=None), Withdrawn("c1", 2), finished("c1", 1)])
    written.tidy()
    assert removed == []
    assert [*journal.read(file)][-1] == ended("c1")

    written.committed([ended("c1")])
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


def test_what_an_earlier_gateway_wrote_with_every_field_is_read_as_what_is_written_now(tmp_path: Path) -> None:
    row = ended("a")
    full = {**structs.asdict(row), "subject": structs.asdict(row.subject)}
    now, before = msgpack.encode(row), msgpack.encode(full)
    assert len(now) < len(before)
    path = tmp_path / "00000001.journal"
    path.write_bytes(b"".join(Struct("<cII").pack(b"c", len(body), crc32(body)) + body for body in (before, now)))
    assert [*journal.read(path)] == [row, row]


def test_the_end_of_a_call_is_kept_in_whichever_file_it_is(tmp_path: Path) -> None:
    removed: list[Path] = []
    written = Journal(tmp_path, removed.append, size=400)
    written.begin(finished("c1", 1, duration=None))
    written.finish(finished("c1", 1))
    written.end(ended("c1"))
    assert len(journal.files(tmp_path)) > 1
    written.tidy()
    kept = [path for path in journal.files(tmp_path) if path not in removed]
    assert [entry for path in kept for entry in journal.read(path)][-1] == ended("c1")
    written.committed([finished("c1", 1), ended("c1")])
    written.tidy()
    assert len(removed) == len(journal.files(tmp_path)) - 1
    written.close()


def test_an_attempt_that_ends_after_its_call_is_kept_until_it_is_committed(tmp_path: Path) -> None:
    """As one does that is read on for its usage."""
    removed: list[Path] = []
    written = Journal(tmp_path, removed.append)
    for attempt in (1, 2):
        written.begin(finished("c1", attempt, duration=None))
    written.finish(finished("c1", 1))
    written.end(ended("c1"))
    written.committed([finished("c1", 1), ended("c1")])
    written.tidy()
    assert removed == []
    written.finish(finished("c1", 2))
    written.tidy()
    assert removed == []
    written.committed([finished("c1", 2)])
    written.tidy()
    assert len(removed) == 1
    assert not written._calls
    written.withdraw(Withdrawn("c1", 3))
    assert not written._calls
    written.close()
