"""What the errors of hosts mean. The bodies are theirs, recorded or documented, unless a test says otherwise."""

from __future__ import annotations

import json
from typing import Any

import pytest

from trunkline.v1 import call_pb2
from trunkline_server.dialects.openai_chat import decode_error
from trunkline_server.errors import UpstreamError

DATE = "Wed, 21 Oct 2026 07:28:00 GMT"


def error(status: int, body: Any = b"", **headers: str) -> UpstreamError:
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return decode_error(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (400, call_pb2.OUTCOME_INVALID),
        (401, call_pb2.OUTCOME_AUTH),
        (402, call_pb2.OUTCOME_QUOTA),
        (403, call_pb2.OUTCOME_AUTH),
        (404, call_pb2.OUTCOME_MODEL_NOT_FOUND),
        (408, call_pb2.OUTCOME_TIMEOUT),
        (409, call_pb2.OUTCOME_SERVER_ERROR),
        (413, call_pb2.OUTCOME_INVALID),
        (418, call_pb2.OUTCOME_INVALID),
        (422, call_pb2.OUTCOME_INVALID),
        (425, call_pb2.OUTCOME_SERVER_ERROR),
        (429, call_pb2.OUTCOME_RATE_LIMITED),
        (500, call_pb2.OUTCOME_SERVER_ERROR),
        (501, call_pb2.OUTCOME_INVALID),
        (502, call_pb2.OUTCOME_SERVER_ERROR),
        (503, call_pb2.OUTCOME_OVERLOADED),
        (504, call_pb2.OUTCOME_TIMEOUT),
        (524, call_pb2.OUTCOME_TIMEOUT),
        (529, call_pb2.OUTCOME_OVERLOADED),
        (599, call_pb2.OUTCOME_SERVER_ERROR),
        (302, call_pb2.OUTCOME_PROTOCOL_ERROR),
    ],
)
def test_the_status_alone(status: int, outcome: call_pb2.Outcome.ValueType) -> None:
    for body in (b"", b"<html>", b"{}", b"null", b"[]", b'{"error":null}', b"\xff", b'"'):
        assert error(status, body).outcome == outcome


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (429, {"error": {"type": "insufficient_quota", "code": "insufficient_quota"}}, call_pb2.OUTCOME_QUOTA),
        (429, {"error": {"code": "rate_limit_exceeded", "type": "requests"}}, call_pb2.OUTCOME_RATE_LIMITED),
        (
            429,
            {
                "error": {
                    "message": "Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested 40321.",
                    "type": "tokens",
                    "code": "rate_limit_exceeded",
                }
            },
            call_pb2.OUTCOME_CONTEXT_LENGTH,
        ),
        (
            413,
            {"error": {"message": "Request too large for model `x`", "type": "tokens", "code": "rate_limit_exceeded"}},
            call_pb2.OUTCOME_CONTEXT_LENGTH,
        ),
        (429, {"error": {"message": "The system is experiencing high demand"}}, call_pb2.OUTCOME_OVERLOADED),
        (429, {"object": "error", "type": "service_tier_capacity_exceeded"}, call_pb2.OUTCOME_OVERLOADED),
        (400, {"error": {"code": "context_length_exceeded"}}, call_pb2.OUTCOME_CONTEXT_LENGTH),
        (400, {"error": {"type": "exceed_context_size_error", "code": 400}}, call_pb2.OUTCOME_CONTEXT_LENGTH),
        (
            400,
            {"object": "error", "message": "This model's maximum context length is 4096 tokens.", "code": 400},
            call_pb2.OUTCOME_CONTEXT_LENGTH,
        ),
        (
            400,
            {"error": {"code": "content_filter", "innererror": {"code": "ResponsibleAIPolicyViolation"}}},
            call_pb2.OUTCOME_CONTENT_FILTER,
        ),
        (400, {"error": {"innererror": {"code": "ResponsibleAIPolicyViolation"}}}, call_pb2.OUTCOME_CONTENT_FILTER),
        (400, {"error": {"message": "Content Exists Risk"}}, call_pb2.OUTCOME_CONTENT_FILTER),
        (403, {"error": {"message": "Your input was flagged"}}, call_pb2.OUTCOME_CONTENT_FILTER),
        (400, {"error": "Incorrect API key provided: ab***yz.", "code": "Client error"}, call_pb2.OUTCOME_AUTH),
        (400, {"error": {"message": "Model Not Exist"}}, call_pb2.OUTCOME_MODEL_NOT_FOUND),
        (400, {"error": {"message": "x/y is not a valid model ID", "code": 400}}, call_pb2.OUTCOME_MODEL_NOT_FOUND),
        (403, {"error": {"code": "model_not_found"}}, call_pb2.OUTCOME_MODEL_NOT_FOUND),
        # xAI's, DeepSeek's, OpenAI's of a key that may not ask this model.
        (400, {"code": "invalid-argument", "error": "Model not found: grok-9"}, call_pb2.OUTCOME_MODEL_NOT_FOUND),
        (
            400,
            {"error": {"message": "The supported API model names are a or b, but you passed c."}},
            call_pb2.OUTCOME_MODEL_NOT_FOUND,
        ),
        (
            403,
            {"error": {"message": "You are not allowed to sample from this model", "type": "invalid_request_error"}},
            call_pb2.OUTCOME_MODEL_NOT_FOUND,
        ),
        # Perplexity's, Ollama's, LiteLLM's.
        (400, {"error": {"type": "too_many_prompt_tokens", "code": 400}}, call_pb2.OUTCOME_CONTEXT_LENGTH),
        (
            400,
            {"error": {"message": "prompt too long; exceeded max context length by 9 tokens"}},
            call_pb2.OUTCOME_CONTEXT_LENGTH,
        ),
        (
            400,
            {"error": {"message": "No connected db.", "type": "no_db_connection", "code": "400"}},
            call_pb2.OUTCOME_AUTH,
        ),
        (404, {"error": {"code": "DeploymentNotFound"}}, call_pb2.OUTCOME_MODEL_NOT_FOUND),
        (400, {"error": {"code": "tool_use_failed"}}, call_pb2.OUTCOME_SERVER_ERROR),
        (400, {"error": {"message": "Your credit balance is too low"}}, call_pb2.OUTCOME_QUOTA),
        (500, {"error": {"message": "input is too large to process", "code": 500}}, call_pb2.OUTCOME_INVALID),
        (500, {"error": {"message": "image input is not supported"}}, call_pb2.OUTCOME_INVALID),
        (401, {"error": {"type": "authentication_error", "code": "invalid_request_error"}}, call_pb2.OUTCOME_AUTH),
        (
            429,
            {"error": {"type": "rate_limit_error", "details": {"error_code": "enforced_spend_limit_reached"}}},
            call_pb2.OUTCOME_QUOTA,
        ),
    ],
)
def test_codes_and_words_that_tell_more(status: int, body: Any, outcome: call_pb2.Outcome.ValueType) -> None:
    assert error(status, body).outcome == outcome


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        ({"error": {"message": "m", "type": "t", "param": None, "code": "c"}}, "m", "c"),
        ({"error": {"message": "m", "type": "t", "code": None}}, "m", "t"),
        ({"error": {"message": "m", "type": "t", "code": 400}}, "m", "t"),
        ({"error": {"message": "m", "code": "401"}}, "m", "401"),
        ({"error": "m", "code": "c"}, "m", "c"),
        ({"error": "m"}, "m", ""),
        ({"object": "error", "message": "m", "type": "t", "code": "1500", "raw_status_code": 400}, "m", "t"),
        ({"detail": "m"}, "m", ""),
        ({"detail": [{"loc": ["body"], "msg": "a", "type": "t"}, {"msg": "b"}, 1]}, "a; b", ""),
        ({"id": "x", "message": "m", "error_type": "t"}, "m", "t"),
        ([{"error": {"message": "m", "status": "s", "code": 400}}], "m", "s"),
        ("m", "m", ""),
        ({"error": {"message": "Provider returned error", "metadata": {"raw": "r"}}}, "Provider returned error: r", ""),
        ({"error": {"message": {"a": 1}, "code": True}}, '{"error": {"message": {"a": 1}, "code": true}}', "True"),
        (b"upstream connect error", "upstream connect error", ""),
        (b"\xff\xfe", "\ufffd\ufffd", ""),
        (b'{"error":{"message":"\\ud800"}}', "\ufffd", ""),
        (b"", "", ""),
        ({"error": {"code": "c" * 500}}, "", "c" * 128),
    ],
)
def test_the_shapes_of_bodies(body: Any, message: str, code: str) -> None:
    found = error(400, body)
    assert (found.message if message else "", found.code) == (message, code)


