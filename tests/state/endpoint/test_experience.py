"""What was measured lately, and the budget of hedges."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trunkline_server.state.endpoint.hedge_budget import MOST, PRICE, HedgeBudget
from trunkline_server.state.endpoint.last_minutes import SPAN, LastMinutes


def test_measurements_are_forgotten_in_time() -> None:
    known = LastMinutes()
    known.record(1.0, 0.0)
    assert known.quantile(0.5, SPAN - 1) is not None
    assert known.quantile(0.5, SPAN + 1) is not None
    known.record(9.0, SPAN + 1)
    assert (known.quantile(0.5, 2 * SPAN + 2) or 0) > 8
    assert known.quantile(0.5, 5 * SPAN) is None


@given(st.lists(st.booleans(), max_size=400))
def test_no_more_than_a_twentieth_is_hedged(wants: list[bool]) -> None:
    budget, hedges = HedgeBudget(), 0
    for calls, wanted in enumerate(wants, 1):
        budget.deposit()
        hedges += wanted and budget.withdraw()
        assert hedges <= calls / PRICE + 1
    burst = HedgeBudget()
    for _ in range(10 * MOST):
        burst.deposit()
    assert sum(burst.withdraw() for _ in range(100)) == MOST // PRICE


@given(st.lists(st.tuples(st.sampled_from(["record", "read"]), st.floats(0, 400)), max_size=30))
def test_when_the_last_minutes_are_looked_at_changes_nothing(steps: list[tuple[str, float]]) -> None:
    looked, left, now = LastMinutes(), LastMinutes(), 0.0
    for number, (what, later) in enumerate(steps):
        now += later
        if what == "record":
            looked.record(number + 1.0, now)
            left.record(number + 1.0, now)
        else:
            looked.both(now)
    assert looked.quantile(0.5, now) == left.quantile(0.5, now)
    assert looked.both(now).count == left.both(now).count


def test_what_was_measured_counts_for_five_minutes_at_least_and_ten_at_most() -> None:
    for begin in (0.0, 10.0, 299.0, 300.0, 12345.6):
        known = LastMinutes()
        known.record(1.0, begin)
        assert known.quantile(0.5, begin + 299.9) is not None
        assert known.quantile(0.5, begin + 600.0) is None
