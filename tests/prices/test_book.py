"""What models cost, by provider, name and time."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.v1.model_pb2 import Model, Price
from trunkline_server.prices.book import REMEMBERED, PriceBook
from trunkline_server.prices.pricing import add_pricing
from trunkline_server.prices.rates import Rate, Step
from trunkline_server.prices.tables import Daily, read_tables
from trunkline_server.providers.table import ROWS
from trunkline_server.settings.prices import Moment, PriceSettings, TierSettings, TokenPrice, UnitPrice

BOOK = PriceBook({"eu": "anthropic", "my-fireworks": "fireworks"})


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


NOW = at("2026-11-27T12:00")


def rates(provider: str, model: str, when: int = NOW, processing: str = "") -> dict[str, int] | None:
    """In pico-USD a unit, of small calls."""
    found = BOOK.find(provider, model, when, processing)
    return None if found is None else {unit: rate.pico_usd for unit, rate in found.rates.items()}


def tokens(provider: str, model: str, when: int = NOW, processing: str = "") -> tuple[int, int] | None:
    found = rates(provider, model, when, processing)
    return None if found is None else (found["input"], found["output"])


MOMENTS = st.integers(at("2023-01-01T00:00"), at("2027-06-01T00:00"))
OWN = (
    PriceSettings(
        model="openai/gpt-4o", input=TokenPrice(1), output=TokenPrice(2), since=Moment(at("2025-03-01T12:00"))
    ),
    PriceSettings(model="openai/gpt-4o", input=TokenPrice(3), since=Moment(at("2026-01-01T00:00")), processing="batch"),
)


@given(
    st.lists(
        st.tuples(st.sampled_from(("deepseek-chat", "gpt-4o")), st.sampled_from(("", "batch")), MOMENTS), min_size=2
    )
)
def test_what_was_found_before_is_what_would_be_found(asked: list[tuple[str, str, int]]) -> None:
    """In any order of moments, with hours of the day that have prices of their own and with the configuration's."""
    kept = PriceBook(own=OWN)
    for model, processing, when in asked:
        provider = "deepseek" if model.startswith("deepseek") else "openai"
        for moment in (when, when + 1, when - 1, when + 3600):
            assert kept.find(provider, model, moment, processing) == PriceBook(own=OWN).find(
                provider, model, moment, processing
            )


def test_it_does_not_remember_every_name() -> None:
    book = PriceBook()
    for number in range(2 * REMEMBERED):
        book.find("openai", f"x{number}", NOW)
    assert len(book._found) <= REMEMBERED


@pytest.mark.parametrize(
    ("provider", "model", "expected"),
    [
        ("openai", "gpt-4o", (2_500_000, 10_000_000)),
        ("openai", "GPT-4o", (2_500_000, 10_000_000)),
        ("openai", "gpt-4o-2024-08-06", (2_500_000, 10_000_000)),
        ("openai", "gpt-4o-20240806", (2_500_000, 10_000_000)),
        ("openai", "ft:gpt-4o-mini-2024-07-18:acme::x", (300_000, 1_200_000)),
        ("openai_responses", "gpt-5", (1_250_000, 10_000_000)),
        ("azure_openai", "gpt-35-turbo", (500_000, 1_500_000)),
        ("eu", "claude-sonnet-4-5-20250929", (3_000_000, 15_000_000)),
        ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", (3_300_000, 16_500_000)),
        ("bedrock", "global.anthropic.claude-sonnet-4-5-20250929-v1:0", (3_000_000, 15_000_000)),
        ("bedrock", "eu.amazon.nova-pro-v1:0", (1_050_000, 4_200_000)),
        ("my-fireworks", "accounts/fireworks/models/qwen3-coder-480b-a35b-instruct", (450_000, 1_800_000)),
        ("my-fireworks", "qwen3-coder-480b-a35b-instruct", (450_000, 1_800_000)),
        ("openrouter", "openai/gpt-4o-mini", (150_000, 600_000)),
        ("openrouter", "somebody/something-new:free", (0, 0)),
        ("huggingface", "openai/gpt-oss-20b:groq", (100_000, 500_000)),
        ("embedded", "smollm2-135m-instruct", (0, 0)),
        ("scripted", "mock-fast", (0, 0)),
        ("ollama", "llama3.2", (0, 0)),
        ("ollama", "gpt-oss:120b-cloud", None),
        ("huggingface", "openai/gpt-oss-20b", None),
        ("azure_openai", "my-deployment", None),
        ("openai", "gpt-99", None),
        ("openai", "", None),
        ("nobody", "gpt-4o", None),
        ("openai_compatible", "gpt-4o", None),
    ],
)
def test_prices_are_found_as_the_sellers_name_their_models(
    provider: str, model: str, expected: tuple[int, int] | None
) -> None:
    assert tokens(provider, model) == expected


