"""The token bucket: against exact fractions, and against its bound."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, RuleBasedStateMachine, consumes, invariant, multiple, rule

from trunkline_server.state.endpoint.bucket import Admitted, Bucket, Claim, NeverAdmissible, Wait, reserve


def one(bucket: Bucket, units: int, now: float) -> Admitted | Wait | NeverAdmissible:
    return reserve([Claim(bucket, units)], now)


class Oracle:
    """In fractions of a unit."""

    def __init__(self, limit: int, period: int, capacity: int) -> None:
        self.rate, self.capacity = Fraction(limit, period), Fraction(capacity)
        self.level, self.then = self.capacity, Fraction(0)

    def fill(self, now: Fraction) -> None:
        self.level = min(self.capacity, self.level + self.rate * (now - self.then))
        self.then = now

    def wait(self, units: int) -> Fraction | None:
        if units > self.capacity:
            return None
        return max(Fraction(0), (units - self.level) / self.rate)

    def settle(self, reserved: int, used: int, exact: bool) -> None:
        self.level = min(self.capacity, self.level + (reserved - used if exact else min(0, reserved - used)))


class BucketMachine(RuleBasedStateMachine):
    """Times are whole microseconds, so that both see the same."""

    running: Bundle[tuple[Admitted, int, int]] = Bundle("running")

    def __init__(self) -> None:
        super().__init__()
        self.ticks = 1_700_000_000_000_000
        self.bucket, self.oracle = Bucket(90, period=7, capacity=50), Oracle(90, 7, 50)
        # When, what it costs by now, what it used beyond its reservation; by number.
        self.costs: dict[int, tuple[int, int, int]] = {}
        # When, how much, of a reservation of when.
        self.refunds: list[tuple[int, int, int]] = []

    @property
    def now(self) -> float:
        self.oracle.fill(Fraction(self.ticks, 1_000_000))
        return self.ticks / 1_000_000

    @rule(ticks=st.one_of(st.integers(0, 3_000_000), st.integers(0, 20_000_000)))
    def pass_time(self, ticks: int) -> None:
        self.ticks += ticks

    @rule(target=running, units=st.integers(0, 55))
    def reserve(self, units: int) -> MultipleResults[tuple[Admitted, int, int]]:
        answer, wait = one(self.bucket, units, self.now), self.oracle.wait(units)
        if wait is None:
            assert isinstance(answer, NeverAdmissible)
        elif wait:
            assert isinstance(answer, Wait)
            assert 0 <= Fraction(round(answer.seconds * 1_000_000), 1_000_000) - wait < Fraction(1, 1_000_000)
        else:
            assert isinstance(answer, Admitted)
            self.oracle.level -= units
            self.costs[len(self.costs)] = (self.ticks, units, 0)
            return multiple((answer, units, len(self.costs) - 1))
        return multiple()

    @rule(run=consumes(running), used=st.integers(0, 90), exact=st.booleans(), twice=st.booleans())
    def settle(self, run: tuple[Admitted, int, int], used: int, exact: bool, twice: bool) -> None:
        admitted, units, number = run
        admitted.settle([used], self.now, exact=exact)
        self.oracle.settle(units, used, exact)
        began = self.costs[number][0]
        cost = used if exact else max(used, units)
        self.costs[number] = (began, cost, max(0, cost - units))
        self.refunds.append((self.ticks, units - cost, began))
        if twice:
            admitted.settle([used], self.now, exact=exact)

    @rule(units=st.integers(0, 50))
    def come_back_when_told(self, units: int) -> None:
        answer = one(self.bucket, units, self.now)
        if isinstance(answer, Wait):
            self.ticks += round(answer.seconds * 1_000_000)
            answer = one(self.bucket, units, self.now)
            self.oracle.level -= units
        else:
            self.oracle.level -= units
        assert isinstance(answer, Admitted)
        answer.release(self.now)
        self.oracle.settle(units, 0, exact=True)

    @invariant()
    def exactly_the_oracle(self) -> None:
        assert self.bucket.level(self.now) == pytest.approx(float(self.oracle.level), abs=1e-9)
        assert self.oracle.level <= 50

    @invariant()
    def bounded(self) -> None:
        for begin, _, _ in self.costs.values():
            admitted = [(cost, beyond) for at, cost, beyond in self.costs.values() if at >= begin]
            back = sum(units for at, units, began in self.refunds if at >= begin > began and units > 0)
            brought = Fraction(90, 7) * Fraction(self.ticks - begin, 1_000_000)
            beyond = sum(beyond for _, beyond in admitted)
            assert sum(cost for cost, _ in admitted) <= 50 + brought + beyond + back


BucketMachine.TestCase.settings = settings(stateful_step_count=40)
TestBucket = BucketMachine.TestCase


def test_as_many_as_fit_and_not_one_more() -> None:
    bucket = Bucket(10)
    answers = [one(bucket, 1, 0.0) for _ in range(64)]
    assert sum(isinstance(answer, Admitted) for answer in answers) == 10
    assert answers[10] == Wait(6.0, 0)


def test_what_never_fits_is_told_from_what_does_not_fit_now() -> None:
    assert one(Bucket(100), 101, 0.0) == NeverAdmissible(0)
    assert one(Bucket(0), 1, 0.0) == NeverAdmissible(0)
    assert isinstance(one(Bucket(100), 100, 0.0), Admitted)
    assert one(Bucket(0, capacity=5), 5, 0.0) != NeverAdmissible(0)


def test_all_or_nothing() -> None:
    requests, tokens = Bucket(5), Bucket(100)
    for _ in range(50):
        assert reserve([Claim(requests, 1), Claim(tokens, 101)], 0.0) == NeverAdmissible(1)
    tokens.take(90, 0.0)
    for _ in range(50):
        assert reserve([Claim(requests, 1), Claim(tokens, 20)], 0.0) == Wait(6.0, 1)
    assert requests.level(0.0) == 5
    admitted = reserve([Claim(requests, 1), Claim(tokens, 10)], 0.0)
    assert isinstance(admitted, Admitted)
    admitted.settle([1, 4], 0.0, exact=True)
    assert (requests.level(0.0), tokens.level(0.0)) == (4, 6)


def test_the_longest_of_the_waits_is_told() -> None:
    slow, slower = Bucket(60), Bucket(6)
    slow.take(60, 0.0)
    slower.take(6, 0.0)
    assert reserve([Claim(slow, 1), Claim(slower, 1)], 0.0) == Wait(10.0, 1)


@pytest.mark.parametrize(
    ("used", "exact", "level"), [(40, True, 60), (40, False, 0), (150, True, -50), (150, False, -50)]
)
def test_only_what_is_certain_comes_back(used: int, exact: bool, level: int) -> None:
    bucket = Bucket(100)
    admitted = one(bucket, 100, 0.0)
    assert isinstance(admitted, Admitted)
    admitted.settle([used], 0.0, exact=exact)
    admitted.settle([used], 0.0, exact=exact)
    admitted.release(0.0)
    assert bucket.level(0.0) == level


def test_debt_is_paid_before_anything_is_admitted() -> None:
    bucket = Bucket(60)
    admitted = one(bucket, 1, 0.0)
    assert isinstance(admitted, Admitted)
    admitted.settle([100], 0.0, exact=True)
    assert one(bucket, 1, 0.0) == Wait(41.0, 0)


@pytest.mark.parametrize(("used", "level"), [(0, 60), (30, 60), (31, 59), (130, -40)])
def test_what_is_settled_after_a_while_is_settled_then(used: int, level: int) -> None:
    """Of a bucket that was full by then, and that nobody has looked at meanwhile."""
    bucket = Bucket(60)
    admitted = one(bucket, 30, 0.0)
    assert isinstance(admitted, Admitted)
    admitted.settle([used], 100.0, exact=True)
    assert bucket.level(100.0) == level


def test_what_comes_back_does_not_go_over_the_brim() -> None:
    bucket = Bucket(60)
    admitted = one(bucket, 30, 0.0)
    assert isinstance(admitted, Admitted)
    assert bucket.level(60.0) == 60
    admitted.release(60.0)
    assert bucket.level(60.0) == 60


def test_a_release_gives_all_of_it_back() -> None:
    bucket = Bucket(60)
    admitted = one(bucket, 60, 0.0)
    assert isinstance(admitted, Admitted)
    admitted.release(0.0)
    assert bucket.level(0.0) == 60


@given(steps=st.lists(st.floats(0, 0.001), max_size=200), limit=st.integers(1, 10**9))
def test_many_small_steps_bring_what_one_brings(steps: list[float], limit: int) -> None:
    """In floating point each step would lose a little."""
    often, once = Bucket(limit), Bucket(limit)
    now = 1_700_000_000.0
    for bucket in (often, once):
        bucket.take(limit, now)
    for step in steps:
        now += step
        often.level(now)
    assert often.level(now) == once.level(now)


def test_a_clock_that_goes_back_brings_nothing() -> None:
    bucket = Bucket(60)
    bucket.take(60, 100.0)
    bucket.level(50.0)
    assert bucket.level(100.0) == 0
    assert bucket.level(101.0) == 1


# --- learning ---------------------------------------------------------------------------------------------------------


def test_without_a_limit_everything_is_admitted() -> None:
    bucket = Bucket(None)
    assert isinstance(one(bucket, 10**12, 0.0), Admitted)


def test_the_first_limit_that_is_told_holds_with_what_is_left_of_it() -> None:
    bucket = Bucket(None)
    assert isinstance(one(bucket, 30, 0.0), Admitted)
    bucket.learn(100, 50, 30, 0.0)
    assert (bucket.limit, bucket.level(0.0)) == (100, 20)
    bucket = Bucket(None)
    bucket.learn(100, None, 30, 0.0)
    assert bucket.level(0.0) == 70


def test_what_is_told_only_ever_takes_away() -> None:
    bucket = Bucket(100)
    bucket.take(80, 0.0)
    bucket.learn(None, 90, 0, 0.0)
    assert bucket.level(0.0) == 20
    bucket.learn(None, 15, 5, 0.0)
    assert bucket.level(0.0) == 10


def test_another_limit_is_another_rate() -> None:
    bucket = Bucket(600)
    bucket.learn(60, None, 0, 0.0)
    assert bucket.level(0.0) == 60
    bucket.take(60, 0.0)
    bucket.learn(120, None, 0, 0.0)
    assert (bucket.level(0.0), bucket.level(1.0)) == (0, 2)
