"""How things fail: `CallError` is what a caller sees, `UpstreamError` is how one attempt at a provider ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING

from grpc import StatusCode

from trunkline.v1 import call_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

Reason = call_pb2.ErrorReason

DOMAIN = "trunkline"

# The contract's table (ErrorReason's comments): the status code of each reason.
STATUS_CODES: Mapping[call_pb2.ErrorReason.ValueType, StatusCode] = {
    call_pb2.ERROR_REASON_INVALID_REQUEST: StatusCode.INVALID_ARGUMENT,
    call_pb2.ERROR_REASON_CONTEXT_LENGTH_EXCEEDED: StatusCode.INVALID_ARGUMENT,
    call_pb2.ERROR_REASON_UNSUPPORTED_CAPABILITY: StatusCode.INVALID_ARGUMENT,
    call_pb2.ERROR_REASON_CONSTRAINTS_UNMET: StatusCode.INVALID_ARGUMENT,
    call_pb2.ERROR_REASON_PROVIDER_REJECTED: StatusCode.INVALID_ARGUMENT,
    call_pb2.ERROR_REASON_MODEL_NOT_FOUND: StatusCode.NOT_FOUND,
    call_pb2.ERROR_REASON_CALL_NOT_FOUND: StatusCode.NOT_FOUND,
    call_pb2.ERROR_REASON_NAME_NOT_FOUND: StatusCode.NOT_FOUND,
    call_pb2.ERROR_REASON_NO_CANDIDATE: StatusCode.FAILED_PRECONDITION,
    call_pb2.ERROR_REASON_KEY_MISSING: StatusCode.UNAUTHENTICATED,
    call_pb2.ERROR_REASON_KEY_INVALID: StatusCode.UNAUTHENTICATED,
    call_pb2.ERROR_REASON_MODEL_NOT_ALLOWED: StatusCode.PERMISSION_DENIED,
    call_pb2.ERROR_REASON_ROLE_NOT_ALLOWED: StatusCode.PERMISSION_DENIED,
    call_pb2.ERROR_REASON_POLICY_BLOCKED: StatusCode.PERMISSION_DENIED,
    call_pb2.ERROR_REASON_RATE_LIMITED: StatusCode.RESOURCE_EXHAUSTED,
    call_pb2.ERROR_REASON_BUDGET_EXHAUSTED: StatusCode.RESOURCE_EXHAUSTED,
    call_pb2.ERROR_REASON_OVERLOADED: StatusCode.UNAVAILABLE,
    call_pb2.ERROR_REASON_DRAINING: StatusCode.UNAVAILABLE,
    call_pb2.ERROR_REASON_ALL_PROVIDERS_FAILED: StatusCode.UNAVAILABLE,
    call_pb2.ERROR_REASON_PROVIDER_AUTH: StatusCode.INTERNAL,
    call_pb2.ERROR_REASON_DEADLINE_EXCEEDED: StatusCode.DEADLINE_EXCEEDED,
    call_pb2.ERROR_REASON_STREAM_INTERRUPTED: StatusCode.ABORTED,
    call_pb2.ERROR_REASON_IDEMPOTENCY_MISMATCH: StatusCode.FAILED_PRECONDITION,
    call_pb2.ERROR_REASON_IDEMPOTENCY_IN_PROGRESS: StatusCode.ABORTED,
    call_pb2.ERROR_REASON_CIRCUIT_OPEN: StatusCode.UNAVAILABLE,
    call_pb2.ERROR_REASON_LEDGER_UNAVAILABLE: StatusCode.UNAVAILABLE,
    call_pb2.ERROR_REASON_INTERNAL: StatusCode.INTERNAL,
    call_pb2.ERROR_REASON_CANCELLED: StatusCode.CANCELLED,
}


def reason_name(reason: call_pb2.ErrorReason.ValueType) -> str:
    """The reason as ErrorInfo.reason has it: without the enum's prefix."""
    return Reason.Name(reason).removeprefix("ERROR_REASON_")


def usd(nano: int) -> str:
    """Nano-USD as USD, exactly."""
    whole, rest = divmod(abs(nano), 10**9)
    digits = f"{rest:09d}".rstrip("0")
    return f"{'-' if nano < 0 else ''}{whole}{'.' if digits else ''}{digits}"


@dataclass(frozen=True, slots=True)
class Violation:
    """A field that is wrong, and what would be right."""

    field: str
    description: str


@dataclass(eq=False)
class CallError(Exception):
    """A call that fails, in words for its caller.

    Nothing in it may come from an exception's text, a secret or a prompt.
    """

    reason: call_pb2.ErrorReason.ValueType
    message: str
    violations: Sequence[Violation] = ()
    # Seconds until another try makes sense; becomes RetryInfo and grpc-retry-pushback-ms.
    retry_after: float | None = None
    # False: what the call asked for may have been done, and paid; gRPC itself must not ask again.
    repeatable: bool = True
    # What QuotaFailure names: which limit, of whom.
    quota: Violation | None = None
    # What ResourceInfo names: a model or an alias.
    resource: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    # Set once the call got as far as a target.
    failure: call_pb2.CallFailure | None = None

    def __str__(self) -> str:
        return f"{reason_name(self.reason)}: {self.message}"


