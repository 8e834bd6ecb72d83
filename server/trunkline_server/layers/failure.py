"""What a failed attempt means to the caller. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline.v1 import call_pb2
from trunkline_server.errors import CallError

if TYPE_CHECKING:
    from trunkline_server.core import Call
    from trunkline_server.errors import UpstreamError

# Seconds after which another try makes sense where the provider does not say.
RETRY_AFTER = 1.0
MESSAGES = {
    call_pb2.ERROR_REASON_PROVIDER_REJECTED: "the provider refuses the request",
    call_pb2.ERROR_REASON_CONTEXT_LENGTH_EXCEEDED: "the request is longer than the model's context window",
    call_pb2.ERROR_REASON_MODEL_NOT_FOUND: "the provider does not know the model",
    call_pb2.ERROR_REASON_PROVIDER_AUTH: "the provider refuses the gateway's key: tell the gateway's operator",
    call_pb2.ERROR_REASON_OVERLOADED: "the gateway has too many calls to this provider: try again",
    call_pb2.ERROR_REASON_ALL_PROVIDERS_FAILED: "no provider gave an answer",
    call_pb2.ERROR_REASON_STREAM_INTERRUPTED: "the answer broke off: what was sent is not whole",
}
# What an outcome means while nothing was sent to the caller. Everything else: ALL_PROVIDERS_FAILED.
REASONS = {
    call_pb2.OUTCOME_INVALID: call_pb2.ERROR_REASON_PROVIDER_REJECTED,
    call_pb2.OUTCOME_CONTENT_FILTER: call_pb2.ERROR_REASON_PROVIDER_REJECTED,
    call_pb2.OUTCOME_CONTEXT_LENGTH: call_pb2.ERROR_REASON_CONTEXT_LENGTH_EXCEEDED,
    call_pb2.OUTCOME_MODEL_NOT_FOUND: call_pb2.ERROR_REASON_MODEL_NOT_FOUND,
    call_pb2.OUTCOME_AUTH: call_pb2.ERROR_REASON_PROVIDER_AUTH,
    call_pb2.OUTCOME_NOT_SENT: call_pb2.ERROR_REASON_OVERLOADED,
}


def call_error(call: Call, error: UpstreamError) -> CallError:
    """The error that the caller sees. Its words are ours: the provider's own are in CallFailure."""
    if call.story.committed:
        reason = call_pb2.ERROR_REASON_STREAM_INTERRUPTED
    else:
        reason = REASONS.get(error.outcome, call_pb2.ERROR_REASON_ALL_PROVIDERS_FAILED)
    target = f"{call.target.provider}/{call.target.model}"
    outcome = call_pb2.Outcome.Name(error.outcome).removeprefix("OUTCOME_")
    return CallError(
        reason,
        f"{target}: {MESSAGES[reason]} ({outcome})",
        retry_after=_retry_after(reason, error),
        resource=target if reason == call_pb2.ERROR_REASON_MODEL_NOT_FOUND else "",
        metadata={"provider": call.target.provider, "model": call.target.model, "outcome": outcome},
    )


def _retry_after(reason: call_pb2.ErrorReason.ValueType, error: UpstreamError) -> float | None:
    if reason in (call_pb2.ERROR_REASON_ALL_PROVIDERS_FAILED, call_pb2.ERROR_REASON_OVERLOADED):
        return RETRY_AFTER if error.retry_after is None else error.retry_after
    return None


def interrupted(error: CallError) -> CallError:
    """The same failure for a caller that has a part of the answer already."""
    reason = call_pb2.ERROR_REASON_STREAM_INTERRUPTED
    cause = call_pb2.ErrorReason.Name(error.reason).removeprefix("ERROR_REASON_")
    return CallError(reason, f"{MESSAGES[reason]} ({cause})", metadata={**error.metadata, "cause": cause})


def deadline_passed() -> CallError:
    """The call's deadline, or the gateway's maximum."""
    return CallError(call_pb2.ERROR_REASON_DEADLINE_EXCEEDED, "the call's deadline passed")
