from __future__ import annotations

import asyncio
import random
import tracemalloc
from math import ceil
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.v1.call_pb2 import Usage
from trunkline.v1.gateway_service_pb2 import UsageDimension, UsageStatsRequest, UsageStatsResponse, UsageTotals
from trunkline_server.errors import InvalidRequest
from trunkline_server.state.statistics import MAX_MODEL_LENGTH, MAX_PAIRS, Finished, Statistics

if TYPE_CHECKING:
    from collections.abc import Sequence

PROVIDER, MODEL = UsageDimension.KIND_PROVIDER, UsageDimension.KIND_MODEL
COUNTS = ("requests", "successes", "errors", "cancelled", "attempts", "interrupted_streams")
DISTRIBUTIONS = ("total_time", "time_to_first_token", "output_rate")


def finished(model: str = "openai/gpt", result: str = "success", **changes: object) -> Finished:
    values: dict[str, object] = {
        "provider": model.partition("/")[0],
        "model": model,
        "result": result,
        "interrupted": False,
        "attempts": 1,
        "usage": None,
        "total_time": 2.0,
        "time_to_first_token": None,
    }
    return Finished(**values | changes)  # type: ignore[arg-type]


def recorded(*calls: Finished) -> Statistics:
    figures = Statistics(started=1_000_000.25)
    for call in calls:
        figures.record(call, now=1_000_001.0)
    return figures


def by(*kinds: UsageDimension.Kind.ValueType) -> UsageStatsRequest:
    return UsageStatsRequest(group_by=[UsageDimension(kind=kind) for kind in kinds])


async def totals(*calls: Finished) -> UsageTotals:
    return (await recorded(*calls).usage(by())).totals


def groups(response: UsageStatsResponse) -> dict[tuple[str, ...], int]:
    return {tuple(row.group): row.totals.requests for row in response.rows}


usages = st.builds(
    Usage,
    input_tokens=st.none() | st.integers(0, 10_000),
    output_tokens=st.none() | st.integers(0, 10_000),
    cache_read_input_tokens=st.none() | st.integers(0, 10_000),
    reasoning_output_tokens=st.none() | st.integers(0, 10_000),
)
calls = st.builds(
    finished,
    model=st.sampled_from(["", "openai/a", "openai/b", "anthropic/a", "local/a/b:c"]),
    result=st.sampled_from(["success", "error", "cancelled"]),
    interrupted=st.booleans(),
    attempts=st.integers(0, 5),
    usage=st.none() | usages,
    total_time=st.floats(0, 3600),
    time_to_first_token=st.none() | st.floats(0, 3600),
)
groupings = st.sampled_from([(), (PROVIDER,), (MODEL,), (PROVIDER, MODEL), (MODEL, PROVIDER)])


COUNTED = [field for field in Usage.DESCRIPTOR.fields if field.name != "other_units"]


async def test_other_units_are_summed_by_their_names() -> None:
    units = [{"web_search": 2}, {"web_search": 1, "image": 4}]
    ended = [Finished("p", "p/m", "success", False, 1, Usage(other_units=each), 1.0, None) for each in units]
    assert dict((await totals(*ended)).usage.other_units) == {"web_search": 3, "image": 4}


@given(st.lists(calls, max_size=30), groupings)
async def test_totals_are_the_sum_of_any_groups(
    ended: list[Finished], kinds: Sequence[UsageDimension.Kind.ValueType]
) -> None:
    response = await recorded(*ended).usage(by(*kinds))
    rows = [row.totals for row in response.rows]
    whole = response.totals
    for name in COUNTS:
        assert getattr(whole, name) == sum(getattr(row, name) for row in rows)
    for field in COUNTED:
        assert getattr(whole.usage, field.name) == sum(getattr(row.usage, field.name) for row in rows)
    alone = await totals(*ended)
    for name in DISTRIBUTIONS:
        told, counted = getattr(whole, name), getattr(alone, name)
        assert told.count == counted.count == sum(getattr(row, name).count for row in rows)
        assert (told.p50, told.p90, told.p95, told.p99) == (counted.p50, counted.p90, counted.p95, counted.p99)
        assert told.mean == pytest.approx(counted.mean, rel=1e-12)
    assert whole.requests == len(ended) == whole.successes + whole.errors + whole.cancelled


