"""The journal by itself: a record stays as long as the database may lack a row of its call."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING
from zlib import crc32

from ledger_rows import ended, finished
from msgspec import msgpack, structs

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

    written.committed([finished("c1", 1, duration=None), finished("c1", 1)])
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
