"""What an attempt cost: usage times prices, in whole nano-USD, rounded up once. Exact integers all the way; pure."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from msgspec import Struct

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
    Rate,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from trunkline.v1.call_pb2 import Certainty
    from trunkline_server.prices.rates import Prices

# Of pico-USD times nanoseconds, which compute is counted in: 10**9 a pico-USD, 10**12 a nano-USD.
_A_PICO = 10**9
_A_NANO = 10**12
# What an int64 holds: 9.2 billion USD.
MOST = (1 << 63) - 1
# The parts of a total.
_INPUT, _CACHE_READ, _CACHE_WRITE, _OUTPUT, _REASONING, _OTHER = (
    f"{part}_nano_usd" for part in ("input", "cache_read", "cache_write", "output", "reasoning", "other")
)
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
_NONE: Mapping[str, int] = {}
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
    bill = _Bill(usage or Usage(), prices)
    bill.charge(wall_nanoseconds)
    amounts: dict[str, Any] = {}
    rest, before = 0, 0
    for part, amount in bill.parts.items():
        rest += amount
        total = min(-(-rest // _A_NANO), MOST) if amount else before
        amounts[part] = total - before
        before = total
    if bill.is_whole:
        amounts["total_nano_usd"] = before
    else:
        certainty = CERTAINTY_UNKNOWN
    if bill.unpriced:
        amounts["unpriced_units"] = sorted(bill.unpriced)
    return Cost(price_version=prices.version, certainty=certainty, **amounts)


class Most(Struct, frozen=True):
    """The most that an attempt costs, by how many tokens come out."""

    # Pico-USD times nanoseconds, whatever comes out. Pico-USD a token, at rates that stay the same; and the others.
    fixed: int
    a_token: int
    stepped: Sequence[Rate]
    input_tokens: int

    def cost(self, output_tokens: int) -> int:
        """Nano-USD, rounded up."""
        pico = output_tokens * self.a_token
        if self.stepped:
            pico = max(pico, _dearest(self.stepped, output_tokens, self.input_tokens))
        return min(-(-(self.fixed + pico * _A_PICO) // _A_NANO), MOST)


def most_of(input_tokens: int, prices: Prices, *, wall_nanoseconds: int) -> Most:
    """With all input written to the cache, and all that comes out thoughts, where that is dearer.

    What is sold beside them, and sound at a price of its own, is not in it.
    """
    rates = prices.rates
    fixed = _dearest(prices.into, input_tokens, input_tokens)
    if REQUEST in rates:
        fixed += rates[REQUEST].amount(1, input_tokens)
    fixed *= _A_PICO
    if SECOND in rates:
        fixed += rates[SECOND].pico_usd * wall_nanoseconds
    linear, stepped = prices.out
    return Most(fixed, _dearest(linear, 1, input_tokens), stepped, input_tokens)


def _dearest(rates: Iterable[Rate], count: int, input_tokens: int) -> int:
    """Pico-USD of so many tokens; of none that has a price, none."""
    most = 0
    for rate in rates:
        most = max(most, rate.amount(count, input_tokens))
    return most


class _Bill:
    """Adds up what each count costs, part by part in the order of the total, in pico-USD times nanoseconds."""

    def __init__(self, usage: Usage, prices: Prices) -> None:
        self.parts: defaultdict[str, int] = defaultdict(int)
        self.unpriced: set[str] = set()
        # Whether every count was told that has a price.
        self.is_whole = True
        self._rates = prices.rates
        self._charged = prices.charged
        # What is told: a count that is not is not among the fields.
        told = {field.name: value for field, value in usage.ListFields()}
        self._others = _by_unit(told["other_units"]) if "other_units" in told else _NONE
        self._input: int | None = told.get("input_tokens")
        self._output: int | None = told.get("output_tokens")
        if self._others:
            # Where a provider says that it bills another number, that.
            self._input = self._others.get("billed_input_tokens", self._input)
            self._output = self._others.get("billed_output_tokens", self._output)
        self._read = max(0, told.get("cache_read_input_tokens", 0))
        self._written = max(0, told.get("cache_write_input_tokens", 0))
        self._reasoned = max(0, told.get("reasoning_output_tokens", 0))

    def charge(self, wall_nanoseconds: int | None) -> None:
        """Charge for everything."""
        self._charge_input()
        self._charge_output()
        for name, count in self._others.items():
            self._charge_other(name, count)
        if REQUEST in self._rates:
            self._add(_OTHER, 1, REQUEST)
        if (second := self._rates.get(SECOND)) is None:
            return
        if wall_nanoseconds is None:
            self.is_whole = self.is_whole and second.is_free
        else:
            self.parts[_OTHER] += second.pico_usd * max(0, wall_nanoseconds)

    def _charge_input(self) -> None:
        read, fresh = (self._shares_of(CACHE_READ), self._fresh()) if self._others else (_NONE, _NONE)
        if self._input is None:
            self._miss(INPUT)
        else:
            self._add(_INPUT, self._input - self._read - self._written, INPUT, fresh)
        self._add(_CACHE_READ, self._read, CACHE_READ, read)
        hour = min(self._others.get("ephemeral_1h_input_tokens", 0), self._written) if self._others else 0
        self._add(_CACHE_WRITE, self._written - hour, CACHE_WRITE)
        if hour:
            self._add(_CACHE_WRITE, hour, CACHE_WRITE_1H)

    def _charge_output(self) -> None:
        shares = self._shares_of(OUTPUT) if self._others else _NONE
        if self._output is None:
            self._miss(OUTPUT)
            self._add_shares(_OUTPUT, OUTPUT, shares)
        else:
            self._add(_OUTPUT, self._output - self._reasoned, OUTPUT, shares)
        self._add(_REASONING, self._reasoned, REASONING)

    def _fresh(self) -> Mapping[str, int]:
        """What was read from the cache is in both counts of a modality, with or without a price of its own."""
        cached, shares = _SHARES[CACHE_READ], self._shares_of(INPUT)
        return {each: max(0, count - self._others.get(cached[each], 0)) for each, count in shares.items()}

    def _shares_of(self, unit: str) -> Mapping[str, int]:
        """By modality: tokens that have a price of their own. Others that should have one are noted."""
        found = {}
        for modality, name in _SHARES[unit].items():
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
            self._add(_OTHER, count, name)
        elif count:
            self.unpriced.add(name)

    def _add(self, part: str, count: int, unit: str, shares: Mapping[str, int] = _NONE) -> None:
        """Charge `count` of `unit`, of which `shares` have prices of their own."""
        if shares:
            count -= self._add_shares(part, unit, shares)
        if (rate := self._charged.get(unit)) is not None:
            self.parts[part] += rate.amount(count, self._input or 0) * _A_PICO if count > 0 else 0
        elif count > 0:
            self.unpriced.add(f"{unit}_tokens")

    def _add_shares(self, part: str, unit: str, shares: Mapping[str, int]) -> int:
        for modality, count in shares.items():
            self._add(part, count, _SHARES[unit][modality])
        return sum(shares.values())

    def _miss(self, unit: str) -> None:
        rate = self._rates.get(unit)
        self.is_whole = self.is_whole and (rate is None or rate.is_free)


def _by_unit(units: Mapping[str, int]) -> dict[str, int]:
    """Other units under one name each: of two names of one thing the larger count, not both."""
    counts: dict[str, int] = {}
    for name, count in units.items():
        unit = _ALIASES.get(name, name)
        counts[unit] = max(count, counts.get(unit, 0))
    return counts
