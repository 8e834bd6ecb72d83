from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.v1.call_pb2 import Target
from trunkline_server.routing.steering import LEAST, Figure, steer, weight

SHARES = st.floats(0, 1)
FIGURES = st.builds(Figure, SHARES, SHARES, st.one_of(st.just(0.0), st.floats(0, 1e9)))


def targets(count: int) -> list[Target]:
    return [Target(provider=f"p{number}", model="m") for number in range(count)]


def firsts(figures: list[Figure], times: int = 20_000) -> Counter[str]:
    random = Random(3)
    known = {f"p{number}": figure for number, figure in enumerate(figures)}
    return Counter(steer(targets(len(figures)), known, random.random)[0].provider for _ in range(times))


@given(st.lists(FIGURES, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_everybody_is_in_it_once_and_who_has_to_wait_comes_last(figures: list[Figure], random: Random) -> None:
    known = {f"p{number}": figure for number, figure in enumerate(figures)}
    given_ = targets(len(figures))
    order = steer(given_, known, random.random)
    assert sorted(each.provider for each in order) == sorted(each.provider for each in given_)
    waits = [known[each.provider].wait for each in order]
    assert waits == sorted(waits)


def test_equals_share_evenly_and_so_do_those_of_whom_nothing_is_known() -> None:
    assert max(firsts([Figure()] * 4).values()) < 5_300
    random = Random(1)
    counts = Counter(steer(targets(2), {}, random.random)[0].provider for _ in range(10_000))
    assert 4_800 < counts["p0"] < 5_200


def test_one_that_fails_three_of_ten_gets_a_seventeenth_of_what_the_other_gets() -> None:
    counts = firsts([Figure(0.7), Figure()])
    assert counts["p0"] / 20_000 == pytest.approx(0.7**8 / (1 + 0.7**8), abs=0.01)


def test_what_should_go_elsewhere_does() -> None:
    assert firsts([Figure(away=0.5), Figure()])["p0"] / 20_000 == pytest.approx(1 / 3, abs=0.015)


def test_nobody_is_forgotten() -> None:
    assert 50 < firsts([Figure(0.0), Figure()])["p0"] < 400
    assert weight(Figure(0.0, 1.0)) == LEAST


@given(FIGURES, SHARES)
def test_doing_worse_never_brings_more(figure: Figure, less: float) -> None:
    worse = Figure(figure.success * less, figure.away, figure.wait)
    assert weight(worse) <= weight(figure)
