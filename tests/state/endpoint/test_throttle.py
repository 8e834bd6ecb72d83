"""The soft throttle against the formula."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline_server.state.endpoint.throttle import Throttle


def run(throttle: Throttle, calls: int, accepted: int, now: float) -> None:
    for number in range(calls):
        bucket = throttle.start(now)
        if number < accepted:
            throttle.accepted(bucket)
        else:
            throttle.refused(bucket)


@given(calls=st.integers(0, 300), accepted=st.integers(0, 300), k=st.sampled_from([1.1, 1.5, 2.0]))
def test_it_is_the_formula(calls: int, accepted: int, k: float) -> None:
    throttle, accepted = Throttle(k), min(calls, accepted)
    run(throttle, calls, accepted, 5.0)
    assert throttle.share_away(5.0) == max(0.0, (calls - k * accepted) / (calls + 1))


def test_a_healthy_endpoint_keeps_everything() -> None:
    throttle = Throttle()
    run(throttle, 1000, 501, 0.0)
    assert throttle.share_away(0.0) == 0.0


def test_calls_that_only_just_began_are_no_sign_of_trouble() -> None:
    throttle = Throttle()
    for second in range(10):
        throttle.start(float(second))
    assert throttle.share_away(9.0) == 0.0


def test_a_black_hole_shows_before_any_call_has_ended() -> None:
    throttle = Throttle()
    for second in range(30):
        throttle.start(float(second))
    assert throttle.share_away(30.0) == pytest.approx(20 / 21)


def test_callers_who_go_away_say_nothing() -> None:
    throttle = Throttle()
    for _ in range(10):
        throttle.withdrawn(throttle.start(0.0))
    assert throttle.share_away(60.0) == 0.0


def test_it_forgets() -> None:
    throttle = Throttle()
    run(throttle, 100, 0, 0.0)
    assert throttle.share_away(100.0) > 0.9
    assert throttle.share_away(120.0) == 0.0


def test_what_ends_long_after_it_began_changes_nothing() -> None:
    throttle = Throttle()
    bucket = throttle.start(0.0)
    throttle.start(500.0)
    throttle.accepted(bucket)
    throttle.withdrawn(bucket)
    assert throttle.share_away(530.0) == 0.5
