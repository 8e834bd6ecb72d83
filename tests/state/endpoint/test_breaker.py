"""The breaker, example by example."""

from __future__ import annotations

import pytest

from trunkline.v1 import call_pb2
from trunkline_server import config
from trunkline_server.state.endpoint.breaker import HEALTHY, Breaker, State

SUCCESS, FAULT = call_pb2.OUTCOME_SUCCESS, call_pb2.OUTCOME_SERVER_ERROR
CANCELLED = call_pb2.OUTCOME_CANCELLED
# Named here again, so that it is noticed when one is added or taken away.
FAULTS = [
    call_pb2.OUTCOME_OVERLOADED,
    call_pb2.OUTCOME_SERVER_ERROR,
    call_pb2.OUTCOME_TIMEOUT,
    call_pb2.OUTCOME_NOT_CONNECTED,
    call_pb2.OUTCOME_INTERRUPTED,
    call_pb2.OUTCOME_PROTOCOL_ERROR,
]
HARMLESS = sorted(set(call_pb2.Outcome.values()) - {*FAULTS, SUCCESS})


def middle() -> float:
    return 0.5


def call(breaker: Breaker, outcome: call_pb2.Outcome.ValueType, now: float) -> None:
    trial = breaker.start(now)
    assert trial is not None
    breaker.end(trial, outcome, now)


def opened(now: float = 0.0, **more: float) -> Breaker:
    breaker = Breaker(middle, **more)  # type: ignore[arg-type]
    for _ in range(5):
        call(breaker, FAULT, now)
    assert breaker.state(now) is State.OPEN
    return breaker


def test_failures_in_a_row_open_it() -> None:
    breaker = Breaker(middle, failures=3)
    for outcome in [FAULT, FAULT, SUCCESS, FAULT, FAULT]:
        call(breaker, outcome, 0.0)
    assert breaker.state(0.0) is State.CLOSED
    call(breaker, FAULT, 0.0)
    assert breaker.state(0.0) is State.OPEN
    assert breaker.start(0.0) is None


@pytest.mark.parametrize("outcome", HARMLESS, ids=call_pb2.Outcome.Name)
def test_what_is_not_the_providers_fault_never_opens_it(outcome: call_pb2.Outcome.ValueType) -> None:
    breaker = Breaker(middle)
    for second in range(1000):
        call(breaker, outcome, second / 10)
    assert breaker.state(100.0) is State.CLOSED


@pytest.mark.parametrize("outcome", FAULTS, ids=call_pb2.Outcome.Name)
def test_what_is_the_providers_fault_does(outcome: call_pb2.Outcome.ValueType) -> None:
    breaker = Breaker(middle)
    for _ in range(5):
        call(breaker, outcome, 0.0)
    assert breaker.state(0.0) is State.OPEN


def test_half_of_ten_calls_open_it_though_no_two_in_a_row_fail() -> None:
    breaker = Breaker(middle)
    for number in range(9):
        call(breaker, SUCCESS if number % 2 else FAULT, number)
        assert breaker.state(number) is State.CLOSED, "nine are too few to tell"
    call(breaker, SUCCESS, 9.0)
    call(breaker, FAULT, 9.0)
    assert breaker.state(9.0) is State.OPEN


def test_what_is_older_than_the_window_is_forgotten() -> None:
    breaker = Breaker(middle)
    for number in range(8):
        call(breaker, SUCCESS if number % 2 else FAULT, 0.0)
    for _ in range(3):
        call(breaker, FAULT, 31.0)
    assert breaker.state(31.0) is State.CLOSED


def test_failures_that_are_quick_do_not_hide_answers_that_are_slow() -> None:
    """Twelve of forty fail at once; the others take ten seconds to begin."""
    breaker = Breaker(middle, failures=100)
    for number in range(40):
        trial = breaker.start(0.0)
        assert trial is not None
        if number % 10 < 3:
            breaker.end(trial, FAULT, 0.1)
            if number >= 10:
                assert breaker.state(0.1) is State.CLOSED


def test_timeouts_that_come_after_the_window_open_it_all_the_same() -> None:
    breaker = Breaker(middle, failures=100)
    trials = [breaker.start(0.0) for _ in range(10)]
    for trial in trials:
        assert trial is not None
        breaker.end(trial, call_pb2.OUTCOME_TIMEOUT, 120.0)
    assert breaker.state(120.0) is State.OPEN


def test_slow_first_tokens_open_it() -> None:
    breaker = Breaker(middle)
    for number in range(10):
        assert breaker.state(0.0) is State.CLOSED
        trial = breaker.start(0.0)
        assert trial is not None
        breaker.first_token(trial, 0.0, slow=number >= 2)
        breaker.end(trial, SUCCESS, 0.0)
    assert breaker.state(0.0) is State.OPEN


