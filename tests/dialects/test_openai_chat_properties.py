"""Whatever a provider sends: an answer is whole or failed, its events follow the grammar, nothing crashes."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from pathlib import Path
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
FIELDS += ["reasoning", "reasoning_content", "reasoning_details", "thinking", "annotations", "url_citation", "images"]
FIELDS += ["image_url", "url", "search_results", "citations", "provider", "total_tokens", "audio_tokens", "text"]
FIELDS += ["finish_reason", "error", "code", "type", "status", "logprobs", "prompt_tokens", "object", "id", "detail"]
GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "openai_chat"
ANSWERS = [json.loads(path.read_bytes()) for path in sorted(GOLDEN.glob("*/response.json"))]
STREAMS = [path.read_text() for path in sorted(GOLDEN.glob("*/stream.sse"))]
HEADERS = ["retry-after", "retry-after-ms", "date", "x-request-id", "x-should-retry"]
# The field of each kind of words.
WORDS_OF = {"text": "content", "reasoning": "reasoning_content", "refusal": "refusal", "details": "reasoning_details"}
# JSON with the names that the decoders look for, and values of any type behind them.
ALIKE = st.recursive(
    JSON,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
    max_leaves=20,
)


@st.composite
def fragments(draw: st.DrawFn) -> list[tuple[str, int, str]]:
    """The pieces of an answer: (a kind of words | call, index of the call, words), those of a call in their order."""
    words = draw(st.lists(st.tuples(st.sampled_from([*WORDS_OF]), st.just(0), WORDS), max_size=8))
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
    if kind == "details":
        return {"reasoning_details": [{"type": "reasoning.text", "text": words}]}
    if kind != "call":
        return {WORDS_OF[kind]: words}
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
    assert "".join(part.reasoning.text for part in parts) == "".join(w for kind, _, w in pieces if kind == "reasoning")
    states = [part.provider_state.data for part in parts if part.HasField("provider_state")]
    details = [words for kind, _, words in pieces if kind == "details"]
    assert [json.loads(state)[0]["text"] for state in states] == (["".join(details)] if details else [])
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


def mutated(value: Any, dice: random.Random, strange: Any) -> Any:
    """`value` with `strange` in a place of it."""
    if not isinstance(value, dict | list) or not value or dice.random() < 0.1:
        return strange
    key = dice.choice([*value] if isinstance(value, dict) else range(len(value)))
    copy = value.copy()
    copy[key] = mutated(copy[key], dice, strange)
    return copy


@given(st.sampled_from(ANSWERS), st.randoms(use_true_random=False), ALIKE)
def test_a_real_answer_with_a_strange_value_in_it(answer: Any, dice: random.Random, strange: Any) -> None:
    try:
        check_grammar(openai_chat.decode_response(json.dumps(mutated(answer, dice, strange)).encode()))
    except UpstreamError as error:
        assert error.outcome  # noqa: PT017 - either is right


@given(st.sampled_from(STREAMS), st.randoms(use_true_random=False), ALIKE)
def test_a_real_stream_with_a_strange_value_in_it(stream: str, dice: random.Random, strange: Any) -> None:
    lines = stream.split("\n")
    place = dice.choice([place for place, line in enumerate(lines) if line.startswith("data: {")])
    lines[place] = "data: " + json.dumps(mutated(json.loads(lines[place][6:]), dice, strange))
    events, error = decoded(openai_chat.stream_decoder(), ["\n".join(lines).encode()])
    assert sum(event.HasField("completed") for event in events) + (error is not None) == 1
    if error is None:
        check_grammar(events)


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
