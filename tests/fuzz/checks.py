"""What must hold of whatever a provider answers. Each check gives the outcome in a few words, or raises."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

from decoding import decoded
from fuzz.mutations import pieces_of
from grammar import check_grammar

from trunkline.v1.call_pb2 import Outcome
from trunkline_server.dialects.limits import read_limits
from trunkline_server.errors import UpstreamError
from trunkline_server.fold import fold
from trunkline_server.wire.eventstream import EventStreamFramer
from trunkline_server.wire.framing import FramingError
from trunkline_server.wire.ndjson import NdjsonFramer
from trunkline_server.wire.sse import SseFramer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from random import Random
    from typing import Any

    from trunkline.v1.gateway_service_pb2 import StreamGenerateResponse
    from trunkline_server.dialects.dialect import Dialect

WAITS = (
    "",
    "0",
    "7",
    "-1",
    "1e9",
    "nan",
    "999999999999999999999",
    "1m30s",
    "Wed, 21 Oct 2099 07:28:00 GMT",
    "Wed, 99 Foo",
    "\x00",
)
HEADERS: tuple[str, ...] = (
    "retry-after",
    "retry-after-ms",
    "date",
    "x-request-id",
    "x-should-retry",
    "x-amzn-errortype",
    "x-ratelimit-reset",
)
HEADERS += (
    "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-tokens",
    "anthropic-ratelimit-requests-reset",
    "content-type",
)
STATUSES = (200, 300, 400, 401, 402, 403, 404, 408, 409, 413, 422, 424, 429, 498, 500, 502, 503, 504, 529, 599, 999)


def dialect_named(name: str) -> Dialect:
    return cast("Dialect", import_module(f"trunkline_server.dialects.{name}"))


def check_stream(dialect: Dialect, data: bytes, rng: Random) -> str:
    """It ends once, in the same way however it is cut, and a framer makes the same of it, too."""
    events, error = decoded(dialect.stream_decoder(), [data])
    _check_once(events, error)
    again, failure = decoded(dialect.stream_decoder(), pieces_of(data, rng))
    assert again == events, "another cut gives other events"
    assert facts(failure) == facts(error), "another cut ends otherwise"
    for framer in (SseFramer, NdjsonFramer, EventStreamFramer):
        assert framed(framer, [data]) == framed(framer, pieces_of(data, rng)), f"{framer.__name__}: another cut"
    return signature(events, error)


def check_answer(dialect: Dialect, data: bytes, _: Random) -> str:
    try:
        events = dialect.decode_response(data)
    except UpstreamError as error:
        _check_error(error)
        return signature([], error)
    _check_once(events, None)
    return signature(events, None)


def check_error(dialect: Dialect, data: bytes, rng: Random) -> str:
    status = rng.choice(STATUSES)
    headers = {name: rng.choice(WAITS) for name in rng.sample(HEADERS, rng.randint(0, 5))}
    read_limits(headers)
    error = dialect.decode_error(status, headers, data)
    assert error.status == status, "another status"
    _check_error(error)
    return signature([], error)


CHECKS: Mapping[str, Callable[[Dialect, bytes, Random], str]] = {
    "streams": check_stream,
    "answers": check_answer,
    "errors": check_error,
}


def _check_once(events: list[StreamGenerateResponse], error: UpstreamError | None) -> None:
    completed = sum(event.HasField("completed") for event in events)
    assert completed + (error is not None) == 1, "it ends more than once, or never"
    if error is None:
        check_grammar(events)
        fold(events).SerializeToString()
    else:
        _check_error(error)


def _check_error(error: UpstreamError) -> None:
    assert error.outcome, "an error without an outcome"
    assert len(error.message.encode()) <= 1024, "a long message"
    assert error.retry_after is None or 0 <= error.retry_after < 10**9, "a wait that cannot be"


def facts(error: UpstreamError | None) -> Any:
    return error and (error.outcome, error.code, error.message)


def framed(framer: Callable[[], Any], pieces: Iterable[bytes]) -> Any:
    """What it makes of the pieces, and whether it gives up. Events before that may come or not."""
    running, seen = framer(), []
    try:
        for piece in pieces:
            seen += running.feed(piece)
        seen += running.finish()
    except FramingError as error:
        return type(error).__name__
    return seen


def signature(events: Sequence[StreamGenerateResponse], error: UpstreamError | None) -> str:
    """Outcomes that are alike have the same."""
    kinds = [event.WhichOneof("event") or "" for event in events]
    runs = [kind for at, kind in enumerate(kinds) if at == 0 or kinds[at - 1] != kind]
    return " ".join(runs + ([f"{Outcome.Name(error.outcome)} {error.code}"] if error else []))
