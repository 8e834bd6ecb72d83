"""Processes that are told what to do: a line of JSON in, a line of JSON out, until the end of the input."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    Commands = Mapping[str, Callable[..., Awaitable[object]]]


class ProcessFailed(Exception):
    """A process ended or failed where it should have answered."""


class Process:
    """A process of its own, seen from the one that began it. It ends with the block, and if this process dies."""

    def __init__(self, module: str, *arguments: str) -> None:
        self.name = module
        command = [sys.executable, "-m", module, *arguments]
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.hello = self._read()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._child.stdin is not None
        self._child.stdin.close()
        try:
            self._child.wait(10)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def ask(self, do: str, **arguments: object) -> dict[str, Any]:
        """Have the command done and return what it answers. Raises ProcessFailed."""
        assert self._child.stdin is not None
        print(json.dumps([do, arguments]), file=self._child.stdin, flush=True)
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise ProcessFailed(f"{self.name} ended: what it wrote to its error output says why")
        answer: dict[str, Any] = json.loads(line)
        return answer


async def obey(commands: Commands, **hello: object) -> None:
    """Say hello, then do what is asked until nobody asks any more."""
    print(json.dumps(hello), flush=True)
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    while line := await reader.readline():
        do, arguments = json.loads(line)
        print(json.dumps(await commands[do](**arguments)), flush=True)


async def usage() -> dict[str, float]:
    """What this process has used so far: CPU seconds of all its threads, and resident memory in bytes now."""
    return {"cpu": time.process_time(), "rss": resident_bytes()}


def resident_bytes() -> int:
    """Resident memory now; where the system does not tell (not Linux), its peak."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
