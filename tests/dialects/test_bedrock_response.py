"""Decoding whole answers of Converse, and errors that come instead of one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from trunkline.v1 import call_pb2, content_pb2
from trunkline_server.dialects import bedrock_converse
from trunkline_server.errors import UpstreamError
from trunkline_server.fold import fold

if TYPE_CHECKING:
    from trunkline.v1.gateway_service_pb2 import GenerateResponse


def answer(*content: Any, **more: Any) -> GenerateResponse:
    body = {"output": {"message": {"content": content, "role": "assistant"}}, "stopReason": "end_turn"} | more
    return fold(bedrock_converse.decode_response(json.dumps(body).encode()))


def failure(body: bytes) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        bedrock_converse.decode_response(body)
    return caught.value


def test_the_events_of_a_whole_answer() -> None:
    content = [{"text": "Hi"}, {"toolUse": {"toolUseId": "t", "name": "f", "input": {"a": 1}}}]
    body = {"output": {"message": {"content": content}}, "stopReason": "tool_use"}
    events = bedrock_converse.decode_response(json.dumps(body).encode())
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds == ["part_started", "part_completed", "part_started", "part_completed", "completed"]


def test_an_answer_may_be_empty() -> None:
    assert not answer().message.parts
    assert not answer({"text": ""}, {}).message.parts


def test_an_answer_without_a_reason_is_whole() -> None:
    response = answer({"text": "Hi"}, stopReason=None)
    assert (response.finish_reason, response.provider_finish_reason) == (content_pb2.FINISH_REASON_OTHER, "")


def test_arguments_are_the_providers_own_bytes() -> None:
    body = b'{"output":{"message":{"content":[{"toolUse":{"toolUseId":"t","name":"f","input":{"a" : 1.0}}}]}}}'
    assert fold(bedrock_converse.decode_response(body)).message.parts[0].tool_call.arguments_json == '{"a" : 1.0}'


def test_a_call_without_arguments_has_empty_ones() -> None:
    response = answer({"toolUse": {"name": "f", "input": None}}, {"toolUse": {"name": "f"}})
    assert [part.tool_call.arguments_json for part in response.message.parts] == ["{}", "{}"]


@pytest.mark.parametrize(
    ("block", "kind"),
    [
        ({"guardContent": {"text": {"text": "x"}}}, "guardContent"),
        ({"video": {"format": "mp4"}}, "video"),
        ({"image": {"format": "png", "error": {"message": "no"}}}, "image"),
        ({"ofTheFuture": 7}, "ofTheFuture"),
        ({"toolUse": {"name": "f", "type": "server_tool_use"}}, "server_tool_use"),
        ({"toolResult": {"toolUseId": "t", "type": 7}}, "toolResult"),
    ],
)
def test_what_the_contract_has_no_word_for_is_kept_as_it_is(block: Any, kind: str) -> None:
    (part,) = answer(block).message.parts
    assert (part.provider_part.dialect, part.provider_part.type) == ("bedrock_converse", kind)
    assert json.loads(part.provider_part.json) == block


@pytest.mark.parametrize(
    ("told", "usage"),
    [
        ({"inputTokens": 3, "outputTokens": 2}, {"input_tokens": 3, "output_tokens": 2}),
        (
            {"inputTokens": 3, "outputTokens": 2, "cacheReadInputTokens": 10, "cacheWriteInputTokens": 5},
            {"input_tokens": 18, "output_tokens": 2, "cache_read_input_tokens": 10, "cache_write_input_tokens": 5},
        ),
        (
            {"inputTokens": 3, "cacheReadInputTokenCount": 10},
            {"input_tokens": 13, "cache_read_input_tokens": 10},
        ),
        ({"cacheReadInputTokens": 10}, {"cache_read_input_tokens": 10}),
        ({"inputTokens": 0}, {"input_tokens": 0}),
        ({"serverToolUsage": {"searches": 2, "note": "x", "flag": True}}, {"other_units": {"searches": 2}}),
        (
            {"cacheDetails": [{"ttl": "1h", "inputTokens": 7}, {"ttl": "9d", "inputTokens": 1}, {}]},
            {"other_units": {"ephemeral_1h_input_tokens": 7}},
        ),
    ],
)
def test_usage_in_the_contracts_meaning(told: Any, usage: Any) -> None:
    assert answer({"text": "Hi"}, usage=told).usage == call_pb2.Usage(**usage)


def test_usage_absent_is_absent() -> None:
    assert not answer({"text": "Hi"}).HasField("usage")


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"null", b"{}", b'{"output":{}}', b'{"output":{"message":{"content":[1]}}}', b"{" * 9999],
)
def test_what_is_not_the_wire_format(body: bytes) -> None:
    assert failure(body).outcome == call_pb2.OUTCOME_PROTOCOL_ERROR


@pytest.mark.parametrize(
    "usage", [{"inputTokens": -1}, {"inputTokens": 1 << 63}, {"inputTokens": 1.5}, {"inputTokens": "1"}]
)
def test_figures_that_are_none_break_the_protocol(usage: Any) -> None:
    body = {"output": {"message": {"content": []}}, "usage": usage}
    assert failure(json.dumps(body).encode()).outcome == call_pb2.OUTCOME_PROTOCOL_ERROR


def test_an_error_in_an_answer_of_status_200() -> None:
    error = failure(b'{"message":"boom"}')
    assert (error.outcome, error.message) == (call_pb2.OUTCOME_SERVER_ERROR, "boom")


# --- errors with a status ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "name", "words", "outcome"),
    [
        (400, "ValidationException", "Malformed input request", call_pb2.OUTCOME_INVALID),
        (400, "ValidationException", "Input is too long for requested model.", call_pb2.OUTCOME_CONTEXT_LENGTH),
        (400, "ValidationException", "Input Tokens Exceeded: ...", call_pb2.OUTCOME_CONTEXT_LENGTH),
        (400, "ValidationException", "The provided model identifier is invalid.", call_pb2.OUTCOME_MODEL_NOT_FOUND),
        (400, "ValidationException", "Output blocked by content filtering policy", call_pb2.OUTCOME_CONTENT_FILTER),
        (400, "ExpiredTokenException", "expired", call_pb2.OUTCOME_AUTH),
        (402, "ServiceQuotaExceededException", "x", call_pb2.OUTCOME_QUOTA),
        (403, "AccessDeniedException", "not authorized", call_pb2.OUTCOME_AUTH),
        (403, "AccessDeniedException", "You don't have access to the model with the specified model ID.", 14),
        (403, "UnrecognizedClientException", "The security token is invalid.", call_pb2.OUTCOME_AUTH),
        (404, "ResourceNotFoundException", "x", call_pb2.OUTCOME_MODEL_NOT_FOUND),
        (408, "ModelTimeoutException", "x", call_pb2.OUTCOME_TIMEOUT),
        (424, "ModelErrorException", "x", call_pb2.OUTCOME_SERVER_ERROR),
        (429, "ThrottlingException", "Too many requests, please wait.", call_pb2.OUTCOME_RATE_LIMITED),
        (429, "ThrottlingException", "Too many tokens per day, please wait.", call_pb2.OUTCOME_QUOTA),
        (429, "ModelNotReadyException", "x", call_pb2.OUTCOME_OVERLOADED),
        (500, "InternalServerException", "x", call_pb2.OUTCOME_SERVER_ERROR),
        (503, "ServiceUnavailableException", "x", call_pb2.OUTCOME_OVERLOADED),
    ],
)
@pytest.mark.parametrize("key", ["message", "Message"])
def test_errors(status: int, name: str, words: str, outcome: int, key: str) -> None:
    headers = {"x-amzn-errortype": f"{name}:http://internal.amazon.com/coral/x/", "x-amzn-requestid": "r-1"}
    error = bedrock_converse.decode_error(status, headers, json.dumps({key: words}).encode())
    assert (error.outcome, error.status, error.code, error.message) == (outcome, status, name, words)
    assert error.request_id == "r-1"


def test_an_errors_name_may_have_a_namespace_before_it() -> None:
    headers = {"x-amzn-errortype": "com.amazon.coral.service#ExpiredTokenException"}
    assert bedrock_converse.decode_error(400, headers, b"").code == "ExpiredTokenException"


def test_an_error_may_ask_for_a_wait() -> None:
    assert bedrock_converse.decode_error(429, {"retry-after": "7"}, b"{}").retry_after == 7
