"""What the machine itself does to a run: processes that are ready to work wait for a processor."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# Seconds between two looks.
LOOKS = 0.02


@asynccontextmanager
async def watched(starved: list[tuple[float, float]], *processes: int) -> AsyncIterator[None]:
    """Note, while the block runs, the time and for how long all these have waited until then."""
    waits = Waits(processes)
    watching = asyncio.create_task(_watch(starved, waits))
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.wait([watching])
        starved.append((time.monotonic(), waits.total()))


async def _watch(starved: list[tuple[float, float]], waits: Waits) -> None:
    while True:
        starved.append((time.monotonic(), waits.total()))
        await asyncio.sleep(LOOKS)


class Waits:
    """How long threads were ready to run and did not. All threads of a process: gRPC has some that calls wait for."""

    def __init__(self, processes: tuple[int, ...]) -> None:
        self._processes = processes
        # By thread, those that have ended included: the sum never falls.
        self._seconds: dict[str, float] = {}

    def total(self) -> float:
        """Seconds, all together."""
        for process in self._processes:
            for thread in Path(f"/proc/{process}/task").iterdir():
                with suppress(FileNotFoundError, ProcessLookupError):
                    self._seconds[thread.name] = int((thread / "schedstat").read_text().split()[1]) / 1e9
        return sum(self._seconds.values())
