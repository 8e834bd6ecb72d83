"""What is remembered of failures, and for how long."""

from __future__ import annotations

from math import exp

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline_server.state.endpoint.fading import FORGETTING, FORGIVEN, LONGEST_FORGETTING, FadingShare


def fail(share: FadingShare, now: float) -> None:
    """As often as it is trouble, from wherever it was."""
    for _ in range(10):
        share.learn(1.0, now)


def memory(share: FadingShare, now: float) -> float:
    """Seconds after which a third of it is left."""
    whole = share.read(now)
    return next(t for t in range(1, 1000) if share.read(now + t) <= whole * exp(-1) * 1.000001)


@given(st.lists(st.tuples(st.floats(0, 100), st.booleans())), st.floats(0, 1000), st.floats(0, 1000))
def test_it_is_a_share_and_only_fades_where_nobody_calls(
    calls: list[tuple[float, bool]], soon: float, later: float
) -> None:
    share, now = FadingShare(), 0.0
    for gap, failed in calls:
        now += gap
        before = share.read(now)
        share.learn(float(failed), now)
        assert 0.0 <= share.read(now) <= 1.0
        assert share.read(now) >= before if failed else share.read(now) <= before
    assert share.read(now) >= share.read(now + soon) >= share.read(now + soon + later)


def test_who_is_in_trouble_again_is_remembered_for_longer_each_time_up_to_a_bound() -> None:
    share, now, remembered = FadingShare(), 0.0, []
    for _ in range(6):
        fail(share, now)
        remembered.append(memory(share, now))
        for _ in range(30):
            share.learn(0.0, now)
        now += 10.0
    assert remembered == [FORGETTING, 60, 120, LONGEST_FORGETTING, LONGEST_FORGETTING, LONGEST_FORGETTING]


def test_one_trouble_that_goes_on_is_one() -> None:
    share = FadingShare()
    for now in range(100):
        share.learn(1.0, now)
    assert memory(share, 100.0) == FORGETTING


@pytest.mark.parametrize(("quiet", "remembered"), [(FORGIVEN - 1, 2 * FORGETTING), (FORGIVEN, FORGETTING)])
def test_who_is_well_for_long_enough_is_forgiven(quiet: float, remembered: float) -> None:
    share = FadingShare()
    fail(share, 0.0)
    fail(share, quiet)
    assert memory(share, quiet) == remembered
