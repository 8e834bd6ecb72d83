from __future__ import annotations

import asyncio
import io
import time
from pathlib import Path

import pytest
from ledger_rows import SUBJECT, ended, finished
from msgspec import structs

from trunkline.v1 import identity_pb2 as pb
from trunkline_server.cli.main import run
from trunkline_server.logs import build_log
from trunkline_server.settings import DatabaseUrl, LedgerSettings
from trunkline_server.state.audit import list_events
from trunkline_server.state.ledger.journal import Journal, append, blank, files, read
from trunkline_server.state.ledger.open import journal_folder, open_ledger
from trunkline_server.state.ledger.rows import CallRow
from trunkline_server.state.ledger.slots import take_slot

BOB = structs.replace(SUBJECT, end_user="bob")


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    path = tmp_path / "trunkline.yaml"
    path.write_text(f"ledger:\n  url: sqlite:///{tmp_path}/ledger.sqlite3\n  folder: {tmp_path}\n")
    return path


def test_erasing_while_a_gateway_runs(configuration: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = LedgerSettings(url=DatabaseUrl(f"sqlite:///{tmp_path}/ledger.sqlite3"))

    async def erase_beside_a_gateway() -> int:
        running = await open_ledger(settings, tmp_path, build_log(io.BytesIO()))
        await running.finish(finished(started=_now()))
        running.end_call(ended(started=_now()))
        await running.flush()
        arguments = ["data", "erase", "--end-user", "ann", "--config", str(configuration)]
        code = await asyncio.to_thread(run, arguments)
        assert await running.database.fetch("SELECT end_user FROM calls") == [("",)]
        events = await list_events(running.database, pb.ListAuditEventsRequest(), "", 10)
        assert [(event.kind, event.peer, event.detail) for event in events] == [
            (pb.AuditEvent.KIND_DATA_ERASED, "command line", "from 1 attempts and 1 calls")
        ]
        assert "ann" not in str(events)
        assert not names_ann(tmp_path)
        await running.aclose()
        return code

    assert asyncio.run(erase_beside_a_gateway()) == 0
    assert capsys.readouterr().out == "erased from 1 attempts and 1 calls\n"


def names_ann(folder: Path) -> bool:
    """Whether anything that waits for the database does."""
    return any(b"\xa3ann" in path.read_bytes() for path in folder.rglob("slot-*/*"))


def test_erasing_where_a_gateway_died_leaves_nothing_for_the_next_to_take_in(
    configuration: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows that had not reached the database, and one that never will, because it cannot be read."""
    settings = LedgerSettings(url=DatabaseUrl(f"sqlite:///{tmp_path}/ledger.sqlite3"))
    folder = journal_folder(settings, tmp_path)
    slot = take_slot(folder)
    left = Journal(slot.folder, lambda path: path.unlink())
    for row in (ended("hers", started=_now()), ended("his", started=_now(), subject=BOB)):
        left.end(row)
    left.close()
    append(slot.folder / "refused", ended("odd", subject=SUBJECT, fell_back=None))
    append(slot.folder / "refused", ended("as well", subject=BOB, fell_back=None))
    slot.release()

    assert run(["data", "erase", "--end-user", "ann", "--config", str(configuration)]) == 0
    assert capsys.readouterr().out == "erased from 0 attempts and 1 calls\n"
    kept = (slot.folder / "refused").read_bytes()
    assert (b"ann" in kept, kept.count(b"bob"), b"odd" in kept) == (False, 1, True)

    async def taken_in() -> list[tuple[str, str]]:
        running = await open_ledger(settings, tmp_path, build_log(io.BytesIO()))
        rows = await running.database.fetch("SELECT call_id, end_user FROM calls ORDER BY call_id")
        await running.aclose()
        return [(call, user) for call, user in rows]

    assert asyncio.run(taken_in()) == [("hers", ""), ("his", "bob")]


def test_a_name_is_written_over_where_a_gateway_goes_on_writing(tmp_path: Path) -> None:
    written = Journal(tmp_path, lambda path: path.unlink())
    written.end(ended("first"))
    (path,) = files(tmp_path)
    blank(path, "ann")
    written.end(ended("second", subject=BOB))
    written.end(ended("third"))
    assert [(row.call_id, row.subject.end_user) for row in read(path) if isinstance(row, CallRow)] == [
        ("first", "---"),
        ("second", "bob"),
        ("third", "ann"),
    ]
    written.close()
    blank(tmp_path / "gone", "ann")


def _now() -> int:
    return time.time_ns() // 1000


def test_a_database_that_cannot_be_opened_is_told_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ledger").write_text("no database, but longer than the header of one would be" * 10)
    path = tmp_path / "trunkline.yaml"
    path.write_text(f"ledger: {{url: 'sqlite:///{tmp_path}/ledger'}}")
    assert run(["data", "erase", "--end-user", "ann", "--config", str(path)]) == 1
    assert "its database is damaged" in capsys.readouterr().err


def test_nobody_in_particular_is_a_misuse(configuration: Path) -> None:
    assert run(["data", "erase", "--end-user", "", "--config", str(configuration)]) == 2
