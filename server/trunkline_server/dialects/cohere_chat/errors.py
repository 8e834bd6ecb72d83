"""What Cohere's errors mean, where its own words or statuses tell more than the common tables know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.json import encode

from trunkline.v1 import call_pb2
from trunkline_server.dialects.classify import answered_error, embedded_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline_server.errors import UpstreamError

# The input or the output holds a word from the deny-list (Cohere's "Errors", status 498).
_DENIED = 498


def decode_error(status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
    """What an answer with an error status means. Header names are lower case. Never raises."""
    error = answered_error(status, headers, body)
    words = error.message.lower()
    if status == _DENIED:
        error.outcome = call_pb2.OUTCOME_CONTENT_FILTER
    elif status == 429 and ("/ month" in words or "per month" in words):
        # A trial key's limit of calls a month: no wait of this call's will help.
        error.outcome = call_pb2.OUTCOME_QUOTA
    elif status < 500:
        _refine(error)
    return error


def told_error(body: bytes) -> UpstreamError:
    """What an error in place of an answer means. Never raises."""
    return _refine(embedded_error(body))


def failed(finish_reason: str, message: str | None, error_type: str | None) -> UpstreamError:
    """What an answer that ends in an error means: its finish reason, and what stands beside that."""
    error = told_error(encode({"message": message or finish_reason, "error_type": error_type or finish_reason}))
    if finish_reason == "TIMEOUT":
        error.outcome = call_pb2.OUTCOME_TIMEOUT
    return error


def _refine(error: UpstreamError) -> UpstreamError:
    if error.code.upper() == "TOO_MANY_TOKENS" or error.message.lower().startswith("too many tokens"):
        error.outcome = call_pb2.OUTCOME_CONTEXT_LENGTH
    return error
