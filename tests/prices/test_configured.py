"""Prices in the configuration: read exactly, or refused with what would be right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml

from trunkline_server import config

if TYPE_CHECKING:
    from pathlib import Path

    from trunkline_server.settings.prices import PriceSettings


def load(tmp_path: Path, text: str) -> tuple[PriceSettings, ...]:
    path = tmp_path / "trunkline.yaml"
    path.write_text(text)
    return config.load(path, {}).prices


@pytest.mark.parametrize(
    ("written", "pico"),
    [
        ("0.45", 450_000),
        ('"0.45"', 450_000),
        ("1.80", 1_800_000),
        ("3", 3_000_000),
        ("0", 0),
        ("0.0", 0),
        ("0.000001", 1),
        ("123456.654321", 123_456_654_321),
        # Half a pico-USD more or less as a float.
        ("999999.999999", 999_999_999_999),
    ],
)
def test_a_price_is_what_is_written(tmp_path: Path, written: str, pico: int) -> None:
    (own,) = load(tmp_path, f"prices: [{{model: openai/x, input: {written}}}]")
    assert own.input == pico


def test_a_price_never_goes_through_a_float(tmp_path: Path) -> None:
    """Sixteen digits and more are more than a float holds."""
    (own,) = load(tmp_path, "prices: [{model: x/*, input: 1, second: 12345.123456789012}]".replace("x/", "openai/"))
    assert own.second == 12_345_123_456_789_012


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("2026-01-01", 1_767_225_600),
        ('"2026-01-01"', 1_767_225_600),
        ("2026-01-01T00:00:00Z", 1_767_225_600),
        ('"2026-01-01T02:00:00+02:00"', 1_767_225_600),
        ("2026-01-01T12:00:00Z", 1_767_268_800),
    ],
)
def test_since_is_a_date_or_a_time_with_its_zone(tmp_path: Path, written: str, seconds: int) -> None:
    (own,) = load(tmp_path, f"prices: [{{model: openai/x, input: 1, since: {written}}}]")
    assert own.since == seconds


def test_a_number_elsewhere_is_still_a_number(tmp_path: Path) -> None:
    path = tmp_path / "trunkline.yaml"
    path.write_text("limits: {connect: 2.5}\nprices: [{model: openai/x, input: 1}]")
    assert config.load(path, {}).limits.connect == 2.5


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("{model: openai/x, input: -1}", "prices[0].input: expected USD per 1M tokens such as 0.45"),
        ("{model: openai/x, input: 0.4567891}", "at most 6 decimals"),
        ("{model: openai/x, input: 1e-3}", "prices[0].input"),
        ("{model: openai/x, input: .inf}", "prices[0].input"),
        ("{model: openai/x, input: true}", "prices[0].input"),
        ("{model: openai/x, input: 1000000}", "at most 999999"),
        ("{model: openai/x, request: 0.1234567890123}", "prices[0].request: expected USD for one such as 0.01"),
        ("{model: openai/x, input: 1, since: soon}", "prices[0].since: expected a date such as 2026-01-31"),
        ("{model: openai/x, input: 1, since: 2026-01-01T12:00:00}", "prices[0].since"),
        ("{model: openai/x, input: 1, since: 1969-01-01}", "prices[0].since"),
        ("{input: 1}", "prices[0].model: expected a value"),
        ("{model: gpt-4o, input: 1}", 'prices[0].model: expected "provider/model" or a pattern'),
        ("{model: opnai/gpt-4o, input: 1}", "did you mean openai?"),
        ("{model: openai/x}", "prices[0]: expected a price"),
        ("{model: openai/x, processing: priority}", "prices[0]: expected a price"),
        ("{model: openai/x, input: 1, processing: quick}", "prices[0].processing"),
        ("{model: openai/x, since: 2026-01-01}", "prices[0]: expected a price"),
        ("{model: openai/x, inputs: 1}", "prices[0].inputs: expected a known key"),
        ("{model: openai/x, input: 1, tiers: [{above: 5}]}", "prices[0].tiers[0]: expected a price"),
        (
            "{model: openai/x, input: 1, tiers: [{above: 5, output: 2}]}",
            "prices[0].output: expected the price of",
        ),
        ("{model: openai/x, input: 1, tiers: [{above: 5, input: 2}, {above: 5, input: 3}]}", "each above once"),
        (
            "{model: openai/x, input: 1, tiers: [{above: 5, input: 2}, {above: 6, input: 3, excess_only: true}]}",
            "the same excess_only",
        ),
        (
            "{model: openai/x, input: 1}, {model: OpenAI/X, input: 2}",
            "the same model, since and processing",
        ),
    ],
)
def test_a_bad_price_is_refused_with_what_would_be_right(tmp_path: Path, entry: str, problem: str) -> None:
    with pytest.raises(config.ConfigError) as caught:
        load(tmp_path, f"prices: [{entry}]")
    assert problem in str(caught.value)


def test_a_provider_that_only_wants_a_key_may_have_prices(tmp_path: Path) -> None:
    assert len(load(tmp_path, "prices: [{model: fireworks/x, input: 1}, {model: '*/free-*', input: 0}]")) == 2


def test_other_prices_are_another_configuration(tmp_path: Path) -> None:
    path = tmp_path / "trunkline.yaml"
    versions = []
    for price in ("1", "2"):
        path.write_text(yaml.safe_dump({"prices": [{"model": "openai/x", "input": price}]}))
        versions.append(config.version(config.load(path, {})))
    assert versions[0] != versions[1]
