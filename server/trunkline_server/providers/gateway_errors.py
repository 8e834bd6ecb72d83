"""What another Trunkline's errors are to this one. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from google.protobuf.message import DecodeError, Message
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc import StatusCode

from trunkline.v1 import call_pb2
from trunkline.v1.call_pb2 import CallFailure
from trunkline_server.errors import DOMAIN, UpstreamError
from trunkline_server.spans import seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from grpc.aio import AioRpcError

    D = TypeVar("D", bound=Message)

_DETAILS_KEY = "grpc-status-details-bin"
_PUSHBACK_KEY = "grpc-retry-pushback-ms"
_Reason = call_pb2.ErrorReason
_NAMES = frozenset(_Reason.keys())

# By its reason. What is refused at its providers is its operator's to put right: to us it is a server that fails.
OUTCOMES: Mapping[_Reason.ValueType, call_pb2.Outcome.ValueType] = {
    call_pb2.ERROR_REASON_INVALID_REQUEST: call_pb2.OUTCOME_INVALID,
    call_pb2.ERROR_REASON_CONTEXT_LENGTH_EXCEEDED: call_pb2.OUTCOME_CONTEXT_LENGTH,
    call_pb2.ERROR_REASON_UNSUPPORTED_CAPABILITY: call_pb2.OUTCOME_INVALID,
    call_pb2.ERROR_REASON_CONSTRAINTS_UNMET: call_pb2.OUTCOME_INVALID,
    call_pb2.ERROR_REASON_PROVIDER_REJECTED: call_pb2.OUTCOME_INVALID,
    call_pb2.ERROR_REASON_POLICY_BLOCKED: call_pb2.OUTCOME_INVALID,
    call_pb2.ERROR_REASON_IDEMPOTENCY_MISMATCH: call_pb2.OUTCOME_INVALID,
    call_pb2.ERROR_REASON_NAME_NOT_FOUND: call_pb2.OUTCOME_INVALID,
    call_pb2.ERROR_REASON_CALL_NOT_FOUND: call_pb2.OUTCOME_INVALID,
    call_pb2.ERROR_REASON_MODEL_NOT_FOUND: call_pb2.OUTCOME_MODEL_NOT_FOUND,
    call_pb2.ERROR_REASON_MODEL_NOT_ALLOWED: call_pb2.OUTCOME_MODEL_NOT_FOUND,
    call_pb2.ERROR_REASON_NO_CANDIDATE: call_pb2.OUTCOME_MODEL_NOT_FOUND,
    call_pb2.ERROR_REASON_KEY_MISSING: call_pb2.OUTCOME_AUTH,
    call_pb2.ERROR_REASON_KEY_INVALID: call_pb2.OUTCOME_AUTH,
    call_pb2.ERROR_REASON_ROLE_NOT_ALLOWED: call_pb2.OUTCOME_AUTH,
    call_pb2.ERROR_REASON_RATE_LIMITED: call_pb2.OUTCOME_RATE_LIMITED,
    call_pb2.ERROR_REASON_BUDGET_EXHAUSTED: call_pb2.OUTCOME_QUOTA,
    call_pb2.ERROR_REASON_OVERLOADED: call_pb2.OUTCOME_OVERLOADED,
    call_pb2.ERROR_REASON_DRAINING: call_pb2.OUTCOME_OVERLOADED,
    call_pb2.ERROR_REASON_CIRCUIT_OPEN: call_pb2.OUTCOME_OVERLOADED,
    call_pb2.ERROR_REASON_LEDGER_UNAVAILABLE: call_pb2.OUTCOME_OVERLOADED,
    call_pb2.ERROR_REASON_IDEMPOTENCY_IN_PROGRESS: call_pb2.OUTCOME_OVERLOADED,
    call_pb2.ERROR_REASON_ALL_PROVIDERS_FAILED: call_pb2.OUTCOME_SERVER_ERROR,
    call_pb2.ERROR_REASON_PROVIDER_AUTH: call_pb2.OUTCOME_SERVER_ERROR,
    call_pb2.ERROR_REASON_INTERNAL: call_pb2.OUTCOME_SERVER_ERROR,
    call_pb2.ERROR_REASON_DEADLINE_EXCEEDED: call_pb2.OUTCOME_TIMEOUT,
    call_pb2.ERROR_REASON_STREAM_INTERRUPTED: call_pb2.OUTCOME_INTERRUPTED,
    call_pb2.ERROR_REASON_CANCELLED: call_pb2.OUTCOME_INTERRUPTED,
}
# Without a reason: the connection, or something on the way, says it. Any other: a server that fails.
BY_CODE: Mapping[StatusCode, call_pb2.Outcome.ValueType] = {
    StatusCode.DEADLINE_EXCEEDED: call_pb2.OUTCOME_TIMEOUT,
    # It was sent before.
    StatusCode.UNAVAILABLE: call_pb2.OUTCOME_INTERRUPTED,
    StatusCode.CANCELLED: call_pb2.OUTCOME_INTERRUPTED,
    StatusCode.UNAUTHENTICATED: call_pb2.OUTCOME_AUTH,
    StatusCode.PERMISSION_DENIED: call_pb2.OUTCOME_AUTH,
    StatusCode.RESOURCE_EXHAUSTED: call_pb2.OUTCOME_RATE_LIMITED,
    StatusCode.INVALID_ARGUMENT: call_pb2.OUTCOME_INVALID,
    # No gateway.
    StatusCode.UNIMPLEMENTED: call_pb2.OUTCOME_PROTOCOL_ERROR,
}


def error_of(failed: AioRpcError) -> UpstreamError:
    """A call that the other gateway, or the way to it, ended so."""
    trailing = {key: value for key, value in failed.trailing_metadata() or () if isinstance(key, str)}
    status = _status(trailing.get(_DETAILS_KEY))
    info, failure = _detail(status, ErrorInfo), _detail(status, CallFailure)
    reason = _reason(info)
    retry = _detail(status, RetryInfo)
    return UpstreamError(
        _outcome(failed.code(), reason, failure),
        # What gRPC itself says may hold an address.
        (failed.details() or "") if reason is not None else "",
        code=info.reason if info is not None and reason is not None else failed.code().name,
        request_id=info.metadata.get("call_id", "") if info is not None else "",
        retry_after=seconds(retry.retry_delay) if retry is not None else None,
        retryable=False if str(trailing.get(_PUSHBACK_KEY, "")).startswith("-") else None,
        usage=failure.usage if failure is not None and failure.HasField("usage") else None,
    )


def _outcome(
    code: StatusCode, reason: _Reason.ValueType | None, failure: CallFailure | None
) -> call_pb2.Outcome.ValueType:
    if reason is None:
        return BY_CODE.get(code, call_pb2.OUTCOME_SERVER_ERROR)
    attempts = failure.served.attempts if failure is not None else ()
    if attempts and attempts[-1].outcome == call_pb2.OUTCOME_CONTENT_FILTER:
        return call_pb2.OUTCOME_CONTENT_FILTER
    return OUTCOMES.get(reason, call_pb2.OUTCOME_SERVER_ERROR)


def _reason(info: ErrorInfo | None) -> _Reason.ValueType | None:
    """None: nothing of ours says why."""
    if info is None or info.domain != DOMAIN:
        return None
    name = f"ERROR_REASON_{info.reason}"
    return _Reason.Value(name) if name in _NAMES else call_pb2.ERROR_REASON_UNSPECIFIED


def _status(packed: object) -> Status:
    try:
        return Status.FromString(packed if isinstance(packed, bytes) else b"")
    except DecodeError:
        return Status()


def _detail(status: Status, kind: type[D]) -> D | None:
    found = kind()
    try:
        return found if any(each.Unpack(found) for each in status.details) else None
    except DecodeError:
        return None
