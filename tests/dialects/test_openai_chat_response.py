"""Decoding whole answers of the chat completions API."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from trunkline.v1 import call_pb2, content_pb2
from trunkline_server.dialects import openai_chat
from trunkline_server.errors import UpstreamError
from trunkline_server.fold import fold

if TYPE_CHECKING:
    from trunkline.v1.gateway_service_pb2 import GenerateResponse


def answer(*choices: Any, **more: Any) -> GenerateResponse:
    return fold(openai_chat.decode_response(json.dumps({"id": "c1", "choices": choices} | more).encode()))


def choice(message: Any, finish: str | None = "stop", **more: Any) -> Any:
    return {"index": 0, "message": message, "finish_reason": finish} | more


def failure(body: bytes) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        openai_chat.decode_response(body)
    return caught.value


def test_the_events_of_a_whole_answer() -> None:
    body = {"choices": [choice({"content": "Hi", "tool_calls": [{"id": "x", "function": {"name": "f"}}]})]}
    events = openai_chat.decode_response(json.dumps(body).encode())
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds == ["part_started", "part_completed", "part_started", "part_delta", "part_completed", "completed"]


def test_a_body_behind_blank_lines() -> None:
    """DeepSeek sends them while its caller waits."""
    body = b"\n\n\n" + json.dumps({"choices": [choice({"content": "Hi"})]}).encode()
    assert fold(openai_chat.decode_response(body)).message.parts[0].text == "Hi"


def test_content_as_a_list_is_its_text() -> None:
    content = [{"type": "thinking", "thinking": []}, {"type": "text", "text": "a"}, "b", {"type": "text"}]
    assert answer(choice({"content": content})).message.parts[0].text == "ab"


def test_calls_are_counted_by_their_place() -> None:
    calls = [{"index": 0, "id": "x", "function": {"name": "f", "arguments": "{}"}} for _ in range(2)]
    parts = answer(choice({"content": "", "tool_calls": calls}, "tool_calls")).message.parts
    assert [part.tool_call.name for part in parts] == ["f", "f"]


def test_only_the_first_of_several_answers_is_kept() -> None:
    response = answer(choice({"content": "b"}, index=1), choice({"content": "a"}, "length"))
    assert [part.text for part in response.message.parts] == ["a"]
    assert response.provider_finish_reason == "length"
    assert [warning.kind for warning in response.warnings] == [call_pb2.Warning.KIND_CONTENT_DROPPED]


def test_an_answer_without_a_finish_reason_is_whole() -> None:
    response = answer({"message": {"content": "Hi"}})
    assert (response.finish_reason, response.provider_finish_reason) == (content_pb2.FINISH_REASON_OTHER, "")


def test_an_answer_may_be_empty() -> None:
    assert not answer(choice(None, "length")).message.parts


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"null", b"{}", b'{"choices":[]}', b'{"choices":[{"message":1}]}']
)
def test_what_is_not_the_wire_format(body: bytes) -> None:
    assert failure(body).outcome == call_pb2.OUTCOME_PROTOCOL_ERROR


def test_a_finish_reason_that_is_a_failure() -> None:
    body = json.dumps({"choices": [choice({"content": "Hi"}, "error")]}).encode()
    assert failure(body).outcome == call_pb2.OUTCOME_SERVER_ERROR


def test_an_error_in_an_answer_of_status_200() -> None:
    error = failure(b'{"error":{"code":502,"message":"Provider returned error","metadata":{"raw":"boom"}}}')
    assert (error.outcome, error.status, error.code) == (call_pb2.OUTCOME_SERVER_ERROR, 502, "502")
    assert error.message == "Provider returned error: boom"