@given(st.lists(calls, min_size=1, max_size=30))
async def test_usage_is_the_sum_of_what_was_reported_and_absent_where_nothing_was(ended: list[Finished]) -> None:
    whole = await totals(*ended)
    reported = [call.usage for call in ended if call.usage is not None]
    for name in [field.name for field in COUNTED]:
        values = [getattr(usage, name) for usage in reported if usage.HasField(name)]  # type: ignore[arg-type]
        assert whole.usage.HasField(name) == bool(values)  # type: ignore[arg-type]
        assert getattr(whole.usage, name) == sum(values)


async def test_percentiles_are_those_of_the_sorted_values() -> None:
    chance = random.Random(1)
    firsts = [chance.lognormvariate(-1, 0.8) for _ in range(2_000)]
    times = [first + chance.lognormvariate(1, 0.8) for first in firsts]
    whole = await totals(
        *(
            finished(total_time=time, time_to_first_token=first, usage=Usage(output_tokens=50))
            for time, first in zip(times, firsts, strict=True)
        )
    )
    rates = [50 / (time - first) for time, first in zip(times, firsts, strict=True)]
    for told, values in ((whole.total_time, times), (whole.time_to_first_token, firsts), (whole.output_rate, rates)):
        assert told.count == len(values)
        assert told.mean == pytest.approx(sum(values) / len(values), rel=1e-12)
        for share in (50, 90, 95, 99):
            true = sorted(values)[ceil(share / 100 * len(values)) - 1]
            assert getattr(told, f"p{share}") == pytest.approx(true, rel=0.02)


async def test_calls_are_counted_by_how_they_ended() -> None:
    whole = await totals(
        finished(attempts=3),
        finished(result="error", attempts=2),
        finished(result="error", interrupted=True),
        finished(result="cancelled"),
        finished(model="", result="error", attempts=0),
    )
    assert [getattr(whole, name) for name in COUNTS] == [5, 1, 3, 1, 7, 1]


async def test_only_whole_answers_are_timed() -> None:
    whole = await totals(
        finished(total_time=1.0, time_to_first_token=0.5, usage=Usage(output_tokens=10)),
        finished(result="error", total_time=600.0, time_to_first_token=500.0, usage=Usage(output_tokens=1)),
        finished(result="cancelled", total_time=900.0, time_to_first_token=1.0, usage=Usage(output_tokens=1)),
    )
    assert (whole.total_time.count, whole.total_time.mean) == (1, 1.0)
    assert (whole.time_to_first_token.count, whole.time_to_first_token.mean) == (1, 0.5)
    assert (whole.output_rate.count, whole.output_rate.mean) == (1, 20.0)
    assert whole.usage == Usage(output_tokens=12)


@pytest.mark.parametrize(
    ("usage", "total_time", "first", "rate"),
    [
        (Usage(output_tokens=30), 2.0, 0.5, 20.0),
        (Usage(output_tokens=30), 2.0, None, None),
        (Usage(output_tokens=30), 2.0, 2.0, None),
        (Usage(output_tokens=30), 2.0, 2.5, None),
        (Usage(output_tokens=0), 2.0, 0.5, None),
        (Usage(output_tokens=-5), 2.0, 0.5, None),
        (Usage(input_tokens=30), 2.0, 0.5, None),
        (None, 2.0, 0.5, None),
    ],
)
async def test_output_rate(usage: Usage | None, total_time: float, first: float | None, rate: float | None) -> None:
    call = finished(usage=usage, total_time=total_time, time_to_first_token=first)
    assert call.output_rate() == rate
    assert (await totals(call)).output_rate.count == (rate is not None)


async def test_rows_come_in_the_order_of_their_groups_and_name_them_as_asked() -> None:
    figures = recorded(
        finished("z/a"), finished("a/z"), finished("a/b"), finished("a/z"), finished("", "error"), finished("a-b/c")
    )
    assert list(groups(await figures.usage(by())).items()) == [((), 6)]
    assert list(groups(await figures.usage(by(PROVIDER))).items()) == [
        (("",), 1),
        (("a",), 3),
        (("a-b",), 1),
        (("z",), 1),
    ]
    both = groups(await figures.usage(by(PROVIDER, MODEL)))
    assert list(both) == [("", ""), ("a", "a/b"), ("a", "a/z"), ("a-b", "a-b/c"), ("z", "z/a")]
    turned = groups(await figures.usage(by(MODEL, PROVIDER)))
    assert list(turned) == [("", ""), ("a-b/c", "a-b"), ("a/b", "a"), ("a/z", "a"), ("z/a", "z")]
    assert both[("a", "a/z")] == turned[("a/z", "a")] == 2


