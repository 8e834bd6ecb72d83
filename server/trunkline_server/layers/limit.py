"""Limit: a call is within what its key and its workspace may use, or is refused before anything is done for it."""

from __future__ import annotations

from functools import lru_cache, partial
from math import ceil
from operator import attrgetter
from typing import TYPE_CHECKING

from trunkline.v1 import call_pb2
from trunkline_server.errors import CallerLimited, CallError, InvalidRequest, Violation
from trunkline_server.routing.tokens import count_tokens
from trunkline_server.state.limits.limits import Admitted, Limit, NeverAdmissible, Terms

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from trunkline.v1.call_pb2 import Usage
    from trunkline.v1.gateway_service_pb2 import GenerateRequest, StreamGenerateResponse
    from trunkline_server.core import Call, Events, Handler, Layer
    from trunkline_server.settings.limits import CallerLimit, CallerLimits
    from trunkline_server.state.limits.limits import Dimension, Left, Limits, TooMuch

# Tokens of an answer where the request sets no limit; no more than the caller's limit has.
USUAL_OUTPUT = 500
# Seconds after which to ask again where a call has to end first.
SOON = 1.0
# So many callers' limits are kept from call to call.
MOST_KNOWN = 4096
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
_POLICY = attrgetter("limit.policy")
_UNITS: Mapping[Dimension, str] = {
    "requests": "requests a minute",
    "tokens": "tokens a minute",
    "concurrency": "calls at once",
}


def limit(settings: CallerLimits, limits: Limits) -> Layer:
    """Reserve what each call may use, in all of its limits or none, and settle what it did use, once, however it ends.

    Raises CallerLimited: not now; and InvalidRequest: it asks for more than its limit ever has. What the caller is
    told of its limits is in the call's story.
    """
    terms_of = lru_cache(MOST_KNOWN)(partial(_terms, settings))

    def layer(below: Handler) -> Handler:
        def handle(call: Call) -> Events:
            terms = terms_of(call.identity.key, call.identity.workspace)
            return _limited(below, call, terms, limits) if terms.all else below(call)

        return handle

    return layer


async def _limited(below: Handler, call: Call, terms: Terms, limits: Limits) -> Events:
    answer = await limits.reserve(terms, _units(terms, call.request))
    if not isinstance(answer, Admitted):
        raise _refusal(answer, call)
    call.story.told = _told(answer.left)
    last: StreamGenerateResponse | None = None
    try:
        events = below(call)
        try:
            async for last in events:
                yield last
        except BaseException:
            await events.aclose()
            raise
    except CallError as error:
        answer.settle(_tokens_of(error))
        raise
    finally:
        # However else it ends: what has failed is settled by now.
        answer.settle(_tokens(last.completed.response.usage) if last and last.HasField("completed") else None)


def _refusal(answer: TooMuch | NeverAdmissible, call: Call) -> CallError:
    """What the caller is told in place of an answer."""
    if isinstance(answer, NeverAdmissible):
        return InvalidRequest([_never(answer, call.request)])
    left, seconds = answer
    call.story.told = _told([left])
    return CallerLimited(
        left.limit.scope, f"{left.limit.most} {_UNITS[left.limit.dimension]}", SOON if seconds is None else seconds
    )


def _never(answer: NeverAdmissible, request: GenerateRequest) -> Violation:
    held, units = answer
    has = f"{held.scope.replace(':', ' ', 1)} has {held.most} tokens a minute, and this is about {units}"
    if units - request.config.max_output_tokens < held.most:
        return Violation("config.max_output_tokens", f"{has}: lower it")
    return Violation("messages", f"{has}: shorten them, or lower config.max_output_tokens")


# --- how much ---------------------------------------------------------------------------------------------------------


def _terms(settings: CallerLimits, key: str, workspace: str) -> Terms:
    """All that holds for a caller."""
    held = [_limits(f"workspace:{workspace}", settings.workspaces.get(workspace), settings.each_workspace)]
    if key:
        held.insert(0, _limits(f"key:{key}", settings.keys.get(key), settings.each_key))
    return Terms([each for of_scope in held for each in of_scope])


def _limits(scope: str, own: CallerLimit | None, each: CallerLimit) -> Iterator[Limit]:
    """Its own, and what holds in place of what that leaves open."""
    own = own or each
    most: Mapping[Dimension, int | None] = {
        "requests": own.requests_per_minute or each.requests_per_minute,
        "tokens": own.tokens_per_minute or each.tokens_per_minute,
        "concurrency": own.concurrency or each.concurrency,
    }
    return (Limit(scope, dimension, many) for dimension, many in most.items() if many)


def _units(terms: Terms, request: GenerateRequest) -> Sequence[int]:
    """What the call takes of each of its limits a minute, by estimate."""
    requests, tokens = terms.one_each, terms.tokens
    if not tokens:
        return requests
    given, asked = count_tokens(request).tokens, request.config.max_output_tokens
    if asked:
        return requests + (given + asked,) * len(tokens)
    # What only we suppose makes no request too large.
    return *requests, *(max(given, min(given + USUAL_OUTPUT, each.most)) for each in tokens)


def _tokens(usage: Usage) -> int | None:
    """What was used. None: the provider does not say."""
    tokens = usage.input_tokens + usage.output_tokens
    if tokens or usage.HasField("input_tokens") or usage.HasField("output_tokens"):
        return tokens
    return None


def _tokens_of(error: CallError) -> int | None:
    """What a call used that failed: nothing, if no provider began with it."""
    if error.failure is None:
        return 0 if error.repeatable else None
    free = all(attempt.outcome in _FREE for attempt in error.failure.served.attempts)
    return 0 if free else _tokens(error.failure.usage)


# --- what the caller is told ------------------------------------------------------------------------------------------


def _told(left: Sequence[Left]) -> tuple[tuple[str, str], ...]:
    """What these limits are and what is left of them, as the RateLimit header fields for HTTP say it."""
    rest = []
    for each in left:
        much = each.limit.rest % each.remaining
        rest.append(f"{much};t={ceil(each.reset)}" if each.reset else much)
    return ("ratelimit-policy", ", ".join(map(_POLICY, left))), ("ratelimit", ", ".join(rest))
