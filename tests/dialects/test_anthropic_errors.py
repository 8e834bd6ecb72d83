"""What the errors of the Messages API mean. The bodies are documented or were told of by users."""

from __future__ import annotations

import json
from typing import Any

import pytest

from trunkline.v1 import call_pb2
from trunkline_server.dialects.anthropic_messages import decode_error

LIMITED = {"type": "rate_limit_error", "message": "This request would exceed your organization's rate limit"}


def body(**error: Any) -> bytes:
    return json.dumps({"type": "error", "error": error, "request_id": "req_1"}).encode()


@pytest.mark.parametrize(
    ("status", "kind", "message", "outcome"),
    [
        (400, "invalid_request_error", "messages: at least one message is required", call_pb2.OUTCOME_INVALID),
        (400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000", call_pb2.OUTCOME_CONTEXT_LENGTH),
        (
            400,
            "invalid_request_error",
            "input length and `max_tokens` exceed context limit: 199759 + 8192 > 200000",
            call_pb2.OUTCOME_CONTEXT_LENGTH,
        ),
        (400, "invalid_request_error", "Your credit balance is too low to access the API", call_pb2.OUTCOME_QUOTA),
        (400, "invalid_request_error", "You have reached your specified API usage limits.", call_pb2.OUTCOME_QUOTA),
        (401, "authentication_error", "invalid x-api-key", call_pb2.OUTCOME_AUTH),
        (402, "billing_error", "Billing", call_pb2.OUTCOME_QUOTA),
        (403, "permission_error", "Not allowed", call_pb2.OUTCOME_AUTH),
        (404, "not_found_error", "model: claude-0", call_pb2.OUTCOME_MODEL_NOT_FOUND),
        (413, "request_too_large", "Request exceeds the maximum size", call_pb2.OUTCOME_INVALID),
        (429, "rate_limit_error", "Rate limited", call_pb2.OUTCOME_RATE_LIMITED),
        (500, "api_error", "Internal server error", call_pb2.OUTCOME_SERVER_ERROR),
        (504, "timeout_error", "Timed out", call_pb2.OUTCOME_TIMEOUT),
        (529, "overloaded_error", "Overloaded", call_pb2.OUTCOME_OVERLOADED),
    ],
)
def test_an_error(status: int, kind: str, message: str, outcome: call_pb2.Outcome.ValueType) -> None:
    error = decode_error(status, {"request-id": "req_1"}, body(type=kind, message=message))
    assert error.outcome == outcome
    assert (error.status, error.code, error.request_id) == (status, kind, "req_1")
    assert error.message == message


def test_a_rate_limit_and_how_long_to_wait() -> None:
    headers = {"retry-after": "17", "x-should-retry": "true"}
    error = decode_error(429, headers, body(**LIMITED))
    assert (error.outcome, error.retry_after) == (call_pb2.OUTCOME_RATE_LIMITED, 17)


def test_a_date_to_wait_for() -> None:
    dates = {"date": "Wed, 21 Oct 2026 07:28:00 GMT", "retry-after": "Wed, 21 Oct 2026 07:28:30 GMT"}
    assert decode_error(529, dates, b"").retry_after == 30


def test_a_spend_limit_is_no_rate_limit() -> None:
    spent = LIMITED | {"details": {"error_code": "enforced_spend_limit_reached"}}
    assert decode_error(429, {}, body(**spent)).outcome == call_pb2.OUTCOME_QUOTA
    assert decode_error(429, {"x-should-retry": "false"}, body(**LIMITED)).outcome == call_pb2.OUTCOME_QUOTA


def test_a_gateway_in_front_answers_in_its_own_way() -> None:
    error = decode_error(413, {"cf-ray": "abc"}, b"<html><h1>413 Request Entity Too Large</h1></html>")
    assert (error.outcome, error.request_id) == (call_pb2.OUTCOME_INVALID, "abc")
