"""One exchange as a line of JSON, for others to compare with what they expect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.json_format import MessageToDict

from trunkline.v1.call_pb2 import Outcome

if TYPE_CHECKING:
    from conformance.table import Result

    from trunkline_server.errors import UpstreamError


def line_of(result: Result) -> dict[str, Any]:
    """What was decoded, in proto3's JSON, or the error; and what would be sent, or why not."""
    exchange, decoded, again = result.exchange, result.decoded, result.again
    line: dict[str, Any] = {"id": exchange.id, "provider": exchange.provider, "dialect": exchange.dialect}
    if decoded.response is not None:
        line["response"] = MessageToDict(decoded.response)
    if decoded.error is not None:
        line["error"] = _error(decoded.error)
    if decoded.fault:
        line["fault"] = decoded.fault
    if again.body is not None:
        line["request"] = again.body
    else:
        line["request_skipped"] = again.skipped
    if again.warned:
        line["request_warnings"] = list(again.warned)
    return line


def _error(error: UpstreamError) -> dict[str, Any]:
    return {
        "outcome": Outcome.Name(error.outcome),
        "status": error.status,
        "code": error.code,
        "message": error.message,
        "request_id": error.request_id,
        "retry_after": error.retry_after,
    }
