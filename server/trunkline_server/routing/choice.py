"""Whom to ask after a failure, over all targets of a call. Pure: whoever takes a choice asks its retry budget."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from trunkline.v1 import call_pb2
from trunkline_server.routing.retries import (
    UNKNOWN_OUTCOMES,
    WAYS,
    FallOver,
    GoLarger,
    Next,
    Retry,
    Situation,
    Way,
    next_step,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from trunkline_server.errors import UpstreamError
    from trunkline_server.settings.reliability import RetrySettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A target of the call as it stands now. Seconds throughout."""

    # Until its first token, most likely.
    first_token: float = 0.0
    # Of its provider.
    retry: RetrySettings
    # In tokens; 0 = not known.
    window: int = 0
    # Meant only for requests that are too long for the others.
    larger_only: bool = False
    # Its provider has another key that can be asked now.
    other_key: bool = False
    # May be asked now: it can continue an answer, say, that has to be continued.
    usable: bool = True


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of the attempts at one target so far: all failed, the last one so."""

    attempts: int
    error: UpstreamError
    ended: float


@dataclass(frozen=True, slots=True)
class Chosen:
    """The number of a target, and when to ask it."""

    target: int
    # Seconds from now.
    delay: float = 0.0
    # It is asked again: that spends its endpoint's retry budget.
    again: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where the call is."""

    now: float
    deadline: float
    attempts_left: int
    # It may be made twice: no tool is run at the provider.
    repeatable: bool


def choices(
    candidates: Sequence[Candidate],
    tried: Mapping[int, Tried],
    last: int,
    at: Standing,
    draw: Callable[[], float],
) -> list[Chosen]:
    """What may follow the failure of the attempt at target `last`, best first. Empty = it is the call's.

    Where it is the key that failed, the same target with another one, at once. A target that was not asked yet goes
    before any other that was, in the order of the plan and at once. Of those that were asked, the one that may be asked
    again soonest.
    """
    if _is_the_keys(tried[last].error) and _may_change_key(candidates[last], tried[last].error, at):
        return [Chosen(last)]
    step = next_step(tried[last].error, _situation(candidates, tried, last, at), candidates[last].retry, at.now, draw)
    match step:
        case FallOver():
            return [Chosen(_fresh(candidates, tried, at)[0])]
        case GoLarger():
            return [Chosen(_larger(candidates, tried, last, at)[0])]
    if not _may_go_on(tried[last].error, at):
        return []
    again = [Chosen(last, step.delay, again=True)] if isinstance(step, Retry) and candidates[last].usable else []
    again += [choice for index in tried if index != last for choice in _again(candidates, tried, index, at, draw)]
    return sorted(again, key=lambda choice: choice.delay)


def _is_the_keys(error: UpstreamError) -> bool:
    """Whether it says something of the key that was used, for which that one is left alone from now on."""
    limited = error.outcome == call_pb2.OUTCOME_RATE_LIMITED and error.retry_after is not None
    return limited or error.outcome in (call_pb2.OUTCOME_AUTH, call_pb2.OUTCOME_QUOTA)


def _may_change_key(candidate: Candidate, error: UpstreamError, at: Standing) -> bool:
    in_time = at.now + candidate.first_token <= at.deadline
    return candidate.other_key and candidate.usable and in_time and _may_go_on(error, at)


def _may_go_on(error: UpstreamError, at: Standing) -> bool:
    way = WAYS.get(error.outcome, Way.NOWHERE)
    unsafe = not at.repeatable and error.outcome in UNKNOWN_OUTCOMES
    return way in (Way.ANYWHERE, Way.ELSEWHERE) and at.attempts_left > 0 and not unsafe


def _situation(candidates: Sequence[Candidate], tried: Mapping[int, Tried], index: int, at: Standing) -> Situation:
    fresh, larger = _fresh(candidates, tried, at), _larger(candidates, tried, index, at)
    return Situation(
        content_sent=False,
        repeatable=at.repeatable,
        attempts_left=at.attempts_left,
        attempts_here=tried[index].attempts,
        deadline=at.deadline,
        first_token=candidates[index].first_token,
        other=Next(candidates[fresh[0]].first_token) if fresh else None,
        larger=Next(candidates[larger[0]].first_token) if larger else None,
    )


def _untried(candidates: Sequence[Candidate], tried: Mapping[int, Tried], at: Standing) -> Iterator[int]:
    """Targets that were not asked and would most likely begin to answer in time."""
    for index, candidate in enumerate(candidates):
        if index not in tried and candidate.usable and at.now + candidate.first_token <= at.deadline:
            yield index


def _fresh(candidates: Sequence[Candidate], tried: Mapping[int, Tried], at: Standing) -> list[int]:
    return [index for index in _untried(candidates, tried, at) if not candidates[index].larger_only]


def _larger(candidates: Sequence[Candidate], tried: Mapping[int, Tried], last: int, at: Standing) -> list[int]:
    """Those whose window is known to be larger than all that were too small; then those that are meant for it."""
    window = candidates[last].window
    untried = list(_untried(candidates, tried, at))
    known = [index for index in untried if 0 < window < candidates[index].window]
    return known or [index for index in untried if candidates[index].larger_only]


def _again(
    candidates: Sequence[Candidate],
    tried: Mapping[int, Tried],
    index: int,
    at: Standing,
    draw: Callable[[], float],
) -> Iterator[Chosen]:
    """An earlier target once more, if its own last failure allows it."""
    if not candidates[index].usable:
        return
    earlier = tried[index]
    error = _since(earlier.error, at.now - earlier.ended)
    situation = replace(_situation(candidates, tried, index, at), other=None, larger=None)
    step = next_step(error, situation, candidates[index].retry, at.now, draw)
    if isinstance(step, Retry):
        yield Chosen(index, step.delay, again=True)


def _since(error: UpstreamError, elapsed: float) -> UpstreamError:
    """The failure as it is so much later: there is less to wait."""
    if error.retry_after is None:
        return error  # which may be of a kind that has more to tell, and is made otherwise
    return replace(error, retry_after=max(0.0, error.retry_after - elapsed))
