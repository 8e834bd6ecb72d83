"""What an attempt cost, against exact rationals."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from math import ceil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.v1.call_pb2 import CERTAINTY_ESTIMATED, CERTAINTY_REPORTED, CERTAINTY_UNKNOWN, Cost, Usage
from trunkline_server.prices.book import PriceBook
from trunkline_server.prices.cost import MOST, cost_of, most_of
from trunkline_server.prices.rates import FREE, Prices, Rate, Step

NOW = 1795744800  # 2026-11-27
PARTS = ("input", "cache_read", "cache_write", "output", "reasoning", "other")

COUNTS = st.integers(0, 3_000_000)
PRICES = st.integers(0, 100_000_000)
# The buckets that tokens fall into, and whose price each has: the first of these that there is.
BUCKETS: dict[str, tuple[str, tuple[str, ...]]] = {
    "text": ("input", ("input",)),
    "sound": ("input", ("input_audio_tokens", "input")),
    "cached": ("cache_read", ("cache_read", "input")),
    "cached_sound": ("cache_read", ("cache_read_input_audio_tokens", "cache_read", "input")),
    "written": ("cache_write", ("cache_write", "input")),
    "written_1h": ("cache_write", ("cache_write_1h", "cache_write", "input")),
    "answer": ("output", ("output",)),
    "spoken": ("output", ("output_audio_tokens", "output")),
    "thought": ("reasoning", ("reasoning", "output")),
}
UNITS = sorted({unit for _, units in BUCKETS.values() for unit in units})


@st.composite
def rates_with_steps(draw: st.DrawFn) -> Rate:
    """Dearer and dearer in larger calls, of either sort."""
    prices = sorted(draw(st.lists(PRICES, min_size=1, max_size=4)))
    above = sorted(draw(st.lists(st.integers(1, 2_000_000), min_size=3, max_size=3, unique=True)))
    excess = draw(st.booleans())
    return Rate(prices[0], tuple(Step(at, price, excess) for at, price in zip(above, prices[1:], strict=False)))


@st.composite
def all_rates(draw: st.DrawFn) -> dict[str, Rate]:
    named = draw(st.sets(st.sampled_from(UNITS))) | {"input", "output"}
    rates = {unit: draw(rates_with_steps()) for unit in sorted(named)}
    if "cache_read_input_audio_tokens" in rates and "input_audio_tokens" not in rates:
        del rates["cache_read_input_audio_tokens"]  # No seller has that: the fresh sound would be counted as text.
    return rates | draw(
        st.dictionaries(st.sampled_from(("web_search_requests", "request", "second")), PRICES.map(Rate))
    )


def usage_of(buckets: dict[str, int], searches: int) -> Usage:
    """As the contract counts."""
    read = buckets["cached"] + buckets["cached_sound"]
    written = buckets["written"] + buckets["written_1h"]
    return Usage(
        input_tokens=buckets["text"] + buckets["sound"] + read + written,
        output_tokens=buckets["answer"] + buckets["spoken"] + buckets["thought"],
        cache_read_input_tokens=read,
        cache_write_input_tokens=written,
        reasoning_output_tokens=buckets["thought"],
        other_units={
            "input_audio_tokens": buckets["sound"] + buckets["cached_sound"],
            "cache_read_input_audio_tokens": buckets["cached_sound"],
            "output_audio_tokens": buckets["spoken"],
            "ephemeral_1h_input_tokens": buckets["written_1h"],
            "ephemeral_5m_input_tokens": buckets["written"],
            "web_search_requests": searches,
        },
    )


def price(rate: Rate, position: int, total_input: int) -> Fraction:
    """Of the token at this position of its kind, in nano-USD."""
    pico = rate.pico_usd
    for step in rate.steps:
        if (position if step.excess_only else total_input) > step.above:
            pico = step.pico_usd
    return Fraction(pico, 1000)


def exactly(
    rates: dict[str, Rate], buckets: dict[str, int], usage: Usage, searches: int, wall: int
) -> dict[str, Fraction]:
    """Part by part. Tokens of the same price from its first one on are counted in one go."""
    parts = dict.fromkeys(PARTS, Fraction(0))
    sold: dict[tuple[str, str], int] = {}
    for bucket, (part, units) in BUCKETS.items():
        unit = next(unit for unit in units if unit in rates)
        # A share without a price of its own is a part of its whole.
        key = (part, unit) if part != "cache_write" else (part, unit + bucket)
        sold[key] = sold.get(key, 0) + buckets[bucket]
    for (part, name), count in sold.items():
        unit = name.removesuffix("written_1h").removesuffix("written")
        rate = rates[unit]
        edges = sorted({0, count, *(step.above for step in rate.steps if step.above < count)})
        for start, end in pairwise(edges):
            parts[part] += (end - start) * price(rate, start + 1, usage.input_tokens)
    if "web_search_requests" in rates:
        parts["other"] += Fraction(searches * rates["web_search_requests"].pico_usd, 1000)
    if "request" in rates:
        parts["other"] += Fraction(rates["request"].pico_usd, 1000)
    if "second" in rates:
        parts["other"] += Fraction(rates["second"].pico_usd, 1000) * Fraction(wall, 10**9)
    return parts


def part_of(cost: Cost, part: str) -> int:
    return int(getattr(cost, f"{part}_nano_usd"))


@given(all_rates(), st.fixed_dictionaries(dict.fromkeys(BUCKETS, COUNTS)), st.integers(0, 50), st.integers(0, 10**13))
def test_the_total_is_the_exact_sum_rounded_up_once(
    rates: dict[str, Rate], buckets: dict[str, int], searches: int, wall: int
) -> None:
    usage = usage_of(buckets, searches)
    cost = cost_of(usage, Prices(rates, "v"), wall_nanoseconds=wall)
    exact = exactly(rates, buckets, usage, searches, wall)
    assert cost.total_nano_usd == ceil(sum(exact.values()))
    assert cost.total_nano_usd == sum(part_of(cost, part) for part in PARTS)
    for part, amount in exact.items():
        assert abs(part_of(cost, part) - amount) < 1
    assert (cost.certainty, cost.price_version) == (CERTAINTY_REPORTED, "v")


@given(
    all_rates(),
    st.fixed_dictionaries(dict.fromkeys(BUCKETS, COUNTS)),
    st.sampled_from(("text", "answer", "thought", "spoken")),
    COUNTS,
)
def test_more_of_it_never_costs_less(rates: dict[str, Rate], buckets: dict[str, int], which: str, more: int) -> None:
    larger = buckets | {which: buckets[which] + more}
    before, after = (cost_of(usage_of(each, 1), Prices(rates, ""), wall_nanoseconds=1) for each in (buckets, larger))
    assert before.total_nano_usd <= after.total_nano_usd


@given(
    all_rates(),
    st.builds(
        Usage,
        **dict.fromkeys(
            (
                "input_tokens",
                "output_tokens",
                "cache_read_input_tokens",
                "cache_write_input_tokens",
                "reasoning_output_tokens",
            ),
            st.none() | st.integers(-(1 << 63), MOST),
        ),
        other_units=st.dictionaries(
            st.sampled_from(("input_audio_tokens", "cache_read_input_audio_tokens", "ephemeral_1h_input_tokens", "x")),
            st.integers(-(1 << 63), MOST),
        ),
    ),
)
def test_counts_that_cannot_be_right_are_no_accident(rates: dict[str, Rate], usage: Usage) -> None:
    cost = cost_of(usage, Prices(rates, "v"), wall_nanoseconds=0)
    assert all(part_of(cost, part) >= 0 for part in PARTS)
    assert cost.total_nano_usd == 0 or cost.total_nano_usd == sum(part_of(cost, part) for part in PARTS)
    assert cost.total_nano_usd <= MOST


def priced(**rates: int) -> Prices:
    return Prices({unit: Rate(pico) for unit, pico in rates.items()}, "v")


def test_fireworks_at_its_own_price_and_not_a_thousand_times_that() -> None:
    found = PriceBook().find("fireworks", "accounts/fireworks/models/qwen3-coder-480b-a35b-instruct", NOW)
    cost = cost_of(Usage(input_tokens=1000, output_tokens=500), found)
    assert (cost.total_nano_usd, cost.input_nano_usd, cost.output_nano_usd) == (1_350_000, 450_000, 900_000)


def test_only_the_total_is_rounded() -> None:
    cost = cost_of(Usage(input_tokens=1, output_tokens=1), priced(input=300, output=300))
    assert (cost.total_nano_usd, cost.input_nano_usd, cost.output_nano_usd) == (1, 1, 0)


def test_unpriced_is_not_free() -> None:
    usage = Usage(input_tokens=1, output_tokens=1)
    unpriced, free = cost_of(usage, None), cost_of(usage, Prices(FREE, "v"))
    assert not unpriced.HasField("total_nano_usd")
    assert unpriced.certainty == CERTAINTY_UNKNOWN
    assert free.HasField("total_nano_usd")
    assert (free.total_nano_usd, free.certainty) == (0, CERTAINTY_REPORTED)


@pytest.mark.parametrize("usage", [None, Usage(), Usage(input_tokens=7), Usage(output_tokens=7)])
def test_without_a_count_there_is_no_total_unless_it_is_free(usage: Usage | None) -> None:
    cost = cost_of(usage, priced(input=1000, output=1000))
    assert not cost.HasField("total_nano_usd")
    assert cost.certainty == CERTAINTY_UNKNOWN
    assert cost.input_nano_usd == (7 if usage is not None and usage.input_tokens else 0)
    assert cost_of(usage, Prices(FREE, "v")).HasField("total_nano_usd")


def test_an_estimate_stays_one() -> None:
    usage = Usage(input_tokens=1, output_tokens=1)
    assert cost_of(usage, priced(input=1, output=1), certainty=CERTAINTY_ESTIMATED).certainty == CERTAINTY_ESTIMATED


def test_seconds_of_compute_want_a_clock() -> None:
    local, usage = priced(input=0, output=0, second=1_500_000), Usage(input_tokens=9, output_tokens=9)
    assert cost_of(usage, local, wall_nanoseconds=2_000_000_001).total_nano_usd == 3001
    assert not cost_of(usage, local).HasField("total_nano_usd")


@pytest.mark.parametrize(
    ("others", "unpriced"),
    [
        ({"web_search_requests": 2}, ["web_search_requests"]),
        ({"web_search_requests": 0}, []),
        ({"input_audio_tokens": 3, "output_image_tokens": 4}, ["input_audio_tokens", "output_image_tokens"]),
        ({"input_image_tokens": 3, "input_video_tokens": 1, "tool_use_prompt_tokens": 5}, []),
    ],
)
def test_what_has_no_price_is_named(others: dict[str, int], unpriced: list[str]) -> None:
    cost = cost_of(Usage(input_tokens=10, output_tokens=10, other_units=others), priced(input=1000, output=1000))
    assert cost.unpriced_units == unpriced
    assert cost.total_nano_usd == 20


def test_a_search_has_many_names() -> None:
    searching = priced(input=0, output=0, web_search_requests=10_000_000_000)
    for name in ("web_search_requests", "web_search_calls", "search_queries"):
        assert (
            cost_of(Usage(input_tokens=0, output_tokens=0, other_units={name: 2}), searching).other_nano_usd
            == 20_000_000
        )


def test_a_thing_under_two_names_is_charged_once() -> None:
    told: dict[str, Any] = {"web_search_requests": 3, "search_queries": 2}
    usage = Usage(input_tokens=0, output_tokens=0, other_units=told)
    assert cost_of(usage, priced(input=0, output=0, web_search_requests=1000)).total_nano_usd == 3


def test_a_model_without_a_price_of_input_says_so() -> None:
    assert cost_of(Usage(input_tokens=1, output_tokens=0), priced(request=5_000)).unpriced_units == ["input_tokens"]


def test_what_is_billed_counts_where_a_provider_tells_both() -> None:
    told: dict[str, Any] = {"billed_input_tokens": 4, "billed_output_tokens": 2}
    usage = Usage(input_tokens=70, output_tokens=3, other_units=told)
    assert cost_of(usage, priced(input=1000, output=1000)).total_nano_usd == 6


def test_more_than_an_int64_holds_stays_there() -> None:
    cost = cost_of(Usage(input_tokens=MOST, output_tokens=MOST), priced(input=10**9, output=10**9))
    assert cost.total_nano_usd == MOST == cost.input_nano_usd
    assert cost.output_nano_usd == 0


def test_an_amount_that_no_float_holds_is_exact() -> None:
    """2^53 nano-USD and a bit: a float would round it to its neighbour."""
    one = Prices({"input": Rate(1), "output": Rate(1)}, "test", 0)
    assert cost_of(Usage(input_tokens=9_007_199_254_740_992_400, output_tokens=0), one).total_nano_usd == 2**53 + 1


@given(all_rates(), COUNTS, COUNTS, st.integers(0, 10**12))
def test_no_way_to_bill_an_attempt_costs_more_than_the_most_of_it(
    rates: dict[str, Rate], into: int, out: int, wall: int
) -> None:
    prices = Prices(rates, "v")
    most = most_of(into, prices, wall_nanoseconds=wall).cost(out)
    ways = (
        Usage(input_tokens=into, output_tokens=out),
        Usage(input_tokens=into, output_tokens=out, cache_write_input_tokens=into),
        Usage(input_tokens=into, output_tokens=out, reasoning_output_tokens=out),
        Usage(input_tokens=into, output_tokens=out, cache_write_input_tokens=into, reasoning_output_tokens=out),
    )
    costs = [cost_of(usage, prices, wall_nanoseconds=wall).total_nano_usd for usage in ways]
    assert max(costs) == most, "and one of them costs just as much"


@given(all_rates(), COUNTS, COUNTS, st.integers(0, 10**12), st.data())
def test_no_attempt_within_its_bounds_costs_more_than_the_most_of_it(
    rates: dict[str, Rate], into: int, out: int, wall: int, data: st.DataObject
) -> None:
    """However its tokens are made up."""
    rates = {name: rate for name, rate in rates.items() if "_tokens" not in name and name != "cache_write_1h"}
    rates.pop("web_search_requests", None)
    input_tokens, output_tokens = data.draw(st.integers(0, into)), data.draw(st.integers(0, out))
    written, thought = data.draw(st.integers(0, input_tokens)), data.draw(st.integers(0, output_tokens))
    usage = Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cache_write_input_tokens=written,
        reasoning_output_tokens=thought,
    )
    paid = cost_of(usage, Prices(rates, "v"), wall_nanoseconds=data.draw(st.integers(0, wall)))
    most = most_of(into, Prices(rates, "v"), wall_nanoseconds=wall)
    assert paid.total_nano_usd <= most.cost(out)
    assert most.cost(output_tokens) <= most.cost(out)


@given(
    st.dictionaries(st.sampled_from((*UNITS, "request", "second")), rates_with_steps()),
    COUNTS,
    COUNTS,
    st.integers(0, 10**12),
)
def test_the_most_is_the_dearest_of_every_kind(rates: dict[str, Rate], into: int, out: int, wall: int) -> None:
    """Any of which may have no price."""

    def dearest(count: int, *units: str) -> Fraction:
        return max(
            (
                sum(
                    (
                        (end - start) * price(rates[unit], start + 1, into)
                        for start, end in pairwise(edges(unit, count))
                    ),
                    Fraction(0),
                )
                for unit in units
                if unit in rates
            ),
            default=Fraction(0),
        )

    def edges(unit: str, count: int) -> list[int]:
        return sorted({0, count, *(step.above for step in rates[unit].steps if step.above < count)})

    exact = dearest(into, "input", "cache_write") + dearest(out, "output", "reasoning") + dearest(1, "request")
    if "second" in rates:
        exact += Fraction(rates["second"].pico_usd, 1000) * Fraction(wall, 10**9)
    assert most_of(into, Prices(rates, "v"), wall_nanoseconds=wall).cost(out) == min(ceil(exact), MOST)
