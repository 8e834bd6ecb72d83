"""Whatever Gemini sends, an answer is whole or failed, its events follow the contract's grammar, nothing crashes."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from decoding import decoded
from google.protobuf.json_format import MessageToJson
from hypothesis import given
from hypothesis import strategies as st

from trunkline_server.dialects import gemini_generate_content as dialect
from trunkline_server.errors import UpstreamError
from trunkline_server.fold import fold

if TYPE_CHECKING:
    from trunkline.v1.gateway_service_pb2 import StreamGenerateResponse

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "gemini_generate_content"
STREAMS = [path.read_bytes() for path in sorted(GOLDEN.glob("*/stream.sse"))]
BODIES = [path.read_bytes() for path in sorted(GOLDEN.glob("*/response.json"))]

WORDS = st.text(max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)
FIELDS = ["candidates", "content", "parts", "text", "thought", "thoughtSignature", "functionCall", "name", "args", "id"]
FIELDS += ["inlineData", "data", "mimeType", "executableCode", "finishReason", "index", "usageMetadata", "responseId"]
FIELDS += ["promptTokenCount", "promptFeedback", "blockReason", "groundingMetadata", "groundingChunks", "web", "uri"]
FIELDS += ["groundingSupports", "segment", "endIndex", "groundingChunkIndices", "citationMetadata", "citations"]
FIELDS += ["logprobsResult", "chosenCandidates", "topCandidates", "token", "logProbability", "error", "code", "details"]
# JSON with the names that the decoders look for, and values of any type behind them.
ALIKE = st.recursive(
    JSON,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
    max_leaves=20,
)

SIGNATURE = st.none() | st.just("c2ln")
PIECE = st.one_of(
    st.tuples(st.just("text"), WORDS, SIGNATURE),
    st.tuples(st.just("thought"), WORDS, SIGNATURE),
    st.tuples(st.just("call"), st.dictionaries(WORDS, JSON, max_size=2), SIGNATURE),
    st.tuples(st.just("code"), WORDS, SIGNATURE),
)


def part(kind: str, said: Any, signature: str | None) -> Any:
    data = {
        "text": {"text": said},
        "thought": {"text": said, "thought": True},
        "call": {"functionCall": {"name": "f", "args": said}},
        "code": {"executableCode": {"code": said}},
    }[kind]
    return data | ({} if signature is None else {"thoughtSignature": signature})


def check_grammar(events: list[StreamGenerateResponse]) -> None:
    """Parts are numbered without gaps, grow only while open, and are all completed before the end, which comes once."""
    *before, last = events
    assert last.HasField("completed")
    started, open_parts = 0, set()
    for event in before:
        kind = event.WhichOneof("event")
        index = getattr(event, kind or "").part_index
        if kind == "part_started":
            assert index == started
            started += 1
            open_parts.add(index)
        else:
            assert index in open_parts
            if kind == "part_completed":
                open_parts.remove(index)
    assert not open_parts
    # What callers are sent can be written down.
    MessageToJson(fold(events))


def check_citations(events: list[StreamGenerateResponse]) -> None:
    for each in fold(events).message.parts:
        for citation in each.citations:
            assert 0 <= citation.start_index <= citation.end_index <= len(each.text)


@given(st.lists(st.lists(PIECE, max_size=4), max_size=4))
def test_a_stream_says_what_the_whole_answer_says(pieces: list[list[tuple[str, Any, str | None]]]) -> None:
    parts = [[part(*piece) for piece in together] for together in pieces]
    events = [{"candidates": [{"content": {"parts": each}}], "responseId": "r"} for each in parts]
    end = {"candidates": [{"finishReason": "STOP"}], "responseId": "r"}
    stream = b"".join(b"data: " + json.dumps(each).encode() + b"\r\n\r\n" for each in [*events, end])
    streamed, error = decoded(dialect.stream_decoder(), [stream])
    assert error is None
    check_grammar(streamed)
    candidate = {"content": {"parts": [each for together in parts for each in together]}, "finishReason": "STOP"}
    body = json.dumps({"candidates": [candidate], "responseId": "r"}, indent=2).encode()
    whole = dialect.decode_response(body)
    check_grammar(whole)
    assert fold(whole) == fold(streamed)


@given(st.data())
def test_events_are_the_same_however_the_bytes_are_cut(data: st.DataObject) -> None:
    stream = data.draw(st.sampled_from(STREAMS))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    edges = [0, *cuts, len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(edges)]
    assert decoded(dialect.stream_decoder(), pieces) == decoded(dialect.stream_decoder(), [stream])


@given(st.lists(ALIKE.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=20), max_size=6))
def test_a_stream_of_anything_ends_once(bodies: list[bytes]) -> None:
    for stream in (b"".join(b"data: " + body + b"\r\n\r\n" for body in bodies), b"[" + b",\r\n".join(bodies) + b"]"):
        events, error = decoded(dialect.stream_decoder(), [stream])
        assert sum(event.HasField("completed") for event in events) + (error is not None) == 1
        if error is None:
            check_grammar(events)


@given(ALIKE.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=40))
def test_an_answer_of_anything_is_whole_or_an_error(body: bytes) -> None:
    try:
        check_grammar(dialect.decode_response(body))
    except UpstreamError as error:
        assert error.outcome  # noqa: PT017 - either is right


@st.composite
def mutations(draw: st.DrawFn, of: list[bytes]) -> bytes:
    """One of the golden bodies with some bytes changed, left out or doubled."""
    body = bytearray(draw(st.sampled_from(of)))
    for _ in range(draw(st.integers(1, 4))):
        place, length = draw(st.integers(0, len(body))), draw(st.integers(0, 12))
        body[place : place + length] = draw(st.binary(max_size=4) | st.just(bytes(body[place : place + 2 * length])))
    return bytes(body)


@given(mutations(STREAMS))
def test_a_broken_stream_ends_once(stream: bytes) -> None:
    events, error = decoded(dialect.stream_decoder(), [stream])
    assert sum(event.HasField("completed") for event in events) + (error is not None) == 1
    if error is None:
        check_grammar(events)
        check_citations(events)


@given(mutations(BODIES))
def test_a_broken_answer_is_whole_or_an_error(body: bytes) -> None:
    try:
        events = dialect.decode_response(body)
    except UpstreamError as error:
        assert error.outcome  # noqa: PT017 - either is right
    else:
        check_grammar(events)
        check_citations(events)


@given(st.integers(0, 999), st.dictionaries(WORDS, WORDS, max_size=2), ALIKE)
def test_an_error_of_anything_is_an_error(status: int, headers: dict[str, str], said: Any) -> None:
    for body in (json.dumps(said).encode(), json.dumps({"error": {"details": [said]}}).encode()):
        error = dialect.decode_error(status, headers, body)
        assert (bool(error.outcome), error.status) == (True, status)
        assert error.retry_after is None or error.retry_after >= 0
