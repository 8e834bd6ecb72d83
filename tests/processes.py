"""Processes that tests start: modules of the tests, run by this Python."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


async def start(
    module: str, *arguments: str, errors: int | None = asyncio.subprocess.PIPE
) -> asyncio.subprocess.Process:
    """Start a module in a process of its own; its input, output and errors are pipes. `errors=None`: as ours."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=errors,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def _nobody(_: bytes) -> None:
    """Nobody reads the log."""


@asynccontextmanager
async def listening(
    module: str, *arguments: str, read: Callable[[bytes], None] = _nobody
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A gateway in a process of its own, and its address once it listens; killed at the end. `read` gets its log."""
    process = await start(module, *arguments)
    reading: asyncio.Task[None] | None = None
    try:
        address = await _address(process, read)
        reading = asyncio.create_task(_drain(process, read))
        yield process, address
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        if reading is not None:
            await reading


async def _address(process: asyncio.subprocess.Process, read: Callable[[bytes], None]) -> str:
    assert process.stderr is not None
    while True:
        line = await process.stderr.readline()
        assert line, "the gateway does not start"
        read(line)
        said = json.loads(line)
        if said["event"] == "listening":
            return str(said["address"])


async def _drain(process: asyncio.subprocess.Process, read: Callable[[bytes], None]) -> None:
    assert process.stderr is not None
    while line := await process.stderr.readline():
        read(line)
