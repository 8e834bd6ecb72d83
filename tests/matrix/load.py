"""All languages at once for a while: no error, equal results, and a gateway that has let go of everything."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from chaos.run import held, settled
from matrix import programs
from matrix.cases import LOAD
from matrix.house import House, closings, house
from matrix.verdicts import difference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chaos.records import Held
    from matrix.programs import Said

# Seconds before the load begins in which programs get going, and after it in which they end.
AROUND = 60.0
# What memory may grow by from the load's second quarter to its last: the share, and MiB that anything may take.
GROWTH, SLACK = 0.05, 4.0
MIB = 1 << 20


async def load(languages: Sequence[str], seconds: float) -> list[str]:
    """Let the programs of these languages call one gateway at once. What is wrong."""
    with tempfile.TemporaryDirectory() as folder:
        async with house(Path(folder)) as at:
            before = await held(at.gateway)
            memory: list[int] = []
            weighing = asyncio.create_task(_weigh(at, memory))
            said = dict(zip(languages, await _all(languages, at, seconds), strict=True))
            weighing.cancel()
            after = await settled(at.gateway, before)
            still_open = sum(each is None for each in await closings(at.slow, "cancel me", limit=1.0))
    for language, each in said.items():
        print(f"{language}: {sum(row.calls for row in each.rows)} calls in {seconds:.0f} s")
    first, most, last = (each // MIB for each in (memory[0], max(memory), memory[-1]))
    print(f"gateway's memory: {first} MiB at the start, {most} at most, {last} at the end")
    wrong = [f"{language}: {why}" for language, each in said.items() if (why := results(each))]
    wrong += [*leaks(before, after), *growth(memory)]
    wrong += [f"{still_open} connections to the upstream are still open"] if still_open else []
    print("\n".join(f"FAILED under load: {why}" for why in wrong) or "under load: no error, no leak, equal results")
    return wrong


async def _all(languages: Sequence[str], at: House, seconds: float) -> list[Said]:
    environment = {**at.environment, "TRUNKLINE_SECONDS": f"{seconds:.0f}"}
    return await asyncio.gather(*(programs.run(each, environment, seconds + AROUND) for each in languages))


async def _weigh(at: House, memory: list[int]) -> None:
    """The gateway's resident memory, every second."""
    while True:
        memory.append((await held(at.gateway)).memory)
        await asyncio.sleep(1)


def results(said: Said) -> str:
    """What is wrong with what a program had for answers."""
    if len(said.rows) != 1 or said.broken:
        return f"{len(said.rows)} rows; {said.broken}"
    [row] = said.rows
    return difference(LOAD, row.value) if row.ok else row.why


def leaks(before: Held, after: Held) -> list[str]:
    """What the gateway still holds when nobody calls any more."""
    wrong = []
    if after.registered > before.registered:
        wrong.append(f"registered tasks: {before.registered} before, {after.registered} after")
    if sum(after.tasks.values()) > sum(before.tasks.values()):
        wrong.append(f"tasks: {before.tasks} before, {after.tasks} after")
    if after.sockets > before.sockets:
        wrong.append(f"sockets: {before.sockets} before, {after.sockets} after")
    return wrong


def growth(memory: Sequence[int]) -> list[str]:
    """How memory grew once it was warm, if it did."""
    quarter = len(memory) // 4
    if quarter < 5:
        return []  # too short to tell
    warm, last = (statistics.median(each) for each in (memory[quarter : 2 * quarter], memory[-quarter:]))
    if last <= warm * (1 + GROWTH) + SLACK * MIB:
        return []
    return [f"memory grew from {warm / MIB:.0f} to {last / MIB:.0f} MiB while the load was the same"]
