"""What follows a failure: the table, the delays, and that a call never makes more attempts than it has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import sqrt
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from trunkline.v1 import call_pb2
from trunkline_server import config
from trunkline_server.errors import UpstreamError
from trunkline_server.routing.backoff import delay
from trunkline_server.routing.retries import (
    UNKNOWN_OUTCOMES,
    WAYS,
    End,
    FallOver,
    GoLarger,
    Next,
    Retry,
    Situation,
    Step,
    next_step,
)
from trunkline_server.settings.reliability import RetrySettings
from trunkline_server.state.endpoint.attempt_budget import AttemptBudget

ALONE = Situation(
    content_sent=False, repeatable=True, attempts_left=3, attempts_here=1, deadline=100.0, first_token=1.0
)
NOT_ALONE = replace(ALONE, other=Next(), larger=Next())
ALL = RetrySettings(
    retryable=(
        "rate_limited",
        "overloaded",
        "server_error",
        "not_connected",
        "timeout",
        "interrupted",
        "protocol_error",
    )
)
DEFAULTS = RetrySettings()
OUTCOMES = sorted(set(call_pb2.Outcome.values()) - {call_pb2.OUTCOME_SUCCESS})


def step(
    outcome: call_pb2.Outcome.ValueType,
    at: Situation,
    settings: RetrySettings = DEFAULTS,
    retry_after: float | None = None,
) -> Step:
    return next_step(UpstreamError(outcome, retry_after=retry_after), at, settings, 0.0, lambda: 1.0)


# name → alone, with others.
TABLE: dict[str, tuple[type[Step], type[Step]]] = {
    "RATE_LIMITED": (Retry, FallOver),
    "OVERLOADED": (Retry, FallOver),
    "SERVER_ERROR": (Retry, FallOver),
    "NOT_CONNECTED": (Retry, FallOver),
    "TIMEOUT": (End, FallOver),
    "INTERRUPTED": (End, FallOver),
    "PROTOCOL_ERROR": (End, FallOver),
    "AUTH": (End, FallOver),
    "QUOTA": (End, FallOver),
    "MODEL_NOT_FOUND": (End, FallOver),
    "NOT_SENT": (End, FallOver),
    "CONTEXT_LENGTH": (End, GoLarger),
    "INVALID": (End, End),
    "CONTENT_FILTER": (End, End),
    "CANCELLED": (End, End),
    "UNSPECIFIED": (End, End),
}


@pytest.mark.parametrize("outcome", OUTCOMES, ids=call_pb2.Outcome.Name)
def test_the_table(outcome: call_pb2.Outcome.ValueType) -> None:
    alone, with_others = TABLE[call_pb2.Outcome.Name(outcome).removeprefix("OUTCOME_")]
    assert type(step(outcome, ALONE)) is alone
    assert type(step(outcome, NOT_ALONE)) is with_others


@pytest.mark.parametrize("outcome", OUTCOMES, ids=call_pb2.Outcome.Name)
@pytest.mark.parametrize("alone", [ALONE, NOT_ALONE], ids=["alone", "not alone"])
def test_nothing_follows_content_or_the_last_attempt(outcome: call_pb2.Outcome.ValueType, alone: Situation) -> None:
    assert step(outcome, replace(alone, content_sent=True), ALL) == End()
    assert step(outcome, replace(alone, attempts_left=0), ALL) == End()


@pytest.mark.parametrize("outcome", sorted(UNKNOWN_OUTCOMES), ids=call_pb2.Outcome.Name)
def test_what_may_have_been_charged_for(outcome: call_pb2.Outcome.ValueType) -> None:
    assert step(outcome, ALONE) == End()
    assert isinstance(step(outcome, ALONE, ALL), Retry), "who says so gets it"
    assert step(outcome, replace(NOT_ALONE, repeatable=False), ALL) == End()
    assert step(outcome, replace(ALONE, repeatable=False), ALL) == End()


def test_what_was_certainly_not_done_may_be_done_again_even_with_effects() -> None:
    at = replace(ALONE, repeatable=False)
    assert isinstance(step(call_pb2.OUTCOME_NOT_CONNECTED, at), Retry)
    assert step(call_pb2.OUTCOME_OVERLOADED, replace(at, other=Next())) == FallOver()


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        # With the longest draw the delay is half a second.
        (replace(ALONE, deadline=1.49), End()),
        (replace(ALONE, deadline=1.5), Retry(0.5)),
        (replace(ALONE, deadline=1.0, other=Next(1.1)), End()),
        (replace(ALONE, deadline=1.0, other=Next(1.0)), FallOver()),
        (replace(ALONE, deadline=2.0, other=Next(30.0)), Retry(0.5)),
        (replace(ALONE, attempts_here=4), End()),
        (replace(ALONE, attempts_here=3), Retry(2.0)),
    ],
)
def test_nothing_starts_that_cannot_finish_in_time(at: Situation, expected: Step) -> None:
    assert step(call_pb2.OUTCOME_SERVER_ERROR, at) == expected


def test_what_the_provider_asks_for_is_the_least_and_may_be_too_much() -> None:
    assert step(call_pb2.OUTCOME_RATE_LIMITED, ALONE, retry_after=7.0) == Retry(7.0)
    assert step(call_pb2.OUTCOME_RATE_LIMITED, ALONE, retry_after=99.5) == End()
    assert step(call_pb2.OUTCOME_RATE_LIMITED, NOT_ALONE, retry_after=99.5) == FallOver()


def test_a_larger_window_must_answer_in_time_too() -> None:
    assert step(call_pb2.OUTCOME_CONTEXT_LENGTH, replace(ALONE, larger=Next(101.0), other=Next())) == End()


def test_every_outcome_is_decided() -> None:
    assert set(WAYS) == set(OUTCOMES) - {call_pb2.OUTCOME_UNSPECIFIED}


# --- delays -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("retries", "bound"), [(0, 0.5), (1, 1.0), (3, 4.0), (4, 8.0), (9, 8.0)])
def test_full_jitter_is_even_up_to_its_bound(retries: int, bound: float) -> None:
    """Kolmogorov and Smirnov: with 2,000 draws a distance of 1.63/sqrt(n) or more has a chance of one in a hundred."""
    random, count = Random(retries), 2000
    drawn = sorted(delay(RetrySettings(), retries, None, random.random) / bound for _ in range(count))
    distance = max(max((i + 1) / count - value, value - i / count) for i, value in enumerate(drawn))
    assert distance < 1.63 / sqrt(count)


@given(retries=st.integers(0, 9), drawn=st.floats(0, 1), jitter=st.floats(0, 1), asked=st.none() | st.floats(0, 1e6))
def test_a_delay_is_between_what_was_asked_for_and_the_cap(
    retries: int, drawn: float, jitter: float, asked: float | None
) -> None:
    wait = delay(RetrySettings(jitter=jitter), retries, asked, lambda: drawn)
    assert (asked or 0.0) <= wait <= max(asked or 0.0, 8.0)


PRESETS = {
    # 5 retries, 2 s, 60 s, times 2, 30 s.
    "echotune": ([2.0, 4.0, 8.0, 16.0, 32.0], 30.0),
    # 3 attempts, 1 s, 60 s.
    "hugai": ([1.0, 2.0], None),
    "": ([0.5, 1.0, 2.0], None),
}


@pytest.mark.parametrize("preset", PRESETS)
def test_the_figures_that_operators_know(preset: str) -> None:
    expected, timeout = PRESETS[preset]
    loaded = config.load(None, {"OPENAI_API_KEY": "k", **({"TRUNKLINE_PRESET": preset} if preset else {})})
    settings = structs.replace(loaded.providers["openai"].retry, jitter=0.0)
    assert settings.attempt_timeout == timeout
    assert settings.cap == (60.0 if preset else 8.0)
    now, delays = 0.0, []
    at = replace(ALONE, deadline=1000.0, attempts_left=10)
    while True:
        following = next_step(UpstreamError(call_pb2.OUTCOME_SERVER_ERROR), at, settings, now, lambda: 0.5)
        if not isinstance(following, Retry):
            break
        delays.append(following.delay)
        now += following.delay
        at = replace(at, attempts_here=at.attempts_here + 1)
    assert following == End()
    assert delays == expected


# --- the bound --------------------------------------------------------------------------------------------------------


def attempts_of_every_call(budget: int, targets: int, tries: int, hedges: int) -> Iterator[int]:
    """The attempts of each possible course of a call: every outcome of every attempt, with and without hedges."""
    settings = RetrySettings(max_attempts=tries)
    # Attempts begun, attempts at this target, targets after it, hedges that may still go.
    pending = [(0, 1, targets - 1, hedges)]
    seen = set(pending)
    while pending:
        begun, here, others, spare = pending.pop()
        call = AttemptBudget(budget)
        for _ in range(begun):
            assert call.take()
        if not call.take():
            yield begun
            continue
        for hedged in range(spare + 1):
            taken = sum(call.take() for _ in range(min(1, hedged)))
            made = begun + 1 + taken
            yield made
            for outcome in (call_pb2.OUTCOME_SERVER_ERROR, call_pb2.OUTCOME_AUTH, call_pb2.OUTCOME_CONTEXT_LENGTH):
                other = Next() if others else None
                at = replace(ALONE, attempts_left=call.left, attempts_here=here, other=other, larger=other)
                following = step(outcome, at, settings)
                if isinstance(following, End):
                    continue
                state = (made, here + 1, others, spare - taken)
                if not isinstance(following, Retry):
                    state = (made, 1, others - 1, spare - taken)
                if state not in seen:
                    seen.add(state)
                    pending.append(state)


@pytest.mark.parametrize("budget", [1, 2, 3, 4, 5])
def test_no_combination_of_retries_fallbacks_and_hedges_exceeds_the_budget(budget: int) -> None:
    for targets in range(1, 6):
        for tries in range(1, 6):
            for hedges in range(4):
                most = max(attempts_of_every_call(budget, targets, tries, hedges))
                assert most <= budget
                # And what is there can be used: the bound is not kept by giving up early.
                assert most == min(budget, targets - 1 + tries + hedges) or hedges


@pytest.mark.parametrize(
    ("outcome", "told", "alone", "others"),
    [
        # It knows better than its status.
        (call_pb2.OUTCOME_SERVER_ERROR, False, End, FallOver),
        (call_pb2.OUTCOME_RATE_LIMITED, False, End, FallOver),
        (call_pb2.OUTCOME_TIMEOUT, True, Retry, FallOver),
        # But what can never succeed here is not tried again for its word.
        (call_pb2.OUTCOME_AUTH, True, End, FallOver),
        (call_pb2.OUTCOME_INVALID, True, End, End),
        (call_pb2.OUTCOME_CONTENT_FILTER, True, End, End),
    ],
)
def test_the_provider_says_whether_another_try_makes_sense(
    outcome: call_pb2.Outcome.ValueType, told: bool, alone: type[Step], others: type[Step]
) -> None:
    error = UpstreamError(outcome, retryable=told)
    assert isinstance(next_step(error, ALONE, DEFAULTS, 0.0, lambda: 1.0), alone)
    assert isinstance(next_step(error, NOT_ALONE, DEFAULTS, 0.0, lambda: 1.0), others)
