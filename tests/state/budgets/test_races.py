"""All at once: of 64 callers exactly as many are admitted as there is room for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import budget_racer
import databases
import pytest
from budget_racer import EACH, race

from trunkline_server.state.ledger.open import open_database

CALLERS = 64


async def prepared(url: str) -> str:
    database = await databases.migrated(open_database(url))
    await database.aclose()
    return url


@pytest.mark.parametrize("room", [0, 1, 17, 63, 64])
async def test_exactly_as_many_as_there_is_room_for(url: str, room: int) -> None:
    limit = room * EACH + EACH - 1
    assert await race(await prepared(url), CALLERS, limit, "") == room


async def test_exactly_as_many_in_four_processes(postgres: str) -> None:
    url, room = await prepared(await databases.new_database(postgres)), 23
    command = [sys.executable, str(Path(budget_racer.__file__)), url, str(CALLERS // 4), str(room * EACH)]
    racers = [
        subprocess.Popen([*command, f"p{n}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220
        for n in range(4)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    assert sum(int(racer.communicate()[0]) for racer in racers) == room
