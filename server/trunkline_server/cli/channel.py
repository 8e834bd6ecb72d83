"""What a gateway's workers and the process that started them tell each other: lines of JSON over a pair of sockets."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec import Struct, json

from trunkline_server.state.switches import Switch

if TYPE_CHECKING:
    from socket import socket

# Bytes of the longest line.
_LONGEST = 16 << 20


class Begin(Struct, frozen=True, tag=True):
    """The first thing that a worker is told: what it is. See trunkline_server.worker."""

    number: int
    count: int
    address: str
    admin: str
    switches: tuple[Switch, ...]
    # What --listen says, and whether it says where the gateway is; the descriptor of the configuration's file.
    listen: str
    announces: bool
    config: int | None


class Ready(Struct, frozen=True, tag=True):
    """A worker takes calls. `admin`: where its admin service is; empty = it has none."""

    admin: str


class NotStarted(Struct, frozen=True, tag=True):
    """A worker cannot: with which exit code, and why, in words for an operator."""

    code: int
    why: str


class Drain(Struct, frozen=True, tag=True):
    """A worker is to let its calls come to their end, and to end."""


Message = Begin | Ready | NotStarted | Drain | Switch
_DECODER = json.Decoder[Message](Message)


class Channel:
    """One end of it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, message: Message) -> None:
        """Nothing is waited for. Whoever is gone does not hear it."""
        self._writer.write(json.encode(message) + b"\n")

    async def receive(self) -> Message | None:
        """The next message. None: the other end is gone."""
        try:
            line = await self._reader.readline()
        except OSError:
            return None
        return _DECODER.decode(line) if line.endswith(b"\n") else None

    async def aclose(self) -> None:
        """Send what is to be sent, and close."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except OSError:
            return


async def open_channel(end: socket) -> Channel:
    """Over this socket, which is closed with it."""
    return Channel(*await asyncio.open_connection(sock=end, limit=_LONGEST))
