"""The providers' processes, as the run holds them: killed, stopped and put into moods from here."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from chaos.moods import MOODS
from chaos.records import Seen
from processes import start

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path


class Provider:
    """One provider. Its port stays its own while its processes come and go."""

    def __init__(self, name: str, folder: Path, seed: int) -> None:
        self.name = name
        self._log = folder / f"{name}.log"
        self._seed = seed
        # Keeps the port: it does not listen.
        self._kept = socket.socket()
        self._kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._kept.bind(("127.0.0.1", 0))
        self.port: int = self._kept.getsockname()[1]

    async def start(self) -> None:
        """A new process, in a good mood, that listens."""
        given = (self.name, str(self.port), str(self._log), str(self._seed))
        self._process = await start("chaos.provider", *given, errors=None)
        assert self._process.stdout is not None
        assert await self._process.stdout.readline() == b"listening\n", "the provider does not start"

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._process.pid

    async def kill(self) -> None:
        """Its connections are reset or closed, as the system does it."""
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    def stop(self) -> None:
        """Connections are taken and kept open by the system, and nobody reads them."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """After `stop`."""
        self._process.send_signal(signal.SIGCONT)

    def feel(self, mood: str) -> None:
        """What is asked from now on is answered in this mood."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(MOODS[mood]).encode() + b"\n")

    def seen(self) -> Iterator[Seen]:
        """What it wrote down, in all its lives."""
        for line in self._log.read_text().splitlines() if self._log.exists() else ():
            what, number, when = line.split()
            yield Seen(self.name, what, number, float(when))

    async def end(self) -> None:
        """Kill it and give the port back."""
        await self.kill()
        self._kept.close()


@asynccontextmanager
async def providers(names: Sequence[str], folder: Path, seed: int) -> AsyncIterator[dict[str, Provider]]:
    """Providers that listen; dead at the end."""
    made = {name: Provider(name, folder, seed) for name in names}
    await asyncio.gather(*(each.start() for each in made.values()))
    try:
        yield made
    finally:
        await asyncio.gather(*(each.end() for each in made.values()))
