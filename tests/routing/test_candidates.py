"""The rows that decisions are made from, against the models and prices that they are made of."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from trunkline.v1.call_pb2 import Target
from trunkline_server.prices.book import PriceBook
from trunkline_server.providers.table import ROWS, SCRIPTS
from trunkline_server.routing.candidates import Candidates, build_candidates
from trunkline_server.routing.catalogue import build_offers
from trunkline_server.settings import ProviderSettings, Secret, Settings
from trunkline_server.settings.models import ModelSettings
from trunkline_server.settings.prices import Moment, PriceSettings, TokenPrice
from trunkline_server.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence

KEY = Secret("k")
DAY = int(datetime(2026, 11, 28, tzinfo=UTC).timestamp())
PROVIDERS = {
    "openai": ProviderSettings(kind="openai", api_key=KEY, models=("gpt-4o", "gpt-4.1-nano", "o3")),
    "anthropic": ProviderSettings(kind="anthropic", models=("claude-opus-5-5",)),
    "mine": ProviderSettings(kind="openai_compatible", models=("a", "b")),
    "embedded": ProviderSettings(kind="embedded"),
    "mock": ProviderSettings(kind="scripted", scripts=dict(SCRIPTS)),
    "deepseek": ProviderSettings(kind="deepseek", api_key=KEY, models=("deepseek-chat",)),
}
MODEL_DATA = {
    "mine/a": ModelSettings(
        context_window=8192, scores={"coding": 0.5, "reasoning": 0.7, "speed": 0.9}, effective_price=0.5
    ),
    "mine/b": ModelSettings(retirement=Moment(DAY + 1000)),
}


def snapshot_of(prices: Sequence[PriceSettings] = (), reasons: dict[str, str] | None = None) -> Snapshot:
    settings = Settings(providers=PROVIDERS, model_data=MODEL_DATA, prices=tuple(prices))
    kinds = {name: each.kind for name, each in PROVIDERS.items()}
    return Snapshot("v", settings, build_offers(settings, ROWS, reasons or {}), PriceBook(kinds, prices))


def built(prices: Sequence[PriceSettings] = (), when: int = DAY) -> Candidates:
    return build_candidates(snapshot_of(prices), when)


def test_a_row_says_what_its_model_says() -> None:
    row = built().by_id["mine/a"]
    assert row.target == Target(provider="mine", model="a")
    assert (row.window, row.max_output, row.open_weights) == (8192, None, None)
    assert (row.coding, row.reasoning, row.speed) == (0.5, 0.7, 0.9)
    assert row.quality == pytest.approx(0.6)
    assert (row.kind, row.hindrance, row.local) == ("openai_compatible", "", False)


def test_all_models_have_a_row_those_that_cannot_be_called_with_the_reason() -> None:
    found = built()
    offers = found.snapshot.offers.values()
    assert list(found.by_id) == [f"{offer.provider}/{model}" for offer in offers for model in offer.models]
    assert "ANTHROPIC_API_KEY" in found.by_id["anthropic/claude-opus-5-5"].hindrance


def test_prices_are_the_books() -> None:
    row = built().by_id["openai/gpt-4o"]
    assert row.tariff is not None
    assert (row.tariff.input, row.tariff.output, row.tariff.cache_read) == (2_500_000, 10_000_000, 1_250_000)


def test_what_nobody_prices_is_not_free_unless_it_runs_here() -> None:
    found = built().by_id
    assert found["mine/b"].tariff is None
    assert found["mine/b"].effective_price is None
    local = next(row for row in found.values() if row.kind == "embedded")
    assert local.tariff is not None
    assert (local.tariff.input, local.tariff.output, local.effective_price) == (0, 0, 0.0)


# Prices of 2024 and what those who used them took for the whole (USD per million tokens).
@pytest.mark.parametrize(
    ("into", "out", "effective"),
    [(10, 30, 15), (15, 75, 30), (3, 15, 6), (5, 15, 7.5)],
)
def test_the_effective_price_weighs_three_that_go_in_to_one_that_comes_out(
    into: int, out: int, effective: float
) -> None:
    price = PriceSettings(model="mine/b", input=TokenPrice(into * 10**6), output=TokenPrice(out * 10**6))
    assert built((price,)).by_id["mine/b"].effective_price == effective


def test_the_configuration_may_say_the_effective_price() -> None:
    assert built().by_id["mine/a"].effective_price == 0.5


def test_rows_hold_until_a_price_or_an_availability_changes() -> None:
    later = PriceSettings(model="mine/a", since=Moment(DAY + 500), input=TokenPrice(1), output=TokenPrice(2))
    snapshot = snapshot_of((later,))
    found = build_candidates(snapshot, DAY)
    assert found.by_id["mine/a"].tariff is None
    assert found.holds(snapshot, DAY + 499)
    assert not found.holds(snapshot, DAY + 500)
    assert not found.holds(snapshot, DAY - 1)
    assert not found.holds(snapshot_of((later,)), DAY)
    after = build_candidates(snapshot, DAY + 500)
    assert after.by_id["mine/a"].tariff is not None
    assert not after.by_id["mine/b"].hindrance
    assert after.until is not None
    assert after.until <= DAY + 1000
    assert "retired" in build_candidates(snapshot, DAY + 1000).by_id["mine/b"].hindrance


@pytest.mark.parametrize(("provider", "model"), [("deepseek", "deepseek-chat"), ("openai", "gpt-4o")])
def test_between_two_changes_prices_stay(provider: str, model: str) -> None:
    """Through two years in steps of half an hour, hours of the day with prices of their own included."""
    book, step = PriceBook(), 1800
    start = int(datetime(2024, 6, 1, tzinfo=UTC).timestamp())
    change = book.next_change(provider, model, start)
    before = book.find(provider, model, start)
    seen = 0
    for when in range(start + step, start + 2 * 365 * 86400, step):
        if change is not None and when >= change:
            change, before = book.next_change(provider, model, when), book.find(provider, model, when)
            seen += 1
            continue
        now = PriceBook().find(provider, model, when)
        assert now is not None
        assert before is not None
        assert now.rates == before.rates, when
    assert seen > 0


def test_what_a_provider_takes_without_listing_it_has_a_row_too() -> None:
    found = built()
    target = Target(provider="openai", model="gpt-4o-mini")
    row = found.at(target)
    assert row.id == "openai/gpt-4o-mini"
    assert row.window == 128_000
    assert row.tariff is not None
    assert found.at(target) is row
    assert found.at(Target(provider="mine", model="a")) is found.by_id["mine/a"]


def test_building_takes_little() -> None:
    many = ProviderSettings(kind="openai_compatible", models=tuple(f"m{number}" for number in range(500)))
    settings = Settings(providers={"many": many})
    snapshot = Snapshot("v", settings, build_offers(settings, ROWS, {}), PriceBook({"many": "openai_compatible"}))
    start = time.perf_counter()
    found = build_candidates(snapshot, DAY)
    assert len(found.rows) == 500
    assert time.perf_counter() - start < 0.25
