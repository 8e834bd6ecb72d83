"""The one HTTP module: sends a request, gives back the bytes of its answer, and tells truly how it failed.

Retries and bills hang on how a failure is told, so there are four ways (the outcome of an UpstreamError):

- NOT_SENT: nothing left this process (no free connection, or a request that HTTP cannot carry).
- NOT_CONNECTED: no connection came about (DNS, refused, TLS, too slow); nothing was sent.
- INTERRUPTED: the connection broke once it was there, before or amid the answer. The call may have been billed.
- PROTOCOL_ERROR: what came back is not HTTP, or not in an encoding that we know, or too long.

A provider may close a kept-alive connection just as we send on it. Nothing was processed then, but that looks the same
as a provider that died over the call, so a POST that meets it is INTERRUPTED and not sent again from here. Only methods
without effect (GET) are sent once more, by aiohttp, on another connection.
"""

from __future__ import annotations

import asyncio
import io
import socket
import struct
import zlib
from contextlib import AbstractAsyncContextManager, aclosing, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, cast

import aiohttp
import httpx2
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from trunkline.v1.call_pb2 import (
    OUTCOME_INTERRUPTED,
    OUTCOME_NOT_CONNECTED,
    OUTCOME_NOT_SENT,
    OUTCOME_PROTOCOL_ERROR,
    Outcome,
)
from trunkline_server import __version__
from trunkline_server.errors import UpstreamError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterator, Mapping

    from aiohttp.client_reqrep import ClientRequest
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

# An event stream that is compressed on its way comes in lumps.
_OWN_HEADERS = {"accept-encoding": "identity", "user-agent": f"trunkline/{__version__}"}
# Seconds that an idle connection is kept.
_KEEP_ALIVE = 15.0
# Bytes of a body written to the socket at once; a longer one is written in pieces, with other calls' turns between.
_SENT_AT_ONCE = 1 << 18
# Bytes that decompression gives at once: a body that unpacks to gigabytes meets its limit first.
_UNPACKED_AT_ONCE = 1 << 16


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request. Sent with these headers and with host, content-length, accept-encoding and user-agent; no others."""

    method: str
    # Absolute, and sent as it stands: what needs percent-encoding has it.
    url: str
    # ASCII. These stand above our own.
    headers: Mapping[str, str]
    body: bytes = b""
    # Not sent: for the trace of the exchange.
    call_id: str = ""
    # Told once there is a connection, just before the request is written to it.
    sent: Callable[[], None] | None = None


class HttpResponse:
    """An answer whose head has arrived. Its body can be read once, inside the `exchange` that gave it."""

    def __init__(self, response: httpx2.Response) -> None:
        self.status = response.status_code
        # Names in lower case. The values of a repeated header are joined with ", ".
        self.headers = response.headers
        self._body = cast("httpx2.AsyncByteStream", response.stream)

    def has_header_like(self, part: bytes) -> bool:
        """Whether some header's name has this in it, which is in lower case. To read them all takes much longer."""
        return part in b"\n".join(dict(self.headers.raw)).lower()

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """The body, decompressed, as it arrives. Raises UpstreamError, but gives first what came before the failure."""
        try:
            async for data in self._pieces():
                yield data
        except _BODY_FAILURES as error:
            raise _upstream_error(error) from None

    async def read(self, limit: int) -> bytes:
        """The whole body. Raises UpstreamError: PROTOCOL_ERROR if it is longer than `limit` bytes."""
        pieces, size = [], 0
        async with aclosing(self.stream()) as stream:
            async for data in stream:
                pieces.append(data)
                size += len(data)
                if size > limit:
                    raise UpstreamError(OUTCOME_PROTOCOL_ERROR, "the answer is too long")
        return b"".join(pieces)

    async def read_start(self, limit: int) -> bytes:
        """The first `limit` bytes of the body, or what can be had of them.

        For error answers: their status counts even where their body is endless, cut off or illegible.
        """
        start = b""
        with suppress(UpstreamError):
            async with aclosing(self.stream()) as stream:
                async for data in stream:
                    start += data[: limit - len(start)]
                    if len(start) == limit:
                        break
        return start

    def _pieces(self) -> AsyncIterator[bytes]:
        encoding = self.headers.get("content-encoding", "identity").lower()
        return aiter(self._body) if encoding == "identity" else _unpack(self._body, encoding)


