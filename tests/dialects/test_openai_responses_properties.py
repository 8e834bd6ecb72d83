"""Whatever a provider sends, an answer is whole or failed, its events keep to the grammar, and nothing crashes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from decoding import decoded
from hypothesis import given
from hypothesis import strategies as st

from trunkline_server.dialects import openai_responses
from trunkline_server.errors import UpstreamError
from trunkline_server.fold import fold

if TYPE_CHECKING:
    from trunkline.v1.gateway_service_pb2 import StreamGenerateResponse

GOLDEN = sorted((Path(__file__).resolve().parents[1] / "golden" / "openai_responses").iterdir())
STREAMS = [(case / "stream.sse").read_bytes() for case in GOLDEN if (case / "stream.sse").exists()]
ANSWERS = [json.loads((case / "response.json").read_bytes()) for case in GOLDEN if (case / "response.json").exists()]

WORDS = st.text(max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)
KINDS = ["message", "function_call", "reasoning", "web_search_call"]
EVENTS = [
    "output_item.added",
    "output_item.done",
    "output_text.delta",
    "refusal.delta",
    "output_text.annotation.added",
    "content_part.done",
    "function_call_arguments.delta",
    "reasoning_summary_text.delta",
    "reasoning_text.delta",
    "completed",
    "incomplete",
    "failed",
]
FIELDS = [
    "output",
    "item",
    "content",
    "summary",
    "arguments",
    "name",
    "call_id",
    "id",
    "text",
    "delta",
    "usage",
    "part",
]
FIELDS += ["response", "annotation", "annotations", "logprobs", "output_index", "content_index", "status", "error"]
TYPES = st.sampled_from([*KINDS, *(f"response.{name}" for name in EVENTS), "output_text", "refusal", "error"])
# JSON with the names that the decoders look for, and values of any type behind them.
ALIKE = st.recursive(
    JSON,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4)
        | st.builds(lambda kind, more: {"type": kind} | more, TYPES, st.dictionaries(st.sampled_from(FIELDS), inner))
    ),
    max_leaves=20,
)


@st.composite
def pieces(draw: st.DrawFn) -> list[tuple[str, int, str]]:
    """The pieces of an answer: (kind of event, place of the item, words), those of an item in their order."""
    queues = []
    for place in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from(["output_text", "refusal", "function_call_arguments", "reasoning_summary_text"]))
        queues.append([(kind, place, words) for words in draw(st.lists(WORDS, min_size=1, max_size=4))])
    drawn = []
    while queues := [queue for queue in queues if queue]:
        drawn.append(draw(st.sampled_from(queues)).pop(0))
    return drawn


def items_of(drawn: list[tuple[str, int, str]]) -> dict[int, Any]:
    """The output items that these pieces make."""
    said: dict[int, tuple[str, str]] = {}
    for kind, place, words in drawn:
        said[place] = (kind, said.get(place, ("", ""))[1] + words)
    return {place: _item(kind, place, words) for place, (kind, words) in said.items()}


def _item(kind: str, place: int, words: str) -> Any:
    match kind:
        case "function_call_arguments":
            return {"type": "function_call", "call_id": f"c{place}", "name": "f", "arguments": words}
        case "reasoning_summary_text":
            return {"type": "reasoning", "id": f"rs_{place}", "summary": [{"text": words}], "encrypted_content": "x"}
        case "refusal":
            return {"type": "message", "content": [{"type": "refusal", "refusal": words}]}
    return {"type": "message", "content": [{"type": "output_text", "text": words}]}


def stream_of(drawn: list[tuple[str, int, str]], told: frozenset[str]) -> bytes:
    """`told` says which repetitions there are: of items as they begin, as they end, and with the end of the answer."""
    items = items_of(drawn)
    events: list[Any] = []
    for place, item in items.items():
        if "added" in told or item["type"] == "function_call":
            events.append({"type": "output_item.added", "output_index": place, "item": item | _nothing(item)})
    events += [{"type": f"{kind}.delta", "output_index": place, "delta": words} for kind, place, words in drawn]
    if "done" in told:
        events += [{"type": "output_item.done", "output_index": place, "item": item} for place, item in items.items()]
    output = [items[place] for place in sorted(items)] if "end" in told else []
    events.append({"type": "completed", "response": {"status": "completed", "output": output}})
    return b"".join(frame(event | {"type": f"response.{event['type']}"}) for event in events)


def _nothing(item: Any) -> Any:
    empty: dict[str, Any] = {"content": [], "arguments": "", "summary": [], "encrypted_content": None}
    return {key: value for key, value in empty.items() if key in item}


def frame(event: Any) -> bytes:
    return b"data: " + json.dumps(event).encode() + b"\n\n"


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


@given(pieces(), st.frozensets(st.sampled_from(["added", "done", "end"])))
def test_pieces_in_any_order_make_the_whole(drawn: list[tuple[str, int, str]], told: frozenset[str]) -> None:
    events, error = decoded(openai_responses.stream_decoder(), [stream_of(drawn, told)])
    assert error is None
    check_grammar(events)
    parts = fold(events).message.parts
    for place, item in items_of(drawn).items():
        words = "".join(piece for _, its, piece in drawn if its == place)
        if item["type"] == "function_call":
            found = [part.tool_call.arguments_json for part in parts if part.tool_call.id == f"c{place}"]
            assert found == [words or "{}"]
        elif item["type"] == "reasoning":
            assert words in [part.reasoning.text for part in parts]
        elif words:
            assert words in [part.text or part.refusal for part in parts]


def outcome_of(stream: bytes) -> None:
    """The stream is whole or failed, and never both."""
    events, error = decoded(openai_responses.stream_decoder(), [stream])
    assert sum(event.HasField("completed") for event in events) + (error is not None) == 1
    if error is None:
        check_grammar(events)


@given(st.lists(ALIKE.map(frame) | st.binary(max_size=20), max_size=6))
def test_a_stream_of_anything_ends_once(bodies: list[bytes]) -> None:
    outcome_of(b"".join(bodies))


@given(
    st.lists(
        st.builds(
            lambda kind, more: {"type": f"response.{kind}"} | more,
            st.sampled_from(EVENTS),
            ALIKE.filter(lambda value: isinstance(value, dict)),
        ).map(frame),
        max_size=6,
    )
)
def test_a_stream_of_known_events_with_anything_in_them_ends_once(bodies: list[bytes]) -> None:
    outcome_of(b"".join(bodies))


@given(st.sampled_from(STREAMS), st.data())
def test_a_stream_that_was_damaged_ends_once(stream: bytes, data: st.DataObject) -> None:
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(stream)))
        length = data.draw(st.integers(0, 40))
        stream = stream[:place] + data.draw(st.binary(max_size=8)) + stream[place + length :]
    outcome_of(stream)


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """A golden answer with one of its values replaced, at any depth."""
    body = json.loads(json.dumps(draw(st.sampled_from(ANSWERS))))
    here: Any = [body]
    key, inner = 0, body
    while isinstance(inner, dict | list) and inner and (inner is body or draw(st.booleans())):
        here = inner
        key = draw(st.sampled_from(sorted(inner) if isinstance(inner, dict) else range(len(inner))))
        inner = here[key]
    here[key] = draw(ALIKE)
    return body


@given(mutated())
def test_an_answer_that_was_damaged_is_whole_or_an_error(body: Any) -> None:
    answer_or_error(json.dumps(body).encode())
    outcome_of(frame({"type": "response.completed", "response": body}))


@given(ALIKE.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=40))
def test_an_answer_of_anything_is_whole_or_an_error(body: bytes) -> None:
    answer_or_error(body)


def answer_or_error(body: bytes) -> None:
    try:
        check_grammar(openai_responses.decode_response(body))
    except UpstreamError as error:
        assert error.outcome  # noqa: PT017 - either is right


@given(
    st.integers(0, 999),
    st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms", "x-request-id"]), st.text()),
    ALIKE.map(lambda value: json.dumps(value).encode()) | st.binary(),
)
def test_an_error_of_anything_is_an_error(status: int, headers: dict[str, str], body: bytes) -> None:
    error = openai_responses.decode_error(status, headers, body)
    assert error.outcome
    assert error.status == status