# Every model that the replaced systems have prices of, or name in a chain, a task or a tier.
NAMED = (
    *(("openai", name) for name in ("gpt-4o", "gpt-4o-mini", "gpt-4-turbo", "gpt-4", "gpt-3.5-turbo")),
    *(
        ("anthropic", f"claude-{name}")
        for name in ("3-opus", "3-sonnet", "3-haiku", "3-5-sonnet", "3-5-sonnet-20241022")
    ),
    *(("gemini", name) for name in ("gemini-1.5-pro", "gemini-1.5-flash", "gemini-pro")),
    *(("mistral", name) for name in ("mistral-large", "mistral-medium", "mistral-small-latest", "mistral-tiny")),
    *(("cohere", name) for name in ("command", "command-light", "command-r")),
    ("fireworks", "accounts/fireworks/models/qwen3-coder-480b-a35b-instruct"),
    ("together", "codellama/CodeLlama-34b-Instruct-hf"),
    ("together", "codellama/CodeLlama-70b-Instruct-hf"),
    ("together", "meta-llama/Llama-3-70b-chat-hf"),
    ("deepseek", "deepseek-coder"),
    *(("ollama", name) for name in ("mistral", "llama2", "codellama", "qwen2.5-coder")),
)


@pytest.mark.parametrize(("provider", "model"), NAMED)
def test_models_that_callers_still_name_have_prices_though_they_retired(provider: str, model: str) -> None:
    assert tokens(provider, model) is not None


# Their lists are in no source that the book is built from: unpriced, unless the configuration has prices.
WITHOUT_TABLES = {"custom", "trunkline", "openai_compatible", "litellm", "github_models", "nvidia", "qwen"}


def test_each_kind_of_provider_has_tables_or_is_known_to_have_none() -> None:
    assert set(read_tables().kinds) | WITHOUT_TABLES == set(ROWS)
    assert set(read_tables().kinds) & WITHOUT_TABLES == set()


@pytest.mark.parametrize("kind", sorted(set(ROWS) - WITHOUT_TABLES - {"huggingface"}))
def test_what_a_provider_lists_is_priced(kind: str) -> None:
    for model in filter(None, (ROWS[kind].default_model, *ROWS[kind].models)):
        assert tokens(kind, model) is not None, model


@pytest.mark.parametrize(
    ("provider", "model", "when", "expected"),
    [
        ("openai", "gpt-4o", "2024-10-01T23:59", (5_000_000, 15_000_000)),
        ("openai", "gpt-4o", "2024-10-02T00:00", (2_500_000, 10_000_000)),
        ("gemini", "gemini-1.5-pro", "2024-09-30T12:00", (3_500_000, 10_500_000)),
        ("gemini", "gemini-1.5-pro", "2024-10-01T00:00", (1_250_000, 5_000_000)),
        ("mistral", "mistral-large-4", "2026-10-19T23:59", (680_000, 2_090_000)),
        ("mistral", "mistral-large-4", "2026-10-20T00:00", (1_360_000, 4_180_000)),
        ("mistral", "mistral-large-4", "2026-10-29T00:00", (700_000, 2_100_000)),
        # A Friday, its peak hours, the Saturday after; and before there were peak hours.
        ("deepseek", "deepseek-v4-pro", "2026-11-27T00:59", (660_000, 1_980_000)),
        ("deepseek", "deepseek-v4-pro", "2026-11-27T01:00", (1_320_000, 3_960_000)),
        ("deepseek", "deepseek-v4-pro", "2026-11-27T04:00", (660_000, 1_980_000)),
        ("deepseek", "deepseek-v4-pro", "2026-11-28T02:00", (660_000, 1_980_000)),
        ("deepseek", "deepseek-v4-pro", "2026-08-22T02:00", (1_320_000, 3_960_000)),
        ("deepseek", "deepseek-v4-pro", "2026-08-16T02:00", (435_000, 870_000)),
        ("deepseek", "deepseek-chat", "2025-09-29T00:00", (280_000, 420_000)),
    ],
)
def test_a_call_costs_what_its_moment_says(provider: str, model: str, when: str, expected: tuple[int, int]) -> None:
    assert tokens(provider, model, at(when)) == expected


