"""What a provider's error means: by its status, its machine codes and, as a last resort, its words.

One table for all dialects: hosts copy each other's formats and mix them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from msgspec import DecodeError
from msgspec.json import Decoder

from trunkline.v1 import call_pb2
from trunkline_server.dialects.google_details import GoogleDetails, read_google_details
from trunkline_server.dialects.lenient import decode_json
from trunkline_server.dialects.scrub import scrub
from trunkline_server.errors import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# In order of preference.
REQUEST_ID_HEADERS = (
    "x-request-id",
    "request-id",
    "apim-request-id",
    "x-ds-trace-id",
    "mistral-correlation-id",
    "x-kong-request-id",
    "x-amzn-requestid",
    "cf-ray",
)
# Headers that say in milliseconds when to come back: OpenAI's, Azure's, gRPC's.
_MILLISECONDS = ("retry-after-ms", "x-ms-retry-after-ms", "grpc-retry-pushback-ms")
# Where a LiteLLM proxy passes on what its provider says.
_LITELLM_RETRY_AFTER = "llm_provider-retry-after"
_ANYTHING = Decoder(Any)
_NO_DETAILS = GoogleDetails()
_STATUS = re.compile(r"[45][0-9]{2}")
_DECIMAL = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?")
_MAX_CODE_CHARS = 128

# Machine codes, in lower case, that tell more than the status does.
_CODES: Mapping[str, call_pb2.Outcome.ValueType] = {
    "billing_hard_limit_reached": call_pb2.OUTCOME_QUOTA,
    "billing_disabled": call_pb2.OUTCOME_QUOTA,
    "billing_not_active": call_pb2.OUTCOME_QUOTA,
    "credit_balance_exhausted": call_pb2.OUTCOME_QUOTA,
    "enforced_spend_limit_reached": call_pb2.OUTCOME_QUOTA,
    "insufficient_balance": call_pb2.OUTCOME_QUOTA,
    "insufficient_quota": call_pb2.OUTCOME_QUOTA,
    "context_length_exceeded": call_pb2.OUTCOME_CONTEXT_LENGTH,
    "exceed_context_size_error": call_pb2.OUTCOME_CONTEXT_LENGTH,
    "too_many_prompt_tokens": call_pb2.OUTCOME_CONTEXT_LENGTH,
    "content_filter": call_pb2.OUTCOME_CONTENT_FILTER,
    "bio_policy": call_pb2.OUTCOME_CONTENT_FILTER,
    "content_policy_violation": call_pb2.OUTCOME_CONTENT_FILTER,
    "data_inspection_failed": call_pb2.OUTCOME_CONTENT_FILTER,
    "image_content_policy_violation": call_pb2.OUTCOME_CONTENT_FILTER,
    "misalignment_policy_violation": call_pb2.OUTCOME_CONTENT_FILTER,
    "moderation_blocked": call_pb2.OUTCOME_CONTENT_FILTER,
    "responsibleaipolicyviolation": call_pb2.OUTCOME_CONTENT_FILTER,
    "deploymentnotfound": call_pb2.OUTCOME_MODEL_NOT_FOUND,
    "invalid_model": call_pb2.OUTCOME_MODEL_NOT_FOUND,
    "model_decommissioned": call_pb2.OUTCOME_MODEL_NOT_FOUND,
    "model_not_available": call_pb2.OUTCOME_MODEL_NOT_FOUND,
    "model_not_found": call_pb2.OUTCOME_MODEL_NOT_FOUND,
    "unknown_model": call_pb2.OUTCOME_MODEL_NOT_FOUND,
    "api_key_invalid": call_pb2.OUTCOME_AUTH,
    "invalid_api_key": call_pb2.OUTCOME_AUTH,
    # LiteLLM's for a key that is not its master's, where it has no database of others: with status 400.
    "no_db_connection": call_pb2.OUTCOME_AUTH,
    "engine_overloaded": call_pb2.OUTCOME_OVERLOADED,
    "overloaded": call_pb2.OUTCOME_OVERLOADED,
    "service_tier_capacity_exceeded": call_pb2.OUTCOME_OVERLOADED,
    # AWS's.
    "expiredtokenexception": call_pb2.OUTCOME_AUTH,
    "invalidsignatureexception": call_pb2.OUTCOME_AUTH,
    "missingauthenticationtokenexception": call_pb2.OUTCOME_AUTH,
    "modelnotreadyexception": call_pb2.OUTCOME_OVERLOADED,
    "servicequotaexceededexception": call_pb2.OUTCOME_QUOTA,
    "unrecognizedclientexception": call_pb2.OUTCOME_AUTH,
    # The model wrote a bad tool call; another sample often does better.
    "tool_use_failed": call_pb2.OUTCOME_SERVER_ERROR,
}

# Words of messages, in lower case, and the statuses they count under. The first that is found decides.
_REFUSED = frozenset({400, 403, 413, 422})
_LIMITED = frozenset({413, 429})
_FAILED = frozenset({500})
_PHRASES: tuple[tuple[frozenset[int], str, call_pb2.Outcome.ValueType], ...] = (
    # More than the limit of a minute can never pass, whatever the wait.
    (_LIMITED, "request too large", call_pb2.OUTCOME_CONTEXT_LENGTH),
    (_LIMITED, "token budget exceeded by request", call_pb2.OUTCOME_CONTEXT_LENGTH),
    (_LIMITED, "experiencing high demand", call_pb2.OUTCOME_OVERLOADED),
    (_REFUSED, "maximum context length", call_pb2.OUTCOME_CONTEXT_LENGTH),
    (_REFUSED, "max context length", call_pb2.OUTCOME_CONTEXT_LENGTH),
    (_REFUSED, "maximum prompt length", call_pb2.OUTCOME_CONTEXT_LENGTH),
    (_REFUSED, "context window", call_pb2.OUTCOME_CONTEXT_LENGTH),
    (_REFUSED, "context size", call_pb2.OUTCOME_CONTEXT_LENGTH),
    (_REFUSED, "exceed context limit", call_pb2.OUTCOME_CONTEXT_LENGTH),
    (_REFUSED, "prompt is too long", call_pb2.OUTCOME_CONTEXT_LENGTH),
    (_REFUSED, "reduce the length", call_pb2.OUTCOME_CONTEXT_LENGTH),
    (_REFUSED, "input token count", call_pb2.OUTCOME_CONTEXT_LENGTH),
    # Bedrock's.
    (_REFUSED, "input is too long", call_pb2.OUTCOME_CONTEXT_LENGTH),
    (_REFUSED, "input tokens exceeded", call_pb2.OUTCOME_CONTEXT_LENGTH),
    (_REFUSED, "model identifier is invalid", call_pb2.OUTCOME_MODEL_NOT_FOUND),
    (_REFUSED, "have access to the model", call_pb2.OUTCOME_MODEL_NOT_FOUND),
    # The key is good, and not for this model.
    (_REFUSED, "not allowed to sample from this model", call_pb2.OUTCOME_MODEL_NOT_FOUND),
    (_REFUSED, "the supported api model names are", call_pb2.OUTCOME_MODEL_NOT_FOUND),
    (_REFUSED, "model not found:", call_pb2.OUTCOME_MODEL_NOT_FOUND),
    (_LIMITED, "too many tokens per day", call_pb2.OUTCOME_QUOTA),
    (_REFUSED, "content filtering policy", call_pb2.OUTCOME_CONTENT_FILTER),
    (_REFUSED, "content management policy", call_pb2.OUTCOME_CONTENT_FILTER),
    (_REFUSED, "content exists risk", call_pb2.OUTCOME_CONTENT_FILTER),
    (_REFUSED, "usage guidelines", call_pb2.OUTCOME_CONTENT_FILTER),
    (_REFUSED, "usage policy", call_pb2.OUTCOME_CONTENT_FILTER),
    (_REFUSED, "was flagged", call_pb2.OUTCOME_CONTENT_FILTER),
    (_REFUSED, "incorrect api key", call_pb2.OUTCOME_AUTH),
    (_REFUSED, "invalid api key", call_pb2.OUTCOME_AUTH),
    # Google's words, where details do not say so.
    (_REFUSED, "api key not valid", call_pb2.OUTCOME_AUTH),
    (_REFUSED, "api key expired", call_pb2.OUTCOME_AUTH),
    (_REFUSED, "user location is not supported", call_pb2.OUTCOME_AUTH),
    (_LIMITED, "limit: 0,", call_pb2.OUTCOME_QUOTA),
    (_REFUSED, "is not a valid model", call_pb2.OUTCOME_MODEL_NOT_FOUND),
    (_REFUSED, "model not exist", call_pb2.OUTCOME_MODEL_NOT_FOUND),
    (_REFUSED, "credit balance", call_pb2.OUTCOME_QUOTA),
    (_REFUSED, "specified api usage limits", call_pb2.OUTCOME_QUOTA),
    # llama.cpp's words for what another try will not change.
    (_FAILED, "input is too large", call_pb2.OUTCOME_INVALID),
    (_FAILED, "input is not supported", call_pb2.OUTCOME_INVALID),
    (_FAILED, "jinja", call_pb2.OUTCOME_INVALID),
    # The Responses API's words for what it does not store.
    (frozenset({404}), "item with id", call_pb2.OUTCOME_INVALID),
    (frozenset({404}), "previous response", call_pb2.OUTCOME_INVALID),
)

_STATUSES: Mapping[int, call_pb2.Outcome.ValueType] = {
    401: call_pb2.OUTCOME_AUTH,
    402: call_pb2.OUTCOME_QUOTA,
    403: call_pb2.OUTCOME_AUTH,
    404: call_pb2.OUTCOME_MODEL_NOT_FOUND,
    408: call_pb2.OUTCOME_TIMEOUT,
    409: call_pb2.OUTCOME_SERVER_ERROR,
    # Bedrock's, where the model itself failed.
    424: call_pb2.OUTCOME_SERVER_ERROR,
    425: call_pb2.OUTCOME_SERVER_ERROR,
    429: call_pb2.OUTCOME_RATE_LIMITED,
    # Given up at the provider's: the caller is gone, or the provider cancelled its own work.
    499: call_pb2.OUTCOME_SERVER_ERROR,
    501: call_pb2.OUTCOME_INVALID,
    503: call_pb2.OUTCOME_OVERLOADED,
    504: call_pb2.OUTCOME_TIMEOUT,
    524: call_pb2.OUTCOME_TIMEOUT,
    529: call_pb2.OUTCOME_OVERLOADED,
}

# Machine codes that say no more than a status would, for errors that come without one.
_STATUS_WORDS: Mapping[str, int] = {
    "invalid_request_error": 400,
    "badrequesterror": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "timeout_error": 504,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "overloaded_error": 529,
    "billing_error": 402,
    # The Responses API's, of answers that failed.
    "data_residency_mismatch": 400,
    "empty_image_file": 400,
    "failed_to_download_image": 400,
    "image_file_not_found": 400,
    "image_file_too_large": 400,
    "image_parse_error": 400,
    "image_too_large": 400,
    "image_too_small": 400,
    "invalid_base64_image": 400,
    "invalid_image": 400,
    "invalid_image_format": 400,
    "invalid_image_mode": 400,
    "invalid_image_url": 400,
    "invalid_prompt": 400,
    "unsupported_image_media_type": 400,
    "vector_store_timeout": 504,
    "request_too_large": 413,
    "api_error": 500,
    # AWS's.
    "accessdeniedexception": 403,
    "internalserverexception": 500,
    "modelerrorexception": 424,
    "modelstreamerrorexception": 500,
    "modeltimeoutexception": 408,
    "resourcenotfoundexception": 404,
    "serviceunavailableexception": 503,
    "throttlingexception": 429,
    "validationexception": 400,
    # Google's.
    "cancelled": 499,
    "deadline_exceeded": 504,
    "failed_precondition": 400,
    "invalid_argument": 400,
    "not_found": 404,
    "permission_denied": 403,
    "resource_exhausted": 429,
    "unauthenticated": 401,
    "unavailable": 503,
    "unimplemented": 501,
}


@dataclass(frozen=True, slots=True)
class Complaint:
    """What the body of an error says, whatever its shape."""

    message: str
    # Machine codes, as they stand, the most telling first.
    codes: tuple[str, ...] = ()
    # The HTTP status that the body gives. 0 = none.
    status: int = 0
    # What a Google API says besides.
    google: GoogleDetails = _NO_DETAILS


def answered_error(status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
    """What an answer with an error status means. Header names are lower case. Never raises."""
    error = _error(status, _named(read_complaint(body), headers.get("x-amzn-errortype", "")))
    error.request_id = request_id(headers)
    told = retry_after(headers)
    error.retry_after = error.retry_after if told is None else told
    error.retryable = retryable(headers)
    limited = error.outcome == call_pb2.OUTCOME_RATE_LIMITED
    if limited and error.retry_after is None and headers.get("x-should-retry") == "false":
        error.outcome = call_pb2.OUTCOME_QUOTA
    return error


def embedded_error(body: bytes, name: str = "") -> UpstreamError:
    """What an error inside an answer of status 200 means. `status` is what the body gives. Never raises.

    `name` is its machine code where that stands outside of the body.
    """
    complaint = _named(read_complaint(body), name)
    return _error(complaint.status, complaint)


def _named(complaint: Complaint, name: str) -> Complaint:
    """The complaint with a code more. AWS's may have a namespace before it and an address behind it."""
    bare = name.partition(":")[0].rpartition("#")[2].strip()
    return replace(complaint, codes=(bare, *complaint.codes)) if bare else complaint


