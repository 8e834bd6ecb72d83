"""The SSE framer: the standard's rules, and the same events however the bytes are cut."""

import time
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trunkline_server.wire.sse import EventTooLarge, SseEvent, SseFramer

LINES = [b"data: a", b"data:b", b"data:  c", b"data", b"data:", b"event: e", b"event:f", b"event", b": note", b":", b""]
LINES += [b"id: 7", b"retry: 1", b"data : x", b"data: \xc3\xa9", b"\xff", b"\xef\xbb\xbfdata: bom", b"a: b: c"]
STREAMS = st.lists(st.tuples(st.sampled_from(LINES), st.sampled_from([b"\n", b"\r\n", b"\r"]))).map(
    lambda lines: b"".join(line + ending for line, ending in lines)
) | st.binary(max_size=40)


def read(pieces: list[bytes], limit: int = 1 << 20) -> list[SseEvent]:
    framer = SseFramer(limit)
    events = [event for piece in pieces for event in framer.feed(piece)]
    return events + framer.finish()


def oracle(stream: bytes) -> list[SseEvent]:
    """The standard's algorithm, line by line over the whole stream, and dispatch at its end."""
    lines = stream.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    events, name, data = [], "", b""
    for line in [*lines, b""]:
        field, colon, value = line.partition(b":")
        value = value[1:] if value[:1] == b" " else value
        if not line:
            if data:
                events.append(SseEvent(name, data[:-1]))
            name, data = "", b""
        elif colon and not field:
            pass
        elif field == b"data":
            data += value + b"\n"
        elif field == b"event":
            name = value.decode("utf-8", "replace")
        elif field == b"error":
            # Not in the standard.
            name, data = "error", data + value + b"\n"
    return events


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[start:end] for start, end in pairwise(edges)]


@given(STREAMS, st.lists(st.integers(0, 1 << 16), max_size=12))
@example(b"data: a\r\n\r\ndata: b\r\n\r\n", [8])
@example(b"data: a\r\r\ndata: b", [9])
@example(b"\xef\xbb\xbfdata: a\n\n", [1, 2])
@example(b"data: a\n\n\n\ndata: b\n\n", [8, 10])
def test_any_cut_gives_the_events_of_the_standard(stream: bytes, places: list[int]) -> None:
    assert read(cut(stream, places)) == oracle(stream)


@given(STREAMS)
def test_one_byte_at_a_time_gives_the_events_of_the_standard(stream: bytes) -> None:
    assert read([stream[index : index + 1] for index in range(len(stream))]) == oracle(stream)


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\n\n", [("", b"a")]),
        (b"data:a\n\n", [("", b"a")]),
        (b"data:  a\n\n", [("", b" a")]),
        (b"data: a\r\n\r\ndata: b\r\rdata: c\n\n", [("", b"a"), ("", b"b"), ("", b"c")]),
        (b"data: a\ndata: b\ndata\n\n", [("", b"a\nb\n")]),
        (b"event: error\ndata: a\n\ndata: b\n\n", [("error", b"a"), ("", b"b")]),
        (b"data: a\n\nerror: b\n\n", [("", b"a"), ("error", b"b")]),
        (b": OPENROUTER PROCESSING\n\n: keep-alive\ndata: a\n\n", [("", b"a")]),
        (b"event: ping\n\n", []),
        (b"data:\n\n", [("", b"")]),
        (b"\xef\xbb\xbfdata: a\n\n", [("", b"a")]),
        (b"data: a\n\ndata: b", [("", b"a"), ("", b"b")]),
        (b"data: a\n", [("", b"a")]),
        ("data: déjà 🚂\n\n".encode(), [("", "déjà 🚂".encode())]),
        (b"data: [DONE]\n\n", [("", b"[DONE]")]),
        (b"\n\n\ndata: a\n\n\n\n", [("", b"a")]),
        (b'{"error": "not an event stream"}\n\n', []),
        (b"", []),
    ],
)
def test_what_a_stream_says(stream: bytes, events: list[tuple[str, bytes]]) -> None:
    assert read([stream]) == [SseEvent(*event) for event in events]


def test_an_event_is_given_out_when_its_blank_line_is_there() -> None:
    framer = SseFramer()
    assert framer.feed(b"data: a\n") == []
    assert framer.feed(b"") == []
    assert framer.feed(b"\ndata: b") == [SseEvent("", b"a")]
    assert framer.finish() == [SseEvent("", b"b")]


def test_a_carriage_return_ends_a_line_at_once_and_its_line_feed_counts_only_once() -> None:
    framer = SseFramer()
    assert framer.feed(b"data: a\r\n\r") == [SseEvent("", b"a")]
    assert framer.feed(b"") == []
    assert framer.feed(b"\ndata: b\r\n\r\n") == [SseEvent("", b"b")]


@pytest.mark.parametrize("ending", [b"\n\n", b"\r\n\r\n"])
@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_the_longest_event_is_taken_and_a_longer_one_is_not(step: int, ending: bytes) -> None:
    longest = b"data: " + b"x" * 94
    pieces = [*_steps(b"data: ok\n\n" + longest + ending + b"data: ok\n\n", step)]
    assert [len(event.data) for event in read(pieces, limit=100)] == [2, 94, 2]
    with pytest.raises(EventTooLarge):
        read([*_steps(b"data: ok\n\n" + longest + b"x" + ending + b"data: ok\n\n", step)], limit=100)


def test_a_stream_without_a_blank_line_is_bounded() -> None:
    framer = SseFramer(max_event_bytes=1000)
    for _ in range(91):
        assert framer.feed(b": no event\n") == []
    with pytest.raises(EventTooLarge):
        framer.feed(b": no event\n")


def test_a_long_event_in_small_reads_takes_linear_time() -> None:
    framer = SseFramer()
    start = time.process_time()
    for _ in range(100_000):
        framer.feed(b"0123456789" * 10)
    # Quadratic joining copies 500 GB here.
    assert time.process_time() - start < 5


def _steps(stream: bytes, step: int) -> list[bytes]:
    return [stream[index : index + step] for index in range(0, len(stream), step)]
