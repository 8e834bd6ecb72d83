"""What a dialect makes of a recorded answer."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, cast

from decoding import bytes_of, decoded

from trunkline.v1 import call_pb2
from trunkline_server.errors import UpstreamError
from trunkline_server.fold import fold

if TYPE_CHECKING:
    from conformance.exchanges import Exchange

    from trunkline.v1.gateway_service_pb2 import GenerateResponse, StreamGenerateResponse
    from trunkline_server.dialects.dialect import Dialect

# An answer of status 200 that ends so was not understood.
NOT_UNDERSTOOD = frozenset(
    {call_pb2.OUTCOME_PROTOCOL_ERROR, call_pb2.OUTCOME_INTERRUPTED, call_pb2.OUTCOME_UNSPECIFIED}
)
ERRORS_IN_200 = frozenset({"error_in_stream", "error_in_200"})

Told = tuple[list["StreamGenerateResponse"], UpstreamError | None]


@dataclass(frozen=True, slots=True)
class Decoded:
    """An answer, or the error that it is; `fault` says what is wrong with how it was read."""

    response: GenerateResponse | None = None
    error: UpstreamError | None = None
    fault: str = ""


def dialect_named(name: str) -> Dialect | None:
    """The dialect's module. None = there is none of this name."""
    module = f"trunkline_server.dialects.{name}"
    try:
        return cast("Dialect", import_module(module))
    except ModuleNotFoundError as missing:
        if missing.name != module:
            raise
        return None


def decode(exchange: Exchange, dialect: Dialect) -> Decoded:
    """Read the answer: a stream in several cuts, which must tell the same. Never raises."""
    try:
        return _decode(exchange, dialect)
    except Exception as error:  # noqa: BLE001 - only typed errors may leave a decoder: anything else is its fault
        return Decoded(fault=f"raised {type(error).__name__}")


def _decode(exchange: Exchange, dialect: Dialect) -> Decoded:
    if exchange.failed:
        return _failure(exchange, dialect)
    events, error = told = _told(exchange, dialect)
    if exchange.kind == "stream" and (cut := _changed_by_cutting(exchange, dialect, told)):
        return Decoded(fault=f"{cut} it tells something else")
    if error is not None:
        what = call_pb2.Outcome.Name(error.outcome)
        return Decoded(error=error, fault=f"{what} {error.code}" if error.outcome in NOT_UNDERSTOOD else "")
    response = fold(events)
    fault = "an error was taken for an answer" if exchange.features & ERRORS_IN_200 else contradiction(response)
    return Decoded(response=response, fault=fault)


def _failure(exchange: Exchange, dialect: Dialect) -> Decoded:
    status = int(exchange.response["status"])
    headers = {name.lower(): value for name, value in (exchange.response.get("headers") or {}).items()}
    error = dialect.decode_error(status, headers, exchange.answer())
    fault = "" if error.status == status and error.outcome else f"status {error.status}, outcome {error.outcome}"
    return Decoded(error=error, fault=fault)


def _told(exchange: Exchange, dialect: Dialect) -> Told:
    if exchange.kind == "stream":
        return decoded(dialect.stream_decoder(), [exchange.answer()])
    try:
        return dialect.decode_response(exchange.answer()), None
    except UpstreamError as error:
        return [], error


def _changed_by_cutting(exchange: Exchange, dialect: Dialect, told: Told) -> str:
    cuts = {"as it was read": exchange.reads(), "byte by byte": bytes_of(exchange.answer())}
    for name, pieces in cuts.items():
        events, error = decoded(dialect.stream_decoder(), pieces)
        if events != told[0] or _facts(error) != _facts(told[1]):
            return name
    return ""


def _facts(error: UpstreamError | None) -> tuple[int, str, str] | None:
    return None if error is None else (error.outcome, error.code, error.message)


def contradiction(response: GenerateResponse) -> str:
    """What in an answer cannot be, by the contract's own words. Empty = nothing."""
    usage = response.usage
    if not response.finish_reason:
        return "no finish reason"
    if usage.cache_read_input_tokens + usage.cache_write_input_tokens > usage.input_tokens:
        return "more cached tokens than tokens"
    if usage.HasField("output_tokens") and usage.reasoning_output_tokens > usage.output_tokens:
        return "more tokens of reasoning than tokens"
    return ""
