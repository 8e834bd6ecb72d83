"""The pacer, against the longest of all that was ever asked for."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from trunkline_server.state.endpoint.pacer import LONGEST_BLOCK, Pacer


class PacerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now, self.drawn, self.asked = 1000.0, 0.0, [0.0]
        self.pacer = Pacer(lambda: self.drawn)

    @rule(seconds=st.floats(0, 1e5))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(seconds=st.one_of(st.floats(0, 100), st.floats(-10, 1e9)), drawn=st.floats(0, 1))
    def block(self, seconds: float, drawn: float) -> None:
        self.drawn = drawn
        before = self.pacer.blocked_until
        self.pacer.block(seconds, self.now)
        wait = min(max(0.0, seconds), LONGEST_BLOCK)
        self.asked.append(self.now + wait + min(2.0, 0.1 * wait) * drawn)
        assert self.pacer.blocked_until >= before
        assert self.pacer.wait(self.now) >= min(seconds, LONGEST_BLOCK) - 1e-6, "what is asked for is the least"

    @invariant()
    def the_longest_holds(self) -> None:
        assert self.pacer.blocked_until == pytest.approx(max(self.asked))
        assert self.pacer.wait(self.now) == pytest.approx(max(0.0, max(self.asked) - self.now))


TestPacer = PacerMachine.TestCase


@pytest.mark.parametrize(("asked", "later"), [(10.0, 1.0), (100.0, 2.0)])
def test_all_who_wait_do_not_come_back_at_once(asked: float, later: float) -> None:
    random = Random(5)
    waits = []
    for _ in range(1000):
        pacer = Pacer(random.random)
        pacer.block(asked, 0.0)
        waits.append(pacer.wait(0.0))
    assert asked <= min(waits) < asked + 0.01
    assert asked + later - 0.01 < max(waits) <= asked + later
