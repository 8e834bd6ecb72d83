"""Advice from rows that are really in a ledger: every figure worked out by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from ledger_rows import BEGIN, DAY, SUBJECT, ended, finished
from ledger_serving import ledger_server
from msgspec import structs

from trunkline.v1.call_pb2 import OUTCOME_SERVER_ERROR
from trunkline.v1.insights_pb2 import Insight
from trunkline_server.prices.book import PriceBook
from trunkline_server.providers.table import ROWS, SCRIPTS
from trunkline_server.routing.catalogue import build_offers
from trunkline_server.routing.filters import Known
from trunkline_server.routing.insights import insights
from trunkline_server.settings import ProviderSettings, Settings
from trunkline_server.settings.models import ModelSettings
from trunkline_server.settings.prices import PriceSettings, TokenPrice
from trunkline_server.snapshot import Snapshot
from trunkline_server.state.ledger.spending import read_spent

if TYPE_CHECKING:
    from trunkline_server.state.ledger.commit import Entry
    from trunkline_server.state.ledger.database import Database

NOW = BEGIN + 3 * DAY + 5 * 10**9
TOOLS, CACHE = "tools", "prompt_cache"
KIND = Insight.Kind


def model(quality: float | None, window: int = 100_000, *can: Any) -> ModelSettings:
    scores: dict[Any, float] = {} if quality is None else {"quality": quality}
    return ModelSettings(context_window=window, capabilities=can, scores=scores)


def price(name: str, into: int, out: int, read: int | None = None) -> PriceSettings:
    """In pico-USD a token, which is USD for a million tokens, times a million."""
    cached = None if read is None else TokenPrice(read)
    return PriceSettings(model=name, input=TokenPrice(into), output=TokenPrice(out), cache_read=cached)


MODELS = {
    "dear/big": model(0.8, 100_000, TOOLS, CACHE),
    "cheap/as-good": model(0.8, 100_000, TOOLS),
    "cheap/worse": model(0.79, 100_000, TOOLS, CACHE),
    "cheap/narrow": model(0.9, 99_999, TOOLS, CACHE),
    "cheap/no-tools": model(0.9, 100_000, CACHE),
    "cheap/able": model(0.85, 200_000, TOOLS, CACHE),
    "cheap/unknown": model(None, 200_000, TOOLS, CACHE),
    "dear/open-1": model(None),
    "cheap/open-1": model(None),
}
PRICES = (
    price("dear/big", 10_000_000, 30_000_000, 1_000_000),
    price("cheap/as-good", 1_000_000, 2_000_000),
    price("cheap/able", 2_000_000, 6_000_000),
    price("cheap/*", 0, 0),
)


def snapshot(listed_prices: tuple[PriceSettings, ...] = PRICES, **settings: Any) -> Snapshot:
    def listed(provider: str) -> tuple[str, ...]:
        return tuple(name.partition("/")[2] for name in MODELS if name.startswith(provider))

    providers = {
        "dear": ProviderSettings(kind="openai_compatible", models=listed("dear"), base_url="http://127.0.0.1:1"),
        "cheap": ProviderSettings(kind="openai_compatible", models=listed("cheap"), base_url="http://127.0.0.1:1"),
        "mock": ProviderSettings(kind="scripted", scripts=dict(SCRIPTS)),
    }
    built = Settings(providers=providers, model_data=MODELS, prices=listed_prices, **settings)
    kinds = {name: each.kind for name, each in providers.items()}
    return Snapshot("v", built, build_offers(built, ROWS, {}), PriceBook(kinds, listed_prices))


async def advised(
    database: Database, *rows: Entry, workspace: str = "", days: int = 30, **settings: Any
) -> list[Insight]:
    async with ledger_server(database, NOW / 1e6) as serving:
        await serving.write(*rows)
    there = snapshot(**settings)
    spent = await read_spent(database, days, workspace, NOW)
    return insights(there, Known(NOW // 10**6, there.prices), spent)


def attempts(count: int, begin: int = 0, task: str = "review", **fields: Any) -> list[Entry]:
    subject = structs.replace(SUBJECT, task=task, workspace=fields.pop("workspace", "default"))
    given = {
        "provider": "dear",
        "model": "big",
        "input_tokens": 1000,
        "output_tokens": 100,
        "cost": 13_000_000,
        **fields,
    }
    return [finished(f"c{begin + n}", subject=subject, **given) for n in range(count)]


def calls(count: int, begin: int = 0, **fields: Any) -> list[Entry]:
    return [ended(f"c{begin + n}", **fields) for n in range(count)]


def figures(insight: Insight) -> dict[str, float]:
    return {each.name: each.value for each in insight.evidence}


async def test_a_cheaper_model_of_at_least_the_same_quality(database: Database) -> None:
    """Of those that are cheaper only `able` is as good and can all that `big` can."""
    (insight,) = await advised(database, *attempts(40))
    assert (insight.kind, insight.model, insight.task) == (KIND.Value("KIND_CHEAPER_MODEL"), "dear/big", "review")
    assert insight.alternative == "cheap/able"
    # A call cost 1,000 * 10,000 + 100 * 30,000 nano-USD; at `able` it is 1,000 * 2,000 + 100 * 6,000.
    assert figures(insight) == {
        "attempts": 40,
        "input_tokens": 40_000,
        "output_tokens": 4_000,
        "cost": 520_000_000,
        "alternative_cost": 104_000_000,
        "quality": pytest.approx(0.8),
        "alternative_quality": pytest.approx(0.85),
    }
    assert insight.saving_nano_usd == 416_000_000
    assert not insight.saving_at_most


async def test_each_task_is_looked_at_by_itself_and_the_largest_saving_comes_first(database: Database) -> None:
    rows = [*attempts(20, task="small"), *attempts(60, 100, task="large"), *attempts(19, 200, task="too few")]
    told = await advised(database, *rows)
    assert [(each.task, each.saving_nano_usd) for each in told] == [("large", 624_000_000), ("small", 208_000_000)]


async def test_of_one_workspace_and_of_some_days(database: Database) -> None:
    rows = [*attempts(20, workspace="red"), *attempts(20, 100, started=BEGIN + DAY), *attempts(20, 200, started=NOW)]
    assert [figures(each)["attempts"] for each in await advised(database, *rows)] == [60]
    assert [figures(each)["attempts"] for each in await advised(database, workspace="red")] == [20]
    assert [figures(each)["attempts"] for each in await advised(database, days=3)] == [40]
    assert [figures(each)["attempts"] for each in await advised(database, days=1)] == [20]


async def test_what_cost_something_unknown_is_not_compared(database: Database) -> None:
    assert await advised(database, *attempts(40), *attempts(1, 100, cost=None)) == []


async def test_a_price_of_reads_says_that_there_is_a_cache(database: Database) -> None:
    """Whatever the catalogue knows of its abilities."""
    given: dict[str, Any] = {"model": "open-1", "input_tokens": 5_000, "cost": 0}
    prices = (price("dear/open-1", 10_000_000, 1, 5_000_000),)
    (insight,) = await advised(database, *attempts(20, **given), listed_prices=prices)
    assert (insight.model, insight.saving_nano_usd) == ("dear/open-1", 100_000 * 5_000)


async def test_a_prompt_cache_that_is_not_used(database: Database) -> None:
    told = await advised(database, *attempts(20, input_tokens=5_000, cache_read_tokens=100, cost=0))
    (insight,) = told
    assert (insight.kind, insight.model) == (KIND.Value("KIND_UNUSED_PROMPT_CACHE"), "dear/big")
    # What was not read from it, 20 * 4,900 tokens, at 10 - 1 USD a million.
    assert insight.saving_nano_usd == 98_000 * 9_000
    assert insight.saving_at_most
    assert figures(insight) == {"attempts": 20, "input_tokens": 100_000, "cache_read_tokens": 2_000}


@pytest.mark.parametrize("fields", [{"cache_read_tokens": 250}, {"input_tokens": 1_000}, {"model": "open-1"}])
async def test_a_cache_that_is_used_or_that_cannot_be(database: Database, fields: dict[str, Any]) -> None:
    given = {"input_tokens": 5_000, "cache_read_tokens": 100, "cost": 0, **fields}
    assert await advised(database, *attempts(20, **given)) == []


async def test_a_slow_provider_of_the_same_model(database: Database) -> None:
    slow = calls(20, provider="dear", model="Open-1", duration=1_000_000)
    fast = calls(30, 100, provider="cheap", model="hosted/open-1", duration=400_000)
    other = calls(30, 200, provider="cheap", model="open-2", duration=1_000)
    (insight,) = await advised(database, *slow, *fast, *other)
    assert (insight.kind, insight.model) == (KIND.Value("KIND_SLOW_PROVIDER"), "dear/Open-1")
    assert insight.alternative == "cheap/hosted/open-1"
    assert figures(insight) == {
        "answers": 20,
        "mean_time": pytest.approx(1.0),
        "alternative_answers": 30,
        "alternative_mean_time": pytest.approx(0.4),
        "saved_time": pytest.approx(12.0),
    }
    assert not insight.HasField("saving_nano_usd")


async def test_a_fallback_that_is_missing(database: Database) -> None:
    failed: dict[str, Any] = {"result": "error", "outcome": OUTCOME_SERVER_ERROR, "reason": "ALL_PROVIDERS_FAILED"}
    lost = calls(5, provider="dear", model="big", **failed)
    (insight,) = await advised(database, *lost, *calls(95, 100, provider="dear", model="big"))
    assert (insight.kind, insight.model) == (KIND.Value("KIND_MISSING_FALLBACK"), "dear/big")
    assert insight.alternative == "cheap/worse", "it is nearly as good, and costs least"
    assert figures(insight) == {"calls": 100, "lost": 5}
    assert "fallbacks: {dear/big: [cheap/worse]}" in insight.recommendation
    assert await advised(database, fallbacks={"dear/big": ("cheap/able",)}) == []


async def test_the_same_model_elsewhere_is_the_first_to_fall_back_to(database: Database) -> None:
    failed: dict[str, Any] = {"result": "error", "outcome": OUTCOME_SERVER_ERROR, "reason": "ALL_PROVIDERS_FAILED"}
    lost = calls(9, provider="dear", model="big", **failed)
    well = calls(20, 100, provider="cheap", model="hosted/Big", duration=400_000)
    (insight,) = await advised(database, *lost, *well)
    assert insight.alternative == "cheap/hosted/Big"
    ill = calls(20, 200, provider="cheap", model="hosted/Big", **failed)
    told = {each.model: each.alternative for each in await advised(database, *ill)}
    assert told == {"dear/big": "cheap/worse", "cheap/hosted/Big": ""}, "one that fails as well is none"


async def test_few_failures_are_no_reason(database: Database) -> None:
    failed: dict[str, Any] = {"result": "error", "outcome": OUTCOME_SERVER_ERROR, "reason": "ALL_PROVIDERS_FAILED"}
    assert await advised(database, *calls(4, provider="dear", model="big", **failed)) == []