def _error(status: int, complaint: Complaint) -> UpstreamError:
    words = [code for code in complaint.codes if not code.isdecimal()]
    return UpstreamError(
        outcome_of(status, complaint),
        message=scrub(complaint.message),
        status=status,
        code=scrub(next(iter([*words, *complaint.codes]), ""))[:_MAX_CODE_CHARS],
        retry_after=None if complaint.google.is_long_quota else complaint.google.retry_after,
    )


def outcome_of(status: int, complaint: Complaint) -> call_pb2.Outcome.ValueType:
    """The class of an error: unknown 4xx are the request's fault, unknown 5xx and unknown words the provider's."""
    codes = [code.lower() for code in complaint.codes]
    for code in codes:
        if code in _CODES:
            return _CODES[code]
    status = status or next((_STATUS_WORDS[code] for code in codes if code in _STATUS_WORDS), 500)
    if complaint.google.is_long_quota and status in _LIMITED:
        return call_pb2.OUTCOME_QUOTA
    words = complaint.message.lower()
    for statuses, phrase, outcome in _PHRASES:
        if status in statuses and phrase in words:
            return outcome
    return _STATUSES.get(status) or _of_hundred(status)


def _of_hundred(status: int) -> call_pb2.Outcome.ValueType:
    if 400 <= status < 500:
        return call_pb2.OUTCOME_INVALID
    return call_pb2.OUTCOME_SERVER_ERROR if status >= 500 else call_pb2.OUTCOME_PROTOCOL_ERROR


