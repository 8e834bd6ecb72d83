"""cohere_chat: what golden cases do not show of answers, and what errors mean."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from decoding import decoded
from grammar import check_grammar

from trunkline.v1 import call_pb2
from trunkline.v1.gateway_service_pb2 import GenerateRequest
from trunkline_server.dialects import cohere_chat
from trunkline_server.dialects.cohere_chat.stream import MOST_UNITS
from trunkline_server.dialects.dialect import Quirks
from trunkline_server.errors import InvalidRequest, UpstreamError
from trunkline_server.fold import fold

if TYPE_CHECKING:
    from collections.abc import Callable

USAGE = {"tokens": {"input_tokens": 5, "output_tokens": 1}}


def sse(*events: Any, done: bool = True) -> bytes:
    lines = [f"event: {event.get('type')}\ndata: {json.dumps(event)}\n\n" for event in events]
    return "".join([*lines, "data: [DONE]\n\n" if done else ""]).encode()


def said(kind: str, index: int | None = None, **message: Any) -> Any:
    return {"type": kind, "index": index, "delta": {"message": message}}


def end(reason: str | None = "COMPLETE", **more: Any) -> Any:
    return {"type": "message-end", "delta": {"finish_reason": reason, "usage": USAGE} | more}


HELLO = said("content-delta", 0, content={"text": "Hello"})


def failure_of(stream: bytes) -> UpstreamError:
    events, error = decoded(cohere_chat.stream_decoder(), [stream])
    assert not any(event.HasField("completed") for event in events)
    assert error is not None
    return error


def test_events_that_are_not_known_and_fields_that_are_not_known_are_no_matter() -> None:
    stream = b": keep-alive\n\n" + sse(
        {"type": "message-start", "id": "m", "new": {"a": [1]}},
        {"type": "new-event", "index": {"a": 1}, "delta": "x"},
        HELLO | {"padding": "ab"},
        {"type": "content-delta", "delta": {"message": {"content": None}}},
        {"type": "content-delta"},
        end(usage=USAGE | {"billed_units": {"new": {"a": 1}, "search_units": 2, "x": None, "huge": MOST_UNITS * 2}}),
        HELLO,
    )
    events, error = decoded(cohere_chat.stream_decoder(), [stream])
    assert error is None
    check_grammar(events)
    answer = fold(events)
    assert [part.text for part in answer.message.parts] == ["Hello"]
    assert dict(answer.usage.other_units) == {"billed_search_units": 2}


def test_usage_that_is_not_told_is_absent() -> None:
    usages: list[Any] = [None, {}, {"tokens": {}}]
    for usage in usages:
        events, _ = decoded(cohere_chat.stream_decoder(), [sse(HELLO, end(usage=usage))])
        assert not fold(events).HasField("usage")


def test_figures_may_be_written_with_a_fraction_of_zero() -> None:
    usage = {"tokens": {"input_tokens": 5.0, "output_tokens": 1e1}, "billed_units": {"input_tokens": 5.0}}
    told = fold(decoded(cohere_chat.stream_decoder(), [sse(HELLO, end(usage=usage))])[0]).usage
    assert (told.input_tokens, told.output_tokens, dict(told.other_units)) == (5, 10, {"billed_input_tokens": 5})


@pytest.mark.parametrize(
    ("stream", "outcome", "code"),
    [
        (sse(HELLO, done=False), call_pb2.OUTCOME_INTERRUPTED, "no_message_end"),
        (b"", call_pb2.OUTCOME_INTERRUPTED, "no_message_end"),
        (sse(HELLO), call_pb2.OUTCOME_PROTOCOL_ERROR, "no_finish_reason"),
        (sse(HELLO, end(None)), call_pb2.OUTCOME_PROTOCOL_ERROR, "no_finish_reason"),
        (sse(HELLO, {"type": "message-end"}), call_pb2.OUTCOME_PROTOCOL_ERROR, "no_finish_reason"),
        (sse(end("TIMEOUT")), call_pb2.OUTCOME_TIMEOUT, "TIMEOUT"),
        (sse(end("ERROR")), call_pb2.OUTCOME_SERVER_ERROR, "ERROR"),
        (
            sse(end("ERROR", error="bad tool call", error_type="INVALID_TOOL_GENERATION")),
            call_pb2.OUTCOME_SERVER_ERROR,
            "INVALID_TOOL_GENERATION",
        ),
        (
            sse(end("ERROR", error={"a": 1}, error_type="TOO_MANY_TOKENS")),
            call_pb2.OUTCOME_CONTEXT_LENGTH,
            "TOO_MANY_TOKENS",
        ),
        (b'event: error\ndata: {"message":"boom"}\n\n', call_pb2.OUTCOME_SERVER_ERROR, ""),
        (b'data: {"message":"boom"}\n\n', call_pb2.OUTCOME_SERVER_ERROR, ""),
        (b'data: {"message":"too many tokens: 9"}\n\n', call_pb2.OUTCOME_CONTEXT_LENGTH, ""),
        (b'data: {"type":"error","message":"boom"}\n\n', call_pb2.OUTCOME_SERVER_ERROR, "error"),
        (b"data: {\n\n", call_pb2.OUTCOME_PROTOCOL_ERROR, "malformed_json"),
        (b"data: 7\n\n", call_pb2.OUTCOME_PROTOCOL_ERROR, "malformed_json"),
        (sse(HELLO | {"index": "0"}), call_pb2.OUTCOME_PROTOCOL_ERROR, "malformed_event"),
        (sse(said("content-delta", 0, content=[1])), call_pb2.OUTCOME_PROTOCOL_ERROR, "malformed_json"),
        (sse(said("content-start", 0, content={})), call_pb2.OUTCOME_PROTOCOL_ERROR, "content_of_no_type"),
        (sse(said("tool-call-start", 0, tool_calls={"id": "a"})), call_pb2.OUTCOME_PROTOCOL_ERROR, "tool_call_unnamed"),
        (
            sse(said("tool-call-delta", 0, tool_calls={"function": {"arguments": "{"}})),
            call_pb2.OUTCOME_PROTOCOL_ERROR,
            "tool_call_not_open",
        ),
    ],
)
def test_how_streams_fail(stream: bytes, outcome: call_pb2.Outcome.ValueType, code: str) -> None:
    error = failure_of(stream)
    assert (error.outcome, error.code) == (outcome, code)


def test_a_failed_stream_tells_what_was_used() -> None:
    error = failure_of(sse(HELLO, end("ERROR")))
    assert error.usage is not None
    assert (error.usage.input_tokens, error.usage.output_tokens) == (5, 1)


def test_events_before_an_error_in_the_same_bytes_are_returned_first_and_the_error_stands() -> None:
    decoder = cohere_chat.stream_decoder()
    assert [event.WhichOneof("event") for event in decoder.feed(sse(HELLO, {"message": "boom"}))] == [
        "part_started",
        "part_delta",
    ]
    calls: list[Callable[[], object]] = [lambda: decoder.feed(b""), decoder.finish, lambda: decoder.feed(sse(end()))]
    for call in calls:
        with pytest.raises(UpstreamError):
            call()


def test_a_part_is_completed_once_its_pieces_have_come_in_any_order() -> None:
    call = {"id": "a", "function": {"name": "f", "arguments": None}}
    stream = sse(
        said("tool-call-start", 0, tool_calls=call),
        said("tool-call-start", 1, tool_calls=[call | {"id": "b"}]),
        said("tool-call-delta", 1, tool_calls={"function": {"arguments": '{"x":'}}),
        said("tool-call-delta", 0, tool_calls={"function": {"arguments": '{"y":2}'}}),
        said("tool-call-delta", 1, tool_calls={"function": {"arguments": "1}"}}),
        said("tool-call-end", 0),
        said("tool-call-end", 7),
        end("TOOL_CALL"),
    )
    events, error = decoded(cohere_chat.stream_decoder(), [stream])
    assert error is None
    check_grammar(events)
    calls = [part.tool_call for part in fold(events).message.parts]
    assert [(one.id, one.arguments_json) for one in calls] == [("a", '{"y":2}'), ("b", '{"x":1}')]


@pytest.mark.parametrize(
    ("body", "outcome", "code"),
    [
        ({"id": "m", "message": "boom"}, call_pb2.OUTCOME_SERVER_ERROR, ""),
        ({"id": "m"}, call_pb2.OUTCOME_PROTOCOL_ERROR, "no_message"),
        ({"message": {"content": []}}, call_pb2.OUTCOME_PROTOCOL_ERROR, "no_finish_reason"),
        ({"message": {"content": "x"}, "finish_reason": "COMPLETE"}, call_pb2.OUTCOME_PROTOCOL_ERROR, "malformed_json"),
        ({"message": {}, "finish_reason": "ERROR", "error": "e"}, call_pb2.OUTCOME_SERVER_ERROR, "ERROR"),
        ({"finish_reason": "TIMEOUT", "usage": USAGE}, call_pb2.OUTCOME_TIMEOUT, "TIMEOUT"),
        ({"error": {"message": "boom", "code": 503}}, call_pb2.OUTCOME_OVERLOADED, "503"),
        ([], call_pb2.OUTCOME_PROTOCOL_ERROR, "malformed_json"),
    ],
)
def test_how_whole_answers_fail(body: Any, outcome: call_pb2.Outcome.ValueType, code: str) -> None:
    with pytest.raises(UpstreamError) as caught:
        cohere_chat.decode_response(json.dumps(body).encode())
    assert (caught.value.outcome, caught.value.code) == (outcome, code)


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (400, {"message": "too many tokens: size limit exceeded", "error_type": "TOO_MANY_TOKENS"}, "CONTEXT_LENGTH"),
        (400, {"message": "too many tokens: total number of tokens in the prompt"}, "CONTEXT_LENGTH"),
        (400, {"message": "invalid request: list of documents must not be empty"}, "INVALID"),
        (401, {"message": "invalid api token"}, "AUTH"),
        (402, {"message": "please add or update your payment method"}, "QUOTA"),
        (404, {"message": "model 'command-z' not found"}, "MODEL_NOT_FOUND"),
        (422, {"message": "invalid type"}, "INVALID"),
        (429, {"message": "You are past the rate limit, please wait and try again later."}, "RATE_LIMITED"),
        (429, {"message": "a Trial key, which is limited to 1000 API calls / month"}, "QUOTA"),
        (498, {"message": "blocked output: please contact the administrator"}, "CONTENT_FILTER"),
        (500, {"message": "internal server error"}, "SERVER_ERROR"),
        (503, {"message": "service unavailable"}, "OVERLOADED"),
        (504, {"message": "timed out"}, "TIMEOUT"),
    ],
)
def test_what_errors_mean(status: int, body: Any, outcome: str) -> None:
    error = cohere_chat.decode_error(status, {"retry-after": "3"}, json.dumps(body).encode())
    assert call_pb2.Outcome.Name(error.outcome) == f"OUTCOME_{outcome}"
    assert (error.status, error.retry_after) == (status, 3)


def test_a_conversation_of_nothing_that_can_be_sent_is_refused() -> None:
    request = GenerateRequest()
    part = request.messages.add(role="ROLE_USER").parts.add()
    part.media.mime_type, part.media.data = "video/mp4", b"0"
    with pytest.raises(InvalidRequest):
        cohere_chat.encode_request(request, "m", stream=False, quirks=Quirks())


def test_a_provider_tool_whose_settings_are_not_json_is_refused() -> None:
    request = GenerateRequest()
    request.messages.add(role="ROLE_USER").parts.add(text="Hello.")
    tool = request.tools.add().provider_tool
    tool.dialect, tool.type, tool.config_json = "cohere_chat", "search", "["
    with pytest.raises(InvalidRequest) as caught:
        cohere_chat.encode_request(request, "m", stream=False, quirks=Quirks())
    assert [violation.field for violation in caught.value.violations] == ["tools[0].provider_tool.config_json"]


def test_what_the_model_said_goes_back_as_it_was() -> None:
    message = {
        "tool_plan": "I will look.",
        "content": [{"type": "thinking", "thinking": "Hm."}],
        "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}],
    }
    body = {"message": {"role": "assistant"} | message, "finish_reason": "TOOL_CALL"}
    answer = fold(cohere_chat.decode_response(json.dumps(body).encode()))
    request = GenerateRequest(messages=[answer.message])
    encoded = cohere_chat.encode_request(request, "m", stream=False, quirks=Quirks())
    assert json.loads(encoded.body)["messages"] == [{"role": "assistant"} | message]
    assert not encoded.warnings
