"""The price book: what a model cost at a moment. The configuration's own prices come first, then the tables."""

from __future__ import annotations

import hashlib
import re
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from trunkline_server.prices.rates import (
    CACHE_READ,
    CACHE_WRITE,
    CACHE_WRITE_1H,
    INPUT,
    OUTPUT,
    REASONING,
    REQUEST,
    SECOND,
    Prices,
    Rate,
    Step,
)
from trunkline_server.prices.tables import history_of, rates_of, read_tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from trunkline_server.prices.tables import Period
    from trunkline_server.settings.prices import PriceSettings

_UNITS = (INPUT, CACHE_READ, CACHE_WRITE, CACHE_WRITE_1H, OUTPUT, REASONING, REQUEST, SECOND)
_STEPPED = (INPUT, CACHE_READ, CACHE_WRITE, CACHE_WRITE_1H, OUTPUT, REASONING)
# Names that are known to one book. They come from callers.
REMEMBERED = 4096
_NEVER = 1 << 63


class _Own(NamedTuple):
    """One of the configuration's prices."""

    since: int
    processing: str
    rates: Mapping[str, Rate]


class PriceBook:
    """Prices for one configuration. Never changed: another configuration makes another book."""

    def __init__(
        self,
        kinds: Mapping[str, str] = MappingProxyType({}),
        own: Sequence[PriceSettings] = (),
        bases: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
        prefixes: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """`kinds`: by provider's name, its kind; of others the name is the kind. `own`: the configuration's prices.

        `bases`: by provider's name and model's id, the model that it is sold as: a deployment, what was deployed.
        `prefixes`: by provider's name, what ids begin with that the configuration may leave out.
        """
        self._kinds = kinds
        self._bases = bases
        self._prefixes = prefixes
        self._settings = own
        self._overrides = [(_pattern(each.model), _Own(int(each.since), each.processing, _rates(each))) for each in own]
        # Which of them a target has hangs on nothing else: found once for each.
        self._own: Callable[[str, str], tuple[_Own, ...]]
        self._own = lru_cache(REMEMBERED)(self._find_own)
        # What was found, and from when until when it holds.
        self._found: dict[tuple[str, str, str], tuple[Prices | None, int, int]] = {}

    @cached_property
    def version(self) -> str:
        """The tables' version, with a digest of the configuration's own prices if there are any."""
        base = read_tables().version
        if not self._settings:
            return base
        digest = hashlib.blake2b(msgspec.json.encode(self._settings, enc_hook=int), digest_size=4).hexdigest()
        return f"{base}+{digest}"

    def find(self, provider: str, model: str, when: int, processing: str = "") -> Prices | None:
        """What a provider's model cost at a time in seconds since 1970. None: unpriced, which is not free.

        `processing` is batch, flex, priority or fast; empty for calls that do not say. Of the configuration's own
        prices those that name no processing hold for all calls that no other of them is for.
        """
        target = provider, model, processing
        known = self._found.get(target)
        if known is None or not known[1] <= when < known[2]:
            if len(self._found) >= REMEMBERED:
                self._found.clear()
            until = self.next_change(provider, model, when)
            known = self._find(provider, model, when, processing), when, _NEVER if until is None else until
            self._found[target] = known
        return known[0]

    def next_change(self, provider: str, model: str, when: int) -> int | None:
        """The first moment after `when` at which a model may cost something else. None: the book knows of none."""
        history = self._history(provider, model)
        begun = [period for period in history if period.since <= when]
        moments = [each.since for each in self._own(provider, model)] + [period.since for period in history]
        turns = [turn for period in begun[-1:] if (turn := period.turn_after(when)) is not None]
        return min((*turns, *(moment for moment in moments if moment > when)), default=None)

    def processings(self, provider: str, model: str, when: int) -> Iterator[str]:
        """How calls may be processed at prices of their own."""
        own = {each.processing for each in self._own(provider, model) if each.since <= when}
        yield from sorted(own - {""})
        if "" in own:
            return
        for period in reversed(self._history(provider, model)):
            if period.since <= when:
                yield from (each for each in period.processing if each not in own)
                return

    def _find(self, provider: str, model: str, when: int, processing: str) -> Prices | None:
        own = [each for each in self._own(provider, model) if each.since <= when]
        for wanted in dict.fromkeys((processing, "")):
            for each in own:
                if each.processing == wanted:
                    return Prices(each.rates, self.version, each.since)
        for period in reversed(self._history(provider, model)):
            if period.since <= when:
                rates = rates_of(period.rates_at(when, processing))
                return Prices(rates, self.version, period.since) if rates else None
        return None

    def _history(self, provider: str, model: str) -> tuple[Period, ...]:
        """What the seller takes for it. A base may be written with a vendor before it; the seller stays the same."""
        kind, base = self._kinds.get(provider, provider), self._bases.get(provider, {}).get(model, "")
        if not base:
            return history_of(kind, model)
        return history_of(kind, base) or (history_of(kind, base.partition("/")[2]) if "/" in base else ())

    def _find_own(self, provider: str, model: str) -> tuple[_Own, ...]:
        """The latest first; those of the first pattern that fits, and no others."""
        short = model.removeprefix(self._prefixes.get(provider, ""))
        names = [f"{provider}/{each}".lower() for each in dict.fromkeys((model, short))]
        pattern = next((pattern for pattern, _ in self._overrides if any(map(pattern.fullmatch, names))), None)
        found = [own for each, own in self._overrides if each == pattern]
        return tuple(sorted(found, key=lambda own: own.since, reverse=True))


def _pattern(model: str) -> re.Pattern[str]:
    """A star stands for any characters, slashes and none included. The first place where a part fits is taken for good.

    Names come from callers: to try all places would take time without bounds, and finds nothing more.
    """
    first, *rest = map(re.escape, model.lower().split("*"))
    middle = "".join(f"(?>.*?{part})" for part in rest[:-1])
    return re.compile(first + middle + "".join(f".*{part}" for part in rest[-1:]), re.DOTALL)


def _rates(own: PriceSettings) -> Mapping[str, Rate]:
    rates = {}
    for unit in _UNITS:
        if (price := getattr(own, unit)) is not None:
            rates[unit] = Rate(int(price), tuple(_steps(own, unit)))
    return rates | {unit: Rate(int(price)) for unit, price in own.other.items()}


def _steps(own: PriceSettings, unit: str) -> Iterator[Step]:
    for tier in sorted(own.tiers, key=lambda tier: tier.above) if unit in _STEPPED else ():
        if (price := getattr(tier, unit)) is not None:
            yield Step(tier.above, int(price), tier.excess_only)
