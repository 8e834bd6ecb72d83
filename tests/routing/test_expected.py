"""What a call is expected to cost and take, against the ledger's own arithmetic."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rows import row

from trunkline.v1.call_pb2 import COMPLEXITY_COMPLEX, COMPLEXITY_MODERATE, COMPLEXITY_SIMPLE, Usage
from trunkline_server.prices.cost import cost_of
from trunkline_server.prices.rates import CACHE_READ, INPUT, OUTPUT, REQUEST, SECOND, Prices, Rate, Step
from trunkline_server.routing.candidates import Tariff, tariff_of
from trunkline_server.routing.expected import Expected, Size, cost_at, expected, expected_output, is_too_dear

if TYPE_CHECKING:
    from collections.abc import Mapping

# USD 0.45 and 1.80 per million tokens; a tenth for cached input.
FIREWORKS = Tariff(input=450_000, output=1_800_000, cache_read=45_000, request=0, second=0)
MODEL = row("fireworks/qwen3-coder", tariff=FIREWORKS, max_output=32_768)


class Measured:
    """A target that answers 0.2 s after it is asked, and a hundred tokens a second."""

    def first_token(self, prompt_tokens: int) -> float | None:
        return 0.2

    def total(self, prompt_tokens: int, output_tokens: int) -> float | None:
        return 0.2 + output_tokens / 100


class Unmeasured:
    def first_token(self, prompt_tokens: int) -> float | None:
        return None

    def total(self, prompt_tokens: int, output_tokens: int) -> float | None:
        return None


def test_a_thousand_in_and_five_hundred_out_on_fireworks() -> None:
    assert expected(MODEL, Size(1000, 500)).cost == 1_350_000


def test_the_bound_is_what_it_costs_if_all_comes_out_that_may() -> None:
    assert expected(MODEL, Size(1000, 500, most=1000)).bound == 450_000 + 1_800_000
    assert expected(MODEL, Size(1000, 500)).bound == 450_000 + 32_768 * 1800
    assert expected(replace(MODEL, max_output=None), Size(1000, 500)).bound is None
    assert expected(replace(MODEL, max_output=100), Size(1000, 500, most=1000)).cost == 450_000 + 180_000


def test_what_the_cache_has_costs_less() -> None:
    assert expected(MODEL, Size(1000, 0, cached=1000)).cost == 45_000
    assert expected(MODEL, Size(1000, 0, cached=5000)).cost == 45_000


def test_what_is_unpriced_has_no_cost_and_what_is_free_costs_nothing() -> None:
    assert expected(row("a/b"), Size(1000, 500, most=9)) == Expected(None, None, None, None, measured=False)
    free = row("a/b", tariff=Tariff(input=0, output=0, cache_read=0, request=0, second=0))
    assert expected(free, Size(1000, 500, most=9))[:2] == (0, 0)


pico = st.integers(0, 10**8)
above = st.integers(0, 300_000)
plain = st.builds(Rate, pico)
whole = st.builds(lambda price, step, at: Rate(price, (Step(at, step),)), pico, pico, above)
excess = st.builds(lambda price, step, at: Rate(price, (Step(at, step, excess_only=True),)), pico, pico, above)
rate = plain | whole | excess
rates = st.fixed_dictionaries({}, optional={INPUT: rate, OUTPUT: rate, CACHE_READ: rate, REQUEST: plain, SECOND: plain})
tokens = st.integers(0, 2_000_000)


@given(rates, tokens, tokens, tokens, st.floats(0, 3600))
def test_an_estimate_is_what_the_ledger_would_write_of_the_same_counts(
    known: Mapping[str, Rate], into: int, out: int, cached: int, seconds: float
) -> None:
    usage = Usage(input_tokens=into, output_tokens=out, cache_read_input_tokens=min(cached, into))
    paid = cost_of(usage, Prices(known, "v"), wall_nanoseconds=round(seconds * 1e9))
    assert cost_at(tariff_of(known), into, out, cached, seconds) == paid.total_nano_usd


@given(rates.filter(lambda known: not any(each.steps for each in known.values())), tokens, tokens, tokens)
def test_more_never_costs_less(known: Mapping[str, Rate], into: int, out: int, more: int) -> None:
    tariff = tariff_of(known)
    cost = cost_at(tariff, into, out)
    assert cost_at(tariff, into + more, out) >= cost
    assert cost_at(tariff, into, out + more) >= cost
    assert cost_at(replace(tariff, output=tariff.output + more), into, out) >= cost


def test_seconds_that_are_paid_for_are_those_that_are_expected() -> None:
    own = row("own/a", tariff=Tariff(input=0, output=0, cache_read=0, request=0, second=10**9))
    assert expected(own, Size(10, 100), Measured()).cost == 1_200_000


# --- times ------------------------------------------------------------------------------------------------------------


def test_times_are_what_was_measured() -> None:
    found = expected(MODEL, Size(1000, 500), Measured())
    assert (found.first_token, found.total, found.measured) == (0.2, 5.2, True)


@pytest.mark.parametrize("times", [None, Unmeasured()])
def test_else_what_the_catalogue_suggests(times: Unmeasured | None) -> None:
    found = expected(replace(MODEL, speed=0.5), Size(1000, 500), times)
    assert (found.first_token, found.total, found.measured) == (1.0, 11.0, False)


def test_else_nobody_knows() -> None:
    assert expected(MODEL, Size(1000, 500))[2:] == (None, None, False)


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_higher_speed_is_never_slower(speed: float, other: float) -> None:
    slow, fast = sorted((speed, other))
    size = Size(100, 100)
    slower, faster = expected(replace(MODEL, speed=slow), size), expected(replace(MODEL, speed=fast), size)
    assert faster.total is not None
    assert slower.total is not None
    assert faster.total <= slower.total


# --- limits -----------------------------------------------------------------------------------------------------------


def test_where_output_is_limited_the_bound_decides() -> None:
    size = Size(1000, 100, most=1000)
    assert not is_too_dear(MODEL, size, 2_250_000)
    assert is_too_dear(MODEL, size, 2_249_999)


def test_else_what_usually_comes_out_does() -> None:
    size = Size(1000, 500)
    assert not is_too_dear(MODEL, size, 1_350_000)
    assert is_too_dear(MODEL, size, 1_349_999)


def test_what_is_unpriced_is_too_dear_for_any_limit() -> None:
    assert is_too_dear(row("a/b"), Size(1, 1), 10**15)


def test_output_is_what_was_seen_else_by_how_hard_it_is_and_never_more_than_may_come() -> None:
    assert expected_output(COMPLEXITY_COMPLEX, 70) == 70
    assert expected_output(COMPLEXITY_COMPLEX, 70, 50) == 50
    priors = [expected_output(each, None) for each in (COMPLEXITY_SIMPLE, COMPLEXITY_MODERATE, COMPLEXITY_COMPLEX)]
    assert priors == [150, 400, 1000]
    assert expected_output(COMPLEXITY_COMPLEX, None, 50) == 50
