"""The HTTP module against a raw socket server: how each failure is told, what is sent, and that nothing stays open."""

from __future__ import annotations

import asyncio
import gc
import gzip
import select
import socket
import zlib
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from upstreams import (
    Upstream,
    answer,
    chunk,
    close,
    head,
    hold,
    no_such_name,
    nobody_accepts,
    nobody_listens,
    reset,
    silent_handshake,
    untrusted,
    upstream,
)

from trunkline.v1.call_pb2 import (
    OUTCOME_INTERRUPTED,
    OUTCOME_NOT_CONNECTED,
    OUTCOME_NOT_SENT,
    OUTCOME_PROTOCOL_ERROR,
    Outcome,
)
from trunkline_server import __version__
from trunkline_server.errors import UpstreamError
from trunkline_server.providers.http import HttpClient, HttpRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator

    from upstreams import Script

    Behaviour = Callable[[], AbstractAsyncContextManager[str]]

LIMIT = 1000
CHUNKED = head(200, {"transfer-encoding": "chunked"})
TEXT = b"The quick brown fox jumps over the lazy dog." * 3
GZIP = gzip.compress(TEXT)


@pytest.fixture(autouse=True)
async def complaints() -> AsyncIterator[list[dict[str, Any]]]:
    """What the loop and the garbage collector complain of (unclosed connections, lost exceptions): nothing."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    gc.freeze()  # What was there before need not be looked through again and again.
    yield complaints
    gc.collect()
    gc.unfreeze()
    assert complaints == []


@asynccontextmanager
async def new_client(**options: Any) -> AsyncIterator[HttpClient]:
    client = HttpClient(**{"max_connections": 10, "connect_timeout": 5.0} | options)
    try:
        yield client
    finally:
        await client.aclose()


def post(url: str, body: bytes = b"{}", **headers: str) -> HttpRequest:
    return HttpRequest("POST", url, headers, body)


async def call(client: HttpClient, request: HttpRequest) -> tuple[int, bytes]:
    async with client.exchange(request) as response:
        return response.status, await response.read(LIMIT)


async def turns(count: int) -> None:
    """Give the loop so many turns. What was sent on this machine is there at once; reading it takes a turn or two."""
    for _ in range(count):
        await asyncio.sleep(0)


# --- failures ---------------------------------------------------------------------------------------------------------


def serving(*script: bytes | Callable[..., Any]) -> Behaviour:
    @asynccontextmanager
    async def behaviour() -> AsyncIterator[str]:
        async with upstream(script) as server:
            yield server.base_url

    return behaviour


# The one limit of time in this module is hit by these.
SLOW = (nobody_accepts, silent_handshake)

FAILURES: list[tuple[str, Behaviour, Outcome.ValueType]] = [
    ("refused", nobody_listens, OUTCOME_NOT_CONNECTED),
    ("name not known", no_such_name, OUTCOME_NOT_CONNECTED),
    ("connecting takes too long", nobody_accepts, OUTCOME_NOT_CONNECTED),
    ("TLS takes too long", silent_handshake, OUTCOME_NOT_CONNECTED),
    ("certificate of nobody", untrusted, OUTCOME_NOT_CONNECTED),
    ("closed after dispatch", serving(close), OUTCOME_INTERRUPTED),
    ("reset after dispatch", serving(reset), OUTCOME_INTERRUPTED),
    ("cut in the status line", serving(b"HTTP/1.1 20", close), OUTCOME_INTERRUPTED),
    ("cut in the headers", serving(head()[:-4], close), OUTCOME_INTERRUPTED),
    ("interim answer only", serving(head(103), close), OUTCOME_INTERRUPTED),
    ("body cut short of its length", serving(answer(b"hello")[:-2], close), OUTCOME_INTERRUPTED),
    ("body reset short of its length", serving(answer(b"hello")[:-2], reset), OUTCOME_INTERRUPTED),
    ("chunked body without its end", serving(CHUNKED, chunk(b"hello"), close), OUTCOME_INTERRUPTED),
    ("chunked body cut in its end", serving(CHUNKED, chunk(b"hello"), chunk()[:-2], close), OUTCOME_INTERRUPTED),
    ("chunk cut", serving(CHUNKED, chunk(b"hello")[:-4], close), OUTCOME_INTERRUPTED),
    ("chunked body reset", serving(CHUNKED, chunk(b"hello"), reset), OUTCOME_INTERRUPTED),
    ("body up to the end of the connection, reset", serving(head(), b"hello", reset), OUTCOME_INTERRUPTED),
    ("not HTTP", serving(b"SSH-2.0-OpenSSH_9.2\r\n", hold), OUTCOME_PROTOCOL_ERROR),
    ("not HTTP, closed", serving(b"<html></html>", close), OUTCOME_PROTOCOL_ERROR),
    ("answer by TLS", serving(b"\x15\x03\x01\x00\x02\x02\x50", hold), OUTCOME_PROTOCOL_ERROR),
    ("header without end", serving(head(200, {"x": "y" * 20_000}), hold), OUTCOME_PROTOCOL_ERROR),
    ("length is no number", serving(head(200, {"content-length": "x"}), hold), OUTCOME_PROTOCOL_ERROR),
    ("two lengths", serving(head(200, {"Content-Length": "1", "content-length": "2"}), hold), OUTCOME_PROTOCOL_ERROR),
    ("malformed chunk", serving(CHUNKED, b"ZZ\r\nhello\r\n", hold), OUTCOME_PROTOCOL_ERROR),
    ("trailing bytes with the body", serving(answer(b"hello") + b"more", hold), OUTCOME_PROTOCOL_ERROR),
    ("gzip cut", serving(answer(GZIP[:-9], content_encoding="gzip")), OUTCOME_PROTOCOL_ERROR),
    ("not gzip", serving(answer(TEXT, content_encoding="gzip")), OUTCOME_PROTOCOL_ERROR),
    ("not deflate", serving(answer(TEXT, content_encoding="deflate")), OUTCOME_PROTOCOL_ERROR),
    ("unknown encoding", serving(answer(TEXT, content_encoding="br")), OUTCOME_PROTOCOL_ERROR),
    ("two encodings", serving(answer(TEXT, content_encoding="gzip, gzip")), OUTCOME_PROTOCOL_ERROR),
    ("body too long", serving(answer(b"x" * (LIMIT + 1))), OUTCOME_PROTOCOL_ERROR),
    ("body endless", serving(CHUNKED, *[chunk(b"x" * LIMIT)] * 2, hold), OUTCOME_PROTOCOL_ERROR),
    ("gzip bomb", serving(answer(gzip.compress(bytes(10 << 20)), content_encoding="gzip")), OUTCOME_PROTOCOL_ERROR),
]


@pytest.mark.parametrize(("behaviour", "outcome"), [row[1:] for row in FAILURES], ids=[row[0] for row in FAILURES])
async def test_failures_are_told_as_what_they_are(behaviour: Behaviour, outcome: Outcome.ValueType) -> None:
    async with behaviour() as url, new_client(connect_timeout=0.05 if behaviour in SLOW else 5.0) as client:
        with pytest.raises(UpstreamError) as caught:
            async with asyncio.timeout(5):
                await call(client, post(url))
    assert Outcome.Name(caught.value.outcome) == Outcome.Name(outcome)
    # Our own words: no text of the exception, of the server, and no address.
    assert caught.value.message.isascii()
    assert not set(caught.value.message) & set("0123456789:/[]{}<>")
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(
    "request_",
    [
        post("http://127.0.0.1:1", x="two\r\nlines"),
        post("http://127.0.0.1:1", x="non-ascii: ä"),
        post("http://a..invalid"),
        post("http://[::1"),
        post("ftp://127.0.0.1:1"),
        post("/v1/chat/completions"),
    ],
    ids=lambda request: f"{request.url} {request.headers}",
)
async def test_what_http_cannot_carry_is_not_sent(request_: HttpRequest) -> None:
    async with upstream([answer()]) as server, new_client() as client:
        url = request_.url.replace("http://127.0.0.1:1", server.base_url)
        with pytest.raises(UpstreamError) as caught:
            await call(client, HttpRequest("POST", url, request_.headers))
    assert caught.value.outcome == OUTCOME_NOT_SENT
    assert server.requests == []


async def test_a_malformed_chunk_does_not_leave_the_reader_waiting() -> None:
    async with (
        upstream([CHUNKED, chunk(b"hello"), hold]) as server,
        new_client() as client,
        client.exchange(post(server.base_url)) as response,
    ):
        stream = response.stream()
        assert await anext(stream) == b"hello"
        await server.connections[0].send(b"ZZ\r\n")
        with pytest.raises(UpstreamError) as caught:
            async with asyncio.timeout(1):
                await anext(stream)
    assert caught.value.outcome == OUTCOME_PROTOCOL_ERROR


async def test_what_arrived_before_the_failure_comes_before_it() -> None:
    async with (
        upstream([CHUNKED, hold]) as server,
        new_client() as client,
        client.exchange(post(server.base_url)) as response,
    ):
        await server.connections[0].send(chunk(b"data: 1\n\n") + chunk(b"data: [DONE]\n\n"))
        server.connections[0].reset()
        await turns(5)
        stream = response.stream()
        assert await anext(stream) == b"data: 1\n\ndata: [DONE]\n\n"
        with pytest.raises(UpstreamError) as caught:
            await anext(stream)
    assert caught.value.outcome == OUTCOME_INTERRUPTED


class Pieces(httpx2.AsyncByteStream):
    def __init__(self, pieces: Iterable[bytes]) -> None:
        self.pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            yield piece


class Scripted(httpx2.AsyncBaseTransport):
    """A transport that fails, or answers with a body cut into these pieces."""

    def __init__(self, outcome: Exception | Iterable[bytes], encoding: str = "identity") -> None:
        self.outcome = outcome
        self.encoding = encoding

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return httpx2.Response(200, headers={"content-encoding": self.encoding}, stream=Pieces(self.outcome))


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (httpx2.ConnectError("secret"), OUTCOME_NOT_CONNECTED),
        (httpx2.ConnectTimeout("secret"), OUTCOME_NOT_CONNECTED),
        (httpx2.ReadError("secret"), OUTCOME_INTERRUPTED),
        (httpx2.WriteError("secret"), OUTCOME_INTERRUPTED),
        (httpx2.RemoteProtocolError("secret"), OUTCOME_PROTOCOL_ERROR),
        (httpx2.LocalProtocolError("secret"), OUTCOME_NOT_SENT),
    ],
    ids=repr,
)
async def test_failures_of_other_transports(error: Exception, outcome: Outcome.ValueType) -> None:
    async with new_client(transport=Scripted(error), max_connections=1) as client:
        for _ in range(2):  # The second would find no free connection if the first had kept it.
            with pytest.raises(UpstreamError) as caught:
                await call(client, post("http://provider"))
            assert caught.value.outcome == outcome
            assert "secret" not in caught.value.message


async def test_an_error_of_ours_is_not_dressed_up_and_keeps_no_connection() -> None:
    async with new_client(transport=Scripted(ZeroDivisionError()), max_connections=1) as client:
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                await call(client, post("http://provider"))


async def test_an_error_of_ours_amid_the_body_is_not_told_as_not_sent() -> None:
    def pieces() -> Iterator[bytes]:
        yield b"hello"
        raise ValueError("ours")

    async with new_client(transport=Scripted(pieces())) as client:
        with pytest.raises(ValueError, match="ours"):
            await call(client, post("http://provider"))


# --- answers ----------------------------------------------------------------------------------------------------------

ANSWERS: list[tuple[str, Script, int, bytes]] = [
    ("with a length", [answer(b"hello")], 200, b"hello"),
    ("chunked", [CHUNKED, chunk(b"hel"), chunk(b"lo"), chunk()], 200, b"hello"),
    ("up to the end of the connection", [head(), b"hello", close], 200, b"hello"),
    ("HTTP/1.0", [b"HTTP/1.0 200 OK\r\n\r\nhello", close], 200, b"hello"),
    ("exactly as long as allowed", [answer(b"x" * LIMIT)], 200, b"x" * LIMIT),
    ("empty", [answer()], 200, b""),
    ("without a body", [head(204)], 204, b""),
    ("interim answers first", [head(100) + head(103, {"link": "x"}), head(103), answer(b"hello")], 200, b"hello"),
    ("redirect is not followed", [answer(b"there", 307, location="/there")], 307, b"there"),
    ("error with a body", [answer(b"no", 429)], 429, b"no"),
    ("gzip", [answer(GZIP, content_encoding="gzip")], 200, TEXT),
    ("gzip, spelt otherwise", [answer(GZIP, content_encoding="GZip")], 200, TEXT),
    ("empty gzip", [answer(content_encoding="gzip")], 200, b""),
    ("identity", [answer(b"hello", content_encoding="identity")], 200, b"hello"),
]


@pytest.mark.parametrize(("script", "status", "body"), [row[1:] for row in ANSWERS], ids=[row[0] for row in ANSWERS])
async def test_answers(script: Script, status: int, body: bytes) -> None:
    async with upstream(script) as server, new_client() as client:
        assert await call(client, post(server.base_url)) == (status, body)
        assert await call(client, post(server.base_url)) == (status, body)
        assert len(server.requests) == 2


RAW_DEFLATE = zlib.compressobj(wbits=-zlib.MAX_WBITS)
PACKED = {
    "gzip": ("gzip", GZIP),
    "gzip in two files": ("gzip", gzip.compress(TEXT[:50]) + gzip.compress(TEXT[50:])),
    "deflate": ("deflate", zlib.compress(TEXT)),
    "deflate without wrapper": ("deflate", RAW_DEFLATE.compress(TEXT) + RAW_DEFLATE.flush()),
    "deflate, stored": ("deflate", zlib.compress(TEXT, 0)),
}


@pytest.mark.parametrize(("encoding", "packed"), PACKED.values(), ids=PACKED.keys())
async def test_compressed_answers_are_unpacked_wherever_they_are_cut(encoding: str, packed: bytes) -> None:
    cuts = [[packed[:at], packed[at:]] for at in range(len(packed))]
    for pieces in [*cuts, [packed[at : at + 1] for at in range(len(packed))]]:
        async with new_client(transport=Scripted(pieces, encoding)) as client:
            assert await call(client, post("http://provider")) == (200, TEXT)


async def test_compressed_events_are_given_as_they_arrive() -> None:
    packer = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    pieces = [packer.compress(event) + packer.flush(zlib.Z_SYNC_FLUSH) for event in (b"one", b"two")]
    transport = Scripted([*pieces, packer.flush()], "gzip")
    async with new_client(transport=transport) as client, client.exchange(post("http://provider")) as response:
        assert [data async for data in response.stream()] == [b"one", b"two"]


async def test_what_unpacks_to_much_is_given_in_pieces() -> None:
    transport = Scripted([gzip.compress(bytes(10 << 20))], "gzip")
    async with new_client(transport=transport) as client, client.exchange(post("http://provider")) as response:
        sizes = [len(data) async for data in response.stream()]
    assert (sum(sizes), max(sizes)) == (10 << 20, 1 << 16)


async def test_header_names_are_lower_case_and_repeated_ones_joined() -> None:
    script = [head(200, {"X-Request-Id": "r1", "X-A": "1", "x-a": "2", "Content-Length": "0"})]
    async with upstream(script) as server, new_client() as client, client.exchange(post(server.base_url)) as response:
        assert dict(response.headers) == {"x-request-id": "r1", "x-a": "1, 2", "content-length": "0"}
        assert response.has_header_like(b"request")
        assert not response.has_header_like(b"r1")


@pytest.mark.parametrize(
    ("script", "start"),
    [
        ([answer(b"x" * 5000, 503)], b"x" * LIMIT),
        ([answer(b"short", 503)], b"short"),
        ([head(503), b"no end", *[b"x" * 5000], hold], b"no end" + b"x" * (LIMIT - 6)),
        ([answer(b"hello", 503)[:-2], close], b"hel"),
        ([answer(TEXT, 503, content_encoding="br")], b""),
    ],
    ids=["huge", "short", "endless", "cut", "illegible"],
)
async def test_of_an_error_body_what_can_be_had_is_enough(script: Script, start: bytes) -> None:
    async with upstream(script) as server, new_client() as client, client.exchange(post(server.base_url)) as response:
        assert (response.status, await response.read_start(LIMIT)) == (503, start)


# --- what is sent -----------------------------------------------------------------------------------------------------

OURS = {"accept-encoding": "identity", "user-agent": f"trunkline/{__version__}"}


@pytest.mark.parametrize(
    ("method", "body", "given", "added"),
    [
        ("POST", b"{}", {}, OURS | {"content-length": "2"}),
        ("POST", b"", {}, OURS | {"content-length": "0"}),
        ("GET", b"", {"Accept": "application/json"}, OURS),
        ("POST", b"{}", {"content-type": "x/y", "authorization": "Bearer k"}, OURS | {"content-length": "2"}),
        ("POST", b"{}", {"User-Agent": "mine"}, {"accept-encoding": "identity", "content-length": "2"}),
    ],
)
async def test_headers_are_sent_as_given(
    method: str, body: bytes, given: dict[str, str], added: dict[str, str]
) -> None:
    async with upstream([answer()]) as server, new_client() as client:
        await call(client, HttpRequest(method, server.base_url, given, body))
    sent = server.requests[0]
    expected = {name.lower(): value for name, value in given.items()} | added
    assert sent.headers == {"host": server.base_url.removeprefix("http://")} | expected
    assert sent.head.count(b"\r\n") == len(sent.headers)


async def test_the_path_is_sent_as_it_stands() -> None:
    path = "/model/anthropic.claude-v1%3A0/a%2Fb/x~y/invoke:now?beta=true&q=%20+%C3%A4"
    async with upstream([answer()]) as server, new_client() as client:
        await call(client, post(server.base_url + path))
    assert server.requests[0].target == path


@pytest.mark.parametrize("size", [600, 300_000, 3 << 20])
async def test_bodies_of_any_size_arrive_whole(size: int) -> None:
    body = bytes(range(256)) * (size // 256)
    async with upstream([answer()]) as server, new_client() as client:
        await call(client, post(server.base_url, body))
    assert server.requests[0].body == body


async def test_cookies_are_not_kept() -> None:
    async with upstream([answer(set_cookie="__cf_bm=caller-1; path=/")]) as server, new_client() as client:
        url = server.base_url.replace("127.0.0.1", "localhost")  # Cookie jars keep nothing from an address.
        await call(client, post(url))
        await call(client, post(url))
    assert "cookie" not in server.requests[1].headers


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with upstream([answer()]) as server, upstream([answer()]) as proxy, new_client() as client:
        monkeypatch.setenv("HTTP_PROXY", proxy.base_url)
        await call(client, post(server.base_url.replace("127.0.0.1", "localhost")))
    assert (len(server.requests), len(proxy.requests)) == (1, 0)


# --- connections ------------------------------------------------------------------------------------------------------


async def test_connections_are_kept_alive() -> None:
    async with upstream([answer(b"hello")]) as server, new_client() as client:
        for _ in range(3):
            await call(client, post(server.base_url))
        assert len(server.connections) == 1


async def test_a_connection_closed_between_calls_is_not_used() -> None:
    async with upstream([answer(b"hello")]) as server, new_client() as client:
        await call(client, post(server.base_url))
        server.connections[0].close()
        await server.connections[0].closed_by_peer
        assert await call(client, post(server.base_url)) == (200, b"hello")
        assert len(server.connections) == 2


async def test_a_post_on_a_connection_that_is_being_closed_is_interrupted_and_not_sent_again() -> None:
    async with upstream([answer()], [close], [answer()]) as server, new_client() as client:
        await call(client, post(server.base_url))
        with pytest.raises(UpstreamError) as caught:
            await call(client, post(server.base_url))
        assert caught.value.outcome == OUTCOME_INTERRUPTED
        assert (len(server.requests), len(server.connections)) == (2, 1)


async def test_a_get_on_a_connection_that_is_being_closed_is_sent_again() -> None:
    async with upstream([answer()], [close], [answer(b"hello")]) as server, new_client() as client:
        await call(client, post(server.base_url))
        assert await call(client, HttpRequest("GET", server.base_url, {})) == (200, b"hello")
        assert (len(server.requests), len(server.connections)) == (3, 2)


@pytest.mark.parametrize("unasked", [answer(b"another caller's"), head(408), b"junk", CHUNKED + chunk(b"junk")])
async def test_what_a_server_says_unasked_is_no_answer_to_the_next_call(unasked: bytes) -> None:
    async with upstream([answer(b"first")], [answer(b"second")]) as server, new_client() as client:
        await call(client, post(server.base_url))
        await server.connections[0].send(unasked)
        await turns(5)
        assert await call(client, post(server.base_url)) == (200, b"second")
        assert len(server.connections) == 2


async def test_a_full_pool_is_our_own_overload() -> None:
    async with upstream([hold]) as server, new_client(max_connections=1, connect_timeout=0.2) as client:
        first = asyncio.create_task(call(client, post(server.base_url)))
        await server.wait_requests(1)
        with pytest.raises(UpstreamError) as caught:
            async with asyncio.timeout(1):
                await call(client, post(server.base_url))
        assert caught.value.outcome == OUTCOME_NOT_SENT
        assert len(server.requests) == 1
        first.cancel()


async def test_a_call_waits_for_a_free_connection() -> None:
    async with upstream([answer(b"hello")]) as server, new_client(max_connections=2) as client:
        answers = await asyncio.gather(*(call(client, post(server.base_url)) for _ in range(10)))
        assert answers == [(200, b"hello")] * 10
        assert len(server.connections) == 2


async def test_a_call_cancelled_while_it_waits_takes_no_connection_with_it() -> None:
    async with upstream([hold], [answer()]) as server, new_client(max_connections=1) as client:
        first = asyncio.create_task(call(client, post(server.base_url)))
        await server.wait_requests(1)
        waiting = [asyncio.create_task(call(client, post(server.base_url))) for _ in range(3)]
        await asyncio.sleep(0)
        for task in (*waiting[:2], first):
            task.cancel()
        assert await waiting[2] == (200, b"")


async def stop_before_the_connection(client: HttpClient, server: Upstream) -> asyncio.Task[Any]:
    task = asyncio.create_task(call(client, post(server.base_url.replace("http:", "https:"))))
    await server.wait_connections(1)
    return task


async def stop_before_the_answer(client: HttpClient, server: Upstream) -> asyncio.Task[Any]:
    task = asyncio.create_task(call(client, post(server.base_url)))
    await server.wait_requests(1)
    return task


async def stop_amid_the_body(client: HttpClient, server: Upstream) -> asyncio.Task[Any]:
    reading = asyncio.Event()

    async def read() -> None:
        async with client.exchange(post(server.base_url)) as response:
            async for _ in response.stream():
                reading.set()

    task = asyncio.create_task(read())
    await reading.wait()
    return task


@pytest.mark.parametrize(
    ("begin", "script"),
    [
        (stop_before_the_connection, [answer()]),
        (stop_before_the_answer, [hold]),
        (stop_amid_the_body, [CHUNKED, chunk(b"hello"), hold]),
        (stop_amid_the_body, [head(), b"hello", hold]),
    ],
    ids=["before the connection", "before the answer", "amid a chunked body", "amid a body without length"],
)
async def test_a_cancelled_call_closes_its_connection_at_once(begin: Callable[..., Any], script: Script) -> None:
    async with upstream(script) as server, new_client(max_connections=1) as client:
        task = await begin(client, server)
        cancelled_at = asyncio.get_running_loop().time()
        task.cancel()
        async with asyncio.timeout(5):
            assert await server.connections[0].closed_by_peer - cancelled_at < 0.1
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_call_cancelled_while_nobody_reads_its_body_closes_its_connection_at_once() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        async with new_client() as client:
            url = "http://127.0.0.1:{1}".format(*listener.getsockname())
            task = asyncio.create_task(call(client, post(url, bytes(32 << 20))))
            connection, _ = await asyncio.get_running_loop().sock_accept(listener)
            await turns(200)  # By now as much is written as fits between the two.
            task.cancel()
            await turns(5)
            with connection:
                poll = select.poll()
                poll.register(connection, 0)
                assert [event & select.POLLERR for _, event in poll.poll(0)] == [select.POLLERR]


async def test_leaving_before_the_end_of_the_body_closes_the_connection() -> None:
    script: Script = [CHUNKED, chunk(b"hello"), hold]
    async with upstream(script, [answer()]) as server, new_client(max_connections=1) as client:
        async with client.exchange(post(server.base_url)) as response, aclosing(response.stream()) as stream:
            assert await anext(stream) == b"hello"
        async with asyncio.timeout(1):
            await server.connections[0].closed_by_peer
        assert await call(client, post(server.base_url)) == (200, b"")


async def test_closing_the_client_interrupts_what_is_in_flight() -> None:
    async with upstream([hold]) as server, new_client() as client:
        task = asyncio.create_task(call(client, post(server.base_url)))
        await server.wait_requests(1)
        await client.aclose()
        with pytest.raises(UpstreamError) as caught:
            await task
        assert caught.value.outcome == OUTCOME_INTERRUPTED
