"""Whatever a provider sends, an answer is whole or failed, its events follow the contract's grammar, nothing crashes.

Whatever a caller asks for, what is sent keeps the API's rules.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from decoding import decoded
from hypothesis import given
from hypothesis import strategies as st

from trunkline.v1 import content_pb2
from trunkline.v1.gateway_service_pb2 import GenerateRequest, Thinking
from trunkline_server.dialects import anthropic_messages
from trunkline_server.dialects.dialect import Quirks
from trunkline_server.errors import InvalidRequest, UpstreamError
from trunkline_server.fold import fold

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline.v1.gateway_service_pb2 import StreamGenerateResponse

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "anthropic_messages"
STREAMS = [path.read_bytes() for path in sorted(GOLDEN.glob("*/stream.sse"))]
RESPONSES = [path.read_bytes() for path in sorted(GOLDEN.glob("*/response.json"))]

WORDS = st.text(max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)
FIELDS = ["type", "index", "message", "content", "content_block", "delta", "usage", "id", "name", "input", "text"]
FIELDS += ["partial_json", "thinking", "signature", "data", "citations", "citation", "stop_reason", "error"]
FIELDS += [
    "input_tokens",
    "output_tokens",
    "server_tool_use",
    "cache_creation",
    "document_index",
    "container",
    "caller",
]
TYPES = ["message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta"]
TYPES += ["message_stop", "ping", "error", "text", "thinking", "tool_use", "server_tool_use", "redacted_thinking"]
TYPES += ["text_delta", "input_json_delta", "thinking_delta", "signature_delta", "citations_delta", "message"]
# JSON with the names that the decoders look for, and values of any type behind them.
ALIKE = st.recursive(
    JSON | st.sampled_from(TYPES) | st.integers(0, 2),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4)
        | st.fixed_dictionaries({"type": st.sampled_from(TYPES)}, optional=dict.fromkeys(FIELDS[1:], inner))
    ),
    max_leaves=20,
)


@st.composite
def blocks(draw: st.DrawFn) -> list[Any]:
    """The blocks of an answer."""
    arguments = st.dictionaries(WORDS, JSON, max_size=2)
    kinds: dict[str, Callable[[], dict[str, Any]]] = {
        "text": lambda: {"text": draw(WORDS)},
        "thinking": lambda: {"thinking": draw(WORDS), "signature": draw(WORDS)},
        "redacted_thinking": lambda: {"data": draw(WORDS)},
        "tool_use": lambda: {"id": "t", "name": "f", "input": draw(arguments)},
        "server_tool_use": lambda: {"id": "s", "name": "web_search", "input": draw(arguments)},
        "web_search_tool_result": lambda: {"tool_use_id": "s", "content": draw(JSON)},
    }
    return [{"type": kind} | kinds[kind]() for kind in draw(st.lists(st.sampled_from(sorted(kinds)), max_size=4))]


@st.composite
def streamed(draw: st.DrawFn, said: list[Any]) -> bytes:
    """A stream that says these blocks, in pieces."""
    events: list[Any] = [{"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 3}}}]
    for index, block in enumerate(said):
        start, deltas = dict(block), []
        for name, kind in (("text", "text_delta"), ("thinking", "thinking_delta"), ("signature", "signature_delta")):
            if name in block:
                start[name] = ""
                deltas += [{"type": kind, name: piece} for piece in draw(cut(block[name]))]
        if "input" in block:
            start["input"] = {}
            pieces = draw(cut(json.dumps(block["input"], separators=(",", ":"))))
            deltas += [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
        events += [{"type": "content_block_start", "index": index, "content_block": start}]
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events += [{"type": "content_block_stop", "index": index}, {"type": "ping"}]
    events += [{"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}}]
    events += [{"type": "message_stop"}]
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


@st.composite
def cut(draw: st.DrawFn, text: str) -> list[str]:
    edges = [0, *sorted(draw(st.lists(st.integers(0, len(text)), max_size=3))), len(text)]
    return [text[a:b] for a, b in pairwise(edges)]


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


@given(st.data())
def test_a_whole_answer_and_the_same_answer_streamed_are_the_same(data: st.DataObject) -> None:
    said = data.draw(blocks())
    events, error = decoded(anthropic_messages.stream_decoder(), [data.draw(streamed(said))])
    assert error is None
    check_grammar(events)
    usage = {"input_tokens": 3, "output_tokens": 5}
    body = {"id": "m", "content": said, "stop_reason": "end_turn", "usage": usage}
    whole = anthropic_messages.decode_response(json.dumps(body).encode())
    check_grammar(whole)
    assert fold(events) == fold(whole)


@given(st.sampled_from(STREAMS), st.data())
def test_a_stream_cut_anywhere_gives_the_same_events(stream: bytes, data: st.DataObject) -> None:
    edges = [0, *sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8))), len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(edges)]
    whole = decoded(anthropic_messages.stream_decoder(), [stream])
    assert decoded(anthropic_messages.stream_decoder(), pieces) == whole


@given(
    st.lists(ALIKE.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=20), max_size=8), st.booleans()
)
def test_a_stream_of_anything_ends_once(bodies: list[bytes], done: bool) -> None:
    last = b'data: {"type":"message_delta","delta":{"stop_reason":"x"}}\n\ndata: {"type":"message_stop"}\n\n'
    ends_once(b"".join(b"data: " + body + b"\n\n" for body in bodies) + (last if done else b""))


def ends_once(stream: bytes) -> None:
    events, error = decoded(anthropic_messages.stream_decoder(), [stream])
    assert sum(event.HasField("completed") for event in events) + (error is not None) == 1
    if error is None:
        check_grammar(events)
        fold(events).SerializeToString()


@st.composite
def mutated(draw: st.DrawFn, originals: list[bytes]) -> bytes:
    """An answer with some of its bytes replaced, left out or doubled."""
    body = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, len(body)))
        length = draw(st.integers(0, 12))
        new = draw(
            st.sampled_from([b"", b"\x00", b"\xff", b'"', b"{", b"}", b"null", b"-1", b"[]", b"\\ud800", b"\n\n"])
        )
        body[place : place + length] = bytes(body[place : place + length]) * 2 if new == b"[]" else new
    return bytes(body)


@given(mutated(STREAMS))
def test_a_mutated_stream_ends_once(stream: bytes) -> None:
    ends_once(stream)


@given(mutated(RESPONSES) | ALIKE.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=40))
def test_an_answer_of_anything_is_whole_or_an_error(body: bytes) -> None:
    try:
        events = anthropic_messages.decode_response(body)
    except UpstreamError as error:
        assert error.outcome  # noqa: PT017 - either is right
        return
    check_grammar(events)
    fold(events).SerializeToString()


# --- requests ---------------------------------------------------------------------------------------------------------

MODELS = ["claude-3-haiku-20240307", "claude-sonnet-4-5", "claude-opus-4-8", "claude-sonnet-5-5", "other"]


@st.composite
def parts(draw: st.DrawFn, role: content_pb2.Role.ValueType) -> content_pb2.Part:
    part = content_pb2.Part()
    kind = draw(st.sampled_from(["text", "media", "provider_part", "reasoning", "tool_call", "refusal"]))
    if role == content_pb2.ROLE_TOOL:
        part.tool_result.tool_call_id = draw(st.text(min_size=1, max_size=4))
        part.tool_result.parts.add(text=draw(WORDS))
    elif kind == "text" or (kind in {"reasoning", "tool_call", "refusal"} and role != content_pb2.ROLE_ASSISTANT):
        part.text = draw(WORDS)
    elif kind == "refusal":
        part.refusal = draw(WORDS)
    elif kind == "media":
        part.media.mime_type, part.media.data = (
            draw(st.sampled_from(["image/png", "text/csv", "audio/wav"])),
            b"\xc3\xa9",
        )
    elif kind == "provider_part":
        part.provider_part.dialect = draw(st.sampled_from(["anthropic_messages", "other"]))
        part.provider_part.type, part.provider_part.json = "server_tool_use", draw(st.sampled_from(["{}", "{", "[1]"]))
    elif kind == "reasoning":
        part.reasoning.text = draw(WORDS)
    else:
        part.tool_call.id, part.tool_call.name, part.tool_call.arguments_json = "t", "f", draw(WORDS)
    if draw(st.booleans()):
        part.provider_state.format = draw(st.sampled_from(["anthropic.signature", "anthropic.tool_use", "other.state"]))
        part.provider_state.data = draw(st.sampled_from(["{}", "x"]))
    if draw(st.booleans()):
        part.cache_breakpoint.ttl.FromSeconds(draw(st.sampled_from([0, 300, 3600])))
    return part


@st.composite
def requests(draw: st.DrawFn) -> GenerateRequest:
    request = GenerateRequest(system_instruction=draw(WORDS))
    for role in draw(st.lists(st.sampled_from(content_pb2.Role.values()[1:]), min_size=1, max_size=6)):
        said = [draw(parts(role)) for _ in range(draw(st.integers(1, 3)))]
        request.messages.add(role=role, parts=said, name=draw(st.sampled_from(["", "ada"])))
    for name in ("temperature", "top_p"):
        if draw(st.booleans()):
            setattr(request.config, name, draw(st.sampled_from([0.25, 1.0])))
    if draw(st.booleans()):
        request.config.max_output_tokens = draw(st.sampled_from([1, 1024, 1025, 5000, 100_000]))
    request.config.thinking.effort = draw(st.sampled_from(Thinking.Effort.values()))
    if draw(st.booleans()):
        request.config.thinking.budget_tokens = draw(st.sampled_from([0, 1, 1024, 9000]))
    request.tools.add().function.name = "f"
    request.tool_choice.mode = draw(st.sampled_from(content_pb2.ToolChoice.Mode.values()))
    return request


@given(requests(), st.sampled_from(MODELS), st.booleans())
def test_what_is_sent_keeps_the_rules(request: GenerateRequest, model: str, stream: bool) -> None:
    try:
        encoded = anthropic_messages.encode_request(request, model, stream=stream, quirks=Quirks())
    except InvalidRequest as refused:
        assert [violation.field for violation in refused.violations] == ["messages"]  # noqa: PT017 - either is right
        return
    body = json.loads(encoded.body)
    assert encoded.body.count(b'"cache_control"') <= 4
    check_turns(body["messages"])
    thinking = body.get("thinking", {})
    if "budget_tokens" in thinking:
        assert 1024 <= thinking["budget_tokens"] < body["max_tokens"]
        assert body.get("tool_choice", {}).get("type") not in {"any", "tool"}
        assert "temperature" not in body or body["temperature"] == 1
    assert all(warning.field and warning.message and warning.kind for warning in encoded.warnings)


def check_turns(turns: list[Any]) -> None:
    assert turns
    for turn, following in pairwise(turns):
        assert turn["role"] != following["role"]
        assert following["role"] != "system" or turn["role"] == "user"
    for turn in turns:
        assert turn["content"]
        kinds = [block.get("type") for block in turn["content"]]
        assert turn["role"] != "user" or kinds == sorted(kinds, key=lambda kind: kind != "tool_result")
        assert all(block["text"].strip() for block in turn["content"] if block.get("type") == "text")
