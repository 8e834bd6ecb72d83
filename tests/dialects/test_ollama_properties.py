"""Whatever Ollama sends: an answer is whole or failed, its events follow the grammar, nothing crashes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from decoding import decoded
from grammar import check_grammar
from hypothesis import given
from hypothesis import strategies as st

from trunkline_server.dialects import ollama_chat
from trunkline_server.errors import UpstreamError

CASES = Path(__file__).resolve().parents[1] / "golden" / "ollama_chat"
STREAMS = [path.read_bytes() for path in sorted(CASES.glob("*/stream.ndjson"))]
ANSWERS = [path.read_bytes() for path in sorted(CASES.glob("*/response.json"))]
WORDS = st.text(max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)
FIELDS = ["message", "content", "thinking", "tool_calls", "function", "name", "arguments", "id", "done", "done_reason"]
FIELDS += ["logprobs", "token", "logprob", "bytes", "top_logprobs", "error", "eval_count", "prompt_eval_count", "model"]
HEADERS = ["retry-after", "retry-after-ms", "date", "x-request-id", "x-should-retry"]
# JSON with the names that the decoders look for, and values of any type behind them.
ALIKE = st.recursive(
    JSON,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
    max_leaves=20,
)


@st.composite
def mutated(draw: st.DrawFn, originals: list[bytes]) -> bytes:
    """A golden body in which some stretches of bytes are gone, doubled, or something else."""
    body = draw(st.sampled_from(originals))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(body)))
        end = draw(st.integers(start, min(len(body), start + 40)))
        new = draw(st.just(b"") | st.just(body[start:end] * 2) | st.binary(max_size=4) | ALIKE.map(encoded))
        body = body[:start] + new + body[end:]
    return body


@st.composite
def changed(draw: st.DrawFn, originals: list[Any]) -> Any:
    """A golden value in which one value, however deep, is another."""
    value = draw(st.sampled_from(originals))
    if isinstance(value, dict) and value and draw(st.integers(0, 9)):
        key = draw(st.sampled_from(sorted(value)))
        return value | {key: draw(changed([value[key]]))}
    if isinstance(value, list) and value and draw(st.integers(0, 9)):
        place = draw(st.integers(0, len(value) - 1))
        return [*value[:place], draw(changed([value[place]])), *value[place + 1 :]]
    return draw(ALIKE)


def encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


def check_stream(stream: bytes) -> None:
    """It ends once, in the same way however it is cut."""
    events, error = decoded(ollama_chat.stream_decoder(), [stream])
    assert sum(event.HasField("completed") for event in events) + (error is not None) == 1
    if error is None:
        check_grammar(events)
    else:
        assert error.outcome
    cut = len(stream) // 3
    again, failure = decoded(ollama_chat.stream_decoder(), [stream[:cut], stream[cut : 2 * cut], stream[2 * cut :]])
    assert (again, failure and failure.code) == (events, error and error.code)


def check_answer(body: bytes) -> None:
    try:
        check_grammar(ollama_chat.decode_response(body))
    except UpstreamError as error:
        assert error.outcome  # noqa: PT017 - either is right


def stream_of(lines: list[Any]) -> bytes:
    return b"".join(encoded(line) + b"\n" for line in lines)


LINES = [json.loads(line) for stream in STREAMS for line in stream.splitlines()]


@given(mutated(STREAMS))
def test_a_damaged_stream_ends_once(stream: bytes) -> None:
    check_stream(stream)


@given(st.lists(changed(LINES), max_size=6), st.booleans())
def test_a_stream_of_changed_events_ends_once(events: list[Any], whole: bool) -> None:
    check_stream(stream_of([*events, *(LINES[-1:] if whole else [])]))


@given(st.lists(ALIKE, max_size=6))
def test_a_stream_of_anything_ends_once(events: list[Any]) -> None:
    check_stream(stream_of(events))


@given(mutated(ANSWERS) | changed([json.loads(body) for body in ANSWERS]).map(encoded) | ALIKE.map(encoded))
def test_an_answer_of_anything_is_whole_or_an_error(body: bytes) -> None:
    check_answer(body)


@given(
    st.integers(0, 999),
    st.dictionaries(st.sampled_from(HEADERS), st.text()),
    ALIKE.map(encoded) | st.binary(),
)
def test_an_error_of_anything_is_an_error(status: int, headers: dict[str, str], body: bytes) -> None:
    error = ollama_chat.decode_error(status, headers, body)
    assert error.outcome
    assert error.status == status
    assert len(error.message.encode()) <= 1024
    assert error.retry_after is None or error.retry_after >= 0
