"""What the configuration says of prices."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from trunkline_server.sections import Section


class TokenPrice(int):
    """Pico-USD (10**-12 USD) a token. Written as USD per million tokens: 0.45 is 450,000."""


class UnitPrice(int):
    """Pico-USD a unit that is no token. Written in USD: 0.01 is 10,000,000,000."""


class Moment(int):
    """Seconds since 1970. Written as a date, which begins at midnight UTC, or as a time with its zone."""


class TierSettings(Section, frozen=True, kw_only=True):
    """Other prices in calls with many input tokens."""

    # More than so many, cached ones included.
    above: Annotated[int, Meta(ge=1)]
    # False: the whole call costs so much. True: only the tokens of each kind beyond the first so many do.
    excess_only: bool = False
    input: TokenPrice | None = None
    cache_read: TokenPrice | None = None
    cache_write: TokenPrice | None = None
    cache_write_1h: TokenPrice | None = None
    output: TokenPrice | None = None
    reasoning: TokenPrice | None = None


class PriceSettings(Section, frozen=True, kw_only=True):
    """What models cost, in place of what the price book says."""

    # "provider/model", the provider's name as it is configured; * stands for any characters.
    model: str
    # From when on. Several entries of one model are its history.
    since: Moment = Moment(0)
    # Only calls that the provider processed so, which it says in its answer. "" = all that no other entry is for.
    processing: Literal["", "batch", "flex", "priority", "fast"] = ""
    # Kinds of tokens that are left out cost what the whole costs that they are part of.
    input: TokenPrice | None = None
    cache_read: TokenPrice | None = None
    cache_write: TokenPrice | None = None
    cache_write_1h: TokenPrice | None = None
    output: TokenPrice | None = None
    reasoning: TokenPrice | None = None
    # A call.
    request: UnitPrice | None = None
    # A second of compute, by the clock on the wall: for models on machines of one's own.
    second: UnitPrice | None = None
    # Units by their names in Usage.other_units.
    other: dict[str, UnitPrice] = field(default_factory=dict)
    tiers: tuple[TierSettings, ...] = ()
