"""What a call's failed attempts mean to the caller. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline.v1 import call_pb2
from trunkline_server.errors import CallError, Unpaid
from trunkline_server.routing.retries import UNKNOWN_OUTCOMES, WAYS, Way, way_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from trunkline_server.core import Call
    from trunkline_server.errors import UpstreamError
    from trunkline_server.routing.choice import Tried

# Seconds after which another try makes sense where the provider does not say.
RETRY_AFTER = 1.0
# Codes of attempts that the endpoint did not let through.
CIRCUIT_OPEN = "circuit_open"
MESSAGES = {
    call_pb2.ERROR_REASON_PROVIDER_REJECTED: "the provider refuses the request",
    call_pb2.ERROR_REASON_CONTEXT_LENGTH_EXCEEDED: "the request is longer than the model's context window",
    call_pb2.ERROR_REASON_MODEL_NOT_FOUND: "the provider does not know the model",
    call_pb2.ERROR_REASON_PROVIDER_AUTH: "the provider refuses the gateway's key: tell the gateway's operator",
    call_pb2.ERROR_REASON_OVERLOADED: "the gateway has too many calls to this provider: try again",
    call_pb2.ERROR_REASON_CIRCUIT_OPEN: "the provider failed too often and is left alone for a while",
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
# How an attempt ended that the gateway itself ended, by the reason that its caller is told. Every other was not sent.
_ENDINGS = {
    call_pb2.ERROR_REASON_DEADLINE_EXCEEDED: call_pb2.OUTCOME_TIMEOUT,
    call_pb2.ERROR_REASON_DRAINING: call_pb2.OUTCOME_INTERRUPTED,
}
_PUSHED_BACK = (
    call_pb2.ERROR_REASON_ALL_PROVIDERS_FAILED,
    call_pb2.ERROR_REASON_OVERLOADED,
    call_pb2.ERROR_REASON_CIRCUIT_OPEN,
)


def call_error(
    call: Call,
    error: UpstreamError,
    tried: Collection[Tried],
    outcomes: Collection[call_pb2.Outcome.ValueType],
) -> CallError:
    """The error that the caller sees. Its words are ours: the provider's own are in CallFailure.

    `call` with its last target, which failed so; `tried`: what became of each target; `outcomes`: of each attempt.
    """
    if isinstance(error, Unpaid) and not call.story.committed and all(isinstance(t.error, Unpaid) for t in tried):
        return error.told
    reason = _reason(call, error, tried)
    target = f"{call.target.provider}/{call.target.model}"
    outcome = call_pb2.Outcome.Name(error.outcome).removeprefix("OUTCOME_")
    attempts = f", the last of {len(outcomes)} attempts" if len(outcomes) > 1 else ""
    return CallError(
        reason,
        f"{target}: {MESSAGES[reason]} ({outcome}{attempts})",
        retry_after=_retry_after(tried) if reason in _PUSHED_BACK else None,
        repeatable=reason not in _PUSHED_BACK or UNKNOWN_OUTCOMES.isdisjoint(outcomes),
        resource=target if reason == call_pb2.ERROR_REASON_MODEL_NOT_FOUND else "",
        metadata={"provider": call.target.provider, "model": call.target.model, "outcome": outcome},
    )


def _reason(call: Call, error: UpstreamError, tried: Iterable[Tried]) -> call_pb2.ErrorReason.ValueType:
    """What the last failure says of the request stands; all else only if every target says the same."""
    if call.story.committed:
        return call_pb2.ERROR_REASON_STREAM_INTERRUPTED
    if WAYS.get(error.outcome) is Way.NOWHERE:
        return _meaning(error)
    reasons = {_meaning(each.error) for each in tried}
    return reasons.pop() if len(reasons) == 1 else call_pb2.ERROR_REASON_ALL_PROVIDERS_FAILED


def _meaning(error: UpstreamError) -> call_pb2.ErrorReason.ValueType:
    if error.outcome == call_pb2.OUTCOME_NOT_SENT and error.code == CIRCUIT_OPEN:
        return call_pb2.ERROR_REASON_CIRCUIT_OPEN
    return REASONS.get(error.outcome, call_pb2.ERROR_REASON_ALL_PROVIDERS_FAILED)


def _retry_after(tried: Collection[Tried]) -> float:
    """When the first target may answer again, of those that may."""
    now = max(each.ended for each in tried)
    waits = [
        max(0.0, each.error.retry_after - (now - each.ended)) if each.error.retry_after is not None else RETRY_AFTER
        for each in tried
        if way_of(each.error) is Way.ANYWHERE or each.error.retry_after is not None or _is_ours(each.error)
    ]
    return min(waits, default=RETRY_AFTER)


def _is_ours(error: UpstreamError) -> bool:
    return error.outcome == call_pb2.OUTCOME_NOT_SENT


def ending(error: CallError) -> call_pb2.Outcome.ValueType:
    """How an attempt ends that the gateway ends, and tells its caller so."""
    return _ENDINGS.get(error.reason, call_pb2.OUTCOME_NOT_SENT)


def interrupted(error: CallError) -> CallError:
    """The same failure for a caller that has a part of the answer already."""
    reason = call_pb2.ERROR_REASON_STREAM_INTERRUPTED
    cause = call_pb2.ErrorReason.Name(error.reason).removeprefix("ERROR_REASON_")
    return CallError(reason, f"{MESSAGES[reason]} ({cause})", metadata={**error.metadata, "cause": cause})


def deadline_passed() -> CallError:
    """The call's deadline, or the gateway's maximum."""
    return CallError(call_pb2.ERROR_REASON_DEADLINE_EXCEEDED, "the call's deadline passed")
