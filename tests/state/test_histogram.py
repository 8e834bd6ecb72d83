from __future__ import annotations

import random
from math import ceil, inf, nan, nextafter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline_server.state.histogram import HIGHEST, LOWEST, ZERO, Histogram

if TYPE_CHECKING:
    from collections.abc import Callable

# Half a bucket at scale 5, and what floats cannot tell apart.
BOUND = 2 ** (1 / 64) - 1 + 1e-12
SHARES = (0.0, 0.01, 0.25, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0)

inside = st.floats(LOWEST, HIGHEST)
counted = st.floats(0.0, allow_infinity=False)


def recorded(values: list[float]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


def exact(values: list[float], q: float) -> float:
    return sorted(values)[max(1, ceil(q * len(values))) - 1]


def check_quantiles(values: list[float]) -> None:
    histogram = recorded(values)
    for q in SHARES:
        true = exact(values, q)
        assert abs(histogram.quantile(q) - true) <= BOUND * true


def test_the_bound_is_the_promised_one() -> None:
    assert BOUND < 0.011


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("distribution", ["lognormal", "pareto", "constant", "uniform"])
def test_quantiles_are_those_of_the_sorted_values(distribution: str, seed: int) -> None:
    chance = random.Random(seed)
    constant = chance.uniform(1e-3, 100)
    draws: dict[str, Callable[[], float]] = {
        "lognormal": lambda: chance.lognormvariate(0, 1.5),
        "pareto": lambda: chance.paretovariate(0.8),
        "constant": lambda: constant,
        "uniform": lambda: chance.uniform(1e-3, 60),
    }
    check_quantiles([draws[distribution]() for _ in range(2_000)])


@given(st.lists(inside | st.just(0.0), min_size=1, max_size=50))
def test_quantiles_of_any_values_in_range(values: list[float]) -> None:
    check_quantiles(values)


def test_the_bound_holds_at_the_edges_of_buckets() -> None:
    for power in range(-20 * 32, 40 * 32 + 1):
        edge = 2.0 ** (power / 32)
        for value in (nextafter(edge, 0), edge, nextafter(edge, inf)):
            check_quantiles([value])


def test_a_buckets_upper_edge_is_in_it() -> None:
    """As in OpenTelemetry: (b^i, b^(i+1)]. Whole powers of two are exact in floats."""
    for power in range(-19, 40):
        assert list(recorded([2.0**power]).buckets) == [32 * power - 1]
        assert list(recorded([2.0**power * (1 + 1e-9)]).buckets) == [32 * power]


@given(st.lists(counted, max_size=40), st.lists(counted, max_size=40))
def test_merging_is_recording_everything(left: list[float], right: list[float]) -> None:
    merged, other, everything = recorded(left), recorded(right), recorded(left + right)
    before = dict(other.buckets)
    merged.merge(other)
    assert merged.buckets == everything.buckets
    assert merged.count == everything.count
    assert merged.sum == pytest.approx(everything.sum, rel=1e-12)
    assert other.buckets == before


@given(st.lists(counted, min_size=1, max_size=40), st.lists(st.floats(0, 1), min_size=2, max_size=8))
def test_quantiles_never_fall(values: list[float], shares: list[float]) -> None:
    told = recorded(values).quantiles(*sorted(shares))
    assert told == sorted(told)
    assert told == [recorded(values).quantile(q) for q in sorted(shares)]


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=100))
def test_count_and_mean_are_exact(values: list[int]) -> None:
    histogram = recorded([float(value) for value in values])
    assert histogram.count == len(values) == sum(histogram.buckets.values())
    assert histogram.mean() == sum(values) / len(values)


def test_values_out_of_range_are_counted_at_its_ends() -> None:
    histogram = recorded([5e-324, 1e300])
    assert histogram.quantile(0) == pytest.approx(LOWEST, rel=BOUND)
    assert histogram.quantile(1) == pytest.approx(HIGHEST, rel=BOUND)


def test_zeros_are_exact() -> None:
    histogram = recorded([0.0, -0.0, 1.0])
    assert histogram.buckets[ZERO] == 2
    assert histogram.quantiles(0.5, 1.0) == [0.0, pytest.approx(1.0, rel=BOUND)]


def test_memory_is_bounded() -> None:
    histogram = recorded([0.0, *(2.0 ** (tenth / 320) for tenth in range(-300 * 32, 500 * 32))])
    assert len(histogram.buckets) <= 1_921


@pytest.mark.parametrize("value", [-1.0, -5e-324, nan, inf, -inf])
def test_what_is_no_span_is_refused(value: float) -> None:
    histogram = recorded([1.0])
    with pytest.raises(ValueError, match="finite values of zero and more"):
        histogram.record(value)
    assert (histogram.count, histogram.sum, sum(histogram.buckets.values())) == (1, 1.0, 1)


def test_nothing_has_no_quantile_and_no_mean() -> None:
    with pytest.raises(ValueError, match="need values"):
        Histogram().quantile(0.5)
    with pytest.raises(ValueError, match="no mean"):
        Histogram().mean()


@pytest.mark.parametrize("q", [-0.1, 1.1, nan])
def test_a_share_is_from_0_to_1(q: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        recorded([1.0]).quantile(q)
