"""A provider that costs next to nothing: bytes made beforehand, written straight to the socket.

python -m bench.upstream
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import uvloop
from bench.answers import Answer, answer_of
from bench.control import obey, usage

if TYPE_CHECKING:
    from typing import Any

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
MODEL = re.compile(rb'"model": *"([^"]+)"')


class Connection(asyncio.Protocol):
    """A kept-alive connection; one request after the other."""

    def __init__(self) -> None:
        self._pending = b""
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: Any) -> None:
        self._transport: asyncio.Transport = transport

    def data_received(self, data: bytes) -> None:
        self._pending += data
        head, blank, body = self._pending.partition(b"\r\n\r\n")
        if not blank:
            return
        length = LENGTH.search(head)
        if length is None or len(body) < int(length[1]):
            return
        self._pending = b""
        model = MODEL.search(body)
        assert model is not None
        self._answer(answer_of(model[1].decode()))

    def _answer(self, answer: Answer) -> None:
        self._transport.write(answer.head)
        if answer.pieces:
            begin = self._loop.time()
            self._loop.call_at(begin + answer.pause, self._go_on, answer, 0, begin)

    def _go_on(self, answer: Answer, index: int, begin: float) -> None:
        """The next piece, at its own time: a late one does not delay those after it."""
        if self._transport.is_closing():
            return
        self._transport.write(answer.pieces[index])
        if index + 1 < len(answer.pieces):
            due = begin + (index + 2) * answer.pause
            self._loop.call_at(due, self._go_on, answer, index + 1, begin)


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0, backlog=1024)
    await obey({"usage": usage}, port=server.sockets[0].getsockname()[1])


if __name__ == "__main__":
    uvloop.run(main())
