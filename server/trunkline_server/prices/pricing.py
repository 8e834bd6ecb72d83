"""What the contract tells of prices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline.v1.model_pb2 import Price, Pricing
from trunkline_server.prices.rates import (
    CACHE_READ,
    CACHE_WRITE,
    CACHE_WRITE_1H,
    INPUT,
    OUTPUT,
    REASONING,
    REQUEST,
    SECOND,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trunkline.v1.model_pb2 import Model
    from trunkline_server.prices.book import PriceBook
    from trunkline_server.prices.rates import Rate

_UNITS = {
    INPUT: Price.UNIT_INPUT_TOKEN,
    CACHE_READ: Price.UNIT_CACHE_READ_TOKEN,
    CACHE_WRITE: Price.UNIT_CACHE_WRITE_TOKEN,
    CACHE_WRITE_1H: Price.UNIT_CACHE_WRITE_1H_TOKEN,
    OUTPUT: Price.UNIT_OUTPUT_TOKEN,
    REASONING: Price.UNIT_REASONING_TOKEN,
    REQUEST: Price.UNIT_REQUEST,
    SECOND: Price.UNIT_COMPUTE_SECOND,
}


def add_pricing(model: Model, book: PriceBook, when: int) -> None:
    """Tell in `model` what it costs at a time in seconds since 1970. What is unpriced is left as it is."""
    found = book.find(model.provider, model.provider_model, when)
    if found is None:
        return
    pricing = Pricing(prices=_prices(found.rates, ""), version=found.version)
    if found.since:
        pricing.effective_time.FromSeconds(found.since)
    for processing in book.processings(model.provider, model.provider_model, when):
        if other := book.find(model.provider, model.provider_model, when, processing):
            pricing.prices.extend(_prices(other.rates, processing))
    model.pricing.CopyFrom(pricing)


def _prices(rates: Mapping[str, Rate], processing: str) -> Iterator[Price]:
    for name, rate in rates.items():
        unit = _UNITS.get(name, Price.UNIT_OTHER)
        other = name if unit == Price.UNIT_OTHER else ""
        yield Price(unit=unit, other_unit=other, pico_usd_per_unit=rate.pico_usd, processing=processing)
        for step in rate.steps:
            yield Price(
                unit=unit,
                other_unit=other,
                pico_usd_per_unit=step.pico_usd,
                above_input_tokens=step.above,
                excess_only=step.excess_only,
                processing=processing,
            )
