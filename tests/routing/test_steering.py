"""How providers do now decides how often they go first, and who has to wait goes last."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from routing.test_decisions import candidate, question

from trunkline_server.routing.decision import choose, rank
from trunkline_server.routing.steering import LEAST, Figure, weight
from trunkline_server.routing.table import table_of

SHARES = st.floats(0, 1)
FIGURES = st.builds(Figure, SHARES, SHARES, st.one_of(st.just(0.0), st.floats(0, 1e9)))
SEEDS = st.integers(0, (1 << 64) - 1)


def order(figures: list[Figure], seed: int) -> list[str]:
    """Providers that are equals but for these."""
    rows = [candidate(number, id=f"p{number}/m", provider=f"p{number}") for number in range(len(figures))]
    known = {f"p{number}": figure for number, figure in enumerate(figures)}
    table = table_of(rows)
    return [table.rows[index].provider for index in choose(rank(question(table, seed=seed)), known).order]


def share(figures: list[Figure], times: int = 6000) -> float:
    """How often the first of them goes first."""
    return Counter(order(figures, seed * 7919)[0] for seed in range(times))["p0"] / times


@given(st.lists(FIGURES, min_size=1, max_size=4), SEEDS)
def test_everybody_is_in_it_once_and_who_has_to_wait_comes_last(figures: list[Figure], seed: int) -> None:
    found = order(figures, seed)
    assert sorted(found) == [f"p{number}" for number in range(len(figures))]
    waits = [figures[int(provider[1:])].wait for provider in found]
    assert waits == sorted(waits)


def test_equals_share_evenly() -> None:
    assert share([Figure()] * 4) == pytest.approx(0.25, abs=0.03)


def test_one_that_fails_three_of_ten_gets_a_thirtieth() -> None:
    """It is passed over unless what its figure says lets it in, and then has a half."""
    assert share([Figure(0.7), Figure()]) == pytest.approx(0.7**8 / 2, abs=0.01)


def test_what_should_go_elsewhere_does() -> None:
    assert share([Figure(away=0.5), Figure()]) == pytest.approx(0.25, abs=0.03)


def test_nobody_is_forgotten() -> None:
    assert 0 < share([Figure(0.0), Figure()]) < 0.02
    assert weight(Figure(0.0, 1.0)) == LEAST


@given(FIGURES, SHARES)
def test_doing_worse_never_brings_more(figure: Figure, less: float) -> None:
    worse = Figure(figure.success * less, figure.away, figure.wait)
    assert weight(worse) <= weight(figure)


def test_who_is_back_first_comes_first_of_those_who_have_to_wait() -> None:
    assert order([Figure(), Figure(wait=2.0), Figure(wait=1.0)], 1) == ["p0", "p2", "p1"]
    assert order([Figure(wait=3.0), Figure(wait=2.0), Figure(wait=1.0)], 1) == ["p2", "p1", "p0"]
