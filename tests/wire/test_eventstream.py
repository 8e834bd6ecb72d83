"""AWS's binary event stream: published messages, both checksums, and the same messages however the bytes are cut."""

from __future__ import annotations

import struct
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING
from uuid import UUID
from zlib import crc32

import pytest
from event_streams import Sized, framed, message
from hypothesis import given
from hypothesis import strategies as st

from trunkline_server.wire.eventstream import (
    MAX_HEADERS_BYTES,
    MAX_PAYLOAD_BYTES,
    ChecksumMismatch,
    EventStreamError,
    EventStreamFramer,
    EventStreamMessage,
    MalformedMessage,
    MessageTooLarge,
    TruncatedMessage,
)

if TYPE_CHECKING:
    from trunkline_server.wire.eventstream import HeaderValue

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
VALUES: st.SearchStrategy[HeaderValue] = st.one_of(
    st.booleans(),
    *(st.integers(-(1 << bits), (1 << bits) - 1).map(partial(Sized, size=bits // 8 + 1)) for bits in (7, 15, 31, 63)),
    st.binary(max_size=9),
    st.text(max_size=9),
    st.uuids(),
    st.integers(-(1 << 40), 1 << 40).map(lambda milliseconds: EPOCH + timedelta(milliseconds=milliseconds)),
)
NAMES = st.text(min_size=1, max_size=9)
MESSAGES = st.lists(st.tuples(st.dictionaries(NAMES, VALUES, max_size=4), st.binary(max_size=30)), max_size=5)


def read(pieces: list[bytes], limit: int = 1 << 16) -> list[EventStreamMessage]:
    framer = EventStreamFramer(limit)
    messages = [found for piece in pieces for found in framer.feed(piece)]
    framer.finish()
    return messages


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[start:end] for start, end in pairwise(edges)]


# From the test suite that AWS's own SDKs share.
PUBLISHED: list[tuple[str, dict[str, HeaderValue], bytes]] = [
    ("000000100000000005c248eb7d98c8ff", {}, b""),
    ("0000001d00000000fd528c5a7b27666f6f273a27626172277dc3653936", {}, b"{'foo':'bar'}"),
    (
        (
            "0000003d0000002007fd83960c636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e"
            "7b27666f6f273a27626172277d8d9c08b1"
        ),
        {"content-type": "application/json"},
        b"{'foo':'bar'}",
    ),
    (
        "0000002d0000001041c424b80a6576656e742d74797065040000a00c7b27666f6f273a27626172277d36f480a0",
        {"event-type": 40972},
        b"{'foo':'bar'}",
    ),
]


@pytest.mark.parametrize(("encoded", "headers", "payload"), PUBLISHED)
def test_published_messages(encoded: str, headers: dict[str, HeaderValue], payload: bytes) -> None:
    assert read([bytes.fromhex(encoded)]) == [EventStreamMessage(headers, payload)]


def test_every_kind_of_header() -> None:
    headers: dict[str, HeaderValue] = {
        "yes": True,
        "no": False,
        "byte": Sized(-2, 1),
        "short": Sized(-300, 2),
        "int": Sized(-70000, 4),
        "long": -(1 << 40),
        "bytes": b"\x00\xff",
        "text": "née",
        "time": datetime(2026, 11, 21, 12, 0, 0, 250000, tzinfo=UTC),
        "uuid": UUID("01020304-0506-0708-090a-0b0c0d0e0f10"),
    }
    (found,) = read([message(headers, b"x")])
    assert found.headers == headers
    assert [type(value) for value in found.headers.values()] == [bool] * 2 + [int] * 4 + [bytes, str, datetime, UUID]
    assert (found.text("text"), found.text("int"), found.text("none")) == ("née", "", "")


@given(MESSAGES, st.lists(st.integers(0, 1 << 16), max_size=12))
def test_any_cut_gives_the_same_messages(sent: list[tuple[dict[str, HeaderValue], bytes]], places: list[int]) -> None:
    stream = b"".join(message(headers, payload) for headers, payload in sent)
    expected = [EventStreamMessage(headers, payload) for headers, payload in sent]
    assert read(cut(stream, places)) == expected
    assert read([stream[index : index + 1] for index in range(len(stream))]) == expected


def outcome(
    pieces: list[bytes], limit: int = 1 << 16
) -> tuple[list[EventStreamMessage], type[EventStreamError] | None]:
    framer, messages = EventStreamFramer(limit), []
    try:
        for piece in pieces:
            messages += framer.feed(piece)
        framer.finish()
    except EventStreamError as error:
        return messages, type(error)
    return messages, None


@given(MESSAGES, st.integers(0, 1 << 16), st.integers(1, 255), st.lists(st.integers(0, 1 << 16), max_size=5))
def test_a_damaged_byte_is_seen(
    sent: list[tuple[dict[str, HeaderValue], bytes]], place: int, change: int, places: list[int]
) -> None:
    stream = bytearray(b"".join(message(headers, payload) for headers, payload in sent) + message({"a": "b"}, b"c"))
    place %= len(stream)
    stream[place] ^= change
    messages, error = outcome([bytes(stream)])
    assert error is ChecksumMismatch
    assert messages == [EventStreamMessage(headers, payload) for headers, payload in sent][: len(messages)]
    assert outcome(cut(bytes(stream), places)) == (messages, error)


@given(MESSAGES, st.integers(0, 1 << 16))
def test_a_cut_off_stream_is_seen(sent: list[tuple[dict[str, HeaderValue], bytes]], end: int) -> None:
    whole = [message(headers, payload) for headers, payload in sent]
    stream = b"".join(whole)
    end %= len(stream) + 1
    at_an_edge = end in {len(b"".join(whole[:count])) for count in range(len(whole) + 1)}
    assert outcome([stream[:end]])[1] is (None if at_an_edge else TruncatedMessage)


@given(st.binary(max_size=64))
def test_headers_of_anything_are_read_or_refused(headers: bytes) -> None:
    assert outcome([framed(headers)])[1] in {None, MalformedMessage}


@pytest.mark.parametrize(
    "headers",
    [
        b"\x00\x00",  # no name
        b"\x01a\x00\x01a\x01",  # twice the same
        b"\x01a",  # no kind
        b"\x01a\x0a",  # a kind that does not exist
        b"\x01a\x04\x00",  # half an integer
        b"\x01a\x07\x00\x05abc",  # beyond the end
        b"\x01a\x09abc",  # half a UUID
        b"\x01\xff\x00",  # a name that is no UTF-8
        b"\x01a\x07\x00\x01\xff",  # a text that is no UTF-8
        b"\x01a\x08" + b"\x7f" * 8,  # a time in the year 291 million
        b"\x09a",  # a name beyond the end
    ],
)
def test_headers_that_make_no_sense(headers: bytes) -> None:
    assert outcome([framed(headers)]) == ([], MalformedMessage)


def prelude(total: int, headers: int) -> bytes:
    lengths = struct.pack(">II", total, headers)
    return lengths + struct.pack(">I", crc32(lengths))


@pytest.mark.parametrize(
    ("lengths", "error"),
    [
        (prelude(15, 0), MalformedMessage),
        (prelude(0, 0), MalformedMessage),
        (prelude(20, 5), MalformedMessage),
        (prelude(16 + MAX_PAYLOAD_BYTES + 1, 0), MessageTooLarge),
        (prelude((1 << 32) - 1, 0), MessageTooLarge),
        (prelude(16 + MAX_HEADERS_BYTES + 1, MAX_HEADERS_BYTES + 1), MessageTooLarge),
        (b"HTTP/1.1 502", ChecksumMismatch),
    ],
)
def test_lengths_are_refused_before_anything_more_is_waited_for(lengths: bytes, error: type[EventStreamError]) -> None:
    framer = EventStreamFramer()
    assert framer.feed(lengths[:-1]) == []
    with pytest.raises(error):
        framer.feed(lengths[-1:])


def test_the_limit_is_that_of_the_payload() -> None:
    assert outcome([message({"a": "b" * 99}, b"x" * 8)], limit=8)[1] is None
    assert outcome([message({}, b"x" * 9)], limit=8)[1] is MessageTooLarge


def test_the_first_error_stands_and_what_came_before_it_is_given_first() -> None:
    framer = EventStreamFramer()
    good = message({}, b"good")
    assert [found.payload for found in framer.feed(good + b"x" * 12 + good)] == [b"good"]
    for _ in range(2):
        with pytest.raises(ChecksumMismatch):
            framer.feed(good)
        with pytest.raises(ChecksumMismatch):
            framer.finish()


def test_an_empty_stream_has_no_messages() -> None:
    assert read([]) == read([b"", b""]) == []


def test_time_is_linear_in_the_bytes() -> None:
    """A large message in small pieces, and many small messages at once."""
    large = message({}, b"x" * (4 << 20))
    many = message({"a": "b"}, b"x") * 50_000
    start = time.perf_counter()
    pieces = [large[index : index + 4096] for index in range(0, len(large), 4096)]
    assert len(read(pieces, limit=8 << 20)) == 1
    assert len(read([many])) == 50_000
    assert time.perf_counter() - start < 5
