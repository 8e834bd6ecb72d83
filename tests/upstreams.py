"""A raw upstream for tests: a socket server that follows a script of bytes and notes what its peer does.

    async with upstream([answer(b"{}")], [answer(b"{}"), reset]) as server:
        ...  # call server.base_url
        assert server.requests[0].headers["accept"] == "application/json"
        await server.connections[0].closed_by_peer

A script is what happens after one request: bytes are sent as they stand, functions are awaited with the connection.
The first request gets the first script, the second the second, and so on; the last one is kept for all that follow.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import tempfile
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    Step = bytes | Callable[["Connection"], Awaitable[None]]
    Script = Sequence[Step]


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it arrived."""

    # Start line and header lines, without the empty line.
    head: bytes
    body: bytes

    @property
    def target(self) -> str:
        return self.head.split(b" ", 2)[1].decode()

    @property
    def headers(self) -> dict[str, str]:
        """By lower-case name; of a repeated header the last."""
        lines = (line.split(b":", 1) for line in self.head.split(b"\r\n")[1:])
        return {name.decode().lower(): value.strip().decode() for name, value in lines}


class Connection(asyncio.StreamReaderProtocol):
    """One accepted connection."""

    def __init__(self, server: Upstream) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = asyncio.StreamReader()
        self._server = server
        # Done, with the loop's time, once the peer has closed or reset the connection.
        self.closed_by_peer: asyncio.Future[float] = self._loop.create_future()
        super().__init__(self._reader, self._accepted)

    def eof_received(self) -> bool | None:
        self._note_close()
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._writer.is_closing() or exc is not None:
            self._note_close()
        super().connection_lost(exc)

    async def send(self, data: bytes) -> None:
        """Send, even if the peer has closed its side. Raises ConnectionResetError once the connection is gone."""
        if self._writer.is_closing():  # uvloop's transport, other than asyncio's, does not take a write then
            raise ConnectionResetError
        self._writer.write(data)
        with suppress(ConnectionError):
            await self._writer.drain()

    def close(self) -> None:
        """Close our side (FIN) and go on listening for the peer to close its own."""
        if not self._writer.is_closing():
            self._writer.write_eof()

    def reset(self) -> None:
        """Close both sides at once (RST)."""
        if not self._writer.is_closing():
            linger = struct.pack("ii", 1, 0)
            self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._writer.transport.abort()

    def _accepted(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._server.accept(self)

    def _note_close(self) -> None:
        if not self.closed_by_peer.done():
            self.closed_by_peer.set_result(self._loop.time())

    async def serve(self) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while not self._writer.is_closing():
                for step in self._server.note(await self._read_request()):
                    await (self.send(step) if isinstance(step, bytes) else step(self))
        self._writer.close()

    async def _read_request(self) -> Request:
        head = (await self._reader.readuntil(b"\r\n\r\n")).removesuffix(b"\r\n\r\n")
        length = int(Request(head, b"").headers.get("content-length", 0))
        return Request(head, await self._reader.readexactly(length))


@dataclass(eq=False)
class Upstream:
    """The server: where it is, and what it saw."""

    scripts: Sequence[Script]
    base_url: str = ""
    requests: list[Request] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait_requests(self, count: int) -> None:
        """Wait until so many requests have arrived."""
        while len(self.requests) < count:
            self._news.clear()
            await self._news.wait()

    async def wait_connections(self, count: int) -> None:
        """Wait until so many connections have been accepted."""
        while len(self.connections) < count:
            self._news.clear()
            await self._news.wait()

    def accept(self, connection: Connection) -> None:
        self.connections.append(connection)
        self._tasks.append(asyncio.get_running_loop().create_task(connection.serve()))
        self._news.set()

    def note(self, request: Request) -> Script:
        self.requests.append(request)
        self._news.set()
        return self.scripts[min(len(self.requests), len(self.scripts)) - 1]

    async def stop(self) -> None:
        """Reset every connection that is left. Raises what went wrong in a script."""
        for connection, task in zip(self.connections, self._tasks, strict=True):
            connection.reset()
            task.cancel()
        for result in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result


@asynccontextmanager
async def upstream(*scripts: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[Upstream]:
    """Serve `scripts` on a free port of 127.0.0.1."""
    upstream = Upstream(scripts)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(upstream), "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    upstream.base_url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    try:
        yield upstream
    finally:
        server.close()
        await upstream.stop()
        await server.wait_closed()


def head(status: int = 200, headers: Mapping[str, str] = {}) -> bytes:
    """Status line and headers."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} Said\r\n{lines}\r\n".encode()


def answer(body: bytes = b"", status: int = 200, **headers: str) -> bytes:
    """A whole answer with its content-length; `content_type="x"` becomes `content-type: x`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return head(status, {"content-length": str(len(body))} | named) + body


def chunk(data: bytes = b"") -> bytes:
    """One chunk of a chunked body; the empty one ends it."""
    return b"%x\r\n%b\r\n" % (len(data), data)


async def close(connection: Connection) -> None:
    """Step: close the connection (FIN)."""
    connection.close()
    await hold(connection)


async def reset(connection: Connection) -> None:
    """Step: reset the connection (RST)."""
    connection.reset()


async def hold(connection: Connection) -> None:
    """Step: do nothing more until the peer closes the connection."""
    await asyncio.shield(connection.closed_by_peer)


# --- where no answer comes from; each gives a URL ---------------------------------------------------------------------

# Signed by itself, so nobody may trust it.
CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBkDCCATagAwIBAgIUHai2goXWdn2AnOvPJ9PNiq1Dhr4wCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJMTI3LjAuMC4xMCAXDTI2MTEyMTExMTkyOFoYDzIxMjYxMDI4
MTExOTI4WjAUMRIwEAYDVQQDDAkxMjcuMC4wLjEwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAARjEW3gxconPpQ6IFIi8IywG4tNiGceRjv7wzY2+motPAw11gwKDJDS
ffMdiAMn7J3F6n07GDwvWfAtZM+e2F43o2QwYjAdBgNVHQ4EFgQUeCKjDPRoOCHn
ejDQGLdRkxbRE8UwHwYDVR0jBBgwFoAUeCKjDPRoOCHnejDQGLdRkxbRE8UwDwYD
VR0TAQH/BAUwAwEB/zAPBgNVHREECDAGhwR/AAABMAoGCCqGSM49BAMCA0gAMEUC
IAJvHrfLQ1gHl7AnIp4/zOAtn/WURAUu8bB+aHPAxAexAiEAmmCoKTjXBkmSow6Q
sVzdV6TWp1IRQUwXSk1FbL3f2L0=
-----END CERTIFICATE-----
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgJHilF5De+QxkxoHC
pigCZUxRaLZtwniGQ5Kzsg6kNyqhRANCAARjEW3gxconPpQ6IFIi8IywG4tNiGce
Rjv7wzY2+motPAw11gwKDJDSffMdiAMn7J3F6n07GDwvWfAtZM+e2F43
-----END PRIVATE KEY-----
"""


@asynccontextmanager
async def nobody_listens() -> AsyncIterator[str]:
    """A port that refuses connections."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield "http://127.0.0.1:{1}".format(*bound.getsockname())


@asynccontextmanager
async def nobody_accepts() -> AsyncIterator[str]:
    """A port whose queue is full: connecting takes for ever."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield "http://127.0.0.1:{1}".format(*listener.getsockname())


@asynccontextmanager
async def no_such_name() -> AsyncIterator[str]:
    """A name that nobody knows, without asking the network."""

    def getaddrinfo(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", getaddrinfo)
        yield "http://provider.invalid"


@asynccontextmanager
async def silent_handshake() -> AsyncIterator[str]:
    """A server that takes the connection and never answers the TLS handshake."""
    async with upstream([answer()]) as server:
        yield server.base_url.replace("http:", "https:")


@asynccontextmanager
async def untrusted() -> AsyncIterator[str]:
    """A TLS server whose certificate nobody vouches for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(CERTIFICATE)
        file.flush()
        context.load_cert_chain(file.name)
    async with upstream([answer()], tls=context) as server:
        yield server.base_url
