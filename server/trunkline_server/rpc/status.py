"""A `CallError` as a gRPC status with its typed details. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.any_pb2 import Any
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, QuotaFailure, RequestInfo, ResourceInfo, RetryInfo
from google.rpc.status_pb2 import Status

from trunkline.v1 import call_pb2
from trunkline_server.errors import DOMAIN, STATUS_CODES, reason_name
from trunkline_server.spans import set_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.message import Message

    from trunkline_server.errors import CallError

DETAILS_KEY = "grpc-status-details-bin"
PUSHBACK_KEY = "grpc-retry-pushback-ms"
# With PUSHBACK_KEY: do not ask again.
NEVER = "-1"
# Seconds. Who has to wait longer is told so at once: gRPC would wait in silence, and past the call's deadline.
LONGEST_PUSHBACK = 30.0
# Bytes. Clients refuse metadata above 8 KiB now and then; percent-encoding makes three bytes of one.
MAX_MESSAGE = 1024
MAX_DETAILS = 4096

Metadata = tuple[tuple[str, str | bytes], ...]


def status_of(error: CallError, call_id: str, remaining: float | None = None) -> tuple[str, Metadata]:
    """The status message and the trailing metadata of a failed call. Both keep within what gRPC clients accept.

    `remaining`: seconds until the caller's deadline. None = it has none.
    """
    patience = LONGEST_PUSHBACK if remaining is None else min(LONGEST_PUSHBACK, remaining)
    message = _clipped(error.message, MAX_MESSAGE)
    status = Status(code=STATUS_CODES[error.reason].value[0], message=message)
    for detail in _details(error, call_id):
        packed = Any()
        packed.Pack(detail)
        if status.ByteSize() + packed.ByteSize() < MAX_DETAILS:
            status.details.append(packed)
    metadata: Metadata = ((DETAILS_KEY, status.SerializeToString()),)
    if not error.repeatable:
        metadata += ((PUSHBACK_KEY, NEVER),)
    elif error.retry_after is not None and error.retry_after < patience:
        metadata += ((PUSHBACK_KEY, str(round(error.retry_after * 1000))),)
    return message, metadata


def _details(error: CallError, call_id: str) -> Iterator[Message]:
    """Most important first: what does not fit is left out from the end."""
    metadata = {key: _clipped(value, 256) for key, value in error.metadata.items()}
    yield ErrorInfo(reason=reason_name(error.reason), domain=DOMAIN, metadata={**metadata, "call_id": call_id})
    if error.reason == call_pb2.ERROR_REASON_INTERNAL:
        yield RequestInfo(request_id=call_id)
    if error.retry_after is not None:
        retry = RetryInfo()
        set_seconds(retry.retry_delay, error.retry_after)
        yield retry
    if error.resource:
        yield ResourceInfo(resource_type="model", resource_name=_clipped(error.resource, 256))
    if error.quota is not None:
        quota = QuotaFailure.Violation(subject=error.quota.field, description=error.quota.description)
        yield QuotaFailure(violations=[quota])
    if error.violations:
        yield _bad_request(error)
    if error.failure is not None:
        yield error.failure


def _bad_request(error: CallError) -> BadRequest:
    """As many violations as fit into half of the details."""
    bad = BadRequest()
    for violation in error.violations:
        bad.field_violations.add(field=_clipped(violation.field, 256), description=_clipped(violation.description, 512))
        if bad.ByteSize() > MAX_DETAILS // 2:
            del bad.field_violations[-1]
            break
    return bad


def _clipped(text: str, limit: int) -> str:
    return text.encode()[:limit].decode(errors="ignore")
