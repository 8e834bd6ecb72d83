"""Who goes first among near-equals: the odds, and what never raises them."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline_server.routing.spread import EXPLORED, HOT, NEAR, Option, spread

# Few different values, so that there are ties, and values at the edges.
COSTS = st.one_of(st.sampled_from([0.0, 0.8, 1.0, NEAR, 1.3, 5.0]), st.floats(0, 10))
OPTIONS = st.builds(
    Option,
    cost=COSTS,
    latency=COSTS,
    utilisation=st.one_of(st.sampled_from([0.0, HOT, 0.9, 1.0]), st.floats(0, 1)),
)
MANY = st.lists(OPTIONS, min_size=1, max_size=12)
# Numbers at equal distances stand for all that may be drawn: a share is off by one at most at each of its ends, and it
# is made of as many pieces as there are ranks.
DRAWS = 2400
RIGHT = 13 / DRAWS


def shares(options: list[Option]) -> list[float]:
    """How likely each goes first."""
    firsts = Counter(spread(options, lambda at=number: (at + 0.5) / DRAWS)[0] for number in range(DRAWS))  # type: ignore[misc]
    return [firsts[index] / DRAWS for index in range(len(options))]


@given(MANY, st.integers(0, 11), COSTS, COSTS)
def test_what_makes_one_worse_never_raises_its_share(
    options: list[Option], index: int, dearer: float, slower: float
) -> None:
    index %= len(options)
    before = options[index]
    worse = before._replace(cost=before.cost + dearer, latency=before.latency + slower)
    after = [*options[:index], worse, *options[index + 1 :]]
    assert shares(after)[index] <= shares(options)[index] + RIGHT


@given(MANY)
def test_shares_make_up_one_and_nobody_starves(options: list[Option]) -> None:
    found = shares(options)
    assert sum(found) == pytest.approx(1.0)
    assert min(found) >= EXPLORED / len(options) - 2 / DRAWS
    assert min(found) > 0.0


@given(MANY, st.randoms(use_true_random=False))
def test_the_order_of_candidates_plays_no_part(options: list[Option], random: Random) -> None:
    order = list(range(len(options)))
    random.shuffle(order)
    shuffled, found = shares([options[index] for index in order]), shares(options)
    assert shuffled == pytest.approx([found[index] for index in order], abs=RIGHT)


@given(MANY, st.floats(0, 1, exclude_max=True))
def test_everybody_stands_in_the_order_once(options: list[Option], at: float) -> None:
    assert sorted(spread(options, lambda: at)) == list(range(len(options)))


@given(st.lists(OPTIONS, min_size=2, max_size=12))
def test_whoever_is_far_from_the_best_is_only_explored(options: list[Option]) -> None:
    best = min(option.cost for option in options)
    for option, share in zip(options, shares(options), strict=True):
        if option.cost > NEAR * best:
            assert share == pytest.approx(EXPLORED / len(options), abs=2 / DRAWS)


def test_the_odds_are_those_of_two_choices() -> None:
    found = shares([Option(1.0, 1.0), Option(1.0, 2.0), Option(1.0, 3.0), Option(1.0, 4.0)])
    assert found == pytest.approx([0.99 * odds / 16 + 0.0025 for odds in (7, 5, 3, 1)], abs=RIGHT)
    assert shares([Option(1.0, 1.0), Option(1.0, 1.0)]) == [0.5, 0.5]


def test_a_hot_one_is_spared_while_there_is_a_cold_one() -> None:
    cold, hot = Option(1.0, 5.0, HOT), Option(1.0, 1.0, 0.9)
    assert shares([cold, hot]) == pytest.approx([0.995, 0.005], abs=1 / DRAWS)
    far = Option(2.0, 1.0, 0.0)
    assert shares([hot, far])[1] == pytest.approx(0.005, abs=1 / DRAWS), "a cold one far from the best is no way out"


def test_of_hot_ones_the_least_used_is_preferred() -> None:
    found = shares([Option(1.0, 1.0, 0.99), Option(1.0, 5.0, 0.85)])
    assert found[1] == pytest.approx(0.99 * 0.75 + 0.005, abs=RIGHT)


def test_draws_follow_the_shares_and_reach_everybody() -> None:
    """Within 4,000 calls each of four is asked, whatever they cost: with odds of 1 to 11,000 that one is not."""
    options = [Option(1.0, 1.0), Option(1.1, 1.1), Option(9.0, 9.0), Option(99.0, 99.0)]
    random = Random(7)
    firsts = Counter(spread(options, random.random)[0] for _ in range(40_000))
    for index, share in enumerate(shares(options)):
        assert firsts[index] / 40_000 == pytest.approx(share, abs=0.01)
    random = Random(7)
    assert len({spread(options, random.random)[0] for _ in range(4_000)}) == 4


def test_the_others_stand_as_they_are_preferred() -> None:
    options = [Option(9.0, 0.1), Option(1.0, 2.0), Option(1.1, 1.0), Option(1.0, 0.5, 0.95), Option(4.0, 0.1)]
    assert spread(options, lambda: 0.0) == (2, 1, 3, 4, 0)