def test_hours_may_pass_midnight() -> None:
    night = Daily(22 * 3600, 6 * 3600, 0)
    assert [night.holds(at(f"2026-11-27T{hour}")) for hour in ("21:59", "22:00", "05:59", "06:00")] == [
        False,
        True,
        True,
        False,
    ]


def test_batches_have_prices_of_their_own_where_the_seller_has_them() -> None:
    assert tokens("anthropic", "claude-sonnet-4-5", processing="batch") == (1_500_000, 7_500_000)
    assert tokens("openai", "gpt-4.1", processing="priority") == (3_500_000, 14_000_000)
    assert tokens("groq", "llama-3.3-70b-versatile", processing="batch") is None


def test_larger_calls_cost_more_as_a_whole() -> None:
    found = BOOK.find("gemini", "gemini-2.5-pro", NOW)
    assert found is not None
    assert found.rates["input"].steps == (Step(200_000, 2_500_000),)
    assert found.rates["input"].amount(200_000, 200_000) == 200_000 * 1_250_000
    assert found.rates["input"].amount(200_001, 200_001) == 200_001 * 2_500_000


def test_or_only_what_is_beyond() -> None:
    rate = Rate(10, (Step(100, 20, excess_only=True), Step(200, 50, excess_only=True)))
    assert [rate.amount(count, 0) for count in (100, 101, 200, 201)] == [1000, 1020, 3000, 3050]


def test_no_price_is_below_zero_and_none_falls_in_larger_calls() -> None:
    for each in read_tables().rates:
        for unit, rate in each.items():
            prices = [rate.pico_usd, *(step.pico_usd for step in rate.steps)]
            assert prices == sorted(prices), (unit, rate)
            assert prices[0] >= 0
            assert [step.above for step in rate.steps] == sorted({step.above for step in rate.steps})


def test_the_version_is_that_of_what_is_in_it() -> None:
    tables = read_tables()
    digest = hashlib.sha256(msgspec.json.encode(msgspec.structs.replace(tables, version=""))).hexdigest()
    assert tables.version.endswith(f"-{digest[:8]}")


def test_the_licence_of_the_data_is_with_it() -> None:
    import trunkline_server.prices as package

    text = (Path(package.__path__[0]) / "LICENSE.genai-prices").read_text()
    assert "The MIT License" in text
    assert "Pydantic Services" in text


def test_a_price_that_was_found_once_is_found_fast() -> None:
    """Under 2 microseconds on an idle machine; ten times that is a mistake."""
    BOOK.find("my-fireworks", "qwen3-coder-480b-a35b-instruct", NOW)
    start = perf_counter()
    for _ in range(2000):
        BOOK.find("my-fireworks", "qwen3-coder-480b-a35b-instruct", NOW)
    assert (perf_counter() - start) / 2000 < 20e-6


# --- the configuration's own ------------------------------------------------------------------------------------------


SOLD = PriceBook(
    {"azure": "azure_openai", "lora": "openai_compatible"},
    [PriceSettings(model="azure/cheap", input=TokenPrice(7))],
    {
        "azure": {
            "chat": "gpt-4o",
            "vendor": "openai/gpt-4o",
            "gpt-4o-mini": "gpt-4o",
            "own": "nobody",
            "cheap": "gpt-4o",
        },
        "lora": {"sql": "openai/gpt-4o"},
    },
)


@pytest.mark.parametrize("deployment", ["chat", "vendor", "gpt-4o-mini"])
def test_a_deployment_costs_what_was_deployed(deployment: str) -> None:
    """Whatever it is called, and however its base is written."""
    expected = BOOK.find("azure_openai", "gpt-4o", NOW)
    found = SOLD.find("azure", deployment, NOW)
    assert expected is not None
    assert found is not None
    assert found.rates == expected.rates
    assert [*SOLD.processings("azure", deployment, NOW)] == [*BOOK.processings("azure_openai", "gpt-4o", NOW)]


