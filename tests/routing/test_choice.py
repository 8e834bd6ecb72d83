"""Whom to ask after a failure: every small situation."""

from __future__ import annotations

from itertools import product
from typing import get_args

import pytest

from trunkline.v1 import call_pb2
from trunkline_server.errors import CallError, CredentialMissing, Unpaid, UpstreamError
from trunkline_server.routing.choice import Candidate, Chosen, Standing, Tried, choices
from trunkline_server.routing.retries import UNKNOWN_OUTCOMES, WAYS, Way
from trunkline_server.settings.reliability import Retryable, RetrySettings

RETRY = RetrySettings(retryable=get_args(Retryable))
OUTCOMES = [*WAYS, call_pb2.OUTCOME_UNSPECIFIED]
STATES = [None, *(call_pb2.OUTCOME_SERVER_ERROR, call_pb2.OUTCOME_AUTH, call_pb2.OUTCOME_RATE_LIMITED)]


def tried(outcome: call_pb2.Outcome.ValueType, attempts: int = 1, retry_after: float | None = None) -> Tried:
    return Tried(attempts, UpstreamError(outcome, retry_after=retry_after), 100.0)


def standing(left: int = 2, repeatable: bool = True, deadline: float = 160.0) -> Standing:
    return Standing(now=100.0, deadline=deadline, attempts_left=left, repeatable=repeatable)


def half() -> float:
    return 0.5


@pytest.mark.parametrize("repeatable", [True, False])
@pytest.mark.parametrize("left", [0, 1, 2])
def test_every_small_situation(left: int, repeatable: bool) -> None:
    """Three targets, the first of which has just failed; the others are fresh or failed before."""
    for outcome, second, third, usable in product(OUTCOMES, STATES, STATES, [True, False]):
        candidates = [Candidate(retry=RETRY, usable=usable), Candidate(retry=RETRY), Candidate(retry=RETRY)]
        before = {0: tried(outcome)}
        before |= {number: tried(state) for number, state in ((1, second), (2, third)) if state is not None}
        found = choices(candidates, before, 0, standing(left, repeatable), half)
        way = WAYS.get(outcome, Way.NOWHERE)
        if left == 0 or way in (Way.NOWHERE, Way.LARGER) or (outcome in UNKNOWN_OUTCOMES and not repeatable):
            assert found == []
            continue
        fresh = [number for number in (1, 2) if number not in before]
        if fresh:
            assert found == [Chosen(fresh[0])]
            continue
        again = {0} if way is Way.ANYWHERE and usable else set()
        again |= {number for number in (1, 2) if before[number].error.outcome != call_pb2.OUTCOME_AUTH}
        assert {choice.target for choice in found} == again
        assert all(choice.again and choice.delay > 0 for choice in found)
        assert [choice.delay for choice in found] == sorted(choice.delay for choice in found)


@pytest.mark.parametrize(
    ("last", "left", "keys"),
    [
        (tried(call_pb2.OUTCOME_AUTH), 1, True),
        (tried(call_pb2.OUTCOME_QUOTA), 1, True),
        (tried(call_pb2.OUTCOME_RATE_LIMITED, retry_after=30.0), 1, True),
        (tried(call_pb2.OUTCOME_AUTH), 0, False),
        # Nothing says that another key would fare better.
        (tried(call_pb2.OUTCOME_RATE_LIMITED), 1, False),
        (tried(call_pb2.OUTCOME_SERVER_ERROR), 1, False),
        (tried(call_pb2.OUTCOME_MODEL_NOT_FOUND), 1, False),
        (tried(call_pb2.OUTCOME_INVALID), 1, False),
    ],
)
def test_where_the_key_failed_the_next_key_goes_before_the_next_provider(last: Tried, left: int, keys: bool) -> None:
    candidates = [Candidate(retry=RETRY, other_key=True), Candidate(retry=RETRY)]
    found = choices(candidates, {0: last}, 0, standing(left), half)
    assert (found == [Chosen(0)]) == keys
    late = [Candidate(retry=RETRY, other_key=True, first_token=99.0)]
    assert choices(late, {0: last}, 0, standing(left), half) == []


def test_what_an_earlier_target_asked_for_counts_from_then() -> None:
    candidates = [Candidate(retry=RETRY)] * 2
    limited = tried(call_pb2.OUTCOME_RATE_LIMITED, retry_after=30.0)
    at = Standing(now=120.0, deadline=200.0, attempts_left=1, repeatable=True)
    (choice,) = choices(candidates, {0: limited, 1: tried(call_pb2.OUTCOME_AUTH)}, 1, at, half)
    assert choice == Chosen(0, 10.0, again=True)


def test_nothing_that_would_begin_too_late() -> None:
    slow, quick = Candidate(retry=RETRY, first_token=100.0), Candidate(retry=RETRY, first_token=1.0)
    failed = {0: tried(call_pb2.OUTCOME_AUTH)}
    assert choices([quick, slow, quick], failed, 0, standing(), half) == [Chosen(2)]
    assert choices([quick, slow], failed, 0, standing(), half) == []


def test_too_long_requests_go_to_larger_windows() -> None:
    def of(window: int, larger_only: bool = False) -> Candidate:
        return Candidate(retry=RETRY, window=window, larger_only=larger_only)

    long = {0: tried(call_pb2.OUTCOME_CONTEXT_LENGTH)}
    assert choices([of(8), of(0), of(4), of(32), of(64, True)], long, 0, standing(), half) == [Chosen(3)]
    assert choices([of(8), of(0), of(4), of(0, True)], long, 0, standing(), half) == [Chosen(3)]
    assert choices([of(0), of(32), of(4)], long, 0, standing(), half) == []
    down = {0: tried(call_pb2.OUTCOME_AUTH)}
    assert choices([of(8), of(64, True)], down, 0, standing(), half) == []


@pytest.mark.parametrize(
    "error", [CredentialMissing("none"), Unpaid("budget", CallError(call_pb2.ERROR_REASON_BUDGET_EXHAUSTED, "empty"))]
)
def test_two_targets_to_which_nothing_was_sent_end_the_call(error: UpstreamError) -> None:
    """Both failures are of kinds that are not made as others are."""
    failed = {0: Tried(1, error, 90.0), 1: Tried(1, error, 100.0)}
    assert choices([Candidate(retry=RETRY)] * 2, failed, 1, standing(), half) == []
