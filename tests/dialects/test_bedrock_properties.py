"""Whatever Bedrock sends, an answer is whole or failed, its events follow the contract's grammar, nothing crashes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from decoding import decoded
from event_streams import exception, message, stream
from hypothesis import given
from hypothesis import strategies as st

from trunkline_server.dialects import bedrock_converse
from trunkline_server.errors import UpstreamError
from trunkline_server.fold import fold

if TYPE_CHECKING:
    from trunkline.v1.gateway_service_pb2 import StreamGenerateResponse

CASES = sorted((Path(__file__).resolve().parents[1] / "golden" / "bedrock_converse").iterdir())
STREAMS = [
    [json.loads(line) for line in (case / "stream.jsonl").read_text().splitlines()]
    for case in CASES
    if (case / "stream.jsonl").exists()
]
BODIES = [json.loads((case / "response.json").read_text()) for case in CASES if (case / "response.json").exists()]

WORDS = st.text(max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)
FIELDS = ["output", "message", "content", "text", "toolUse", "toolResult", "reasoningContent", "reasoningText", "image"]
FIELDS += ["citationsContent", "citations", "citation", "location", "start", "delta", "contentBlockIndex", "signature"]
FIELDS += ["name", "type", "input", "source", "bytes", "format", "stopReason", "usage", "inputTokens", "trace", "error"]
FIELDS += ["redactedContent", "cacheDetails", "serverToolUsage", "sourceContent", "documentChar", "originalStatusCode"]
# JSON with the names that the decoders look for, and values of any type behind them.
ALIKE = st.recursive(
    JSON,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
    max_leaves=20,
)
KINDS = ["messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata", "?"]


@st.composite
def mutated(draw: st.DrawFn, value: Any) -> Any:
    """`value` with something in it replaced, left out or doubled."""
    if isinstance(value, dict) and value and draw(st.integers(0, 3)):
        key = draw(st.sampled_from(sorted(value)))
        return {name: draw(mutated(inner)) if name == key else inner for name, inner in value.items()}
    if isinstance(value, list) and value and draw(st.integers(0, 3)):
        place = draw(st.integers(0, len(value) - 1))
        how = draw(st.sampled_from(["change", "drop", "double"]))
        new = {"change": [draw(mutated(value[place]))], "drop": [], "double": [value[place]] * 2}[how]
        return [*value[:place], *new, *value[place + 1 :]]
    return draw(ALIKE)


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
    fold(events)


def ends_once(body: bytes) -> tuple[list[StreamGenerateResponse], UpstreamError | None]:
    events, error = decoded(bedrock_converse.stream_decoder(), [body])
    assert sum(event.HasField("completed") for event in events) + (error is not None) == 1
    if error is None:
        check_grammar(events)
    return events, error


@st.composite
def interleaved(draw: st.DrawFn) -> list[tuple[int, str, str]]:
    """The pieces of an answer of several blocks, those of each in their order: (block, kind, words)."""
    queues = []
    for index in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["text", "reasoning", "call"]))
        words = draw(st.lists(WORDS, min_size=1, max_size=4))
        begin = [(index, "start", "")] if kind == "call" else []
        queues.append([*begin, *((index, kind, piece) for piece in words), (index, "stop", "")])
    pieces = []
    while queues := [queue for queue in queues if queue]:
        pieces.append(draw(st.sampled_from(queues)).pop(0))
    return pieces


def event_of(index: int, kind: str, words: str) -> Any:
    place = {"contentBlockIndex": index}
    match kind:
        case "start":
            return {
                "contentBlockStart": place | {"start": {"toolUse": {"toolUseId": f"t{index}", "name": f"f{index}"}}}
            }
        case "stop":
            return {"contentBlockStop": place}
        case "call":
            return {"contentBlockDelta": place | {"delta": {"toolUse": {"input": words}}}}
        case "reasoning":
            return {"contentBlockDelta": place | {"delta": {"reasoningContent": {"text": words}}}}
    return {"contentBlockDelta": place | {"delta": {"text": words}}}


@given(interleaved())
def test_pieces_in_any_order_make_the_whole(pieces: list[tuple[int, str, str]]) -> None:
    end: list[Any] = [{"messageStop": {"stopReason": "end_turn"}}, {"metadata": {}}]
    events, error = ends_once(stream([*(event_of(*piece) for piece in pieces), *end]))
    assert error is None
    said: dict[int, str] = {}
    for index, _, words in pieces:
        said[index] = said.get(index, "") + words
    calls = {index for index, kind, _ in pieces if kind == "start"}
    parts = fold(events).message.parts
    told = [part.text or part.reasoning.text or part.tool_call.arguments_json for part in parts]
    assert sorted(told) == sorted(words or "{}" for index, words in said.items() if words or index in calls)


@given(st.data())
def test_a_mutated_stream_ends_once(data: st.DataObject) -> None:
    ends_once(stream(as_events(data.draw(mutated(data.draw(st.sampled_from(STREAMS)))))))


def as_events(value: Any) -> list[dict[str, Any]]:
    """The part of a mutated stream that can be framed at all."""
    events = [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
    return [{kind: body for kind, body in each.items() if isinstance(body, dict)} for each in events]


@given(st.data(), st.integers(0, 1 << 16), st.integers(1, 255))
def test_a_damaged_stream_is_an_error(data: st.DataObject, place: int, change: int) -> None:
    body = bytearray(stream(data.draw(st.sampled_from(STREAMS))))
    body[place % len(body)] ^= change
    _, error = ends_once(bytes(body))
    assert error is not None


@given(
    st.lists(
        st.tuples(st.sampled_from(KINDS), ALIKE.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=20)),
        max_size=6,
    ),
    st.sampled_from(["event", "exception", "error", "", "?"]),
)
def test_a_stream_of_anything_ends_once(events: list[tuple[str, bytes]], sort: str) -> None:
    ends_once(b"".join(message({":event-type": kind, ":message-type": sort}, body) for kind, body in events))
    ends_once(b"".join(message({":event-type": kind, ":message-type": "event"}, body) for kind, body in events))


@given(WORDS, JSON)
def test_an_exception_of_anything_is_an_error(kind: str, body: Any) -> None:
    _, error = ends_once(exception(kind, body))
    assert error is not None
    assert error.outcome


@given(st.data())
def test_a_mutated_answer_is_whole_or_an_error(data: st.DataObject) -> None:
    is_whole_or_an_error(json.dumps(data.draw(mutated(data.draw(st.sampled_from(BODIES))))).encode())


@given(ALIKE.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=40))
def test_an_answer_of_anything_is_whole_or_an_error(body: bytes) -> None:
    is_whole_or_an_error(body)


def is_whole_or_an_error(body: bytes) -> None:
    try:
        check_grammar(bedrock_converse.decode_response(body))
    except UpstreamError as error:
        assert error.outcome  # noqa: PT017 - either is right


@given(
    st.integers(0, 999),
    st.dictionaries(st.sampled_from(["retry-after", "date", "x-amzn-requestid", "x-amzn-errortype"]), st.text()),
    ALIKE.map(lambda value: json.dumps(value).encode()) | st.binary(),
)
def test_an_error_of_anything_is_an_error(status: int, headers: dict[str, str], body: bytes) -> None:
    error = bedrock_converse.decode_error(status, headers, body)
    assert error.outcome
    assert error.status == status
    assert len(error.message.encode()) <= 1024
