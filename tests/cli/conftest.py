"""The command, run as `trunkline` runs it but in this process."""

from __future__ import annotations

import asyncio
import io
from typing import NamedTuple

import pytest

from trunkline_server.cli.main import run


class Ran(NamedTuple):
    code: int
    out: str
    err: str


class Command:
    """Runs the command. `later` does so in a thread, beside a server in the test's own loop."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys = capsys
        self._monkeypatch = monkeypatch

    def type_in(self, data: bytes) -> None:
        self._monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))

    def __call__(self, *arguments: str) -> Ran:
        self._capsys.readouterr()
        code = run(arguments)
        return Ran(code, *self._capsys.readouterr())

    async def later(self, *arguments: str) -> Ran:
        return await asyncio.to_thread(self, *arguments)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    for variable in ("TRUNKLINE_ADDRESS", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(variable, raising=False)
    return Command(capsys, monkeypatch)
