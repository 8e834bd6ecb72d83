"""What the errors of Google's APIs mean: by status, reason and quota, and how long to wait."""

from __future__ import annotations

import json
from typing import Any

import pytest

from trunkline.v1 import call_pb2
from trunkline_server.dialects.gemini_generate_content import decode_error

TYPE = "type.googleapis.com/google.rpc."


def body(code: int, status: str, message: str = "No.", *details: Any) -> bytes:
    return json.dumps({"error": {"code": code, "message": message, "status": status, "details": details}}).encode()


def reason(name: str) -> Any:
    return {"@type": f"{TYPE}ErrorInfo", "reason": name, "domain": "googleapis.com"}


def quota(quota_id: str, value: str = "20") -> Any:
    violation = {"quotaMetric": "m", "quotaId": quota_id, "quotaValue": value}
    return {"@type": f"{TYPE}QuotaFailure", "violations": [violation]}


def wait(delay: Any) -> Any:
    return {"@type": f"{TYPE}RetryInfo", "retryDelay": delay}


@pytest.mark.parametrize(
    ("status", "said", "outcome", "code"),
    [
        (400, body(400, "INVALID_ARGUMENT"), call_pb2.OUTCOME_INVALID, "INVALID_ARGUMENT"),
        (
            400,
            body(400, "INVALID_ARGUMENT", "API key not valid.", reason("API_KEY_INVALID")),
            call_pb2.OUTCOME_AUTH,
            "API_KEY_INVALID",
        ),
        (400, body(400, "INVALID_ARGUMENT", "API key expired. Renew it."), call_pb2.OUTCOME_AUTH, "INVALID_ARGUMENT"),
        (
            400,
            body(400, "FAILED_PRECONDITION", "User location is not supported for the API use."),
            call_pb2.OUTCOME_AUTH,
            "FAILED_PRECONDITION",
        ),
        (
            400,
            body(400, "INVALID_ARGUMENT", "The input token count (9) exceeds the maximum number of tokens (8)."),
            call_pb2.OUTCOME_CONTEXT_LENGTH,
            "INVALID_ARGUMENT",
        ),
        (401, body(401, "UNAUTHENTICATED"), call_pb2.OUTCOME_AUTH, "UNAUTHENTICATED"),
        (403, body(403, "PERMISSION_DENIED"), call_pb2.OUTCOME_AUTH, "PERMISSION_DENIED"),
        (
            403,
            body(403, "PERMISSION_DENIED", "No.", reason("BILLING_DISABLED")),
            call_pb2.OUTCOME_QUOTA,
            "BILLING_DISABLED",
        ),
        (404, body(404, "NOT_FOUND"), call_pb2.OUTCOME_MODEL_NOT_FOUND, "NOT_FOUND"),
        (429, body(429, "RESOURCE_EXHAUSTED"), call_pb2.OUTCOME_RATE_LIMITED, "RESOURCE_EXHAUSTED"),
        (
            429,
            body(429, "RESOURCE_EXHAUSTED", "No.", quota("InputTokensPerModelPerMinute")),
            call_pb2.OUTCOME_RATE_LIMITED,
            "RESOURCE_EXHAUSTED",
        ),
        (
            429,
            body(429, "RESOURCE_EXHAUSTED", "No.", quota("RequestsPerDayPerProject-FreeTier"), wait("34s")),
            call_pb2.OUTCOME_QUOTA,
            "RESOURCE_EXHAUSTED",
        ),
        (
            429,
            body(429, "RESOURCE_EXHAUSTED", "No.", quota("RequestsPerMinute", "0")),
            call_pb2.OUTCOME_QUOTA,
            "RESOURCE_EXHAUSTED",
        ),
        (
            429,
            body(429, "RESOURCE_EXHAUSTED", "Quota exceeded for metric: m, limit: 0, model: x"),
            call_pb2.OUTCOME_QUOTA,
            "RESOURCE_EXHAUSTED",
        ),
        (499, body(499, "CANCELLED"), call_pb2.OUTCOME_SERVER_ERROR, "CANCELLED"),
        (500, body(500, "INTERNAL"), call_pb2.OUTCOME_SERVER_ERROR, "INTERNAL"),
        (503, body(503, "UNAVAILABLE"), call_pb2.OUTCOME_OVERLOADED, "UNAVAILABLE"),
        (504, body(504, "DEADLINE_EXCEEDED"), call_pb2.OUTCOME_TIMEOUT, "DEADLINE_EXCEEDED"),
        # A stream without alt=sse begins an array.
        (429, b"[" + body(429, "RESOURCE_EXHAUSTED") + b"]", call_pb2.OUTCOME_RATE_LIMITED, "RESOURCE_EXHAUSTED"),
        (502, b"<html>Bad gateway</html>", call_pb2.OUTCOME_SERVER_ERROR, ""),
    ],
)
def test_the_class_of_an_error(status: int, said: bytes, outcome: call_pb2.Outcome.ValueType, code: str) -> None:
    error = decode_error(status, {}, said)
    assert (error.outcome, error.code, error.status) == (outcome, code, status)
    assert error.message


@pytest.mark.parametrize(
    ("details", "headers", "seconds"),
    [
        ([wait("48s")], {}, 48),
        ([quota("PerMinute"), wait("34.4s")], {}, 34.4),
        ([wait("0.000000001s")], {}, 1e-9),
        ([wait("48s")], {"retry-after": "7"}, 7),
        ([], {"retry-after": "7"}, 7),
        ([wait("soon"), wait(5), wait("-1s"), wait(None), wait("1e9s")], {}, None),
        ([quota("PerDay"), wait("34s")], {}, None),
        ([7, None, "x", [], {"violations": 1}, {"violations": ["x"], "reason": 5}], {}, None),
    ],
)
def test_the_wait_that_the_provider_asks_for(
    details: list[Any], headers: dict[str, str], seconds: float | None
) -> None:
    assert decode_error(429, headers, body(429, "RESOURCE_EXHAUSTED", "No.", *details)).retry_after == seconds


@pytest.mark.parametrize("details", [None, {}, "x", 7, [[]]])
def test_details_of_any_shape_are_survived(details: Any) -> None:
    said = json.dumps({"error": {"code": 429, "message": "No.", "details": details}}).encode()
    assert decode_error(429, {}, said).outcome == call_pb2.OUTCOME_RATE_LIMITED


def test_the_providers_words_are_scrubbed() -> None:
    error = decode_error(400, {}, body(400, "INVALID_ARGUMENT", "bad key AIzaSyA1234567890abcdefghijklmnopqrstuv"))
    assert error.message == "bad key ***"
