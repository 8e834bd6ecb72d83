"""What a unit costs: whole pico-USD (10**-12 USD) a token, a request, a search, a second. Nothing here is a float."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Units of tokens. What a table does not list costs what its whole costs: cached reads as input, reasoning as output.
INPUT = "input"
CACHE_READ = "cache_read"
CACHE_WRITE = "cache_write"
CACHE_WRITE_1H = "cache_write_1h"
OUTPUT = "output"
REASONING = "reasoning"
# A call, whatever it used.
REQUEST = "request"
# A second of the attempt's time by the clock on the wall: compute on machines of one's own.
SECOND = "second"


class Step(Struct, array_like=True, frozen=True):
    """Another price in large calls."""

    # Calls with more input tokens than this, cached ones included.
    above: int
    pico_usd: int
    # False: the whole call costs so much. True: only those units of this kind that come after the first `above` do.
    excess_only: bool = False


class Rate(Struct, array_like=True, frozen=True):
    """The price of a unit. Steps are in the order of `above`; all of one rate are of one sort."""

    pico_usd: int
    steps: tuple[Step, ...] = ()

    def amount(self, count: int, input_tokens: int) -> int:
        """What `count` units cost in a call with so many input tokens, in pico-USD."""
        price, amount = self.pico_usd, 0
        for step in self.steps:
            if step.excess_only:
                amount += max(0, count - step.above) * (step.pico_usd - price)
                price = step.pico_usd
            elif input_tokens > step.above:
                price = step.pico_usd
        return amount + count * (self.pico_usd if self.steps and self.steps[0].excess_only else price)

    @property
    def is_linear(self) -> bool:
        """Whether all units of one call cost the same, however many they are."""
        return not (self.steps and self.steps[0].excess_only)

    @property
    def is_free(self) -> bool:
        """Whether it costs nothing in any call."""
        return not self.pico_usd and not any(step.pico_usd for step in self.steps)


# What a unit costs that a table does not list.
_WHOLES = {CACHE_READ: (INPUT,), CACHE_WRITE: (INPUT,), CACHE_WRITE_1H: (CACHE_WRITE, INPUT), REASONING: (OUTPUT,)}


@dataclass(frozen=True)
class Prices:
    """What a model cost at a moment. What is worked out of the rates is worked out once."""

    # By unit: one of those above, or a name as in Usage.other_units.
    rates: Mapping[str, Rate]
    # The book that says so.
    version: str
    # Since when, in seconds since 1970. 0 = from the beginning, as far as the book knows.
    since: int = 0

    @cached_property
    def charged(self) -> Mapping[str, Rate]:
        """The rates, with those of units of tokens that are charged as their whole."""
        as_whole = {
            unit: rate
            for unit, wholes in _WHOLES.items()
            if (rate := next((self.rates[each] for each in wholes if each in self.rates), None)) is not None
        }
        return as_whole | dict(self.rates)

    @cached_property
    def into(self) -> Sequence[Rate]:
        """Those of which the dearest is the most that a token costs which goes in."""
        return [self.rates[unit] for unit in (INPUT, CACHE_WRITE) if unit in self.rates]

    @cached_property
    def out(self) -> tuple[Sequence[Rate], Sequence[Rate]]:
        """The same of what comes out: those whose tokens all cost the same, and the others."""
        rates = [self.rates[unit] for unit in (OUTPUT, REASONING) if unit in self.rates]
        return [rate for rate in rates if rate.is_linear], [rate for rate in rates if not rate.is_linear]


FREE: Mapping[str, Rate] = {INPUT: Rate(0), OUTPUT: Rate(0)}
