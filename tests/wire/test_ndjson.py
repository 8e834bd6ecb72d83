"""The NDJSON framer: the same lines however the bytes are cut."""

import time
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trunkline_server.wire.ndjson import LineTooLarge, NdjsonFramer

LINES = [b"{}", b'{"a":1}', b"", b" ", b"\t", b"\xff", b"x", "é🚂".encode(), b"a\rb"]
STREAMS = st.lists(st.tuples(st.sampled_from(LINES), st.sampled_from([b"\n", b"\r\n"]))).map(
    lambda lines: b"".join(line + ending for line, ending in lines)
) | st.binary(max_size=40)
LIMIT = 4


def read(pieces: list[bytes], limit: int = 1 << 20) -> tuple[list[bytes], bool]:
    """The lines, and whether all were read."""
    framer = NdjsonFramer(limit)
    lines: list[bytes] = []
    try:
        for piece in pieces:
            lines += framer.feed(piece)
        lines += framer.finish()
    except LineTooLarge:
        return lines, False
    return lines, True


def oracle(stream: bytes, limit: int = 1 << 20) -> tuple[list[bytes], bool]:
    lines: list[bytes] = []
    for line in stream.split(b"\n"):
        text = line.removesuffix(b"\r")
        if len(text) > limit:
            return lines, False
        if text.strip():
            lines.append(text)
    return lines, True


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[start:end] for start, end in pairwise(edges)]


@given(STREAMS, st.lists(st.integers(0, 1 << 16), max_size=12))
@example(b"{}\r\n{}", [3])
def test_any_cut_gives_the_same_lines(stream: bytes, places: list[int]) -> None:
    assert read(cut(stream, places)) == oracle(stream)


@given(STREAMS, st.lists(st.integers(0, 1 << 16), max_size=12))
@example(b"abcd\r\nabcde\n{}\n", [5, 9, 11])
def test_any_cut_meets_the_limit_at_the_same_line(stream: bytes, places: list[int]) -> None:
    assert read(cut(stream, places), LIMIT) == oracle(stream, LIMIT)


@given(STREAMS)
def test_one_byte_at_a_time_gives_the_same_lines(stream: bytes) -> None:
    assert read([stream[index : index + 1] for index in range(len(stream))]) == oracle(stream)


def test_the_last_line_may_lack_its_end() -> None:
    framer = NdjsonFramer()
    assert framer.feed(b'{"a":1}\r\n\r\n{"b"') == [b'{"a":1}']
    assert framer.feed(b":2}") == []
    assert framer.finish() == [b'{"b":2}']
    assert framer.finish() == []


def test_lines_before_one_that_is_too_large_are_returned_first() -> None:
    framer = NdjsonFramer(max_line_bytes=LIMIT)
    assert framer.feed(b"abcd\nabcde\nab\n") == [b"abcd"]
    with pytest.raises(LineTooLarge):
        framer.feed(b"ab\n")
    with pytest.raises(LineTooLarge):
        framer.finish()


def test_a_line_without_end_is_not_kept_beyond_the_limit() -> None:
    framer = NdjsonFramer(max_line_bytes=LIMIT)
    assert framer.feed(b"abcd") == []
    with pytest.raises(LineTooLarge):
        framer.feed(b"ef")


def test_a_long_line_in_small_pieces_takes_linear_time() -> None:
    framer = NdjsonFramer()
    started = time.perf_counter()
    for _ in range(100_000):
        framer.feed(b"0123456789")
    assert [len(line) for line in framer.finish()] == [1_000_000]
    assert time.perf_counter() - started < 5