class InvalidRequest(CallError):
    """The caller's fault: every bad field at once."""

    def __init__(self, violations: Sequence[Violation]) -> None:
        named = "; ".join(f"{v.field}: {v.description}" for v in violations)
        super().__init__(call_pb2.ERROR_REASON_INVALID_REQUEST, named, violations)


class UnknownModel(CallError):
    """The caller's fault: nothing answers to this name."""

    def __init__(self, name: str, remedy: str) -> None:
        super().__init__(call_pb2.ERROR_REASON_MODEL_NOT_FOUND, f"no model or alias {name!r}: {remedy}", resource=name)


class UnknownName(CallError):
    """The caller's fault: no task, agent or chain is configured under this name."""

    def __init__(self, field: str, what: str, name: str, known: Iterable[str], remedy: str = "") -> None:
        """`what` it should be: a task, a chain; `known`: those that are; `remedy`: what else to do."""
        close = get_close_matches(name.lower(), known := [*known], n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known) or 'none'}"
        message = f"{field}: no {what} {name!r} is configured; {hint}{f'; {remedy}' if remedy else ''}"
        super().__init__(call_pb2.ERROR_REASON_NAME_NOT_FOUND, message, resource=name)


class ModelNotAllowed(CallError):
    """The caller's key does not go so far."""

    def __init__(self, name: str, usable: str) -> None:
        """`name` is empty where the call named no model."""
        asked = repr(name) if name else "the default model"
        message = f"this key may not use {asked}; it may use: {usable}"
        super().__init__(call_pb2.ERROR_REASON_MODEL_NOT_ALLOWED, message, resource=name)


class StrategyNotAllowed(CallError):
    """The caller's key does not go so far."""

    def __init__(self, name: str, usable: Sequence[str]) -> None:
        message = f"this key may not use the strategy {name!r}; it may use: {', '.join(usable)}"
        super().__init__(call_pb2.ERROR_REASON_MODEL_NOT_ALLOWED, message)


class RoleNotAllowed(CallError):
    """The caller's role does not go so far."""

    def __init__(self, what: str, least: str) -> None:
        message = f"{what} needs a key with the role {least}"
        super().__init__(call_pb2.ERROR_REASON_ROLE_NOT_ALLOWED, message)


class KeyRefused(CallError):
    """The caller is not known. What is wrong with a key is never told: the words are the same."""

    def __init__(self, *, missing: bool) -> None:
        reason = call_pb2.ERROR_REASON_KEY_MISSING if missing else call_pb2.ERROR_REASON_KEY_INVALID
        what = "the call carries no gateway key" if missing else "the gateway key is wrong, expired or revoked"
        super().__init__(reason, f"{what}: send metadata authorization: Bearer tl_...")


class ModelGone(CallError):
    """The caller's fault: the model that was named was there once, and nothing may serve in its place."""

    def __init__(self, name: str, why: str) -> None:
        """`why`: what became of it, and what to name instead."""
        super().__init__(call_pb2.ERROR_REASON_MODEL_NOT_FOUND, f"{name} is gone: {why}", resource=name)


class UnsupportedCapability(CallError):
    """The caller's fault: the model cannot do what these fields ask for."""

    def __init__(self, violations: Sequence[Violation]) -> None:
        named = "; ".join(f"{v.field}: {v.description}" for v in violations)
        super().__init__(call_pb2.ERROR_REASON_UNSUPPORTED_CAPABILITY, named, violations)


class ConstraintsUnmet(CallError):
    """The caller's fault: what these fields ask for leaves nobody to ask. Each says what would have qualified."""

    def __init__(self, violations: Sequence[Violation]) -> None:
        named = "; ".join(f"{v.field}: {v.description}" for v in violations)
        super().__init__(call_pb2.ERROR_REASON_CONSTRAINTS_UNMET, named, violations)


class ContextTooLong(CallError):
    """The caller's fault: the request fits into no model that it may go to. Nothing was sent."""

    def __init__(self, what: str, largest: str) -> None:
        """`what`: how long it is, and how much goes in; `largest`: the model that takes most."""
        remedy = "shorten it, lower config.max_output_tokens, or name a model with a larger window"
        super().__init__(call_pb2.ERROR_REASON_CONTEXT_LENGTH_EXCEEDED, f"{what}: {remedy}", resource=largest)


class NoCandidate(CallError):
    """The operator's fault: the model is known but cannot be called."""

    def __init__(self, message: str) -> None:
        super().__init__(call_pb2.ERROR_REASON_NO_CANDIDATE, message)