class HttpClient:
    """One endpoint's connections: a pool of its own, so that one slow provider cannot use up another's."""

    def __init__(
        self, *, max_connections: int, connect_timeout: float, transport: httpx2.AsyncBaseTransport | None = None
    ) -> None:
        """Calls beyond `max_connections` wait for a free one.

        Waiting for a free connection and making a new one may each take `connect_timeout` seconds. No other time is
        limited here: how long an answer may take is the caller's to say, by cancelling.
        """
        self._slots = _Slots(max_connections, connect_timeout)
        self._transport = transport or _AiohttpTransport(connect_timeout)

    def exchange(self, request: HttpRequest) -> AbstractAsyncContextManager[HttpResponse]:
        """Send the request and give its answer once the head is there. Entering raises UpstreamError.

        Redirects are not followed, cookies neither kept nor sent. Leaving the block before the end of the body, or a
        cancellation at any point, closes the connection at once.
        """
        return _Exchange(self._slots, self._transport, request)

    async def aclose(self) -> None:
        """Close every connection. Calls in flight are INTERRUPTED."""
        await self._transport.aclose()


class _Slots:
    """Counts connections in use. aiohttp could, but tells waiting for its pool no different from connecting."""

    def __init__(self, limit: int, patience: float) -> None:
        self._free = asyncio.Semaphore(limit)
        self._patience = patience

    async def take(self) -> None:
        if not self._free.locked():
            await self._free.acquire()
            return
        try:
            async with asyncio.timeout(self._patience):
                await self._free.acquire()
        except TimeoutError:
            raise UpstreamError(OUTCOME_NOT_SENT, "no free connection to the provider") from None

    def give_back(self) -> None:
        self._free.release()


class _Exchange(AbstractAsyncContextManager[HttpResponse]):
    """One request and its answer. A class, because `asynccontextmanager` costs 10 us more."""

    def __init__(self, slots: _Slots, transport: httpx2.AsyncBaseTransport, request: HttpRequest) -> None:
        self._slots = slots
        self._transport = transport
        self._request = request

    async def __aenter__(self) -> HttpResponse:
        await self._slots.take()
        try:
            response = await self._transport.handle_async_request(_build_request(self._request))
        except _KNOWN_FAILURES as error:
            self._slots.give_back()
            raise _upstream_error(error) from None
        except BaseException:
            self._slots.give_back()
            raise
        self._body = cast("httpx2.AsyncByteStream", response.stream)
        return HttpResponse(response)

    async def __aexit__(self, *_: object) -> None:
        try:
            await self._body.aclose()
        finally:
            self._slots.give_back()


# Parsing one costs 11 us, and an endpoint has few.
_parse_url = lru_cache(maxsize=1024)(httpx2.URL)


def _build_request(request: HttpRequest) -> httpx2.Request:
    headers = {**_OWN_HEADERS, **request.headers}
    # As a stream, because httpx2 adds headers of its own to a `content`.
    body = httpx2.ByteStream(request.body)
    extensions = {"sent": request.sent}
    return httpx2.Request(request.method, _parse_url(request.url), headers=headers, stream=body, extensions=extensions)


# The first row that fits tells what became of the request. aiohttp's errors come from the transport below, httpx2's
# from there and from transports that replay or inject faults.
_FAILURES: tuple[tuple[Outcome.ValueType, str, tuple[type[Exception], ...]], ...] = (
    (
        OUTCOME_NOT_CONNECTED,
        "the provider could not be reached in time",
        (aiohttp.ConnectionTimeoutError, httpx2.ConnectTimeout),
    ),
    (OUTCOME_NOT_CONNECTED, "the provider could not be reached", (aiohttp.ClientConnectorError, httpx2.ConnectError)),
    (
        OUTCOME_NOT_SENT,
        "the request's address or headers do not fit into HTTP",
        (ValueError, aiohttp.NonHttpUrlClientError, httpx2.InvalidURL, httpx2.LocalProtocolError),
    ),
    (OUTCOME_PROTOCOL_ERROR, "the answer is not HTTP", (aiohttp.ClientResponseError, httpx2.RemoteProtocolError)),
    (OUTCOME_PROTOCOL_ERROR, "the answer cannot be decompressed", (zlib.error,)),
    (
        OUTCOME_INTERRUPTED,
        "the connection broke before the end of the answer",
        (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, httpx2.TransportError),
    ),
)
_KNOWN_FAILURES = tuple(kind for _, _, kinds in _FAILURES for kind in kinds)
# Once there is an answer, nothing may be told as not sent.
_AFTER_HEAD = (OUTCOME_PROTOCOL_ERROR, OUTCOME_INTERRUPTED)
_BODY_FAILURES = tuple(kind for outcome, _, kinds in _FAILURES for kind in kinds if outcome in _AFTER_HEAD)


def _upstream_error(error: Exception) -> UpstreamError:
    outcome, words = next((outcome, words) for outcome, words, kinds in _FAILURES if isinstance(error, kinds))
    return UpstreamError(outcome, words)


async def _unpack(body: AsyncIterable[bytes], encoding: str) -> AsyncGenerator[bytes, None]:
    if encoding not in ("gzip", "deflate"):
        raise UpstreamError(OUTCOME_PROTOCOL_ERROR, "the answer is in an encoding that was not asked for")
    unpacker = _Unpacker(gzip=encoding == "gzip")
    async for data in body:
        for piece in unpacker.feed(data):
            yield piece
    unpacker.finish()


