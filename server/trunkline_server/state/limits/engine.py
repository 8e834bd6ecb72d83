"""One connection to Valkey, or Redis, and its wire format: commands go out at once, answers come in their order.

Own: four kinds of answers are all that is spoken here (decisions/0035).
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trunkline_server.state.limits.where import Where

Reply = int | bytes | None | list["Reply"]

# Seconds to connect and to say who we are.
TO_CONNECT = 2.0
LOST = "the connection to Valkey is lost"


class EngineFailed(Exception):
    """It refuses a command, or the connection is lost. `why` is in our own words."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Engine:
    """A connection. Once it is lost, every command fails."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._waiting: deque[asyncio.Future[Reply]] = deque()
        self._why = ""
        # Set once the connection is lost.
        self.lost = asyncio.Event()
        self._reading = asyncio.get_running_loop().create_task(self._read_all())

    def send(self, *parts: str | int) -> asyncio.Future[Reply]:
        """Send a command. What this gives is its answer, or fails with EngineFailed."""
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(_seen)
        if self._writer.is_closing():
            self.fail(LOST)  # the reader has not seen it yet
        if self.lost.is_set():
            answer.set_exception(EngineFailed(self._why))
            return answer
        self._waiting.append(answer)
        self._writer.write(_command(parts))
        return answer

    async def _read_all(self) -> None:
        try:
            while True:
                reply = await self._read()
                answer = self._waiting.popleft()
                if answer.done():
                    continue
                if isinstance(reply, EngineFailed):
                    answer.set_exception(reply)
                else:
                    answer.set_result(reply)
        except (OSError, EOFError, ValueError, IndexError, asyncio.LimitOverrunError):
            self.fail(LOST)

    async def _read(self) -> Reply | EngineFailed:
        line = (await self._reader.readuntil(b"\r\n"))[:-2]
        kind, rest = line[:1], line[1:]
        if kind == b"-":
            # Its first word is a code; what follows may hold what was sent.
            return EngineFailed(f"Valkey refuses: {rest.split(b' ')[0].decode('ascii', 'replace')[:32]}")
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if int(rest) < 0 else (await self._reader.readexactly(int(rest) + 2))[:-2]
        if kind == b"*":
            items = [await self._read() for _ in range(int(rest))]
            return [item for item in items if not isinstance(item, EngineFailed)]
        if kind == b"+":
            return rest
        raise ValueError("not an answer of Valkey")

    def fail(self, why: str) -> None:
        """Give the connection up."""
        self._why = self._why or why
        self.lost.set()
        self._writer.close()
        while self._waiting:
            answer = self._waiting.popleft()
            if not answer.done():
                answer.set_exception(EngineFailed(self._why))

    async def aclose(self) -> None:
        """Let what was sent be answered, for a moment, and close."""
        if self._waiting and not self.lost.is_set():
            await asyncio.wait([self._waiting[-1]], timeout=1.0)
        self._reading.cancel()
        self.fail("the gateway ends")
        with suppress(OSError):
            await self._writer.wait_closed()


async def connect(place: Where) -> Engine:
    """Raises EngineFailed."""
    try:
        async with asyncio.timeout(TO_CONNECT):
            reader, writer = await asyncio.open_connection(place.host, place.port, ssl=place.tls or None)
            engine = Engine(reader, writer)
            try:
                await _introduce(engine, place)
            except BaseException:
                engine.fail("it does not let us in")
                raise
            return engine
    except (OSError, TimeoutError):
        raise EngineFailed("Valkey cannot be reached") from None


async def _introduce(engine: Engine, place: Where) -> None:
    if place.password:
        await engine.send("AUTH", *filter(None, (place.user,)), place.password)
    if place.database:
        await engine.send("SELECT", place.database)


def _command(parts: Sequence[str | int]) -> bytes:
    said = [b"*%d\r\n" % len(parts)]
    for part in parts:
        text = str(part).encode()
        said.append(b"$%d\r\n%b\r\n" % (len(text), text))
    return b"".join(said)


def _seen(answer: asyncio.Future[Reply]) -> None:
    """Nobody has to look at a failure."""
    if not answer.cancelled():
        answer.exception()
