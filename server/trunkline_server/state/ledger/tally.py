"""Rows of UsageStats's queries, added up by bucket and group. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from trunkline_server.errors import InvalidRequest, Violation
from trunkline_server.state.ledger.expressions import told
from trunkline_server.state.ledger.figures import ATTEMPT_SUMS, CALL_SUMS, DISTRIBUTIONS, MILLION, TOKENS, Figures
from trunkline_server.state.ledger.packed import Merged
from trunkline_server.state.ledger.queries import ABSENT, FIRST_CHARACTER

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trunkline_server.state.ledger.database import Row
    from trunkline_server.state.ledger.dimensions import Dimension

# Rows of an answer, of all pages together: what is held in memory to order them.
MAX_ROWS = 50_000

# Sums of distributions in millionths: the ledger's times are, its rates are not.
_SCALE = {"output_rate": MILLION}
# Which bucket, and the group's values as they were found.
Key = tuple[Any, ...]


class Tally:
    """Figures by bucket and group."""

    def __init__(self, group_by: Sequence[Dimension]) -> None:
        self._group_by = group_by
        self._figures: dict[Key, Figures] = {}
        # Packed histograms are cheap to add and dear to unpack: they are unpacked once.
        self._packed: dict[Key, tuple[Merged, ...]] = {}

    def add_attempts(self, rows: Iterable[Row]) -> None:
        """Add what Queries.attempts found."""
        names = (*ATTEMPT_SUMS, *TOKENS)
        for key, values in self._keyed(rows):
            figures = self._of(key)
            for name, value in zip(names, values, strict=True):
                if value:
                    # PostgreSQL's sums are decimals.
                    figures.add(name, int(value))

    def add_units(self, rows: Iterable[Row]) -> None:
        """Add what Queries.units found."""
        for key, (unit, amount) in self._keyed(rows):
            self._of(key).add_units(unit, int(amount))

    def add_calls(self, rows: Iterable[Row]) -> None:
        """Add what Queries.calls found."""
        for key, (*values, characters) in self._keyed(rows):
            figures = self._of(key)
            for name, value in zip(CALL_SUMS, values, strict=False):
                figures.add(name, int(value))
            for name, total in zip(DISTRIBUTIONS, values[len(CALL_SUMS) :], strict=True):
                if total:
                    figures.distribution(name).sum += float(total) * _SCALE.get(name, 1)
            if characters:
                _add_characters(figures, characters)

    def add_histograms(self, rows: Iterable[Row]) -> None:
        """Add what Queries.histograms found."""
        for key, packed in self._keyed(rows):
            merged = self._packed.get(key)
            if merged is None:
                merged = self._packed[key] = tuple(Merged() for _ in DISTRIBUTIONS)
            for one, more in zip(merged, packed, strict=True):
                one.add(more)

    def add_scores(self, rows: Iterable[Row]) -> None:
        """Add what Queries.scores found."""
        for key, (metric, count, total) in self._keyed(rows):
            self._of(key).add_scores(metric, count, total)

    def merge(self, other: Tally) -> None:
        """Add all that `other` has. It is not to be used any more."""
        for key, figures in other._figures.items():
            self._of(key).merge(figures)
        other._unpack_into(self)

    def results(self) -> dict[tuple[int, tuple[str, ...]], Figures]:
        """The figures by bucket and group."""
        self._unpack_into(self)
        return {
            (bucket, tuple(map(told, self._group_by, group))): figures
            for (bucket, *group), figures in self._figures.items()
        }

    def _unpack_into(self, tally: Tally) -> None:
        for key, merged in self._packed.items():
            for name, packed in zip(DISTRIBUTIONS, merged, strict=True):
                _add_buckets(tally._of(key), name, packed.buckets())
        self._packed.clear()

    def _keyed(self, rows: Iterable[Row]) -> Iterable[tuple[Key, Row]]:
        size = 1 + len(self._group_by)
        return ((row[:size], row[size:]) for row in rows)

    def _of(self, key: Key) -> Figures:
        found = self._figures.get(key)
        if found is None:
            if len(self._figures) >= MAX_ROWS:
                raise _too_many()
            found = self._figures[key] = Figures()
        return found


def _add_characters(figures: Figures, characters: str) -> None:
    for index, name in enumerate(DISTRIBUTIONS):
        counts = Counter(characters[index :: len(DISTRIBUTIONS)])
        counts.pop(chr(ABSENT), None)
        _add_buckets(figures, name, {ord(character) - FIRST_CHARACTER: count for character, count in counts.items()})


def _add_buckets(figures: Figures, name: str, buckets: dict[int, int]) -> None:
    distribution = figures.distribution(name)
    for bucket, count in buckets.items():
        distribution.buckets[bucket] = distribution.buckets.get(bucket, 0) + count
        distribution.count += count


def _too_many() -> InvalidRequest:
    remedy = f"makes more than {MAX_ROWS} rows: group by less, take longer buckets, or filter"
    return InvalidRequest([Violation("group_by", remedy)])
