"""Decoding whole answers of the Responses API."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from trunkline.v1 import call_pb2, content_pb2
from trunkline_server.dialects import openai_responses
from trunkline_server.errors import UpstreamError
from trunkline_server.fold import fold

if TYPE_CHECKING:
    from trunkline.v1.gateway_service_pb2 import GenerateResponse


def answer(*output: Any, **more: Any) -> GenerateResponse:
    body = {"id": "resp_1", "status": "completed", "output": output} | more
    return fold(openai_responses.decode_response(json.dumps(body).encode()))


def message(*content: Any, **more: Any) -> Any:
    return {"type": "message", "id": "msg_1", "role": "assistant", "content": content} | more


def text(words: str, **more: Any) -> Any:
    return {"type": "output_text", "text": words} | more


def failure(body: Any) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        openai_responses.decode_response(body if isinstance(body, bytes) else json.dumps(body).encode())
    return caught.value


def test_the_events_of_a_whole_answer() -> None:
    call = {"type": "function_call", "call_id": "c", "name": "f"}
    body = {"status": "completed", "output": [message(text("Hi")), call]}
    events = openai_responses.decode_response(json.dumps(body).encode())
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds == ["part_started", "part_completed", "part_started", "part_delta", "part_completed", "completed"]


def test_an_answer_may_be_empty_and_may_have_no_status() -> None:
    assert not answer().message.parts
    assert not answer(message(), message(text(""))).message.parts
    response = answer(message(text("Hi")), status=None)
    assert (response.finish_reason, response.provider_finish_reason) == (content_pb2.FINISH_REASON_STOP, "completed")


@pytest.mark.parametrize(
    ("reason", "meaning"),
    [
        ("max_output_tokens", content_pb2.FINISH_REASON_MAX_TOKENS),
        ("content_filter", content_pb2.FINISH_REASON_CONTENT_FILTER),
        ("max_messages", content_pb2.FINISH_REASON_OTHER),
    ],
)
def test_incomplete_answers(reason: str, meaning: content_pb2.FinishReason.ValueType) -> None:
    response = answer(message(text("Hi")), status="incomplete", incomplete_details={"reason": reason})
    assert (response.finish_reason, response.provider_finish_reason) == (meaning, reason)
    assert response.message.parts[0].text == "Hi"


def test_an_incomplete_answer_without_a_reason() -> None:
    response = answer(status="incomplete", incomplete_details=None)
    expected = (content_pb2.FINISH_REASON_OTHER, "incomplete")
    assert (response.finish_reason, response.provider_finish_reason) == expected


def test_calls_without_ids_or_arguments() -> None:
    calls: list[Any] = [{"id": "fc_1"}, {"id": ""}, {"call_id": "c", "arguments": None}, {"arguments": '{"a'}]
    output = ({"type": "function_call", "name": "f"} | call for call in calls)
    parts = answer(*output, status="incomplete").message.parts
    found = [(part.tool_call.id, part.tool_call.arguments_json) for part in parts]
    assert found == [("fc_1", "{}"), ("call_1", "{}"), ("c", "{}"), ("call_3", '{"a')]


def test_a_call_without_a_name() -> None:
    error = failure({"status": "completed", "output": [{"type": "function_call", "call_id": "c"}]})
    assert (error.outcome, error.code) == (call_pb2.OUTCOME_PROTOCOL_ERROR, "tool_call_unnamed")


def test_ids_are_not_kept_for_they_mean_nothing_without_what_stood_before() -> None:
    call = {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "status": "completed", "caller": None}
    parts = answer(message(text("Hi")), call).message.parts
    assert not any(part.HasField("provider_state") for part in parts)


def test_reasoning_is_one_part_and_its_pieces_are_paragraphs() -> None:
    summary = [{"type": "summary_text", "text": words} for words in ("One.", "", "Two.")]
    content = [{"type": "reasoning_text", "text": "Three."}]
    item = {"type": "reasoning", "id": "rs_1", "summary": summary, "content": content}
    [part] = answer(item).message.parts
    assert part.reasoning.text == "One.\n\nTwo.\n\nThree."
    assert part.provider_state.format == "openai.reasoning"
    assert json.loads(part.provider_state.data) == item


@pytest.mark.parametrize(
    "kind", ["file_search_call", "code_interpreter_call", "mcp_call", "image_generation_call", "custom_tool_call", ""]
)
def test_what_the_contract_has_no_word_for_is_kept_as_it_is(kind: str) -> None:
    item = {"type": kind, "id": "x_1", "content": 7, "summary": {"é": [1.50, None]}, "call_id": {}}
    [part] = answer(item).message.parts
    assert (part.provider_part.dialect, part.provider_part.type) == ("openai_responses", kind)
    assert json.loads(part.provider_part.json) == item
    assert part.provider_part.json == json.dumps(item, separators=(",", ":"))


# --- citations --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotation", "citation", "is_kept"),
    [
        (
            {"type": "url_citation", "start_index": 1, "end_index": 3, "title": "t", "url": "https://x.org"},
            {"start_index": 1, "end_index": 3, "title": "t", "uri": "https://x.org"},
            False,
        ),
        (
            {"type": "file_citation", "file_id": "file-1", "filename": "a.pdf", "index": 9},
            {"start_index": 9, "end_index": 9, "title": "a.pdf", "source_id": "file-1"},
            True,
        ),
        (
            {"type": "container_file_citation", "container_id": "c", "file_id": "f", "start_index": 0, "end_index": 1},
            {"start_index": 0, "end_index": 1, "source_id": "f"},
            True,
        ),
        ({"type": "file_path", "file_id": "f", "index": 0}, {"source_id": "f"}, True),
        ({"type": "something_new", "url": 5, "start_index": 3, "end_index": 1}, {}, True),
        ({"type": "url_citation", "url": "u", "start_index": -1, "end_index": 1 << 40}, {"uri": "u"}, False),
        ({"type": "url_citation", "url": "u", "start_index": True, "end_index": "9"}, {"uri": "u"}, False),
    ],
)
def test_annotations_are_citations(annotation: Any, citation: Any, is_kept: bool) -> None:
    [part] = answer(message(text("Trains are fast.", annotations=[annotation]))).message.parts
    [found] = part.citations
    assert found.HasField("provider_state") == is_kept
    if is_kept:
        assert found.provider_state.format == "openai.annotation"
        assert json.loads(found.provider_state.data) == annotation
        found.ClearField("provider_state")
    assert found == content_pb2.Citation(**citation)


# --- usage and metadata -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("usage", "meaning"),
    [
        ({}, call_pb2.Usage()),
        ({"input_tokens": 0, "output_tokens": None}, call_pb2.Usage(input_tokens=0)),
        (
            {"input_tokens": 9, "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 5}},
            call_pb2.Usage(input_tokens=9, cache_read_input_tokens=4, cache_write_input_tokens=5),
        ),
        ({"output_tokens_details": {"reasoning_tokens": 7}}, call_pb2.Usage(reasoning_output_tokens=7)),
        (
            {"server_side_tool_usage_details": {"x_search_calls": 2, "mcp_calls": 0, "odd": "1", "bad": True}},
            call_pb2.Usage(other_units={"x_search_calls": 2}),
        ),
        ({"server_side_tool_usage_details": [1]}, call_pb2.Usage()),
        (
            {"input_tokens": 0, "output_tokens": -9, "output_tokens_details": {"reasoning_tokens": 448}},
            call_pb2.Usage(input_tokens=0, reasoning_output_tokens=448),
        ),
    ],
)
def test_usage_is_what_the_provider_says_and_no_more(usage: Any, meaning: call_pb2.Usage) -> None:
    response = answer(usage=usage)
    assert response.HasField("usage")
    assert response.usage == meaning


def test_usage_that_is_not_told_is_absent() -> None:
    assert not answer(usage=None).HasField("usage")


def test_searches_of_the_providers_own() -> None:
    response = answer(usage={}, tool_usage={"image_gen": {}, "web_search": {"num_requests": 3}})
    assert response.usage == call_pb2.Usage(other_units={"web_search_requests": 3})


def test_metadata_has_a_limit() -> None:
    deep: Any = {}
    for _ in range(20):
        deep = {"a": deep}
    filters = [{"blocked": False, "note": "x" * 5000}]
    response = answer(model="m", service_tier="flex", metadata=deep, content_filters=filters, moderation=None)
    assert dict(response.provider_metadata) == {"model": "m", "service_tier": "flex"}
    assert [(warning.kind, warning.field) for warning in response.warnings] == [
        (call_pb2.Warning.KIND_CONTENT_DROPPED, "provider_metadata.metadata"),
        (call_pb2.Warning.KIND_CONTENT_DROPPED, "provider_metadata.content_filters"),
    ]


def test_metadata_that_is_not_told_is_absent() -> None:
    assert not answer(metadata={}).HasField("provider_metadata")


# --- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"null",
        b"{}",
        b'{"output":{}}',
        b'{"status":"completed","output":[1]}',
        b'{"status":"completed","output":[{"type":"message","content":[1]}]}',
        b'{"status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":1}]}]}',
        b'{"status":"completed","output":[{"type":"function_call","name":1}]}',
        b'{"status":"completed","output":[{"type":"reasoning","summary":7}]}',
        b'{"status":"completed","output":[],"usage":{"input_tokens":"1"}}',
        b'{"status":"in_progress","output":[]}',
        b'{"status":"queued"}',
    ],
)
def test_what_is_not_the_wire_format(body: bytes) -> None:
    assert failure(body).outcome == call_pb2.OUTCOME_PROTOCOL_ERROR


@pytest.mark.parametrize(
    ("error", "outcome", "code"),
    [
        ({"code": "insufficient_quota", "message": "m"}, call_pb2.OUTCOME_QUOTA, "insufficient_quota"),
        ({"code": "rate_limit_exceeded", "message": "m"}, call_pb2.OUTCOME_RATE_LIMITED, "rate_limit_exceeded"),
        ({"code": "server_error", "message": "m"}, call_pb2.OUTCOME_SERVER_ERROR, "server_error"),
        ({"code": "invalid_image_url", "message": "m"}, call_pb2.OUTCOME_INVALID, "invalid_image_url"),
        (
            {"code": "invalid_prompt", "message": "Your prompt was flagged as violating our usage policy."},
            call_pb2.OUTCOME_CONTENT_FILTER,
            "invalid_prompt",
        ),
        ({"code": "vector_store_timeout", "message": "m"}, call_pb2.OUTCOME_TIMEOUT, "vector_store_timeout"),
        (
            {"code": "context_length_exceeded", "message": "m"},
            call_pb2.OUTCOME_CONTEXT_LENGTH,
            "context_length_exceeded",
        ),
        ("all is lost", call_pb2.OUTCOME_SERVER_ERROR, ""),
        (None, call_pb2.OUTCOME_SERVER_ERROR, "failed"),
    ],
)
def test_a_failed_answer(error: Any, outcome: call_pb2.Outcome.ValueType, code: str) -> None:
    found = failure({"status": "failed", "error": error, "output": [], "usage": {"input_tokens": 3}})
    assert (found.outcome, found.code) == (outcome, code)
    assert found.usage == call_pb2.Usage(input_tokens=3)


def test_a_cancelled_answer_was_interrupted() -> None:
    assert failure({"status": "cancelled", "output": []}).outcome == call_pb2.OUTCOME_INTERRUPTED


def test_an_error_in_an_answer_of_status_200() -> None:
    error = failure({"error": {"code": "model_not_found", "message": "bad key sk-abcdefghijkl"}})
    assert (error.outcome, error.message) == (call_pb2.OUTCOME_MODEL_NOT_FOUND, "bad key ***")
    flat = failure({"object": "error", "message": "m", "type": "BadRequestError", "code": 400})
    assert (flat.outcome, flat.code) == (call_pb2.OUTCOME_INVALID, "BadRequestError")


@pytest.mark.parametrize(
    ("status", "error", "outcome"),
    [
        (400, {"code": "model_not_found"}, call_pb2.OUTCOME_MODEL_NOT_FOUND),
        (400, {"code": "context_length_exceeded"}, call_pb2.OUTCOME_CONTEXT_LENGTH),
        (400, {"code": None, "param": "text.format.schema"}, call_pb2.OUTCOME_INVALID),
        (400, {"code": "previous_response_not_found"}, call_pb2.OUTCOME_INVALID),
        (404, {"message": "Item with id 'rs_1' not found."}, call_pb2.OUTCOME_INVALID),
        (404, {"message": "Previous response with id 'resp_1' not found."}, call_pb2.OUTCOME_INVALID),
        (404, {"message": "The model `x` does not exist"}, call_pb2.OUTCOME_MODEL_NOT_FOUND),
        (401, {"code": "invalid_api_key"}, call_pb2.OUTCOME_AUTH),
        (429, {"code": "insufficient_quota"}, call_pb2.OUTCOME_QUOTA),
        (429, {"code": "rate_limit_exceeded"}, call_pb2.OUTCOME_RATE_LIMITED),
        (503, {}, call_pb2.OUTCOME_OVERLOADED),
    ],
)
def test_errors_with_a_status(status: int, error: Any, outcome: call_pb2.Outcome.ValueType) -> None:
    body = json.dumps({"error": {"type": "invalid_request_error", "message": "m"} | error}).encode()
    assert openai_responses.decode_error(status, {}, body).outcome == outcome
