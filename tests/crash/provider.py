"""A provider that remembers: each request is on its disk before it is answered."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

# What it says it has used: so many tokens in and out.
USED = (11, 7)
WORDS = 12


class Provider:
    """Speaks OpenAI's chat completions. `log` has a line for each request: what its prompt is."""

    def __init__(self, log: Path) -> None:
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await self._exchange(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length"))
        request = json.loads(await reader.readexactly(length))
        os.write(self._log, (request["messages"][-1]["content"] + "\n").encode())
        os.fsync(self._log)
        await (self._stream(writer) if request.get("stream") else self._whole(writer))

    async def _whole(self, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.002)
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "word " * WORDS}}
        body = json.dumps({"id": "x", "choices": [choice], "usage": _usage()}).encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()

    async def _stream(self, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(WORDS):
            _event(writer, {"id": "x", "choices": [{"index": 0, "delta": {"content": "word "}}]})
            await writer.drain()
            await asyncio.sleep(0.001)
        _event(writer, {"id": "x", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        _event(writer, {"id": "x", "choices": [], "usage": _usage()})
        _chunk(writer, b"data: [DONE]\n\n")
        writer.write(b"0\r\n\r\n")
        await writer.drain()


def _usage() -> dict[str, int]:
    return {"prompt_tokens": USED[0], "completion_tokens": USED[1], "total_tokens": sum(USED)}


def _event(writer: asyncio.StreamWriter, event: object) -> None:
    _chunk(writer, b"data: " + json.dumps(event).encode() + b"\n\n")


def _chunk(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")


@asynccontextmanager
async def remembering(log: Path) -> AsyncIterator[Provider]:
    """A provider that serves while the block runs."""
    provider = Provider(log)
    server = await asyncio.start_server(provider.serve, "127.0.0.1", 0)
    provider.port = server.sockets[0].getsockname()[1]
    async with server:
        yield provider