def test_a_base_that_the_seller_has_no_price_of_is_no_price() -> None:
    """Neither the deployment's own name nor another seller of the base says what this one takes."""
    assert SOLD.find("azure", "own", NOW) is None
    assert SOLD.find("lora", "sql", NOW) is None


def test_the_configuration_beats_the_price_of_the_base() -> None:
    found = SOLD.find("azure", "cheap", NOW)
    assert found is not None
    assert found.rates == {"input": Rate(7)}


def own(*settings: PriceSettings) -> PriceBook:
    return PriceBook({"eu": "openai"}, settings)


def test_the_configuration_beats_the_book() -> None:
    book = own(PriceSettings(model="openai/gpt-4o", input=TokenPrice(7), output=TokenPrice(9)))
    found = book.find("openai", "gpt-4o", NOW)
    assert found is not None
    assert found.rates == {"input": Rate(7), "output": Rate(9)}
    assert found.version == book.version != BOOK.version
    assert found.version.startswith(f"{BOOK.version}+")
    for other in (book.find("openai", "gpt-4o-mini", NOW), book.find("eu", "gpt-4o", NOW)):
        assert other is not None
        assert other.rates["input"].pico_usd > 9


def test_the_first_pattern_that_fits_decides() -> None:
    book = own(
        PriceSettings(model="openai/gpt-4o", input=TokenPrice(1)),
        PriceSettings(model="openai/*", input=TokenPrice(2)),
        PriceSettings(model="*-mini", input=TokenPrice(3)),
        PriceSettings(model="*", input=TokenPrice(4)),
    )
    named = [("openai", "gpt-4o"), ("openai", "gpt-4o-mini"), ("eu", "o4-mini"), ("x", "y/z")]
    found = [book.find(provider, model, NOW) for provider, model in named]
    assert [each and each.rates["input"].pico_usd for each in found] == [1, 2, 3, 4]


def test_a_star_is_the_only_sign() -> None:
    book = own(PriceSettings(model="openai/gpt.4[o]", input=TokenPrice(1)))
    found = book.find("openai", "gpt-4o", NOW)
    assert found is not None
    assert found.rates["input"].pico_usd > 1


@pytest.mark.parametrize(
    ("pattern", "model", "fits"),
    [
        ("openai/*-mini-*", "gpt-4o-mini-2024", True),
        ("openai/*-mini-*", "gpt-4o-mini", False),
        ("*4o*mini", "gpt-4o-mini", True),
        ("openai/gpt*", "gpt", True),
        ("*", "", True),
        ("**", "x", True),
        ("openai/x", "x-y", False),
        ("*ab", "aab", True),
    ],
)
def test_a_star_is_any_characters(pattern: str, model: str, fits: bool) -> None:
    found = own(PriceSettings(model=pattern, input=TokenPrice(1))).find("openai", model, NOW)
    assert (found is not None and found.rates["input"].pico_usd == 1) is fits


def test_many_stars_take_no_longer() -> None:
    book = own(PriceSettings(model="a*" * 30 + "b", input=TokenPrice(1)))
    start = perf_counter()
    assert book.find("a" * 128, "a" * 128, NOW) is None
    assert perf_counter() - start < 1


def test_the_configuration_has_a_history_too() -> None:
    book = own(
        PriceSettings(model="openai/x", since=Moment(200), input=TokenPrice(2)),
        PriceSettings(model="openai/x", since=Moment(100), input=TokenPrice(1)),
    )
    found = [book.find("openai", "x", when) for when in (99, 100, 199, 200)]
    assert [each and (each.since, each.rates["input"].pico_usd) for each in found] == [
        None,
        (100, 1),
        (100, 1),
        (200, 2),
    ]


def test_all_units_can_be_configured() -> None:
    tier = TierSettings(above=9, excess_only=True, input=TokenPrice(20))
    priced = PriceSettings(
        model="*",
        input=TokenPrice(1),
        request=UnitPrice(5),
        second=UnitPrice(6),
        other={"x": UnitPrice(7)},
        tiers=(tier,),
    )
    found = own(priced).find("any", "thing", NOW)
    assert found is not None
    steps = (Step(9, 20, excess_only=True),)
    assert found.rates == {"input": Rate(1, steps), "request": Rate(5), "second": Rate(6), "x": Rate(7)}