async def test_before_any_call_there_is_one_row_of_nothing_or_none() -> None:
    figures = recorded()
    alone = await figures.usage(by())
    assert [row.totals for row in alone.rows] == [UsageTotals()]
    assert alone.start_time.ToMilliseconds() == 1_000_000_250
    grouped = await figures.usage(by(PROVIDER, MODEL))
    assert not grouped.rows
    assert grouped.totals == UsageTotals()


@pytest.mark.parametrize(
    ("kinds", "fields"),
    [
        ([0], [0]),
        ([PROVIDER, 0], [1]),
        ([4_711, PROVIDER], [0]),
        ([PROVIDER, MODEL, PROVIDER], [2]),
        ([MODEL, MODEL, 0], [1, 2]),
        ([MODEL] * 100_000, list(range(1, 11))),
    ],
)
async def test_groups_that_are_unknown_or_named_twice_are_refused(
    kinds: list[UsageDimension.Kind.ValueType], fields: list[int]
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await recorded(finished()).usage(by(*kinds))
    assert [violation.field for violation in refused.value.violations] == [f"group_by[{i}].kind" for i in fields]


async def test_models_past_the_limit_are_counted_together() -> None:
    figures = recorded(*(finished(f"openai/m{i}") for i in range(MAX_PAIRS)))
    for i in range(100):
        figures.record(finished(f"openai/new{i}"), now=1.0)
        figures.record(finished(f"anthropic/new{i}"), now=1.0)
    figures.record(finished("openai/m7"), now=1.0)
    figures.record(finished("", "error"), now=1.0)
    counted = groups(await figures.usage(by(MODEL)))
    assert (counted["openai/other",], counted["anthropic/other",], counted["openai/m7",], counted["",]) == (
        100,
        100,
        2,
        1,
    )
    assert len(counted) == MAX_PAIRS + 3


async def test_a_long_model_id_is_not_kept() -> None:
    longest = "openai/" + "x" * (MAX_MODEL_LENGTH - len("openai/"))
    counted = groups(await recorded(finished(longest), finished(longest + "x")).usage(by(MODEL)))
    assert counted == {(longest,): 1, ("openai/other",): 1}


def test_memory_does_not_grow_with_what_callers_name() -> None:
    figures = recorded(*(finished(f"openai/m{i}") for i in range(MAX_PAIRS + 1)))
    tracemalloc.start()
    try:
        for i in range(20_000):
            figures.record(finished(f"openai/new{i}"), now=1.0)
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown < 10_000


async def test_sums_that_do_not_fit_the_contract_stop_at_its_largest_number() -> None:
    huge = finished(usage=Usage(input_tokens=2**63 - 1, output_tokens=-1))
    assert (await totals(huge, huge)).usage == Usage(input_tokens=2**63 - 1, output_tokens=0)


def test_last_tells_when_a_provider_last_succeeded_and_failed() -> None:
    figures = Statistics(started=0.0)
    assert figures.last("openai") == (None, None)
    figures.record(finished("openai/a"), now=10.0)
    figures.record(finished("openai/b", "error"), now=11.0)
    figures.record(finished("openai/b", "cancelled"), now=12.0)
    figures.record(finished("anthropic/a"), now=13.0)
    assert figures.last("openai") == (10.0, 11.0)
    assert figures.last("anthropic") == (13.0, None)


async def test_calls_that_end_while_it_counts_do_not_disturb_it() -> None:
    figures = recorded(finished("openai/a"), finished("openai/b"))

    async def calls_end() -> None:
        for i in range(10):
            figures.record(finished(f"late/{i}"), now=1.0)
            figures.record(finished("openai/a"), now=1.0)
            await asyncio.sleep(0)

    response, _ = await asyncio.gather(figures.usage(by(MODEL)), calls_end())
    counted = groups(response)
    assert list(counted) == [("openai/a",), ("openai/b",)]
    assert response.totals.requests == sum(counted.values())
    assert len(groups(await figures.usage(by(MODEL)))) == 12
