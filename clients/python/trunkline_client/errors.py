"""How a call fails: one exception for each ErrorReason of the contract, and a few for what gRPC itself says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from grpc import StatusCode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trunkline.v1.call_pb2 import CallFailure


class FieldViolation(NamedTuple):
    """A field of the request that is wrong, and what would be right."""

    field: str
    description: str


@dataclass(eq=False)
class TrunklineError(Exception):
    """A call that failed. Its subclasses say why."""

    # What happened, for a person.
    message: str = ""
    code: StatusCode = StatusCode.UNKNOWN
    # ErrorInfo.reason: an ErrorReason without its prefix. Empty if gRPC made the status.
    reason: str = ""
    # Seconds until another try makes sense, if the gateway says so.
    retry_delay: float | None = None
    field_violations: Sequence[FieldViolation] = ()
    # ErrorInfo.metadata.
    metadata: Mapping[str, str] = field(default_factory=dict)
    # The call's id in the gateway's log. Empty if the call did not get there.
    call_id: str = ""
    # Set once the call got as far as a target: what happened there, and what it used all the same.
    failure: CallFailure | None = field(default=None, repr=False)
    # The same call may succeed if it is sent again, and no part of an answer is paid for twice: the code is
    # UNAVAILABLE or there is a retry_delay, nothing of the answer has come, and the gateway does not forbid it.
    is_retryable: bool = False

    def __str__(self) -> str:
        return f"{self.message} (call {self.call_id})" if self.call_id else self.message


class InvalidRequest(TrunklineError):
    """A field is missing, out of range or contradicts another; field_violations has every one."""


class ContextLengthExceeded(TrunklineError):
    """The request is longer than the model's context window."""


class UnsupportedCapability(TrunklineError):
    """The model cannot do what the request needs; field_violations names the fields."""


class ConstraintsUnmet(TrunklineError):
    """What routing asks for leaves nobody to ask; field_violations names the fields, and what would have qualified."""


class ProviderRejected(TrunklineError):
    """The provider refuses the request; failure has its words."""


class ModelNotFound(TrunklineError):
    """No such model or alias."""


class NameNotFound(TrunklineError):
    """No chain, and with strict_params no task or agent, is configured under this name."""


class CallNotFound(TrunklineError):
    """No such call in the ledger, or it is another workspace's."""


class NoCandidate(TrunklineError):
    """No configured target can take this call."""


class AuthenticationFailed(TrunklineError):
    """The call was not let in. Raised itself if something before the gateway refused it."""


class KeyMissing(AuthenticationFailed):
    """The call carries no gateway key."""


class KeyInvalid(AuthenticationFailed):
    """The gateway key is wrong, expired or revoked."""


class ModelNotAllowed(TrunklineError):
    """The key may not use this model."""


class RoleNotAllowed(TrunklineError):
    """The key's role or workspace does not allow this."""


class PolicyBlocked(TrunklineError):
    """A policy of the gateway's operator forbids the call."""


class RateLimited(TrunklineError):
    """The caller's own rate limit; see retry_delay."""


class BudgetExhausted(TrunklineError):
    """The caller's budget is spent; retry_delay if it fills again."""


class Overloaded(TrunklineError):
    """The gateway has too much to do; see retry_delay."""


class Draining(TrunklineError):
    """The gateway is shutting down."""


class AllProvidersFailed(TrunklineError):
    """Every target failed before anything was sent; failure has the attempts."""


class ProviderAuthFailed(TrunklineError):
    """The provider refuses the gateway's own key: tell the gateway's operator."""


class DeadlineExceeded(TrunklineError):
    """The call's timeout, or the gateway's longest, passed."""


class Interrupted(TrunklineError):
    """The answer broke off after a part of it was sent; what came is not the whole answer."""


class IdempotencyMismatch(TrunklineError):
    """The idempotency key was used with another request."""


class IdempotencyInProgress(TrunklineError):
    """A call with the same idempotency key still runs."""


class CircuitOpen(TrunklineError):
    """Every target's circuit breaker is open; retry_delay says when the first one closes."""


class LedgerUnavailable(TrunklineError):
    """The gateway's ledger cannot be written to, and it makes no call that is not accounted for; see retry_delay."""


class InternalError(TrunklineError):
    """A bug of the gateway; its log has more under call_id."""


class Cancelled(TrunklineError):
    """The call was cancelled: by the gateway, or because its stream or client was closed while it ran."""


class ConnectionFailed(TrunklineError):
    """The gateway cannot be reached, or the connection to it broke. In the second case the call may have run."""


class MessageTooLarge(TrunklineError):
    """A request or an answer is larger than this side or the gateway takes. Sent again it is as large."""


class Unimplemented(TrunklineError):
    """There is no such method at this address: an older gateway, or no gateway."""


class UnknownError(TrunklineError):
    """Anything that this client has no word for, like the reasons of a newer gateway; see reason and code."""


# The exception of each ErrorReason, by ErrorInfo.reason.
BY_REASON: Mapping[str, type[TrunklineError]] = {
    "INVALID_REQUEST": InvalidRequest,
    "CONTEXT_LENGTH_EXCEEDED": ContextLengthExceeded,
    "UNSUPPORTED_CAPABILITY": UnsupportedCapability,
    "CONSTRAINTS_UNMET": ConstraintsUnmet,
    "PROVIDER_REJECTED": ProviderRejected,
    "MODEL_NOT_FOUND": ModelNotFound,
    "NAME_NOT_FOUND": NameNotFound,
    "CALL_NOT_FOUND": CallNotFound,
    "NO_CANDIDATE": NoCandidate,
    "KEY_MISSING": KeyMissing,
    "KEY_INVALID": KeyInvalid,
    "MODEL_NOT_ALLOWED": ModelNotAllowed,
    "ROLE_NOT_ALLOWED": RoleNotAllowed,
    "POLICY_BLOCKED": PolicyBlocked,
    "RATE_LIMITED": RateLimited,
    "BUDGET_EXHAUSTED": BudgetExhausted,
    "OVERLOADED": Overloaded,
    "DRAINING": Draining,
    "ALL_PROVIDERS_FAILED": AllProvidersFailed,
    "PROVIDER_AUTH": ProviderAuthFailed,
    "DEADLINE_EXCEEDED": DeadlineExceeded,
    "STREAM_INTERRUPTED": Interrupted,
    "IDEMPOTENCY_MISMATCH": IdempotencyMismatch,
    "IDEMPOTENCY_IN_PROGRESS": IdempotencyInProgress,
    "CIRCUIT_OPEN": CircuitOpen,
    "LEDGER_UNAVAILABLE": LedgerUnavailable,
    "INTERNAL": InternalError,
    "CANCELLED": Cancelled,
}

# The exception of a status without ErrorInfo: gRPC itself, or something between here and the gateway, made it.
BY_CODE: Mapping[StatusCode, type[TrunklineError]] = {
    StatusCode.UNAVAILABLE: ConnectionFailed,
    StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    StatusCode.RESOURCE_EXHAUSTED: MessageTooLarge,
    StatusCode.UNIMPLEMENTED: Unimplemented,
    StatusCode.UNAUTHENTICATED: AuthenticationFailed,
    StatusCode.CANCELLED: Cancelled,
}