def read_complaint(body: bytes) -> Complaint:
    """What `body` says. Never raises: what is not JSON is its own message."""
    text = body.decode("utf-8", "replace")
    try:
        document = decode_json(_ANYTHING, body)
    except DecodeError:
        return Complaint(text)
    if isinstance(document, list) and document:
        document = document[0]
    if not isinstance(document, dict):
        return Complaint(document if isinstance(document, str) else text)
    error = document.get("error")
    if isinstance(error, str):
        error = {**document, "message": error}
    if not isinstance(error, dict):
        error = document
    google = read_google_details(error.get("details"))
    return Complaint(_message(error) or text, (*google.reasons, *_codes(error)), _status(error), google)


def _message(error: dict[str, Any]) -> str:
    said = next((error[key] for key in ("message", "Message", "detail") if error.get(key)), "")
    if isinstance(said, list):
        said = "; ".join(str(item["msg"]) for item in said if isinstance(item, dict) and "msg" in item)
    metadata = error.get("metadata")
    if isinstance(said, str) and isinstance(metadata, dict) and isinstance(metadata.get("raw"), str):
        # OpenRouter's own message is "Provider returned error".
        return f"{said}: {metadata['raw']}"
    return said if isinstance(said, str) else ""


def _codes(error: dict[str, Any]) -> Iterator[str]:
    nested = [error[key] for key in ("innererror", "details") if isinstance(error.get(key), dict)]
    for source in (error, *nested):
        for key in ("code", "type", "status", "error_type", "error_code"):
            value = source.get(key)
            if value != "" and isinstance(value, str | int):
                yield str(value)