class _Unpacker:
    """Undoes gzip or deflate, wherever the bytes are cut. Raises zlib.error."""

    def __init__(self, *, gzip: bool) -> None:
        self._gzip = gzip
        self._stream: zlib._Decompress | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            # What was packed with gzip may be several such files, one after the other.
            if self._stream is None or self._stream.eof:
                self._stream = zlib.decompressobj(self._format(data[0]))
            while piece := self._stream.decompress(data, _UNPACKED_AT_ONCE):
                yield piece
                data = self._stream.unconsumed_tail
            data = self._stream.unused_data

    def finish(self) -> None:
        if self._stream is not None and not self._stream.eof:
            raise zlib.error

    def _format(self, first: int) -> int:
        """What zlib calls wbits. Many send deflate without the wrapper that the standard asks for."""
        if self._gzip:
            return 16 + zlib.MAX_WBITS
        return zlib.MAX_WBITS if first & 0x0F == zlib.DEFLATED else -zlib.MAX_WBITS


# What the request that this task is about to send tells then: aiohttp's connector knows nothing of ours.
_SENT: ContextVar[Callable[[], None] | None] = ContextVar("sent", default=None)


class _AiohttpTransport(httpx2.AsyncBaseTransport):
    """httpx2's requests through aiohttp's connections. Raises the errors of both."""

    def __init__(self, connect_timeout: float) -> None:
        # Name lookup, TCP and TLS together.
        self._timeout = aiohttp.ClientTimeout(connect=connect_timeout)
        # Made by the first request, because it belongs to a running loop.
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        body = request.read()
        _SENT.set(request.extensions["sent"])
        answer = await self._open_session().request(
            request.method,
            # Else aiohttp decodes and encodes it anew, which breaks signatures over it.
            URL(str(request.url), encoded=True),
            headers=[(name.decode(), value.decode()) for name, value in request.headers.raw],
            data=io.BytesIO(body) if len(body) > _SENT_AT_ONCE else body or None,
            allow_redirects=False,
        )
        return httpx2.Response(answer.status, headers=answer.raw_headers, stream=_AnswerStream(answer))

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=_Connector(),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                auto_decompress=False,
                skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
                timeout=self._timeout,
            )
        return self._session


class _AnswerStream(httpx2.AsyncByteStream):
    """The body of aiohttp's answer. Its own iterator: an async generator costs the event loop 3 us of book-keeping."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        content = self._answer.content
        try:
            data = await content.readany()
        except (aiohttp.ClientError, httpx2.TransportError):
            # aiohttp drops what had arrived and was not read yet; the end of the stream may be in it.
            if not content._buffer:  # noqa: SLF001
                raise
            return content._read_nowait(-1)  # noqa: SLF001
        if not data:
            raise StopAsyncIteration
        return data

    async def aclose(self) -> None:
        # After the end of the body the connection is in the pool again, and this does nothing.
        self._answer.close()


class _Connection(ResponseHandler):
    """aiohttp's connection. It tells the reader of a body what aiohttp keeps to itself, and it closes at once."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.exception() is not None:
            # Amid a body something came that is not HTTP. The reader would wait for ever.
            self._fail_body(httpx2.RemoteProtocolError("malformed body"))

    def connection_lost(self, exc: BaseException | None) -> None:
        if exc is not None:
            # A body that goes on to the end of the connection would seem complete after a reset.
            self._fail_body(httpx2.ReadError("connection reset"))
        super().connection_lost(exc)

    def close(self) -> None:
        if self.transport is not None and self.transport.get_write_buffer_size() > 0:
            # Else what is left of a cancelled request would still be sent, as slowly as the provider reads it.
            no_linger = struct.pack("ii", 1, 0)
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_linger)
            self.abort()
        super().close()

    def _fail_body(self, error: Exception) -> None:
        body = self._payload
        if body is not None and not body.is_eof() and body.exception() is None:
            body.set_exception(error)


class _Connector(aiohttp.TCPConnector):
    """aiohttp's pool without its limit (see _Slots), and without connections on which the server spoke unasked."""

    def __init__(self) -> None:
        super().__init__(limit=0, keepalive_timeout=_KEEP_ALIVE)
        self._factory = cast("partial[ResponseHandler]", partial(_Connection, loop=self._loop))

    async def connect(self, req: ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout) -> Connection:
        connection = await super().connect(req, traces, timeout)
        # aiohttp would take what is queued there for the answer to this request (its issue 13656).
        while connection.protocol is not None and len(connection.protocol) > 0:
            connection.close()
            connection = await super().connect(req, traces, timeout)
        if (tell := _SENT.get()) is not None:
            tell()
        return connection
