"""The packaged price tables: what each model costs at each kind of provider, since when. Read once; pure after that."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from trunkline_server.prices.rates import Rate  # noqa: TC001 - msgspec reads the annotations

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DATA = "book.json"
DAY = 86400
# -20251211 for -2025-12-11.
_COMPACT_DATE = re.compile(r"-(20\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=-|:|$)")
# Ids come from callers: only so many of those that no table lists by name are remembered.
_REMEMBERED = 4096


class Daily(Struct, array_like=True, frozen=True):
    """Hours of the day that have prices of their own. `end` before `start`: past midnight."""

    # Seconds after midnight UTC; `end` is not in it.
    start: int
    end: int
    rates: int
    # Whether it leaves out Saturdays and Sundays.
    weekdays_only: bool = False

    def holds(self, when: int) -> bool:
        """Whether it is in force at this time, in seconds since 1970."""
        days, second = divmod(when, DAY)
        if self.weekdays_only and (days + 3) % 7 > 4:  # 1970 began on a Thursday.
            return False
        if self.end < self.start:
            return second >= self.start or second < self.end
        return self.start <= second < self.end


class Period(Struct, array_like=True, frozen=True):
    """What a model costs from a moment on. Numbers are places in the list of all rates."""

    # Seconds since 1970. 0 = from the beginning.
    since: int
    rates: int
    daily: tuple[Daily, ...] = ()
    # By how the call is processed: batch, flex, priority, fast.
    processing: dict[str, int] = {}

    def rates_at(self, when: int, processing: str) -> int | None:
        """The rates of a call that is processed so at this time. None: nobody says what that costs."""
        if processing:
            return self.processing.get(processing)
        return next((daily.rates for daily in self.daily if daily.holds(when)), self.rates)

    def turn_after(self, when: int) -> int | None:
        """The next time of day at which its rates may be others. None: they stay."""
        edges = {edge for each in self.daily for edge in (each.start, each.end, *[0] * each.weekdays_only)}
        return min((when + ((edge - when) % DAY or DAY) for edge in edges), default=None)


class Table(Struct, frozen=True):
    """The models of one seller, and the place of each in the list of all histories."""

    # By id, in lower case.
    exact: dict[str, int]
    # Ids that match; the first does. See `fits`.
    patterns: tuple[tuple[Any, int], ...]


class Tables(Struct, frozen=True):
    """All tables."""

    # A date and a digest of all that follows.
    version: str
    # By kind of provider: the tables that tell of it, in order.
    kinds: dict[str, tuple[str, ...]]
    tables: dict[str, Table]
    # Of a model: its periods, the oldest first.
    histories: tuple[tuple[Period, ...], ...]
    rates: tuple[dict[str, Rate], ...]


@cache
def read_tables() -> Tables:
    """The packaged tables."""
    return msgspec.json.decode(files(__package__).joinpath(DATA).read_bytes(), type=Tables)


@lru_cache(_REMEMBERED)
def history_of(kind: str, model: str) -> tuple[Period, ...]:
    """The prices of a model at a kind of provider, the oldest first. Empty = unpriced."""
    tables = read_tables()
    name = model.lower()
    for spelt in dict.fromkeys((name, _COMPACT_DATE.sub(r"-\1-\2-\3", name))):
        for table in tables.kinds.get(kind, ()):
            if (place := _place(tables.tables[table], spelt)) is not None:
                return tables.histories[place]
    return ()


def rates_of(place: int | None) -> Mapping[str, Rate]:
    """The rates at this place of the list. Empty = unpriced."""
    return {} if place is None else read_tables().rates[place]


def _place(table: Table, model: str) -> int | None:
    if (place := table.exact.get(model)) is not None:
        return place
    return next((place for pattern, place in table.patterns if fits(pattern, model)), None)


# By sign: whether a model's id has the operand at its start, at its end, anywhere, is it, or is found by it.
_TESTS: Mapping[str, Callable[[str, str], bool]] = {
    "^": str.startswith,
    "$": str.endswith,
    "*": str.__contains__,
    "=": str.__eq__,
    "~": lambda model, expression: re.search(expression, model) is not None,
}


def fits(pattern: Any, model: str) -> bool:
    """Whether a model's id matches [sign, operand]; with "|" and "&" the operands are patterns."""
    sign, *operands = pattern
    if sign in "|&":
        found = (fits(operand, model) for operand in operands)
        return any(found) if sign == "|" else all(found)
    return _TESTS[sign](model, operands[0])