def _status(error: dict[str, Any]) -> int:
    given = (str(error.get(key)) for key in ("status_code", "raw_status_code", "originalStatusCode", "code", "status"))
    return next((int(value) for value in given if _STATUS.fullmatch(value)), 0)


def request_id(headers: Mapping[str, str]) -> str:
    """The provider's id of the exchange. Empty = it gave none."""
    named = next((headers[name] for name in REQUEST_ID_HEADERS if headers.get(name)), "")
    return "".join(char for char in named if " " < char <= "~")[:_MAX_CODE_CHARS]


def retryable(headers: Mapping[str, str]) -> bool | None:
    """Whether the provider says that another try makes sense. None: it does not say.

    `x-should-retry` is OpenAI's and Anthropic's; a gateway of gRPC says -1 where it means never (gRPC's A6).
    """
    told = {"true": True, "false": False}.get(headers.get("x-should-retry", "").strip().lower())
    if told is None and headers.get("grpc-retry-pushback-ms", "").strip().startswith("-"):
        return False
    return told


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the provider asks us to wait. A date counts from the answer's own `date`: there is no clock here."""
    for name in _MILLISECONDS:
        if milliseconds := _seconds(headers.get(name, "")):
            return milliseconds / 1000
    wait = headers.get("retry-after") or headers.get(_LITELLM_RETRY_AFTER, "")
    seconds = _seconds(wait)
    return seconds if seconds is not None else _between(headers.get("date", ""), wait)


def _seconds(number: str) -> float | None:
    """A plain decimal number; float() takes signs, exponents and infinities besides."""
    return float(number) if _DECIMAL.fullmatch(number) else None


def _between(start: str, end: str) -> float | None:
    try:
        return max(0.0, (parsedate_to_datetime(end) - parsedate_to_datetime(start)).total_seconds())
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
