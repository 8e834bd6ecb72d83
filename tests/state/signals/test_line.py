"""First tokens as a line over the size of prompts."""

from __future__ import annotations

from math import exp
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline_server.state.signals.line import ENOUGH, Line


def learned(seed: int, calls: int, sizes: tuple[int, ...], base: float = 0.4, slope: float = 1e-5) -> Line:
    """A line over noisy measurements: lognormal, of a mean of 1."""
    random, line = Random(seed), Line()
    for _ in range(calls):
        tokens = random.choice(sizes)
        line.learn(tokens, (base + slope * tokens) * exp(random.gauss(-0.045, 0.3)))
    return line


@pytest.mark.parametrize("seed", range(5))
def test_both_parts_are_found_in_noise(seed: int) -> None:
    line = learned(seed, 500, (100, 1000, 10_000, 100_000))
    for tokens in (100, 10_000, 100_000):
        assert line.at(tokens) == pytest.approx(0.4 + 1e-5 * tokens, rel=0.15)


@pytest.mark.parametrize("seed", range(5))
def test_prompts_of_one_size_say_nothing_of_others(seed: int) -> None:
    """By plain least squares the noise of ten tokens more or less would be minutes for a hundred thousand."""
    line = learned(seed, 500, (95, 100, 105))
    assert line.at(100) == pytest.approx(0.4, rel=0.1)
    assert 0.3 < (line.at(100_000) or 0.0) < 1.2


def test_before_there_is_a_line_the_median_of_the_size_stands() -> None:
    line = Line()
    assert line.at(100) is None
    for seconds in (0.3, 0.5, 9.0):
        line.learn(100, seconds)
    line.learn(100_000, 4.0)
    assert [line.at(tokens) for tokens in (90, 120_000, 60_000)] == [0.5, 4.0, 4.0]
    assert line.medians
    for _ in range(ENOUGH - 4):
        line.learn(100, 0.5)
    assert not line.medians
    assert line.at(100) == pytest.approx(0.5, rel=0.2)


def test_what_is_expected_is_told_as_it_was_before() -> None:
    line = Line()
    assert line.learn(100, 0.5) == 0.5
    assert line.learn(100, 5.0) == 0.5
    for _ in range(100):
        line.learn(100, 0.5)
    assert line.learn(100, 50.0) == pytest.approx(line.at(100), rel=0.05)


def test_a_change_for_good_is_learned() -> None:
    line = learned(1, 500, (100, 10_000))
    for _ in range(4000):
        line.learn(100, 4.0)
    assert line.at(100) == pytest.approx(4.0, rel=0.05)


@given(st.lists(st.tuples(st.integers(0, 2_000_000), st.floats(0, 1e6)), min_size=1, max_size=80))
def test_neither_part_is_ever_negative_and_nothing_overflows(measured: list[tuple[int, float]]) -> None:
    line = Line()
    for tokens, seconds in measured:
        assert line.learn(tokens, seconds) > 0
        assert line.base >= 0
        assert line.slope >= 0
        assert 0 <= (line.at(tokens) or 0.0) < 1e9
