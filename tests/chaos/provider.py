"""A provider in a process of its own: `python -m chaos.provider NAME PORT LOG SEED`.

It reads moods from standard input, one in a line, and says on standard output when it listens. Its log has a line for
each request, before anything is answered: `asked NUMBER SECONDS`; and `gone NUMBER SECONDS` where the peer closed the
connection amid the answer. The seconds are those of time.monotonic(), which all processes share.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

import uvloop
from chaos.moods import MOODS, Asked, Pause, script_for
from upstreams import Connection, Upstream, answer, close, hold, reset

if TYPE_CHECKING:
    from chaos.moods import End
    from upstreams import Request, Script, Step

_NO_MODELS = [answer(b'{"data": []}')]


class Moody(Upstream):
    """Answers as its mood is."""

    def __init__(self, name: str, log: int, seed: str) -> None:
        super().__init__([])
        self.mood = MOODS["well"]
        self._name = name
        self._log = log
        self._seed = seed
        self._asked: Counter[str] = Counter()
        self._serving: set[asyncio.Task[None]] = set()
        # Whose answer a connection is amid.
        self._amid: dict[Connection, str] = {}

    def accept(self, connection: Connection) -> None:
        """Serve a connection, and forget it when it is over."""
        connection.closed_by_peer.add_done_callback(lambda _: self._gone(connection))
        task = asyncio.get_running_loop().create_task(connection.serve())
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    def note(self, request: Request) -> Script:
        """The script for a request, which is written down by then: what is killed afterwards has been asked."""
        if not request.body:
            return _NO_MODELS
        said = json.loads(request.body)
        number = said["messages"][-1]["content"]
        self._write("asked", number)
        self._asked[number] += 1
        dice = random.Random(f"{self._seed}:{self._name}:{number}:{self._asked[number]}")
        script = script_for(Asked(number, self._name, bool(said.get("stream"))), self.mood, dice)
        return [self._begin(number), *(self._step(each) for each in script), self._end]

    def _begin(self, number: str) -> Step:
        async def begin(connection: Connection) -> None:
            self._amid[connection] = number

        return begin

    async def _end(self, connection: Connection) -> None:
        self._amid.pop(connection, None)

    def _step(self, step: bytes | Pause | End) -> Step:
        async def take(connection: Connection) -> None:
            if connection.closed_by_peer.done():
                raise ConnectionResetError
            if isinstance(step, bytes):
                await connection.send(step)
            elif isinstance(step, Pause):
                await asyncio.wait([connection.closed_by_peer], timeout=step.seconds)
            elif step.how == "held":
                await hold(connection)
            else:
                self._amid.pop(connection, None)
                await (reset if step.how == "reset" else close)(connection)

        return take

    def _gone(self, connection: Connection) -> None:
        if number := self._amid.pop(connection, ""):
            self._write("gone", number)

    def _write(self, what: str, number: str) -> None:
        os.write(self._log, f"{what} {number} {time.monotonic():.6f}\n".encode())


async def _serve(name: str, port: int, log: str, seed: str) -> None:
    moody = Moody(name, os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), seed)
    loop = asyncio.get_running_loop()
    # A socket that does not listen keeps the port for us.
    server = await loop.create_server(lambda: Connection(moody), "127.0.0.1", port, reuse_port=True, backlog=2048)
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    print("listening", flush=True)
    while line := await commands.readline():
        moody.mood = json.loads(line)
    server.close()


def main() -> None:
    name, port, log, seed = sys.argv[1:]
    uvloop.run(_serve(name, int(port), log, seed))


if __name__ == "__main__":
    main()