def test_the_providers_words_are_scrubbed_and_short() -> None:
    found = error(
        401, {"error": {"message": "no such key sk-abcdefgh1234 " + "x y " * 4000, "code": "sk-abcdefgh1234"}}
    )
    assert found.message.startswith("no such key *** x y")
    assert len(found.message) == 1024
    assert found.code == "***"


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, None),
        ({"retry_after": "17"}, 17),
        ({"retry_after": "0.5"}, 0.5),
        ({"retry_after": "0"}, 0),
        ({"retry_after_ms": "1500", "retry_after": "9"}, 1.5),
        # Azure: it means nothing.
        ({"retry_after_ms": "0", "retry_after": "1"}, 1),
        ({"retry_after_ms": "soon", "retry_after": "1"}, 1),
        ({"retry_after": "-1"}, None),
        ({"retry_after": "1e9"}, None),
        ({"retry_after": "inf"}, None),
        ({"retry_after": "nan"}, None),
        ({"retry_after": "9" * 20}, None),
        ({"retry_after": "soon"}, None),
        ({"retry_after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": DATE}, 30),
        ({"retry_after": "Wed, 21 Oct 2026 07:27:00 GMT", "date": DATE}, 0),
        ({"retry_after": "Wed, 21 Oct 2026 07:28:30 GMT"}, None),
        ({"retry_after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": "today"}, None),
        ({"retry_after": "Wed, 21 Oct 2026 07:28:30", "date": DATE}, None),
        ({"retry_after": "Wed, 99 Oct 9999999999 07:28:30 GMT", "date": DATE}, None),
    ],
)
def test_the_wait_that_a_provider_asks_for(headers: dict[str, str], wait: float | None) -> None:
    assert error(429, **headers).retry_after == wait


