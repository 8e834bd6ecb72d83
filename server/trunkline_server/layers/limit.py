"""Limit: a call is within what its key and its workspace may use, or is refused before anything is done for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline.v1 import call_pb2
from trunkline_server.errors import CallerLimited, CallError, InvalidRequest, Violation
from trunkline_server.routing.tokens import count_tokens
from trunkline_server.state.limits.limits import Admitted, Demand, Left, NeverAdmissible

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trunkline.v1.call_pb2 import Usage
    from trunkline.v1.gateway_service_pb2 import GenerateRequest
    from trunkline_server.core import Call, Events, Handler, Identity, Layer
    from trunkline_server.settings.limits import CallerLimit, CallerLimits
    from trunkline_server.state.limits.limits import Answer, Dimension, Limits

# Tokens of an answer where the request sets no limit; no more than the caller's limit has.
USUAL_OUTPUT = 500
# Seconds after which to ask again where a call has to end first.
SOON = 1.0
# How attempts end that used no tokens.
_FREE = frozenset(
    {
        call_pb2.OUTCOME_RATE_LIMITED,
        call_pb2.OUTCOME_OVERLOADED,
        call_pb2.OUTCOME_NOT_CONNECTED,
        call_pb2.OUTCOME_NOT_SENT,
        call_pb2.OUTCOME_AUTH,
        call_pb2.OUTCOME_QUOTA,
        call_pb2.OUTCOME_INVALID,
        call_pb2.OUTCOME_CONTEXT_LENGTH,
        call_pb2.OUTCOME_MODEL_NOT_FOUND,
    }
)
_UNITS: dict[Dimension, str] = {
    "requests": "requests a minute",
    "tokens": "tokens a minute",
    "concurrency": "calls at once",
}


def limit(settings: CallerLimits, limits: Limits) -> Layer:
    """Reserve what each call may use, in all of its limits or none, and settle what it did use, once, however it ends.

    Raises CallerLimited: not now; and InvalidRequest: it asks for more than its limit ever has. What the caller is
    told of its limits is in the call's story.
    """

    def layer(below: Handler) -> Handler:
        def handle(call: Call) -> Events:
            demands = _demands(settings, call)
            return _limited(below, call, demands, limits) if demands else below(call)

        return handle

    return layer


async def _limited(below: Handler, call: Call, demands: Sequence[Demand], limits: Limits) -> Events:
    admitted = _admitted(await limits.reserve(demands), call)
    tokens: int | None = None
    try:
        events = below(call)
        try:
            async for event in events:
                if event.HasField("completed"):
                    tokens = _tokens(event.completed.response.usage)
                yield event
        finally:
            await events.aclose()
    except CallError as error:
        tokens = _tokens_of(error)
        raise
    finally:
        admitted.settle(tokens)


def _admitted(answer: Answer, call: Call) -> Admitted:
    """What was reserved; the caller is told of it. Raises what it is told otherwise."""
    if isinstance(answer, NeverAdmissible):
        raise InvalidRequest([_never(answer.demand, call.request)])
    if isinstance(answer, Admitted):
        call.story.told = tuple(_metadata(answer.left))
        return answer
    demand, seconds = answer
    call.story.told = tuple(_metadata([Left(demand, 0, seconds or 0.0)]))
    raise CallerLimited(
        demand.scope, f"{demand.limit} {_UNITS[demand.dimension]}", SOON if seconds is None else seconds
    )


def _never(demand: Demand, request: GenerateRequest) -> Violation:
    has = f"{demand.scope.replace(':', ' ', 1)} has {demand.limit} tokens a minute, and this is about {demand.units}"
    if demand.units - request.config.max_output_tokens < demand.limit:
        return Violation("config.max_output_tokens", f"{has}: lower it")
    return Violation("messages", f"{has}: shorten them, or lower config.max_output_tokens")


# --- how much ---------------------------------------------------------------------------------------------------------


def _demands(settings: CallerLimits, call: Call) -> list[Demand]:
    """What the call takes of each of its limits, by estimate."""
    demands: list[Demand] = []
    given = -1
    for scope, own, each in _rules(settings, call.identity):
        if most := own.requests_per_minute or each.requests_per_minute:
            demands.append(Demand(scope, "requests", most, 1))
        if most := own.tokens_per_minute or each.tokens_per_minute:
            given = count_tokens(call.request).tokens if given < 0 else given
            demands.append(Demand(scope, "tokens", most, _units(given, call.request, most)))
        if most := own.concurrency or each.concurrency:
            demands.append(Demand(scope, "concurrency", most, 1))
    return demands


def _rules(settings: CallerLimits, identity: Identity) -> Iterator[tuple[str, CallerLimit, CallerLimit]]:
    """Whose limits hold: its own, and what holds in place of what that leaves open."""
    if identity.key:
        each = settings.each_key
        yield f"key:{identity.key}", settings.keys.get(identity.key, each), each
    each = settings.each_workspace
    yield f"workspace:{identity.workspace}", settings.workspaces.get(identity.workspace, each), each


def _units(given: int, request: GenerateRequest, most: int) -> int:
    """What goes in and what may come out. What only we suppose makes no request too large."""
    if asked := request.config.max_output_tokens:
        return given + asked
    return max(given, min(given + USUAL_OUTPUT, most))


def _tokens(usage: Usage) -> int | None:
    """What was used. None: the provider does not say."""
    if not usage.HasField("input_tokens") and not usage.HasField("output_tokens"):
        return None
    return usage.input_tokens + usage.output_tokens


def _tokens_of(error: CallError) -> int | None:
    """What a call used that failed: nothing, if no provider began with it."""
    if error.failure is None:
        return 0 if error.repeatable else None
    free = all(attempt.outcome in _FREE for attempt in error.failure.served.attempts)
    return 0 if free else _tokens(error.failure.usage)


# --- what the caller is told ------------------------------------------------------------------------------------------


def _metadata(left: Sequence[Left]) -> Iterator[tuple[str, str]]:
    """Of each dimension the limit that is nearest to its end."""
    nearest: dict[Dimension, Left] = {}
    for each in left:
        known = nearest.get(each.demand.dimension)
        if known is None or each.remaining < known.remaining:
            nearest[each.demand.dimension] = each
    for dimension, each in nearest.items():
        yield f"x-ratelimit-limit-{dimension}", str(each.demand.limit)
        yield f"x-ratelimit-remaining-{dimension}", str(each.remaining)
        if dimension != "concurrency":
            yield f"x-ratelimit-reset-{dimension}", f"{each.reset:.3f}s"
