"""Typed client of the Trunkline gateway: `AsyncClient` and `Client`, over the generated `trunkline.v1`.

Operators have `AsyncAdminClient` and `AdminClient`.
"""

from trunkline_client._async.admin import AsyncAdminClient
from trunkline_client._async.client import AsyncClient
from trunkline_client._async.stream import AsyncStream
from trunkline_client._sync.admin import AdminClient
from trunkline_client._sync.client import Client
from trunkline_client._sync.stream import Stream
from trunkline_client.answer import Answer
from trunkline_client.channel import __version__
from trunkline_client.errors import (
    AllProvidersFailed,
    AuthenticationFailed,
    BudgetExhausted,
    CallNotFound,
    Cancelled,
    CircuitOpen,
    ConnectionFailed,
    ContextLengthExceeded,
    DeadlineExceeded,
    Draining,
    FieldViolation,
    IdempotencyInProgress,
    IdempotencyMismatch,
    InternalError,
    Interrupted,
    InvalidRequest,
    KeyInvalid,
    KeyMissing,
    LedgerUnavailable,
    MessageTooLarge,
    ModelNotAllowed,
    ModelNotFound,
    NoCandidate,
    Overloaded,
    PolicyBlocked,
    ProviderAuthFailed,
    ProviderRejected,
    RateLimited,
    RoleNotAllowed,
    TrunklineError,
    Unimplemented,
    UnknownError,
    UnsupportedCapability,
)

__all__ = [
    "AdminClient",
    "AllProvidersFailed",
    "Answer",
    "AsyncAdminClient",
    "AsyncClient",
    "AsyncStream",
    "AuthenticationFailed",
    "BudgetExhausted",
    "CallNotFound",
    "Cancelled",
    "CircuitOpen",
    "Client",
    "ConnectionFailed",
    "ContextLengthExceeded",
    "DeadlineExceeded",
    "Draining",
    "FieldViolation",
    "IdempotencyInProgress",
    "IdempotencyMismatch",
    "InternalError",
    "Interrupted",
    "InvalidRequest",
    "KeyInvalid",
    "KeyMissing",
    "LedgerUnavailable",
    "MessageTooLarge",
    "ModelNotAllowed",
    "ModelNotFound",
    "NoCandidate",
    "Overloaded",
    "PolicyBlocked",
    "ProviderAuthFailed",
    "ProviderRejected",
    "RateLimited",
    "RoleNotAllowed",
    "Stream",
    "TrunklineError",
    "Unimplemented",
    "UnknownError",
    "UnsupportedCapability",
    "__version__",
]
