"""Rows of UsageStats's queries, added up by bucket and group. Pure."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from operator import add
from typing import TYPE_CHECKING, Any

from trunkline_server.errors import InvalidRequest, Violation
from trunkline_server.state.histogram import Histogram
from trunkline_server.state.ledger.expressions import told
from trunkline_server.state.ledger.figures import (
    ATTEMPT_SUMS,
    CALL_SUMS,
    DISTRIBUTIONS,
    MILLION,
    TOKENS,
    TRIES,
    Figures,
)
from trunkline_server.state.ledger.packed import Merged
from trunkline_server.state.ledger.queries import ABSENT, FIRST_CHARACTER

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trunkline_server.state.ledger.database import Row
    from trunkline_server.state.ledger.dimensions import Dimension

# Rows of an answer, of all pages together: what is held in memory to order them.
MAX_ROWS = 50_000
# How many characters of histograms are gathered before they are counted: cheap for many at once, dear to hold.
_MOST_CHARACTERS = 8_000_000

# Sums of distributions in millionths: the ledger's times are, its rates are not.
_SCALE = {"output_rate": MILLION}
_ATTEMPT_NAMES = (*ATTEMPT_SUMS, *TOKENS, *TRIES)
_CALL_VALUES = len(CALL_SUMS) + len(DISTRIBUTIONS)
# Which bucket, and the group's values as they were found.
Key = tuple[Any, ...]


class Gathered:
    """What was found of one group, as cheap to add to as can be: only what is told is made sense of."""

    __slots__ = ("attempts", "calls", "characters", "figures", "packed")

    def __init__(self) -> None:
        # By _ATTEMPT_NAMES; by CALL_SUMS and DISTRIBUTIONS.
        self.attempts: list[Any] = [0] * len(_ATTEMPT_NAMES)
        self.calls: list[Any] = [0] * _CALL_VALUES
        self.characters: list[str] = []
        # Packed histograms, one for each of DISTRIBUTIONS: cheap to add and dear to unpack.
        self.packed: tuple[Merged, ...] = ()
        # Units, scores, and the characters that are counted already.
        self.figures = Figures()

    def add_packed(self, packed: Sequence[Any]) -> None:
        """Add one for each of DISTRIBUTIONS, or none."""
        self.packed = self.packed or tuple(Merged() for _ in DISTRIBUTIONS)
        for one, more in zip(self.packed, packed, strict=False):
            one.add(more)

    def count(self) -> None:
        """Count the characters."""
        characters = "".join(self.characters)
        self.characters.clear()
        for index, name in enumerate(DISTRIBUTIONS):
            counts = Counter(characters[index :: len(DISTRIBUTIONS)])
            counts.pop(chr(ABSENT), None)
            _add_buckets(self.figures, name, {ord(each) - FIRST_CHARACTER: count for each, count in counts.items()})

    def summed(self) -> Figures:
        """All but the distributions, which are dear."""
        figures = Figures(units=self.figures.units, scores=self.figures.scores)
        # PostgreSQL's sums are decimals.
        for name, value in zip((*_ATTEMPT_NAMES, *CALL_SUMS), (*self.attempts, *self.calls), strict=False):
            if value:
                figures.add(name, int(value))
        return figures

    def settled(self) -> Figures:
        """All of it."""
        if self.characters:
            self.count()
        figures = self.summed()
        for name, histogram in self.figures.distributions.items():
            figures.distribution(name).merge(histogram)
        for name, merged in zip(DISTRIBUTIONS, self.packed, strict=False):
            _add_buckets(figures, name, merged.buckets())
        for name, total in zip(DISTRIBUTIONS, self.calls[len(CALL_SUMS) :], strict=True):
            if total:
                figures.distribution(name).sum += float(total) * _SCALE.get(name, 1)
        return figures


class Tally:
    """Figures by bucket and group."""

    def __init__(self, group_by: Sequence[Dimension]) -> None:
        self._group_by = group_by
        self._groups: dict[Key, Gathered] = {}
        self._characters = 0

    def add_attempts(self, rows: Iterable[Row]) -> None:
        """Add what Queries.attempts found."""
        for key, values in self._keyed(rows):
            group = self._of(key)
            group.attempts = [*map(add, group.attempts, values)]

    def add_units(self, rows: Iterable[Row]) -> None:
        """Add what Queries.units found."""
        for key, (unit, amount) in self._keyed(rows):
            self._of(key).figures.add_units(unit, int(amount))

    def add_calls(self, rows: Iterable[Row]) -> None:
        """Add what Queries.calls found."""
        for key, values in self._keyed(rows):
            group = self._of(key)
            group.calls = [*map(add, group.calls, values)]
            if attempts := values[_CALL_VALUES + 1 :]:
                group.attempts = [*map(add, group.attempts, attempts)]
            if characters := values[_CALL_VALUES]:
                group.characters.append(characters)
                self._characters += len(characters)
        if self._characters > _MOST_CHARACTERS:
            self._count()

    def _count(self) -> None:
        for group in self._groups.values():
            if group.characters:
                group.count()
        self._characters = 0

    def add_histograms(self, rows: Iterable[Row]) -> None:
        """Add what Queries.histograms found."""
        for key, packed in self._keyed(rows):
            self._of(key).add_packed(packed)

    def add_scores(self, rows: Iterable[Row]) -> None:
        """Add what Queries.scores found."""
        for key, (metric, count, total) in self._keyed(rows):
            self._of(key).figures.add_scores(metric, count, total)

    def groups(self) -> dict[tuple[int, tuple[str, ...]], Gathered]:
        """What was found, by bucket and group as it is told."""
        return {
            (bucket, tuple(map(told, self._group_by, values))): group
            for (bucket, *values), group in self._groups.items()
        }

    def together(self) -> Figures:
        """The figures of all groups. They are added up before they are made sense of: there may be thousands."""
        everything, groups = Gathered(), [*self._groups.values()]
        if groups:
            everything.attempts = [*map(sum, zip(*(group.attempts for group in groups), strict=True))]
            everything.calls = [*map(sum, zip(*(group.calls for group in groups), strict=True))]
        everything.characters = [*chain.from_iterable(group.characters for group in groups)]
        for group in groups:
            everything.add_packed(group.packed)
            everything.figures.merge(group.figures)
        return everything.settled()

    def _keyed(self, rows: Iterable[Row]) -> Iterable[tuple[Key, Row]]:
        size = 1 + len(self._group_by)
        return ((row[:size], row[size:]) for row in rows)

    def _of(self, key: Key) -> Gathered:
        found = self._groups.get(key)
        if found is None:
            if len(self._groups) >= MAX_ROWS:
                raise too_many()
            found = self._groups[key] = Gathered()
        return found


def _add_buckets(figures: Figures, name: str, buckets: dict[int, int]) -> None:
    more = Histogram()
    more.buckets = buckets
    figures.distribution(name).merge(more)


def too_many() -> InvalidRequest:
    """An answer would have more than MAX_ROWS."""
    remedy = f"makes more than {MAX_ROWS} rows: group by less, take longer buckets, or filter"
    return InvalidRequest([Violation("group_by", remedy)])