def test_the_wait_that_a_litellm_proxy_passes_on() -> None:
    passed_on = {"llm_provider-retry-after": "7"}
    assert decode_error(429, passed_on, b"").retry_after == 7
    assert decode_error(429, passed_on | {"retry-after": "2"}, b"").retry_after == 2


def test_a_limit_that_no_wait_lifts_is_a_quota() -> None:
    assert error(429, x_should_retry="false").outcome == call_pb2.OUTCOME_QUOTA
    assert error(429, x_should_retry="false", retry_after="3").outcome == call_pb2.OUTCOME_RATE_LIMITED
    assert error(429, x_should_retry="true").outcome == call_pb2.OUTCOME_RATE_LIMITED


@pytest.mark.parametrize(
    ("headers", "request_id"),
    [
        ({}, ""),
        ({"x_request_id": "req_1", "cf_ray": "ray"}, "req_1"),
        ({"cf_ray": "ray", "apim_request_id": "a"}, "a"),
        ({"x_ds_trace_id": "d"}, "d"),
        ({"x_request_id": "", "request_id": "r"}, "r"),
        ({"x_request_id": "a\r\nb é" + "c" * 500}, "ab" + "c" * 126),
    ],
)
def test_the_providers_id_of_the_exchange(headers: dict[str, str], request_id: str) -> None:
    assert error(500, **headers).request_id == request_id