class LedgerUnavailable(CallError):
    """Our own fault: the ledger cannot take what the call would cost."""

    def __init__(self, why: str) -> None:
        """`why` in words of ours: what the store does not do."""
        message = f"the ledger cannot be written to ({why}): no call is made that is not accounted for; try again"
        super().__init__(call_pb2.ERROR_REASON_LEDGER_UNAVAILABLE, message, retry_after=1.0)


class KeysUnavailable(CallError):
    """Our own fault: the database does not say whether a key is right."""

    def __init__(self, why: str) -> None:
        """`why` in words of ours: what the database does not do."""
        message = f"gateway keys cannot be looked up ({why}): try again"
        super().__init__(call_pb2.ERROR_REASON_LEDGER_UNAVAILABLE, message, retry_after=1.0)


class LedgerUnreadable(CallError):
    """Our own fault: the ledger does not tell what it has."""

    def __init__(self, why: str) -> None:
        """`why` in words of ours: what the store does not do."""
        super().__init__(
            call_pb2.ERROR_REASON_LEDGER_UNAVAILABLE, f"the ledger cannot be read ({why}): try again", (), 1.0
        )


class UnknownCall(CallError):
    """The caller's fault: no call of its workspace has this id."""

    def __init__(self) -> None:
        message = "no call with this id in the ledger: say GenerateResponse.id, or CallFailure.id"
        super().__init__(call_pb2.ERROR_REASON_CALL_NOT_FOUND, message)


class BudgetExhausted(CallError):
    """The caller has spent what it may, or its provider has: a hard budget does not pay for the call."""

    def __init__(self, budget: str, cost: int, renews: datetime | None, retry_after: float | None) -> None:
        """`cost` is what the call may cost at most, in nano-USD; `renews`: when the budget does. None = never."""
        when = "it never renews" if renews is None else f"it renews at {renews.isoformat()}"
        message = f"the budget {budget!r} does not pay for this call, which may cost {usd(cost)} USD: {when}"
        metadata = {"budget": budget} if renews is None else {"budget": budget, "renews": renews.isoformat()}
        quota = Violation(f"budget:{budget}", message)
        super().__init__(
            call_pb2.ERROR_REASON_BUDGET_EXHAUSTED, message, retry_after=retry_after, quota=quota, metadata=metadata
        )


class CallerLimited(CallError):
    """The caller's own limit: not now."""

    def __init__(self, scope: str, limit: str, retry_after: float) -> None:
        """`scope` is whose limit it is, "key:abc"; `limit` in words: 60 requests a minute."""
        whose = scope.replace(":", " ", 1)
        message = f"{whose} may have {limit}: try again in {retry_after:.1f} s"
        quota = Violation(scope, limit)
        super().__init__(call_pb2.ERROR_REASON_RATE_LIMITED, message, (), retry_after, quota=quota)


class Draining(CallError):
    """Our own fault: the gateway ends."""

    def __init__(self) -> None:
        message = "the gateway is shutting down: ask another instance"
        super().__init__(call_pb2.ERROR_REASON_DRAINING, message, retry_after=1.0)


class CallerGone(Exception):
    """The caller went away; nobody reads what we would say."""


@dataclass(eq=False)
class UpstreamError(Exception):
    """An attempt that failed.

    `message` is the provider's own, scrubbed: it goes into Attempt and never into a status message.
    """

    outcome: call_pb2.Outcome.ValueType
    message: str = ""
    # The provider's HTTP status (0: none), machine code and request id.
    status: int = 0
    code: str = ""
    request_id: str = ""
    # Seconds that the provider asks us to wait.
    retry_after: float | None = None
    # Whether the provider says that another try makes sense there. None: it does not say.
    retryable: bool | None = None
    # What was used before it failed, if the provider said so.
    usage: call_pb2.Usage | None = None
    # What that cost. Set by account.
    cost: call_pb2.Cost | None = None

    def __str__(self) -> str:
        return f"{call_pb2.Outcome.Name(self.outcome)} (status {self.status}, code {self.code!r})"


class CredentialMissing(UpstreamError):
    """There is no credential that could be sent at present: nothing was sent. `why` is in our own words."""

    def __init__(self, why: str) -> None:
        super().__init__(call_pb2.OUTCOME_AUTH, f"there is no credential to send: {why}", code="no_credential")
        self.why = why


class Unpaid(UpstreamError):
    """A hard budget does not pay for the attempt: nothing was sent. `told`: what that means if nobody else answers."""

    def __init__(self, code: str, told: CallError) -> None:
        super().__init__(call_pb2.OUTCOME_NOT_SENT, told.message, code=code)
        self.told = told


class Unreadable(Exception):
    """A secret's file that cannot be used. Its text says what would be right, and holds nothing of the file."""
