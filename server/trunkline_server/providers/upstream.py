"""A provider over HTTP is a row, a dialect and the one HTTP module: encode, send, frame, decode."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from trunkline.v1 import call_pb2
from trunkline.v1.content_pb2 import FINISH_REASON_CONTENT_FILTER
from trunkline.v1.gateway_service_pb2 import GenerateResponse, StreamCompleted, StreamGenerateResponse
from trunkline_server.dialects.limits import IN_EVERY_NAME, read_limits
from trunkline_server.dialects.scrub import without
from trunkline_server.errors import UnsupportedCapability, UpstreamError, Violation
from trunkline_server.fold import fold
from trunkline_server.providers.http import HttpRequest
from trunkline_server.providers.origin import own_only, stamp_parts, stamped

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from trunkline.v1.gateway_service_pb2 import GenerateRequest
    from trunkline_server.core import Call, Events, Handler
    from trunkline_server.dialects.dialect import Dialect, Quirks
    from trunkline_server.dialects.limits import Limit
    from trunkline_server.providers.credential import Sign
    from trunkline_server.providers.http import HttpResponse

    Learn = Callable[[Sequence[Limit]], None]
    # What the dialect has no words for.
    Unsaid = Sequence[call_pb2.Warning]
    Answer = Sequence[StreamGenerateResponse]

# Bytes of a whole answer or an error.
MAX_BODY = 64 << 20
MAX_ERROR_BODY = 64 << 10
_SHORTEST_SECRET = 6
# Status codes from here on are errors.
FAILED = 300


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where and how a provider is asked."""

    base_url: str
    headers: Mapping[str, str]
    quirks: Quirks
    # A unary call that may answer with more tokens than this, or that sets no limit, is streamed. 0 = never.
    stream_above: int = 0
    # Adds what changes from request to request: a signature, a token that renews itself. Raises CredentialMissing.
    sign: Sign | None = None


class Http(Protocol):
    """What exchanges a request for an answer: HttpClient, or one that traces it."""

    def exchange(self, request: HttpRequest) -> AbstractAsyncContextManager[HttpResponse]:
        """Send the request. Raises UpstreamError."""


def _nobody(_: Sequence[Limit]) -> None:
    """Nobody wants to know."""


def build_upstream(endpoint: Endpoint, dialect: Dialect, http: Http, limited: Learn = _nobody) -> Handler:
    """A handler that asks the endpoint in its dialect. Raises UpstreamError; closes the connection however it ends.

    `limited` learns what the head of each answer says of the provider's limits, and must not fail.
    """
    sign, stream_above = endpoint.sign, endpoint.stream_above
    # What every request has; by whether its answer is streamed.
    fixed = {False: _headers(endpoint, "application/json"), True: _headers(endpoint, "text/event-stream")}

    async def handle(call: Call) -> Events:
        streaming = call.streaming or (stream_above > 0 and _is_long(call.request, stream_above))
        target = call.target
        provider = target.provider
        own = own_only(call.request, provider)
        encoded = dialect.encode_request(own, target.model, stream=streaming, quirks=endpoint.quirks)
        warnings = encoded.warnings
        if warnings:
            _check_strict(call.request, warnings)
        url, headers = endpoint.base_url + encoded.path, {**fixed[streaming], **encoded.headers}
        plain = HttpRequest("POST", url, headers, encoded.body, call.id, call.fate.was_sent)
        request = plain if sign is None else await sign(plain)
        try:
            async with http.exchange(request) as response:
                if response.has_header_like(IN_EVERY_NAME):
                    limited(read_limits(response.headers))
                if streaming and response.status < FAILED and not _is_json(response):
                    async with aclosing(_pieces(response, dialect)) as events:
                        async for event in events:
                            yield _told(event, provider, warnings)
                            if not call.streaming and event.HasField("completed"):
                                break  # who wants it whole reads to the end, and some keep the connection open
                else:
                    if response.status < FAILED:
                        answer = dialect.decode_response(await response.read(MAX_BODY))
                    else:
                        answer = [await _refusal(response, dialect)]
                    tell = _each if call.streaming else _in_one
                    for event in tell(answer, provider, warnings):
                        yield event
        except UpstreamError as error:
            # Some say back what they were sent.
            error.message = without(
                error.message, _secrets({**endpoint.headers, **dict(request.headers.items() - plain.headers.items())})
            )
            raise

    return handle


def _check_strict(request: GenerateRequest, unsaid: Unsaid) -> None:
    """Raise UnsupportedCapability for what cannot be said in the dialect, if the caller wants all or nothing."""
    if request.routing.strict_params:
        raise UnsupportedCapability([Violation(warning.field, warning.message) for warning in unsaid])


def _secrets(headers: Mapping[str, str]) -> list[str]:
    """What only the operator and the provider know. A value of a few characters is none, and any text may hold it."""
    values = (value.removeprefix("Bearer ") for value in headers.values())
    return [value for value in values if len(value) >= _SHORTEST_SECRET]


def _is_long(request: GenerateRequest, limit: int) -> bool:
    """Whether a provider that ends long unary calls might end this one."""
    return not 0 < request.config.max_output_tokens <= limit


def _headers(endpoint: Endpoint, accept: str) -> Mapping[str, str]:
    return {"content-type": "application/json", "accept": accept, **endpoint.headers}


async def _refusal(response: HttpResponse, dialect: Dialect) -> StreamGenerateResponse:
    """The answer that a filter gives which refuses the prompt. Any other error that came instead is raised."""
    error = dialect.decode_error(response.status, response.headers, await response.read_start(MAX_ERROR_BODY))
    if error.outcome != call_pb2.OUTCOME_CONTENT_FILTER:
        raise error
    return _filtered(error)


def _each(events: Answer, provider: str, unsaid: Unsaid) -> Answer:
    """A whole answer as whoever wants pieces is told it."""
    return [_told(event, provider, unsaid) for event in events]


def _in_one(events: Answer, provider: str, unsaid: Unsaid) -> Answer:
    """An answer that nobody wants in pieces: each event costs every layer a turn."""
    whole = StreamGenerateResponse()
    response = whole.completed.response
    fold(events, response)
    stamp_parts(response.message.parts, provider)
    if unsaid:
        response.warnings.extend(unsaid)
    return [whole]


async def _pieces(response: HttpResponse, dialect: Dialect) -> Events:
    """An answer piece by piece."""
    decoder = dialect.stream_decoder()
    async with aclosing(response.stream()) as pieces:
        async for data in pieces:
            for event in decoder.feed(data):
                yield event
    for event in decoder.finish():
        yield event


def _is_json(response: HttpResponse) -> bool:
    """Some servers answer a streamed request with a whole answer, or with an error and status 200."""
    return response.headers.get("content-type", "").startswith("application/json")


def _told(given: StreamGenerateResponse, provider: str, unsaid: Unsaid) -> StreamGenerateResponse:
    """The event as it leaves here: it says where its state came from, and what could not be said."""
    event = stamped(given, provider)
    if not unsaid or not event.HasField("completed"):
        return event
    response = GenerateResponse()
    response.CopyFrom(event.completed.response)
    response.warnings.extend(unsaid)
    return StreamGenerateResponse(completed=StreamCompleted(response=response))


def _filtered(error: UpstreamError) -> StreamGenerateResponse:
    """A filter that refuses the prompt makes an answer without content: the status is OK, the reason says so."""
    response = GenerateResponse(finish_reason=FINISH_REASON_CONTENT_FILTER, provider_finish_reason=error.code)
    return StreamGenerateResponse(completed=StreamCompleted(response=response))