def test_answers_that_break_off_open_it_although_each_had_begun() -> None:
    breaker = Breaker(middle)
    for _ in range(10):
        trial = breaker.start(0.0)
        assert trial is not None
        breaker.first_token(trial, 0.0)
        breaker.end(trial, call_pb2.OUTCOME_INTERRUPTED, 0.0)
    assert breaker.state(0.0) is State.OPEN


def test_one_probe_then_three_then_closed() -> None:
    breaker = opened()
    assert breaker.wait(1.0) == 4.0
    first = breaker.start(5.0)
    assert first is not None
    assert breaker.start(5.0) is None
    breaker.first_token(first, 6.0)
    three = [breaker.start(6.0) for _ in range(4)]
    assert three[3] is None
    for trial in three[:3]:
        assert trial is not None
        assert breaker.state(6.0) is State.HALF_OPEN
        breaker.first_token(trial, 6.0)
    assert breaker.state(6.0) is State.CLOSED


@pytest.mark.parametrize("outcome", HARMLESS, ids=call_pb2.Outcome.Name)
def test_a_probe_that_tells_nothing_frees_its_place(outcome: call_pb2.Outcome.ValueType) -> None:
    breaker = opened()
    for _ in range(10):
        trial = breaker.start(5.0)
        assert trial is not None
        assert not breaker.admits(5.0)
        breaker.end(trial, outcome, 5.0)
        breaker.end(trial, outcome, 5.0)
    assert breaker.state(5.0) is State.HALF_OPEN


def test_it_is_open_for_longer_each_time_up_to_five_minutes() -> None:
    breaker, now, waits = opened(), 0.0, []
    for _ in range(9):
        waits.append(breaker.wait(now))
        now += breaker.wait(now)
        call(breaker, FAULT, now)
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300, 300]


def test_a_slow_probe_is_no_sign_of_health() -> None:
    breaker = opened()
    trial = breaker.start(5.0)
    assert trial is not None
    breaker.first_token(trial, 5.0, slow=True)
    assert breaker.wait(5.0) == 10.0


def close(breaker: Breaker, now: float) -> None:
    for _ in range(4):
        call(breaker, SUCCESS, now)
    assert breaker.state(now) is State.CLOSED


@pytest.mark.parametrize(("closed_for", "wait"), [(HEALTHY - 1, 10.0), (HEALTHY, 5.0)])
def test_health_is_trusted_after_a_while(closed_for: float, wait: float) -> None:
    breaker = opened()
    close(breaker, 5.0)
    now = 5.0 + closed_for
    for _ in range(5):
        call(breaker, FAULT, now)
    assert breaker.wait(now) == wait


@pytest.mark.parametrize(("drawn", "wait"), [(0.0, 4.0), (1.0, 6.0)])
def test_the_time_varies_by_a_fifth(drawn: float, wait: float) -> None:
    breaker = Breaker(lambda: drawn)
    for _ in range(5):
        call(breaker, FAULT, 0.0)
    assert breaker.wait(0.0) == pytest.approx(wait)


def test_what_began_before_it_opened_says_nothing_of_a_probe() -> None:
    breaker = Breaker(middle)
    old = breaker.start(0.0)
    assert old is not None
    for _ in range(5):
        call(breaker, FAULT, 0.0)
    probe = breaker.start(5.0)
    breaker.end(old, FAULT, 5.0)
    assert breaker.state(5.0) is State.HALF_OPEN
    assert probe is not None
    breaker.end(probe, CANCELLED, 5.0)
    assert breaker.admits(5.0)


def test_the_figures_that_operators_know() -> None:
    """Five failures, then nothing for 300 seconds, each time: as the preset has it."""
    preset = config.load(None, {"TRUNKLINE_PRESET": "hugai"}).providers["openai"].breaker
    breaker, now = Breaker(middle, failures=preset.failures, recovery=preset.recovery), 0.0
    for _ in range(4):
        call(breaker, FAULT, now)
    assert breaker.state(now) is State.CLOSED
    call(breaker, FAULT, now)
    for _ in range(3):
        assert breaker.start(now + 299.9) is None
        now += 300.0
        call(breaker, FAULT, now)
    assert breaker.wait(now) == 300.0


def test_it_tells_of_each_other_state_once() -> None:
    told: list[State] = []
    breaker = Breaker(middle, failures=1, recovery=5.0, tell=told.append)
    assert breaker.is_closed
    call(breaker, FAULT, 0.0)
    assert (told, breaker.is_closed) == ([State.OPEN], False)
    assert breaker.start(4.0) is None
    call(breaker, FAULT, 5.0)
    assert told == [State.OPEN, State.HALF_OPEN, State.OPEN]
    for _ in range(4):
        call(breaker, SUCCESS, 10.0)
    assert (told[3:], breaker.is_closed) == ([State.HALF_OPEN, State.CLOSED], True)