def test_the_configurations_prices_hold_however_a_call_is_processed() -> None:
    book = own(PriceSettings(model="openai/*", input=TokenPrice(1)))
    found = book.find("openai", "gpt-4.1", NOW, "batch")
    assert found is not None
    assert found.rates == {"input": Rate(1)}
    assert list(book.processings("openai", "gpt-4.1", NOW)) == []


def test_a_price_may_be_for_calls_that_are_processed_in_one_way() -> None:
    book = own(
        PriceSettings(model="openai/gpt-4.1", input=TokenPrice(1)),
        PriceSettings(model="openai/gpt-4.1", input=TokenPrice(2), processing="priority"),
        PriceSettings(model="openai/gpt-4.1", input=TokenPrice(3), processing="priority", since=Moment(NOW + 1)),
        PriceSettings(model="openai/gpt-4o", input=TokenPrice(9), processing="flex"),
    )
    found = {
        (how, when): book.find("openai", "gpt-4.1", when, how)
        for how in ("", "priority", "batch")
        for when in (NOW, NOW + 1)
    }
    paid = {key: prices.rates["input"].pico_usd for key, prices in found.items() if prices}
    assert paid == {
        ("", NOW): 1,
        ("", NOW + 1): 1,
        ("priority", NOW): 2,
        ("priority", NOW + 1): 3,
        ("batch", NOW): 1,
        ("batch", NOW + 1): 1,
    }
    assert list(book.processings("openai", "gpt-4.1", NOW)) == ["priority"]
    tables = PriceBook()
    for how in ("", "batch", "priority"):
        ours, theirs = book.find("openai", "gpt-4o", NOW, how), tables.find("openai", "gpt-4o", NOW, how)
        assert ours is not None
        assert theirs is not None
        assert ours.rates == theirs.rates, "what the entry is not for costs what the book says"
    assert {*book.processings("openai", "gpt-4o", NOW)} == {"flex", *tables.processings("openai", "gpt-4o", NOW)}


# --- what is told -----------------------------------------------------------------------------------------------------


def test_pricing_tells_units_steps_and_processing() -> None:
    model = Model(provider="eu", provider_model="claude-sonnet-4-5")
    add_pricing(model, BOOK, NOW)
    told = {
        (price.unit, price.other_unit, price.above_input_tokens, price.processing): price
        for price in model.pricing.prices
    }
    assert told[Price.UNIT_INPUT_TOKEN, "", 0, ""].pico_usd_per_unit == 3_000_000
    assert told[Price.UNIT_INPUT_TOKEN, "", 200_000, ""].pico_usd_per_unit == 6_000_000
    assert told[Price.UNIT_CACHE_WRITE_1H_TOKEN, "", 0, ""].pico_usd_per_unit == 6_000_000
    assert told[Price.UNIT_OTHER, "web_search_requests", 0, ""].pico_usd_per_unit == 10_000_000_000
    assert told[Price.UNIT_OUTPUT_TOKEN, "", 0, "batch"].pico_usd_per_unit == 7_500_000
    assert model.pricing.version == BOOK.version
    assert model.pricing.effective_time.ToSeconds() == at("2026-10-14")


def test_unpriced_and_free_are_told_apart() -> None:
    unpriced, free = Model(provider="nobody", provider_model="x"), Model(provider="embedded", provider_model="x")
    for model in (unpriced, free):
        add_pricing(model, BOOK, NOW)
    assert not unpriced.HasField("pricing")
    assert {price.pico_usd_per_unit for price in free.pricing.prices} == {0}
    assert not free.pricing.HasField("effective_time")


def test_a_price_may_leave_out_what_ids_of_its_provider_begin_with() -> None:
    own = (PriceSettings(model="fw/mine", input=TokenPrice(7), output=TokenPrice(9)),)
    book = PriceBook({"fw": "fireworks"}, own, prefixes={"fw": "accounts/fireworks/models/"})
    for model in ("mine", "accounts/fireworks/models/mine"):
        found = book.find("fw", model, NOW)
        assert found is not None
        assert found.rates["input"].pico_usd == 7
    assert book.find("fw", "accounts/else/models/mine", NOW) is None
