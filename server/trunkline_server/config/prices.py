"""The prices of a configuration: read exactly, and checked for what they mean."""

from __future__ import annotations

import re
from calendar import timegm
from collections import Counter
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING

from msgspec import structs

from trunkline_server.config.check import Problem, Unfit, did_you_mean, shown
from trunkline_server.settings.prices import Moment, TokenPrice, UnitPrice

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trunkline_server.providers.table import Row
    from trunkline_server.settings import Settings
    from trunkline_server.settings.prices import PriceSettings


def _read(value: object, decimals: int, what: str) -> int:
    """Decimal digits as an integer of their last place. Raises Unfit. Numbers with a point come as text."""
    text = str(value) if type(value) is int else value
    match = re.fullmatch(rf"([0-9]{{1,6}})(?:\.([0-9]{{1,{decimals}}}))?", text) if isinstance(text, str) else None
    if match is None:
        raise Unfit(f"{what}, at most 999999 and with at most {decimals} decimals, got {shown(value)}")
    return int(match[1] + (match[2] or "").ljust(decimals, "0"))


def read_token_price(value: object) -> TokenPrice:
    """USD per million tokens. Raises Unfit."""
    return TokenPrice(_read(value, 6, "USD per 1M tokens such as 0.45"))


def read_unit_price(value: object) -> UnitPrice:
    """USD for one. Raises Unfit."""
    return UnitPrice(_read(value, 12, "USD for one such as 0.01"))


def read_moment(value: object) -> Moment:
    """A date or a time with its zone, since 1970. Raises Unfit."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            value = None
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if not isinstance(value, datetime) or value.year < 1970 or (value.tzinfo is None and value.time() != time()):
        raise Unfit("a date such as 2026-01-31 or a time such as 2026-01-31T12:00:00Z")
    return Moment(timegm(value.utctimetuple()))


def price_problems(settings: Settings, rows: Mapping[str, Row]) -> Iterator[Problem]:
    """What is wrong with prices that are right one by one. Providers that only want a key may have some, too."""
    known = [*settings.providers, *rows]
    for index, own in enumerate(settings.prices):
        path = f"prices[{index}]"
        provider = own.model.partition("/")[0]
        if not own.model.isprintable() or ("/" not in own.model and "*" not in own.model):
            yield Problem(f"{path}.model", '"provider/model" or a pattern such as "fireworks/*"')
        elif "*" not in provider and provider not in known:
            yield Problem(f"{path}.model", "the name of a provider before the slash" + did_you_mean(provider, known))
        if not own.other and not any(isinstance(price, TokenPrice | UnitPrice) for price in structs.astuple(own)):
            yield Problem(path, "a price: input and output, 0 for what is free")
        yield from _tiers(path, own)
    times = Counter(map(_place, settings.prices))
    for index, own in enumerate(settings.prices):
        if times.pop(_place(own), 1) > 1:
            same = "another has the same model, since and processing"
            yield Problem(f"prices[{index}]", f"one entry for a model and a time: {same}")


def _place(own: PriceSettings) -> tuple[str, int, str]:
    return own.model.lower(), own.since, own.processing


def _tiers(path: str, own: PriceSettings) -> Iterator[Problem]:
    if len({tier.excess_only for tier in own.tiers}) > 1:
        yield Problem(f"{path}.tiers", "the same excess_only in all of them")
    if len({tier.above for tier in own.tiers}) < len(own.tiers):
        yield Problem(f"{path}.tiers", "each above once")
    for index, tier in enumerate(own.tiers):
        priced = [name for name, price in structs.asdict(tier).items() if isinstance(price, TokenPrice)]
        if not priced:
            yield Problem(f"{path}.tiers[{index}]", "a price")
        for name in priced:
            if getattr(own, name) is None:
                yield Problem(f"{path}.{name}", "the price of smaller calls, since tiers has one of larger calls")
