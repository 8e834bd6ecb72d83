"""Who is in which arm, and when an arm has won."""

from __future__ import annotations

import random
from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline_server.routing.experiments import Experiment, arm_of, unit_of
from trunkline_server.routing.verdicts import (
    SUSPECT,
    Sample,
    mean_interval,
    observed,
    share_interval,
    share_mismatch,
    verdict,
)

UNITS = [f"user {number}" for number in range(20_000)]


def arms(weights: dict[str, float], name: str = "x", salt: str = "") -> dict[str, str]:
    experiment = Experiment(name=name, weights=weights, salt=salt)
    return {unit: arm_of(experiment, unit) for unit in UNITS}


def share(given_to: dict[str, str], arm: str) -> float:
    return [*given_to.values()].count(arm) / len(given_to)


@pytest.mark.parametrize("weights", [{"a": 0.5, "b": 0.5}, {"a": 5.0, "b": 4.0, "c": 1.0}, {"a": 1.0, "b": 99.0}])
def test_shares_are_right_to_within_binomial_error(weights: dict[str, float]) -> None:
    found, total = arms(weights), sum(weights.values())
    for arm, weight in weights.items():
        right = weight / total
        assert abs(share(found, arm) - right) < 4 * sqrt(right * (1 - right) / len(UNITS))


WEIGHTS = st.dictionaries(st.sampled_from("abcdef"), st.floats(0.05, 20), min_size=2)


@given(WEIGHTS, st.data())
def test_a_change_of_one_weight_moves_units_only_into_that_arm_or_only_out_of_it(
    weights: dict[str, float], data: st.DataObject
) -> None:
    arm = data.draw(st.sampled_from(sorted(weights)))
    factor = data.draw(st.floats(0.01, 100))
    before, after = (Experiment(name="x", weights=of) for of in (weights, {**weights, arm: weights[arm] * factor}))
    for unit in UNITS[:200]:
        was, is_ = arm_of(before, unit), arm_of(after, unit)
        assert was == is_ or (is_ if factor > 1 else was) == arm


def test_no_unit_of_many_moves_between_arms_whose_weights_stay() -> None:
    before, after = arms({"a": 0.5, "b": 0.4, "c": 0.1}), arms({"a": 0.5, "b": 0.4, "c": 0.2})
    moved = {(before[unit], after[unit]) for unit in UNITS if before[unit] != after[unit]}
    assert moved == {("a", "c"), ("b", "c")}


def test_an_arm_that_is_added_or_taken_away_moves_no_other() -> None:
    two, three = arms({"a": 1.0, "b": 1.0}), arms({"b": 1.0, "new": 1.0, "a": 1.0})
    assert all(three[unit] in (two[unit], "new") for unit in UNITS)


def test_experiments_and_salts_give_units_out_independently() -> None:
    weights = {"a": 0.5, "b": 0.5}
    first, other, salted = arms(weights), arms(weights, name="y"), arms(weights, salt="2")
    for second in (other, salted):
        both = sum(first[unit] == second[unit] for unit in UNITS) / len(UNITS)
        assert abs(both - 0.5) < 4 * sqrt(0.25 / len(UNITS))


def test_arms_without_a_weight_have_nobody() -> None:
    assert set(arms({"a": 0.0, "b": 1.0}).values()) == {"b"}
    assert set(arms({"a": 0.0}).values()) == {""}


def test_a_unit_is_a_key_else_a_user_else_the_call() -> None:
    assert unit_of("k", "u", "c") == "key k"
    assert unit_of("", "u", "c") == "user u"
    assert unit_of("", "", "c") == "call c"
    assert unit_of("u", "", "c") != unit_of("", "u", "c")


def test_others_are_all_who_are_in_no_other_arm() -> None:
    experiment = Experiment(name="x", weights={"fireworks": 0.5, "others": 0.5})
    assert experiment.names_of("fireworks") == ("fireworks",)
    assert experiment.is_rest("others")
    assert experiment.names_of("others") == ["fireworks"]
    assert not experiment.is_rest("fireworks")


def run_of(shares: dict[str, float], seed: int, looks: int, every: int = 25) -> str | None:
    """The arm that a run calls the best, looked at after every few calls. None: it calls none."""
    draw, samples = random.Random(seed), {arm: Sample() for arm in shares}
    for _ in range(looks):
        for arm, right in shares.items():
            wins = sum(draw.random() < right for _ in range(every))
            old = samples[arm]
            samples[arm] = Sample(old.n + every, old.total + wins, old.squares + wins)
        found = verdict(samples, error=0.05)
        if found is not None and found.is_final:
            return found.leader
    return None


def test_equal_arms_have_a_winner_in_no_more_runs_than_was_allowed() -> None:
    won = sum(run_of({"a": 0.5, "b": 0.5}, seed, looks=40) is not None for seed in range(2000))
    assert won / 2000 <= 0.05
    assert won > 0  # a rule that never stops would pass as well


def test_the_same_holds_of_three_arms_with_few_successes() -> None:
    won = sum(run_of({"a": 0.05, "b": 0.05, "c": 0.05}, seed, looks=20) is not None for seed in range(500))
    assert won / 500 <= 0.05


def test_the_better_arm_is_found() -> None:
    found = [run_of({"a": 0.5, "b": 0.65}, seed, looks=60) for seed in range(50)]
    assert found.count("b") >= 48
    assert "a" not in found


def test_nothing_is_said_of_few_observations() -> None:
    sample = Sample()
    for _ in range(29):
        sample = observed(sample, 1.0)
    assert verdict({"a": sample, "b": Sample(1000, 0, 0)}) is None
    assert verdict({"a": observed(sample, 1.0)}) is None


def test_intervals_hold_what_they_should() -> None:
    draw, within = random.Random(1), 0
    for _ in range(500):
        wins = sum(draw.random() < 0.1 for _ in range(80))
        found = share_interval(wins, 80)
        within += found.low <= 0.1 <= found.high
    assert within / 500 > 0.92
    assert share_interval(0, 0) == (0.0, 0.0, 1.0)
    assert mean_interval(Sample(1, 5.0, 25.0)) is None
    assert mean_interval(Sample(4, 8.0, 16.0)) == (2.0, 2.0, 2.0)


@pytest.mark.parametrize(
    ("counts", "weights", "right"),
    [
        # As scipy.stats.chisquare has them.
        ({"a": 480, "b": 520}, {"a": 1, "b": 1}, 0.20590321073206466),
        ({"a": 480, "b": 300, "c": 220}, {"a": 0.5, "b": 0.3, "c": 0.2}, 0.24659696394160652),
        ({"a": 240, "b": 260, "c": 280, "d": 220}, {"a": 1, "b": 1, "c": 1, "d": 1}, 0.046011705689231335),
        ({"a": 100, "b": 300}, {"a": 1, "b": 1}, 1.5239706048321052e-23),
    ],
)
def test_the_mismatch_of_shares_is_that_of_the_chi_squared_test(
    counts: dict[str, int], weights: dict[str, float], right: float
) -> None:
    assert share_mismatch(counts, weights) == pytest.approx(right, rel=1e-9)


def test_an_experiment_that_gives_out_units_as_it_should_is_not_suspected() -> None:
    found = arms({"a": 0.3, "b": 0.7})
    counts = {arm: [*found.values()].count(arm) for arm in ("a", "b")}
    assert share_mismatch(counts, {"a": 0.3, "b": 0.7}) > SUSPECT
    assert share_mismatch({}, {"a": 1.0, "b": 1.0}) == 1.0
