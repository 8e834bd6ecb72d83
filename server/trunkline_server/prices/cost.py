"""What an attempt cost: usage times prices, in whole nano-USD, rounded up once. Exact integers all the way; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline.v1.call_pb2 import CERTAINTY_REPORTED, CERTAINTY_UNKNOWN, Cost, Usage
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
    from collections.abc import Mapping

    from trunkline.v1.call_pb2 import Certainty
    from trunkline_server.prices.rates import Prices, Rate

# Of pico-USD times nanoseconds, which compute is counted in: 10**9 a pico-USD, 10**12 a nano-USD.
_A_PICO = 10**9
_A_NANO = 10**12
# What an int64 holds: 9.2 billion USD.
MOST = (1 << 63) - 1
# The parts of a total, in the order in which they are added up.
_PARTS = ("input", "cache_read", "cache_write", "output", "reasoning", "other")
_MODALITIES = ("audio", "image", "video")
# Shares of input, cached input and output that may have prices of their own, by their names in Usage.other_units.
_SHARES = {
    unit: {modality: f"{usage}_{modality}_tokens" for modality in _MODALITIES}
    for unit, usage in ((INPUT, "input"), (CACHE_READ, "cache_read_input"), (OUTPUT, "output"))
}
# Those that providers sell at a price of their own: without one in the table, the price of the whole is a guess.
# Images and video that go in are input like any other unless a table has them apart.
_SOLD_APART = {_SHARES[unit]["audio"] for unit in (INPUT, CACHE_READ, OUTPUT)} | {
    _SHARES[OUTPUT]["image"],
    _SHARES[OUTPUT]["video"],
}
# Counts that say how input, output or cache writes are made up, and cost nothing beside them.
_INCLUDED = {
    "tool_use_prompt_tokens",
    "ephemeral_5m_input_tokens",
    "ephemeral_1h_input_tokens",
    # What one provider bills in place of what it counts (Cohere): see _Bill.
    "billed_input_tokens",
    "billed_output_tokens",
    *(name for shares in _SHARES.values() for name in shares.values()),
    *(f"{usage}_{kind}_tokens" for usage in ("input", "cache_read_input", "output") for kind in ("text", "document")),
}
# Other names of a unit.
_ALIASES = {
    "search_queries": "web_search_requests",
    "web_search_calls": "web_search_requests",
    "file_search_calls": "file_search_requests",
}


def cost_of(
    usage: Usage | None,
    prices: Prices | None,
    *,
    wall_nanoseconds: int | None = None,
    certainty: Certainty.ValueType = CERTAINTY_REPORTED,
) -> Cost:
    """What an attempt with this usage cost. `certainty` is that of the counts.

    The total is the exact sum of all counts times their prices, rounded up to a whole nano-USD; the parts add up to it
    exactly, and each is less than one nano-USD away from its own exact value. Above 9.2 billion USD it stays there.

    Without prices, and without a count whose price is not zero, there is no total, and certainty is UNKNOWN; the parts
    that are known stand. A unit without a price stands in unpriced_units: the total is then without it, or, for shares
    of input and output, has it at the price of the whole.
    """
    if prices is None:
        return Cost(certainty=CERTAINTY_UNKNOWN)
    bill = _Bill(usage or Usage(), prices.rates)
    bill.charge(wall_nanoseconds)
    cost = Cost(price_version=prices.version, certainty=certainty, unpriced_units=sorted(bill.unpriced))
    rest, before = 0, 0
    for part in _PARTS:
        if (amount := bill.parts.get(part)) is not None:
            rest += amount
            total = min(-(-rest // _A_NANO), MOST)
            setattr(cost, f"{part}_nano_usd", total - before)
            before = total
    if bill.is_whole:
        cost.total_nano_usd = before
    else:
        cost.certainty = CERTAINTY_UNKNOWN
    return cost


class _Bill:
    """Adds up what each count costs, part by part, in pico-USD times nanoseconds."""

    def __init__(self, usage: Usage, rates: Mapping[str, Rate]) -> None:
        self.parts: dict[str, int] = {}
        self.unpriced: set[str] = set()
        # Whether every count was told that has a price.
        self.is_whole = True
        self._rates = rates
        self._others = _by_unit(usage)
        self._input = self._told("billed_input_tokens", _count(usage, "input_tokens"))
        self._output = self._told("billed_output_tokens", _count(usage, "output_tokens"))
        self._read = _count(usage, "cache_read_input_tokens") or 0
        self._written = _count(usage, "cache_write_input_tokens") or 0
        self._reasoned = _count(usage, "reasoning_output_tokens") or 0

    def charge(self, wall_nanoseconds: int | None) -> None:
        """Charge for everything."""
        self._charge_input()
        self._charge_output()
        for name, count in self._others.items():
            self._charge_other(name, count)
        if REQUEST in self._rates:
            self._add("other", REQUEST, 1)
        if (second := self._rates.get(SECOND)) is None:
            return
        if wall_nanoseconds is None:
            self.is_whole = self.is_whole and second.is_free
        else:
            self._put("other", second.pico_usd * max(0, wall_nanoseconds))

    def _charge_input(self) -> None:
        read, input_shares = self._shares_of(CACHE_READ), self._shares_of(INPUT)
        self._add("cache_read", CACHE_READ, self._read - sum(read.values()), INPUT)
        for modality, count in read.items():
            self._add("cache_read", _SHARES[CACHE_READ][modality], count)
        hour = min(self._others.get("ephemeral_1h_input_tokens", 0), self._written)
        self._add("cache_write", CACHE_WRITE, self._written - hour, INPUT)
        self._add("cache_write", CACHE_WRITE_1H, hour, CACHE_WRITE, INPUT)
        if self._input is None:
            self._miss(INPUT)
            return
        # What was read from the cache is in both counts of a modality, with or without a price of its own.
        cached = {modality: self._others.get(name, 0) for modality, name in _SHARES[CACHE_READ].items()}
        fresh = {modality: max(0, count - cached[modality]) for modality, count in input_shares.items()}
        for modality, count in fresh.items():
            self._add("input", _SHARES[INPUT][modality], count)
        self._add("input", INPUT, self._input - self._read - self._written - sum(fresh.values()))

    def _charge_output(self) -> None:
        shares = self._shares_of(OUTPUT)
        for modality, count in shares.items():
            self._add("output", _SHARES[OUTPUT][modality], count)
        self._add("reasoning", REASONING, self._reasoned, OUTPUT)
        if self._output is None:
            self._miss(OUTPUT)
        else:
            self._add("output", OUTPUT, self._output - self._reasoned - sum(shares.values()))

    def _shares_of(self, unit: str) -> dict[str, int]:
        """By modality: tokens that have a price of their own. Others that should have one are noted."""
        found = {}
        for modality, name in _SHARES[unit].items() if self._others else ():
            count = self._others.get(name, 0)
            if count and name in self._rates:
                found[modality] = count
            elif count and name in _SOLD_APART:
                self._note(name, unit)
        return found

    def _note(self, name: str, unit: str) -> None:
        """Where the whole is free, so is its share."""
        rate = self._rates.get(unit) or self._rates.get(INPUT)
        if rate is None or not rate.is_free:
            self.unpriced.add(name)

    def _charge_other(self, name: str, count: int) -> None:
        if name in _INCLUDED:
            return
        if name in self._rates:
            self._add("other", name, count)
        elif count:
            self.unpriced.add(name)

    def _add(self, part: str, unit: str, count: int, *wholes: str) -> None:
        """Charge `count` of `unit`, or of the first of `wholes` that has a price."""
        count = max(0, count)
        rate = next((self._rates[name] for name in (unit, *wholes) if name in self._rates), None)
        if rate is not None:
            self._put(part, rate.amount(count, self._input or 0) * _A_PICO)
        elif count:
            self.unpriced.add(f"{unit}_tokens")

    def _put(self, part: str, amount: int) -> None:
        self.parts[part] = self.parts.get(part, 0) + amount

    def _miss(self, unit: str) -> None:
        rate = self._rates.get(unit)
        self.is_whole = self.is_whole and (rate is None or rate.is_free)

    def _told(self, name: str, count: int | None) -> int | None:
        return self._others.get(name, count)


def _by_unit(usage: Usage) -> dict[str, int]:
    """Other units under one name each: of two names of one thing the larger count, not both."""
    counts: dict[str, int] = {}
    for name, count in usage.other_units.items():
        unit = _ALIASES.get(name, name)
        counts[unit] = max(count, counts.get(unit, 0))
    return counts


def _count(usage: Usage, field: str) -> int | None:
    return max(0, getattr(usage, field)) if usage.HasField(field) else None  # type: ignore[arg-type]
