"""Decoding answers of the Messages API: what it sends, and what it should not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from decoding import bytes_of, decoded

from trunkline.v1 import call_pb2, content_pb2
from trunkline_server.dialects import anthropic_messages
from trunkline_server.errors import UpstreamError
from trunkline_server.fold import fold
from trunkline_server.wire.sse import MAX_EVENT_BYTES

if TYPE_CHECKING:
    from trunkline.v1.gateway_service_pb2 import GenerateResponse, StreamGenerateResponse

USAGE = {"input_tokens": 9, "cache_creation_input_tokens": 2, "cache_read_input_tokens": 1, "output_tokens": 1}


def event(kind: str, **more: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind} | more)}\n\n".encode()


def begin(**more: Any) -> bytes:
    return event("message_start", message={"id": "m1", "model": "claude", "content": [], "usage": USAGE} | more)


def block(index: int, kind: str, **more: Any) -> bytes:
    return event("content_block_start", index=index, content_block={"type": kind} | more)


def delta(index: int, kind: str, **more: Any) -> bytes:
    return event("content_block_delta", index=index, delta={"type": kind} | more)


def close(index: int) -> bytes:
    return event("content_block_stop", index=index)


def text(words: str, index: int = 0) -> bytes:
    return block(index, "text", text="") + delta(index, "text_delta", text=words) + close(index)


def end(reason: str | None = "end_turn", **usage: int) -> bytes:
    stopped = event("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, usage=usage)
    return stopped + event("message_stop")


def read(*pieces: bytes) -> tuple[list[StreamGenerateResponse], UpstreamError | None]:
    """The events in one piece; they are the same byte by byte."""
    events, error = decoded(anthropic_messages.stream_decoder(), [b"".join(pieces)])
    others, other = decoded(anthropic_messages.stream_decoder(), bytes_of(b"".join(pieces)))
    assert events == others
    assert (error and (error.outcome, error.code)) == (other and (other.outcome, other.code))
    return events, error


def answer(*pieces: bytes) -> GenerateResponse:
    events, error = read(*pieces)
    assert error is None
    return fold(events)


def failure(*pieces: bytes) -> tuple[call_pb2.Outcome.ValueType, str]:
    events, error = read(*pieces)
    assert error is not None
    assert not any(each.HasField("completed") for each in events)
    return error.outcome, error.code


def whole(body: Any) -> GenerateResponse:
    return fold(anthropic_messages.decode_response(json.dumps(body).encode()))


def refused(body: Any) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        anthropic_messages.decode_response(body if isinstance(body, bytes) else json.dumps(body).encode())
    return caught.value


# --- the end ----------------------------------------------------------------------------------------------------------


def test_message_stop_makes_the_answer_whole() -> None:
    assert answer(begin(), text("Hi"), end()).message.parts[0].text == "Hi"
    # Its blank line may be missing.
    assert answer(begin(), text("Hi"), end()[:-2]).message.parts[0].text == "Hi"


@pytest.mark.parametrize("last", [b"", end()[:-3], end()[:-20], event("ping"), b": there\n\n"])
def test_the_end_of_the_bytes_without_message_stop_is_an_interruption(last: bytes) -> None:
    assert failure(begin(), text("Hi"), last) == (call_pb2.OUTCOME_INTERRUPTED, "no_message_stop")


def test_message_stop_without_a_stop_reason_breaks_the_protocol() -> None:
    assert failure(begin(), text("Hi"), end(None)) == (call_pb2.OUTCOME_PROTOCOL_ERROR, "no_stop_reason")


def test_nothing_counts_after_message_stop() -> None:
    decoder = anthropic_messages.stream_decoder()
    events = decoder.feed(begin() + text("Hi") + end() + text("!", 1) + b"data: {nonsense\n\n" + end())
    assert [each.WhichOneof("event") for each in events[-2:]] == ["part_completed", "completed"]
    assert decoder.feed(text("more", 2)) == []
    assert decoder.finish() == []


def test_a_block_that_is_left_open_ends_with_the_answer() -> None:
    events, error = read(begin(), block(0, "text", text="Hi"), end())
    assert error is None
    assert [each.WhichOneof("event") for each in events] == ["part_started", "part_completed", "completed"]


# --- errors inside an answer (the bodies are documented; no recording exists) -----------------------------------------


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        ("overloaded_error", call_pb2.OUTCOME_OVERLOADED),
        ("api_error", call_pb2.OUTCOME_SERVER_ERROR),
        ("rate_limit_error", call_pb2.OUTCOME_RATE_LIMITED),
        ("timeout_error", call_pb2.OUTCOME_TIMEOUT),
        ("billing_error", call_pb2.OUTCOME_QUOTA),
        ("invalid_request_error", call_pb2.OUTCOME_INVALID),
        ("authentication_error", call_pb2.OUTCOME_AUTH),
        ("error_of_the_future", call_pb2.OUTCOME_SERVER_ERROR),
    ],
)
def test_an_error_in_a_stream(kind: str, outcome: call_pb2.Outcome.ValueType) -> None:
    body = {"type": kind, "message": "Overloaded"}
    assert failure(begin(), text("Hi"), event("error", error=body)) == (outcome, kind)
    unnamed = b"data: " + json.dumps({"type": "error", "error": body}).encode() + b"\n\n"
    assert failure(unnamed) == (outcome, kind)
    error = refused({"type": "error", "error": body})
    assert (error.outcome, error.code, error.message) == (outcome, kind, "Overloaded")


def test_an_error_comes_after_the_events_before_it_and_again() -> None:
    decoder = anthropic_messages.stream_decoder()
    assert (
        len(decoder.feed(begin() + text("a") + event("error", error={"type": "overloaded_error"}) + text("b", 1))) == 3
    )
    for _ in range(2):
        with pytest.raises(UpstreamError, match="overloaded_error"):
            decoder.feed(text("c", 2) + end())
    with pytest.raises(UpstreamError, match="overloaded_error"):
        decoder.finish()


def test_what_was_used_before_an_error_is_told() -> None:
    _, error = read(begin(), event("error", error={"type": "api_error"}))
    assert error is not None
    assert error.usage == call_pb2.Usage(
        input_tokens=12, output_tokens=1, cache_read_input_tokens=1, cache_write_input_tokens=2
    )


# --- what breaks the wire format, and what does not -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("piece", "code"),
    [
        (b"data: {nonsense\n\n", "malformed_json"),
        (b"data: []\n\n", "malformed_event"),
        (b"data: {}\n\n", "malformed_event"),
        (event("content_block_start", index=0), "malformed_json"),
        (event("content_block_start", content_block={"type": "text"}), "block_of_no_index"),
        (event("content_block_start", index=0, content_block={"text": "x"}), "block_of_no_type"),
        (event("content_block_start", index=0, content_block={"type": "text", "text": 1}), "malformed_json"),
        (event("content_block_start", index="0", content_block={"type": "text"}), "malformed_event"),
        (block(0, "tool_use", id=1, name="f"), "malformed_json"),
        (block(0, "text") + block(0, "text"), "block_reopened"),
        (delta(0, "text_delta", text="x"), "block_not_open"),
        (block(0, "text") + close(0) + delta(0, "text_delta", text="x"), "block_not_open"),
        (block(0, "text") + delta(0, "text_delta", text=["x"]), "malformed_event"),
        (block(0, "text") + delta(0, "citations_delta", citation="x"), "malformed_json"),
        (block(0, "text") + delta(0, "citations_delta"), "malformed_json"),
        (event("message_delta", delta={"stop_reason": 1}), "malformed_event"),
        (event("message_delta", usage={"output_tokens": -1}), "malformed_event"),
        (event("message_delta", usage={"output_tokens": 1 << 62}), "malformed_event"),
        (b"data: " + b"x" * MAX_EVENT_BYTES, "event_too_large"),
    ],
)
def test_what_is_not_the_wire_format(piece: bytes, code: str) -> None:
    events, error = decoded(anthropic_messages.stream_decoder(), [begin() + piece, b"\n\n" + end()])
    assert error is not None
    assert (error.outcome, error.code) == (call_pb2.OUTCOME_PROTOCOL_ERROR, code)
    assert not any(each.HasField("completed") for each in events)


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"null", b"{}", {"content": None}, {"content": [1]}, {"content": [{}]}, {"content": "Hi"}],
)
def test_what_is_no_answer(body: Any) -> None:
    assert refused(body).outcome == call_pb2.OUTCOME_PROTOCOL_ERROR


def test_what_is_not_known_is_passed_over() -> None:
    """Events and fields of the future, whatever they hold; pings, comments and empty events anywhere."""
    noise = event("ping") + b": there\n\n" + b"data:\n\n" + event("news", index="x", delta="y", message=[1], usage="z")
    said = begin(mood="good"), noise, block(0, "text", text="", font=1), noise
    response = answer(*said, delta(0, "text_delta", text="Hi", shade="blue"), noise, close(0), noise, end(), noise)
    assert [part.text for part in response.message.parts] == ["Hi"]
    assert not response.warnings


def test_pieces_that_are_not_known_are_left_out_with_a_warning() -> None:
    strange = delta(0, "shade_delta", shade="blue") + delta(0, "thinking_delta", thinking="Hm")
    response = answer(begin(), block(0, "text", text="Hi"), strange, strange, close(0), end())
    assert [part.text for part in response.message.parts] == ["Hi"]
    assert [warning.kind for warning in response.warnings] == [call_pb2.Warning.KIND_CONTENT_DROPPED]
    assert response.warnings[0].message.endswith(": shade_delta of text, thinking_delta of text")


def test_text_that_is_not_unicode_is_mended() -> None:
    raw = begin() + block(0, "text", text="") + delta(0, "text_delta", text="?") + close(0) + end()
    assert answer(raw.replace(b'"?"', b'"\xff\\ud800!"')).message.parts[0].text == "\ufffd\ufffd!"
    tool = begin() + block(0, "tool_use", id="t", name="f", input={}) + delta(0, "input_json_delta", partial_json="?")
    mended = answer(tool.replace(b'"?"', b'"{\xff}"') + end())
    assert mended.message.parts[0].tool_call.arguments_json == "{\ufffd}"


# --- parts ------------------------------------------------------------------------------------------------------------


def test_blocks_may_take_turns() -> None:
    response = answer(
        begin(),
        block(0, "tool_use", id="a", name="f", input={}),
        block(1, "text", text=""),
        delta(0, "input_json_delta", partial_json='{"x"'),
        delta(1, "text_delta", text="Hi"),
        delta(0, "input_json_delta", partial_json=": 1}"),
        close(1),
        close(0),
        end("tool_use"),
    )
    assert response.message.parts[0].tool_call.arguments_json == '{"x": 1}'
    assert response.message.parts[1].text == "Hi"


@pytest.mark.parametrize("given", [{}, {"input": None}, {"input": {}}])
@pytest.mark.parametrize("pieces", [b"", delta(0, "input_json_delta", partial_json="")])
def test_a_tool_call_without_arguments(given: Any, pieces: bytes) -> None:
    called = answer(begin(), block(0, "tool_use", id="a", name="f", **given), pieces, close(0), end("tool_use"))
    assert called.message.parts[0].tool_call.arguments_json == "{}"
    content = [{"type": "tool_use", "id": "a", "name": "f"} | given]
    assert whole({"content": content}).message.parts[0].tool_call.arguments_json == "{}"


def test_arguments_that_come_with_the_start() -> None:
    """As servers send them that copy the API and do not stream arguments."""
    called = answer(begin(), block(0, "tool_use", id="a", name="f", input={"x": 1}), close(0), end("tool_use"))
    assert called.message.parts[0].tool_call.arguments_json == '{"x":1}'


def test_arguments_that_break_off_stay_as_they_are() -> None:
    said = begin(), block(0, "tool_use", id="a", name="f", input={}), delta(0, "input_json_delta", partial_json='{"x')
    assert answer(*said, end("max_tokens")).message.parts[0].tool_call.arguments_json == '{"x'


def test_the_input_of_a_provider_tool_is_whole_or_left_out() -> None:
    """What is sent back with the next request has to be JSON."""
    search = block(0, "server_tool_use", id="s", name="web_search", input={})
    pieces = [delta(0, "input_json_delta", partial_json=piece) for piece in ("", '{"q": ', '"a  b"}')]
    started = '{"id":"s","name":"web_search","type":"server_tool_use","input":'
    (part,) = answer(begin(), search, *pieces, close(0), end("pause_turn")).message.parts
    assert part.provider_part.json == started + '{"q":"a  b"}}'
    cut_off = answer(begin(), search, *pieces[:-1], end("max_tokens"))
    assert cut_off.message.parts[0].provider_part.json == started + "{}}"
    assert cut_off.warnings[0].message.endswith("the input of server_tool_use, which broke off")
    silent = answer(begin(), search, close(0), end())
    assert (silent.message.parts[0].provider_part.json, list(silent.warnings)) == (started + "{}}", [])


def test_thoughts_that_are_not_shown_still_have_their_signature() -> None:
    """thinking.display: omitted."""
    said = begin(), block(0, "thinking", thinking="", signature=""), delta(0, "signature_delta", signature="c2ln")
    (part,) = answer(*said, close(0), end()).message.parts
    assert (part.reasoning.text, part.reasoning.redacted) == ("", False)
    assert (part.provider_state.format, part.provider_state.data) == ("anthropic.signature", "c2ln")


def test_what_a_provider_says_in_its_own_words_is_kept_as_json_without_white_space() -> None:
    body = b'{"content": [{"input" :  {"q": 1.50},  "type": "server_tool_use", "big": 123456789012345678901234567890}]}'
    (part,) = fold(anthropic_messages.decode_response(body)).message.parts
    assert (
        part.provider_part.json == '{"big":123456789012345678901234567890,"type":"server_tool_use","input":{"q":1.50}}'
    )


# --- the rest ---------------------------------------------------------------------------------------------------------


def test_figures_that_are_left_out_at_the_end_stand_as_they_were() -> None:
    usage = answer(begin(), text("Hi"), end(output_tokens=7)).usage
    assert (usage.input_tokens, usage.output_tokens) == (12, 7)
    assert (usage.cache_read_input_tokens, usage.cache_write_input_tokens) == (1, 2)
    assert not usage.HasField("reasoning_output_tokens")


def test_figures_at_the_end_replace_the_earlier_ones() -> None:
    """Tools that the provider runs make the prompt longer while it answers."""
    usage = answer(begin(), text("Hi"), end(input_tokens=100, cache_read_input_tokens=20, output_tokens=7)).usage
    assert (usage.input_tokens, usage.cache_read_input_tokens) == (122, 20)


def test_usage_that_is_not_told_is_absent() -> None:
    assert not answer(
        begin(usage=None), text("Hi"), event("message_delta", delta={"stop_reason": "end_turn"}), end()
    ).HasField("usage")
    assert not whole({"content": []}).HasField("usage")
    usage = whole({"content": [], "usage": {"output_tokens": 0}}).usage
    assert usage.HasField("output_tokens")
    assert not usage.HasField("input_tokens")


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", content_pb2.FINISH_REASON_STOP),
        ("max_tokens", content_pb2.FINISH_REASON_MAX_TOKENS),
        ("stop_sequence", content_pb2.FINISH_REASON_STOP_SEQUENCE),
        ("tool_use", content_pb2.FINISH_REASON_TOOL_CALLS),
        ("pause_turn", content_pb2.FINISH_REASON_PAUSE),
        ("refusal", content_pb2.FINISH_REASON_REFUSAL),
        ("model_context_window_exceeded", content_pb2.FINISH_REASON_CONTEXT_LENGTH),
        ("compaction", content_pb2.FINISH_REASON_OTHER),
    ],
)
def test_why_it_stopped(reason: str, finish: content_pb2.FinishReason.ValueType) -> None:
    streamed, at_once = answer(begin(), end(reason)), whole({"content": [], "stop_reason": reason})
    for response in (streamed, at_once):
        assert (response.finish_reason, response.provider_finish_reason) == (finish, reason)


def test_metadata_is_bounded() -> None:
    deep: Any = "x"
    for _ in range(20):
        deep = [deep]
    more = {"container": deep, "diagnostics": {"a": "x" * 5000}, "context_management": {"n": 10**400}}
    response = whole({"content": [], "stop_reason": "end_turn", "model": "claude", "stop_details": {"a": 1}} | more)
    assert dict(response.provider_metadata) == {"model": "claude", "stop_details": {"a": 1.0}}
    assert response.warnings[0].message.endswith("context_management, diagnostics, container")
