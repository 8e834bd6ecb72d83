"""Whatever a provider sends: an answer is whole or failed, its events follow the grammar, nothing crashes."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from decoding import decoded
from hypothesis import given
from hypothesis import strategies as st

from trunkline_server.dialects import openai_chat
from trunkline_server.errors import UpstreamError
from trunkline_server.fold import fold

if TYPE_CHECKING:
    from trunkline.v1.gateway_service_pb2 import StreamGenerateResponse

WORDS = st.text(max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)
FIELDS = ["choices", "delta", "message", "content", "tool_calls", "index", "function", "name", "arguments", "usage"]
FIELDS += ["finish_reason", "error", "code", "type", "status", "logprobs", "prompt_tokens", "object", "id", "detail"]
HEADERS = ["retry-after", "retry-after-ms", "date", "x-request-id", "x-should-retry"]
# JSON with the names that the decoders look for, and values of any type behind them.
ALIKE = st.recursive(
    JSON,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
    max_leaves=20,
)


@st.composite
def fragments(draw: st.DrawFn) -> list[tuple[str, int, str]]:
    """The pieces of an answer: (text | refusal | call, index of the call, words), those of a call in their order."""
    words = draw(st.lists(st.tuples(st.sampled_from(["text", "refusal"]), st.just(0), WORDS), max_size=8))
    queues: list[list[tuple[str, int, str]]] = [words]
    for index in range(draw(st.integers(0, 3))):
        arguments = json.dumps(draw(st.dictionaries(WORDS, JSON, max_size=2)))
        cuts = sorted(draw(st.lists(st.integers(0, len(arguments)), max_size=3)))
        edges = [0, *cuts, len(arguments)]
        queues.append([("call", index, arguments[a:b]) for a, b in pairwise(edges)])
    pieces = []
    while queues := [queue for queue in queues if queue]:
        pieces.append(draw(st.sampled_from(queues)).pop(0))
    return pieces


def stream_of(pieces: list[tuple[str, int, str]]) -> bytes:
    begun: set[int] = set()
    events = [_delta(kind, index, words, begun) for kind, index, words in pieces]
    choices = [*({"delta": delta} for delta in events), {"delta": {}, "finish_reason": "stop"}]
    return b"".join(b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n" for choice in choices)


def _delta(kind: str, index: int, words: str, begun: set[int]) -> Any:
    if kind != "call":
        return {"content" if kind == "text" else "refusal": words}
    function = {"arguments": words} | ({} if index in begun else {"name": f"f{index}"})
    begun.add(index)
    return {"tool_calls": [{"index": index, "function": function}]}


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


@given(fragments())
def test_pieces_in_any_order_make_the_whole(pieces: list[tuple[str, int, str]]) -> None:
    events, error = decoded(openai_chat.stream_decoder(), [stream_of(pieces)])
    assert error is None
    check_grammar(events)
    parts = fold(events).message.parts
    for kind in ("text", "refusal"):
        said = "".join(words for piece, _, words in pieces if piece == kind)
        assert "".join(getattr(part, kind) for part in parts) == said
    for index in {index for kind, index, _ in pieces if kind == "call"}:
        arguments = "".join(words for kind, its, words in pieces if kind == "call" and its == index)
        assert [part.tool_call.arguments_json for part in parts if part.tool_call.name == f"f{index}"] == [arguments]


@given(
    st.lists(ALIKE.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=20), max_size=6), st.booleans()
)
def test_a_stream_of_anything_ends_once(bodies: list[bytes], done: bool) -> None:
    stream = b"".join(b"data: " + body + b"\n\n" for body in bodies) + (b"data: [DONE]\n\n" if done else b"")
    events, error = decoded(openai_chat.stream_decoder(), [stream])
    assert sum(event.HasField("completed") for event in events) + (error is not None) == 1
    if error is None:
        check_grammar(events)


@given(ALIKE.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=40))
def test_an_answer_of_anything_is_whole_or_an_error(body: bytes) -> None:
    try:
        check_grammar(openai_chat.decode_response(body))
    except UpstreamError as error:
        assert error.outcome  # noqa: PT017 - either is right


@given(
    st.integers(0, 999),
    st.dictionaries(st.sampled_from(HEADERS), st.text()),
    ALIKE.map(lambda value: json.dumps(value).encode()) | st.binary(),
)
def test_an_error_of_anything_is_an_error(status: int, headers: dict[str, str], body: bytes) -> None:
    error = openai_chat.decode_error(status, headers, body)
    assert error.outcome
    assert error.status == status
    assert len(error.message.encode()) <= 1024
    assert error.retry_after is None or error.retry_after >= 0
