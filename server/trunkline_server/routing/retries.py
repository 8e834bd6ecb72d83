"""What follows a failed attempt: another try, another target, or the end. Decisions; nothing is sent or spent here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from trunkline.v1 import call_pb2
from trunkline_server.routing.backoff import delay

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trunkline_server.errors import UpstreamError
    from trunkline_server.settings.reliability import Retryable, RetrySettings


class Way(Enum):
    """What may follow a kind of failure."""

    # The provider may answer another time: the next target, or this one again.
    ANYWHERE = "anywhere"
    # Here it fails again: the next target.
    ELSEWHERE = "elsewhere"
    # A target whose model takes longer requests.
    LARGER = "larger"
    # It fails everywhere, or should.
    NOWHERE = "nowhere"


WAYS: Mapping[call_pb2.Outcome.ValueType, Way] = {
    call_pb2.OUTCOME_RATE_LIMITED: Way.ANYWHERE,
    call_pb2.OUTCOME_OVERLOADED: Way.ANYWHERE,
    call_pb2.OUTCOME_SERVER_ERROR: Way.ANYWHERE,
    call_pb2.OUTCOME_TIMEOUT: Way.ANYWHERE,
    call_pb2.OUTCOME_NOT_CONNECTED: Way.ANYWHERE,
    call_pb2.OUTCOME_INTERRUPTED: Way.ANYWHERE,
    call_pb2.OUTCOME_PROTOCOL_ERROR: Way.ANYWHERE,
    call_pb2.OUTCOME_AUTH: Way.ELSEWHERE,
    call_pb2.OUTCOME_QUOTA: Way.ELSEWHERE,
    call_pb2.OUTCOME_MODEL_NOT_FOUND: Way.ELSEWHERE,
    # Our own connections to it are all taken.
    call_pb2.OUTCOME_NOT_SENT: Way.ELSEWHERE,
    call_pb2.OUTCOME_CONTEXT_LENGTH: Way.LARGER,
    call_pb2.OUTCOME_INVALID: Way.NOWHERE,
    # Never silently to a model whose filter is laxer.
    call_pb2.OUTCOME_CONTENT_FILTER: Way.NOWHERE,
    call_pb2.OUTCOME_CANCELLED: Way.NOWHERE,
}


def way_of(error: UpstreamError) -> Way:
    """What may follow this failure: what its kind allows, and no more than the provider itself says."""
    way = WAYS.get(error.outcome, Way.NOWHERE)
    return Way.ELSEWHERE if way is Way.ANYWHERE and error.retryable is False else way


# The provider may have worked, and may charge for it.
UNKNOWN_OUTCOMES = frozenset({call_pb2.OUTCOME_TIMEOUT, call_pb2.OUTCOME_INTERRUPTED, call_pb2.OUTCOME_PROTOCOL_ERROR})
_NAMES: Mapping[call_pb2.Outcome.ValueType, Retryable] = {
    call_pb2.OUTCOME_RATE_LIMITED: "rate_limited",
    call_pb2.OUTCOME_OVERLOADED: "overloaded",
    call_pb2.OUTCOME_SERVER_ERROR: "server_error",
    call_pb2.OUTCOME_NOT_CONNECTED: "not_connected",
    call_pb2.OUTCOME_TIMEOUT: "timeout",
    call_pb2.OUTCOME_INTERRUPTED: "interrupted",
    call_pb2.OUTCOME_PROTOCOL_ERROR: "protocol_error",
}


@dataclass(frozen=True, slots=True)
class Next:
    """A target that can be called now, and when it would most likely begin to answer."""

    # Seconds until its first token: the median.
    first_token: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """Where a call is when one of its attempts fails."""

    # Content of this answer has reached the caller.
    content_sent: bool
    # It may be made twice: nothing is stored by it and no tool is run at the provider.
    repeatable: bool
    # What is left of the call's attempts.
    attempts_left: int
    # Attempts at this target so far, the failed one included.
    attempts_here: int
    # Seconds, in the clock of `now`.
    deadline: float
    # Seconds until the first token of this very target: the median.
    first_token: float
    # The target to go on with. None = there is no other.
    other: Next | None = None
    # The first of the others whose model takes longer requests.
    larger: Next | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """The same target again, after so many seconds. Spends its retry budget and an attempt."""

    delay: float


@dataclass(frozen=True, slots=True)
class FallOver:
    """`Situation.other`, at once. Spends an attempt."""


@dataclass(frozen=True, slots=True)
class GoLarger:
    """`Situation.larger`, at once. Spends an attempt."""


@dataclass(frozen=True, slots=True)
class End:
    """The failure is the call's."""


Step = Retry | FallOver | GoLarger | End


def next_step(
    error: UpstreamError, at: Situation, settings: RetrySettings, now: float, draw: Callable[[], float]
) -> Step:
    """What follows this failure. Nothing is started that would most likely begin to answer after the deadline.

    `settings` are those of the provider that failed; `draw` gives random numbers from 0 to 1.
    """
    way = way_of(error)
    unsafe = not at.repeatable and error.outcome in UNKNOWN_OUTCOMES
    if at.content_sent or at.attempts_left <= 0 or unsafe:
        return End()
    if way is Way.LARGER and at.larger and now + at.larger.first_token <= at.deadline:
        return GoLarger()
    if way not in (Way.ANYWHERE, Way.ELSEWHERE):
        return End()
    if at.other and now + at.other.first_token <= at.deadline:
        return FallOver()
    again = error.retryable or _NAMES.get(error.outcome) in settings.retryable
    if way is Way.ANYWHERE and again and at.attempts_here < settings.max_attempts:
        wait = delay(settings, at.attempts_here - 1, error.retry_after, draw)
        if now + wait + at.first_token <= at.deadline:
            return Retry(wait)
    return End()
