"""What is known of targets: first tokens of late, and the budgets of retries and hedges."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trunkline.v1.call_pb2 import Target
from trunkline_server.state.endpoint.experience import MAX_TARGETS, Experience
from trunkline_server.state.endpoint.first_tokens import ENOUGH, SPAN, FirstTokens
from trunkline_server.state.endpoint.hedge_budget import MOST, PRICE, HedgeBudget

TARGET = Target(provider="a", model="m")


def test_first_tokens_are_forgotten_in_time() -> None:
    known = FirstTokens()
    known.record(1.0, 0.0)
    assert known.quantile(0.5, SPAN - 1) is not None
    assert known.quantile(0.5, SPAN + 1) is not None
    known.record(9.0, SPAN + 1)
    assert (known.quantile(0.5, 2 * SPAN + 2) or 0) > 8
    assert known.quantile(0.5, 5 * SPAN) is None


def test_rare_cases_need_enough_measurements() -> None:
    experience = Experience(lambda: 0.0)
    assert experience.usual(TARGET, True) == 0.0
    for _ in range(ENOUGH - 1):
        experience.began(TARGET, True, 2.0)
    assert 1.9 < experience.usual(TARGET, True) < 2.1
    assert experience.late(TARGET, True) is None
    experience.began(TARGET, True, 2.0)
    assert experience.late(TARGET, True) is not None
    assert experience.late(TARGET, False) is None


def test_targets_that_callers_make_up_do_not_fill_the_memory() -> None:
    experience = Experience(lambda: 0.0)
    for number in range(MAX_TARGETS + 50):
        experience.began(Target(provider="a", model=str(number)), True, 1.0)
    assert len(experience._first_tokens) == MAX_TARGETS


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
