from __future__ import annotations

import asyncio
import io
import time
from pathlib import Path

import pytest
from ledger_rows import ended, finished

from trunkline_server.cli.main import run
from trunkline_server.logs import build_log
from trunkline_server.settings import DatabaseUrl, LedgerSettings
from trunkline_server.state.ledger.open import open_ledger


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
        await running.aclose()
        return code

    assert asyncio.run(erase_beside_a_gateway()) == 0
    assert capsys.readouterr().out == "erased from 1 attempts and 1 calls\n"


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
