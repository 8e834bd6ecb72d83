"""What bounds retries: an endpoint's retry budget and a call's attempt budget."""

from __future__ import annotations

from bisect import bisect_left

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from trunkline_server.state.endpoint.attempt_budget import AttemptBudget
from trunkline_server.state.endpoint.retry_budget import Floor, RetryBudget

EVENTS = st.lists(st.tuples(st.floats(0, 0.5), st.integers(0, 12), st.integers(0, 12)), max_size=60)


@given(events=EVENTS)
def test_retries_stay_below_a_fifth_and_the_floor(events: list[tuple[float, int, int]]) -> None:
    budget, now = RetryBudget(Floor()), 100.0
    firsts: list[float] = []
    retries: list[float] = []
    for gap, deposits, wanted in events:
        now += gap
        for _ in range(deposits):
            budget.deposit(now)
            firsts.append(now)
        retries += [now for _ in range(wanted) if budget.withdraw(now)]
        lately = len(retries) - bisect_left(retries, now - 10)
        paid = len(firsts) - bisect_left(firsts, now - 11)
        assert lately <= paid / 5 + 30


@given(events=st.lists(st.tuples(st.floats(0, 0.5), st.integers(0, 2), st.integers(0, 12), st.integers(0, 12))))
def test_each_endpoint_pays_with_its_own_and_all_of_a_provider_share_one_floor(
    events: list[tuple[float, int, int, int]],
) -> None:
    floor, now = Floor(), 100.0
    budgets = [RetryBudget(floor) for _ in range(3)]
    firsts: list[list[float]] = [[], [], []]
    retries: list[list[float]] = [[], [], []]

    def beyond(at: int) -> int:
        """Retries of the last ten seconds that its own fifth does not pay for."""
        lately = len(retries[at]) - bisect_left(retries[at], now - 10)
        return max(0, lately - (len(firsts[at]) - bisect_left(firsts[at], now - 11)) // 5)

    for gap, at, deposits, wanted in events:
        now += gap
        for _ in range(deposits):
            budgets[at].deposit(now)
            firsts[at].append(now)
        retries[at] += [now for _ in range(wanted) if budgets[at].withdraw(now)]
        assert sum(beyond(each) for each in range(3)) <= 30


def test_what_one_endpoint_has_spent_another_has_still() -> None:
    floor = Floor()
    poor, rich = RetryBudget(floor), RetryBudget(floor)
    for _ in range(50):
        poor.deposit(100.0)
        rich.deposit(100.0)
    assert sum(poor.withdraw(100.0) for _ in range(100)) == 10 + 30
    assert sum(rich.withdraw(100.0) for _ in range(100)) == 10


def test_under_total_failure_upstream_sees_a_fifth_more_and_the_floor() -> None:
    budget, retries = RetryBudget(Floor()), 0
    for tick in range(60_000):
        now = tick / 1000
        budget.deposit(now)
        retries += sum(budget.withdraw(now) for _ in range(3))
    assert 0.2 * 60_000 <= retries <= 0.2 * 60_000 + 3 * 60 + 30 + 5


def test_a_quiet_endpoint_gets_the_floor_and_no_more() -> None:
    budget = RetryBudget(Floor())
    granted = sum(budget.withdraw(tick / 10) for tick in range(1000))
    assert 250 <= granted <= 330
    fresh = RetryBudget(Floor())
    assert sum(fresh.withdraw(5.0) for _ in range(100)) == 30


class AttemptMachine(RuleBasedStateMachine):
    """However retries, fallbacks and hedges are mixed."""

    def __init__(self) -> None:
        super().__init__()
        self.budget, self.started = AttemptBudget(), 0

    @rule(kind=st.sampled_from(["first", "retry", "fallback", "hedge"]), times=st.integers(1, 3))
    def attempt(self, kind: str, times: int) -> None:
        for _ in range(times):
            allowed = self.budget.take()
            assert allowed == (self.started < 4)
            self.started += allowed

    @invariant()
    def bounded(self) -> None:
        assert self.budget.left == 4 - self.started >= 0


TestAttempts = AttemptMachine.TestCase
