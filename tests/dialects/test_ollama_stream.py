"""ollama_chat: what golden cases do not show of answers, and what errors mean."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from decoding import decoded
from grammar import check_grammar

from trunkline.v1 import call_pb2, content_pb2
from trunkline.v1.gateway_service_pb2 import GenerateRequest
from trunkline_server.dialects import ollama_chat
from trunkline_server.dialects.dialect import Quirks
from trunkline_server.errors import UpstreamError
from trunkline_server.fold import fold

if TYPE_CHECKING:
    from collections.abc import Callable

DONE = {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop", "eval_count": 1}


def ndjson(*lines: Any) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def said(**message: Any) -> Any:
    return {"message": {"role": "assistant", "content": ""} | message, "done": False}


HELLO = said(content="Hello")


def test_fields_that_are_not_known_blank_lines_and_what_follows_the_end_are_no_matter() -> None:
    stream = b"\n" + ndjson(HELLO | {"new": [1]}) + b"\r\n" + ndjson({}, DONE | {"context": [1, 2]}, HELLO) + b"{"
    events, error = decoded(ollama_chat.stream_decoder(), [stream])
    assert error is None
    check_grammar(events)
    assert [part.text for part in fold(events).message.parts] == ["Hello"]


def test_the_end_may_lack_its_line_feed() -> None:
    events, error = decoded(ollama_chat.stream_decoder(), [ndjson(HELLO, DONE).removesuffix(b"\n")])
    assert error is None
    check_grammar(events)


def test_thoughts_that_come_again_are_a_part_of_their_own() -> None:
    lines = [said(thinking="A"), said(content="b"), said(thinking="C"), said(tool_calls=[{"function": {"name": "f"}}])]
    events, _ = decoded(ollama_chat.stream_decoder(), [ndjson(*lines, said(content="d"), DONE)])
    check_grammar(events)
    parts = fold(events).message.parts
    assert [part.WhichOneof("data") for part in parts] == ["reasoning", "text", "reasoning", "tool_call", "text"]


def test_tokens_without_words_stand_where_the_words_are() -> None:
    token = {"token": "x", "logprob": -1.0, "top_logprobs": [{"token": "y"}]}
    lines = [{"done": False, "logprobs": [token]}, said(thinking="A") | {"logprobs": [token, {"token": "z"}]}]
    lines += [{"logprobs": [token]}, said(thinking="B", content="c") | {"logprobs": [token]}]
    events, _ = decoded(ollama_chat.stream_decoder(), [ndjson(*lines, DONE)])
    check_grammar(events)
    answer = fold(events)
    assert [(part.text, part.reasoning.text) for part in answer.message.parts] == [("", ""), ("", "AB"), ("c", "")]
    assert [(told.token, len(told.top)) for told in answer.logprobs] == [("x", 0)] * 4


def test_ids_that_are_missing_are_made_up_one_for_each_call() -> None:
    call = {"function": {"name": "f", "arguments": {"a": 1}}}
    events, _ = decoded(ollama_chat.stream_decoder(), [ndjson(said(tool_calls=[call]), said(tool_calls=[call]), DONE)])
    assert [part.tool_call.id for part in fold(events).message.parts] == ["call_0", "call_1"]


@pytest.mark.parametrize(
    ("stream", "outcome", "code"),
    [
        (ndjson(HELLO), call_pb2.OUTCOME_INTERRUPTED, "not_done"),
        (b"", call_pb2.OUTCOME_INTERRUPTED, "not_done"),
        (ndjson(HELLO) + b'{"done":tr', call_pb2.OUTCOME_INTERRUPTED, "not_done"),
        (ndjson(HELLO, {"error": "an error was encountered"}), call_pb2.OUTCOME_SERVER_ERROR, ""),
        (ndjson({"error": "model 'm' not found"}), call_pb2.OUTCOME_MODEL_NOT_FOUND, ""),
        (ndjson({"error": "the prompt exceeds the context length"}), call_pb2.OUTCOME_CONTEXT_LENGTH, ""),
        (b"{\n", call_pb2.OUTCOME_PROTOCOL_ERROR, "malformed_json"),
        (b"[]\n", call_pb2.OUTCOME_PROTOCOL_ERROR, "malformed_line"),
        (ndjson(said(content=7)), call_pb2.OUTCOME_PROTOCOL_ERROR, "malformed_line"),
        (ndjson(said(tool_calls=[{}])), call_pb2.OUTCOME_PROTOCOL_ERROR, "tool_call_unnamed"),
        (
            ndjson(said(tool_calls=[{"function": {"name": "f", "arguments": "{}"}}])),
            call_pb2.OUTCOME_PROTOCOL_ERROR,
            "malformed_arguments",
        ),
    ],
)
def test_how_streams_fail(stream: bytes, outcome: call_pb2.Outcome.ValueType, code: str) -> None:
    events, error = decoded(ollama_chat.stream_decoder(), [stream])
    assert not any(event.HasField("completed") for event in events)
    assert error is not None
    assert (error.outcome, error.code) == (outcome, code)


def test_a_line_longer_than_is_taken_is_an_error() -> None:
    decoder = ollama_chat.stream_decoder()
    assert len(decoder.feed(ndjson(HELLO))) == 1
    with pytest.raises(UpstreamError) as caught:
        decoder.feed(b" " * (17 << 20))
    assert (caught.value.outcome, caught.value.code) == (call_pb2.OUTCOME_PROTOCOL_ERROR, "line_too_large")


def test_events_before_an_error_in_the_same_bytes_are_returned_first_and_the_error_stands() -> None:
    decoder = ollama_chat.stream_decoder()
    assert [event.WhichOneof("event") for event in decoder.feed(ndjson(HELLO, {"error": "boom"}))] == ["part_started"]
    calls: list[Callable[[], object]] = [lambda: decoder.feed(b""), decoder.finish, lambda: decoder.feed(ndjson(DONE))]
    for call in calls:
        with pytest.raises(UpstreamError):
            call()


@pytest.mark.parametrize(
    ("body", "outcome", "code"),
    [
        ({"error": "boom"}, call_pb2.OUTCOME_SERVER_ERROR, ""),
        ({}, call_pb2.OUTCOME_PROTOCOL_ERROR, "no_message"),
        (HELLO, call_pb2.OUTCOME_INTERRUPTED, "not_done"),
        (7, call_pb2.OUTCOME_PROTOCOL_ERROR, "malformed_line"),
    ],
)
def test_how_whole_answers_fail(body: Any, outcome: call_pb2.Outcome.ValueType, code: str) -> None:
    with pytest.raises(UpstreamError) as caught:
        ollama_chat.decode_response(json.dumps(body).encode())
    assert (caught.value.outcome, caught.value.code) == (outcome, code)


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (400, b'{"error":"\\"gemma3:1b\\" does not support tools"}', "INVALID"),
        (400, b'{"error":"the input length exceeds the context length"}', "CONTEXT_LENGTH"),
        (401, b'{"error":"unauthorized"}', "AUTH"),
        (404, b'{"error":"model \'llama9:70b\' not found"}', "MODEL_NOT_FOUND"),
        (404, b"404 page not found", "MODEL_NOT_FOUND"),
        (429, b'{"error":"too many requests"}', "RATE_LIMITED"),
        (500, b'{"error":"model requires more system memory (9 GiB) than is available"}', "SERVER_ERROR"),
        (503, b'{"error":"server busy, please try again. maximum pending requests exceeded"}', "OVERLOADED"),
    ],
)
def test_what_errors_mean(status: int, body: bytes, outcome: str) -> None:
    error = ollama_chat.decode_error(status, {}, body)
    assert call_pb2.Outcome.Name(error.outcome) == f"OUTCOME_{outcome}"
    assert error.status == status
    assert ("ollama pull" in error.message) == (b"llama9" in body)


@pytest.mark.parametrize(
    "words", ["model 'hf.co/a/b:q4' not found", 'model "hf.co/a/b:q4" not found, try pulling it first']
)
def test_a_model_that_was_not_pulled(words: str) -> None:
    error = ollama_chat.decode_error(404, {}, json.dumps({"error": words}).encode())
    assert error.message == f"run `ollama pull hf.co/a/b:q4` on the server: {words}"
    long = ollama_chat.decode_error(404, {}, json.dumps({"error": words + " x" * 2000}).encode())
    assert len(long.message.encode()) <= 1024
    assert long.message.startswith("run `ollama pull hf.co/a/b:q4`")


def test_what_the_model_said_goes_back_as_it_was() -> None:
    call = {"id": "a", "function": {"name": "f", "arguments": {"x": 1.5}}}
    message = {"content": "Let me see.", "thinking": "Hm.", "tool_calls": [call]}
    body = {"message": {"role": "assistant"} | message, "done": True}
    answer = fold(ollama_chat.decode_response(json.dumps(body).encode()))
    result = content_pb2.Part(tool_result=content_pb2.ToolResult(tool_call_id="a"))
    results = content_pb2.Message(role=content_pb2.ROLE_TOOL, parts=[result])
    request = GenerateRequest(messages=[answer.message, results])
    encoded = ollama_chat.encode_request(request, "m", stream=False, quirks=Quirks())
    assert json.loads(encoded.body)["messages"] == [
        {"role": "assistant"} | message,
        {"role": "tool", "content": "", "tool_name": "f", "tool_call_id": "a"},
    ]
    assert not encoded.warnings
