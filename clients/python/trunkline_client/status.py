"""gRPC statuses and their typed details become the exceptions of `errors`."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

from google.protobuf.message import DecodeError, Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc import RpcError, StatusCode

from trunkline.v1.call_pb2 import CallFailure
from trunkline_client.errors import (
    BY_CODE,
    BY_REASON,
    Cancelled,
    ConnectionFailed,
    FieldViolation,
    TrunklineError,
    UnknownError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_DOMAIN = "trunkline"
_DETAILS_KEY = "grpc-status-details-bin"
_PUSHBACK_KEY = "grpc-retry-pushback-ms"
_CALL_ID_KEY = "trunkline-call-id"

_Detail = TypeVar("_Detail", bound=Message)


class FailedCall(Protocol):
    """What the errors of both kinds of channel have."""

    def code(self) -> StatusCode:
        """The status code."""

    def details(self) -> str | None:
        """The status message."""

    def trailing_metadata(self) -> Iterable[tuple[str, str | bytes]] | None:
        """The metadata that came with the status."""


@contextmanager
def raising(address: str, *, begun: bool = False) -> Iterator[None]:
    """Raise what gRPC raises as TrunklineError. `begun`: a part of the answer has come already.

    A CancelledError stands if the task itself is being cancelled. Otherwise the call was cancelled from elsewhere in
    this program, by closing its stream or its client, and passing it on would end the task as if it had been asked to.
    """
    try:
        yield
    except RpcError as error:
        raise error_of(cast("FailedCall", error), address, begun=begun) from error
    except asyncio.CancelledError as error:
        if _is_being_cancelled():
            raise
        message = "the stream or the client was closed while the call ran"
        raise Cancelled(message, StatusCode.CANCELLED) from error


def error_of(call: FailedCall, address: str, *, begun: bool = False) -> TrunklineError:
    """The exception for the status of a failed call."""
    trailers = dict(call.trailing_metadata() or ())
    status = _status_of(trailers)
    info = _detail(status, ErrorInfo)
    if info is None or info.domain != _DOMAIN:
        info, kind = ErrorInfo(), BY_CODE.get(call.code(), UnknownError)
    else:
        kind = BY_REASON.get(info.reason, UnknownError)
    failure, retry_delay = _detail(status, CallFailure), _retry_delay(status)
    return kind(
        message=_message(kind, call.details() or "", address),
        code=call.code(),
        reason=info.reason,
        retry_delay=retry_delay,
        field_violations=_violations(status),
        metadata=dict(info.metadata),
        call_id=str(trailers.get(_CALL_ID_KEY, failure.id if failure else "")),
        failure=failure,
        is_retryable=not begun
        and not str(trailers.get(_PUSHBACK_KEY, "")).startswith("-")
        and (call.code() is StatusCode.UNAVAILABLE or retry_delay is not None),
    )


def _status_of(trailers: Mapping[str, str | bytes]) -> Status:
    details = trailers.get(_DETAILS_KEY)
    try:
        return Status.FromString(details) if isinstance(details, bytes) else Status()
    except DecodeError:  # somebody between here and the gateway changed them
        return Status()


def _detail(status: Status, kind: type[_Detail]) -> _Detail | None:
    """The detail of this type, if there is one and it can be read."""
    message = kind()
    with suppress(DecodeError):
        return next((message for packed in status.details if packed.Unpack(message)), None)
    return None


def _retry_delay(status: Status) -> float | None:
    retry = _detail(status, RetryInfo)
    return retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9 if retry else None


def _violations(status: Status) -> tuple[FieldViolation, ...]:
    bad = _detail(status, BadRequest) or BadRequest()
    return tuple(FieldViolation(violation.field, violation.description) for violation in bad.field_violations)


def _message(kind: type[TrunklineError], message: str, address: str) -> str:
    return f"no connection to the gateway at {address}: {message}" if kind is ConnectionFailed else message


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
