"""The SQL of UsageStats. Each query's rows are a bucket's number, the group, and the figures named beside it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from trunkline.v1 import call_pb2
from trunkline_server.state.ledger.database import Query
from trunkline_server.state.ledger.expressions import Sql, all_of, condition, expression, raw
from trunkline_server.state.ledger.figures import (
    ATTEMPT_SUMS,
    CALL_SUMS,
    DISTRIBUTIONS,
    PROVIDERS_FAULTS,
    TOKENS,
    TRIES,
)
from trunkline_server.state.ledger.sources import ROWS, are_cells, are_whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trunkline_server.state.ledger.database import Dialect
    from trunkline_server.state.ledger.dimensions import Dimension
    from trunkline_server.state.ledger.question import Question
    from trunkline_server.state.ledger.sources import Segment

# Histogram buckets are gathered as characters, which the database strings together in the one pass that sums the rest,
# as many to a row as there are distributions. A bucket's number plus this is a character's, from 359 to 2,279.
FIRST_CHARACTER = 1000
# The character that stands for no value.
ABSENT = 1

_FAILED = f"FILTER (WHERE t.outcome <> {call_pb2.OUTCOME_SUCCESS})"
# Most rows are successes: they should not be looked for in a list.
_AT_FAULT = (
    f"t.outcome <> {call_pb2.OUTCOME_SUCCESS} AND t.outcome IN ({', '.join(map(str, sorted(PROVIDERS_FAULTS)))})"
)
_ESTIMATED = f"FILTER (WHERE t.certainty = {call_pb2.CERTAINTY_ESTIMATED})"
_TOKENS = tuple(f"coalesce(SUM(t.{name}), 0)" for name in TOKENS)
# In the order of figures.ATTEMPT_SUMS and figures.TOKENS. Of attempts, and of calls: of those that hold one.
_ATTEMPTS = (
    "COUNT(t.certainty)",
    f"COUNT(t.certainty) FILTER (WHERE {_AT_FAULT})",
    f"COUNT(*) {_ESTIMATED}",
    "COUNT(t.certainty) - COUNT(t.cost)",
    "coalesce(SUM(t.cost), 0)",
    "coalesce(SUM(t.saved), 0)",
    f"coalesce(SUM(t.cost) {_FAILED}, 0)",
    f"coalesce(SUM(t.cost) {_ESTIMATED}, 0)",
    *_TOKENS,
)
_ATTEMPT_SUMS = (
    "SUM(t.attempts)",
    f"coalesce(SUM(t.attempts) FILTER (WHERE {_AT_FAULT}), 0)",
    "SUM(t.estimated)",
    "SUM(t.unpriced)",
    "coalesce(SUM(t.cost), 0)",
    "coalesce(SUM(t.saved), 0)",
    f"coalesce(SUM(t.cost) {_FAILED}, 0)",
    "SUM(t.estimated_cost)",
    *_TOKENS,
    *(f"SUM(t.{name})" for name in TRIES),
)
# In the order of figures.TRIES. What a call holds is neither of them.
_TRIES = ("coalesce(SUM(t.retry), 0)", "coalesce(SUM(t.hedge), 0)")
_NO_TRIES = ("0",) * len(TRIES)
# In the order of figures.CALL_SUMS; whole answers are those that have a time. Then the sums of figures.DISTRIBUTIONS,
# and their buckets.
_BUCKETS = ("t.time_bucket", "t.first_token_bucket", "t.rate_bucket")
_CALLS = (
    "COUNT(t.time_bucket)",
    "COUNT(*) FILTER (WHERE t.time_bucket IS NULL AND t.result = 'error')",
    "COUNT(*) FILTER (WHERE t.time_bucket IS NULL AND t.result = 'cancelled')",
    "SUM(t.fell_back)",
    "SUM(t.interrupted)",
    "coalesce(SUM(t.duration) FILTER (WHERE t.time_bucket IS NOT NULL), 0)",
    "coalesce(SUM(t.time_to_first_token) FILTER (WHERE t.first_token_bucket IS NOT NULL), 0)",
    "coalesce(SUM(t.output_rate) FILTER (WHERE t.rate_bucket IS NOT NULL), 0)",
)
_CODES = tuple(f"coalesce({bucket} + {FIRST_CHARACTER}, {ABSENT})" for bucket in _BUCKETS)
_CALL_SUMS = ("SUM(t.successes)", "SUM(t.errors)", "SUM(t.cancelled)", "SUM(t.fallbacks)", "SUM(t.interrupted)")
_DISTRIBUTION_SUMS = ("SUM(t.time_sum)", "SUM(t.first_token_sum)", "SUM(t.rate_sum)")
# Of cells, which name what they have as figures.py does.
_CELL_ATTEMPTS = tuple(f"SUM(t.{name})" for name in (*ATTEMPT_SUMS, *TOKENS))
_CELL_CALLS = tuple(f"SUM(t.{name})" for name in (*CALL_SUMS, *DISTRIBUTIONS))
_HISTOGRAMS = ("t.time_buckets", "t.first_token_buckets", "t.rate_buckets")


class Only(NamedTuple):
    """Lets through what has any of these values of a dimension, which are `raw`."""

    dimension: Dimension
    values: Sequence[Any]


class Queries:
    """The queries of one question."""

    def __init__(self, question: Question, dialect: Dialect, only: Only | None = None) -> None:
        """`only` goes with questions that are counted from rows alone."""
        self._question = question
        self._dialect = dialect
        self._only = only

    def keys(self, segment: Segment) -> Query:
        """The groups of calls, `raw`: nothing else is found."""
        return self._raw("calls AS t", segment)

    def keys_of_attempts(self, segment: Segment) -> Query:
        """The groups of attempts that `keys` has not found."""
        return self._raw("attempts AS t", segment, _ended(segment), of_attempts=True)

    def attempts(self, segment: Segment) -> Query:
        """What attempts add up to."""
        segment = _by_themselves(segment)
        if segment.source in ROWS:
            return self._query((*_ATTEMPTS, *_TRIES), "attempts AS t", segment, _ended(segment), of_attempts=True)
        return self._query(_ATTEMPT_SUMS, "attempt_sums AS t", segment, of_attempts=True)

    def units(self, segment: Segment) -> Query:
        """A unit's name and how many."""
        segment = _by_themselves(segment)
        if segment.source in ROWS:
            source = f"attempts AS t, {self._dialect.pairs.format(column='t.other_units')} AS unit"
            counted = all_of([_ended(segment), Sql("t.other_units <> '{}'")])
            figures = ("unit.key", "SUM(CAST(unit.value AS BIGINT))")
            return self._query(figures, source, segment, counted, of_attempts=True, extra=1)
        return self._query(("t.unit", "SUM(t.amount)"), "unit_sums AS t", segment, of_attempts=True, extra=1)

    def calls(self, segment: Segment) -> Query:
        """What calls add up to, the sums of the distributions, and from rows their buckets as characters.

        Of minutes and of cells that are whole also what the attempts that they hold add up to, as `attempts` has it.
        """
        if are_cells(segment.source):
            held = (*_CELL_ATTEMPTS, *_NO_TRIES) if are_whole(segment.source) else ()
            strung = self._dialect.strung.format(column="t.buckets")
            return self._query((*_CELL_CALLS, strung, *held), "cells AS t", segment)
        if segment.source in ROWS:
            held = (*_ATTEMPTS, *_NO_TRIES) if segment.source == "minutes" else ()
            return self._query((*figures_of_calls(self._dialect), *held), "calls AS t", segment)
        if segment.source == "day":
            return self._query((*_CALL_SUMS, *_DISTRIBUTION_SUMS, "NULL"), "call_sums AS t", segment)
        return self._query((*_CALL_SUMS, *["0"] * len(_DISTRIBUTION_SUMS), "NULL"), "call_sums AS t", segment)

    def histograms(self, segment: Segment) -> Query | None:
        """The packed histograms of days, which the database does not sum: several rows for a group."""
        if segment.source != "day":
            return None
        return self._query(_HISTOGRAMS, "call_sums AS t", segment, Sql("t.times > 0"), grouped=False)

    def scores(self, segment: Segment) -> Query:
        """A metric, how many scores and their sum."""
        figures = ("f.metric", "COUNT(*)", "SUM(f.score)")
        in_time = Sql("f.started >= ? AND f.started < ?", (segment.start, segment.end))
        source = "feedback AS f JOIN calls AS t ON t.call_id = f.call_id"
        return self._query(figures, source, segment, in_time, extra=1)

    def _query(
        self,
        figures: Sequence[str],
        source: str,
        segment: Segment,
        also: Sql | None = None,
        *,
        of_attempts: bool = False,
        grouped: bool = True,
        extra: int = 0,
    ) -> Query:
        """`extra`: how many of the figures are grouped by, too."""
        keys = [self._bucket(segment), *self._groups(of_attempts=of_attempts)]
        where = self._where(segment, also, of_attempts=of_attempts)
        columns = ", ".join([*(key.text for key in keys), *figures])
        by = f" GROUP BY {', '.join(map(str, range(1, len(keys) + 1 + extra)))}" if grouped else ""
        params = (*(param for key in keys for param in key.params), *where.params)
        return Query(f"SELECT {columns} FROM {source} WHERE {where.text}{by}", params)

    def _raw(self, source: str, segment: Segment, also: Sql | None = None, *, of_attempts: bool = False) -> Query:
        keys = [
            self._bucket(segment),
            *(raw(each, self._dialect, of_attempts=of_attempts) for each in self._question.group_by),
        ]
        where = self._where(segment, also, of_attempts=of_attempts)
        columns = ", ".join(key.text for key in keys)
        params = (*(param for key in keys for param in key.params), *where.params)
        return Query(f"SELECT DISTINCT {columns} FROM {source} WHERE {where.text}", params)

    def _where(self, segment: Segment, also: Sql | None, *, of_attempts: bool) -> Sql:
        return all_of([_in_time(segment), *([also] if also else []), *self._conditions(of_attempts=of_attempts)])

    def _bucket(self, segment: Segment) -> Sql:
        if not self._question.bucketed:
            return Sql("0")
        time = "t.started" if segment.source in ROWS else "t.start"
        # Cast, as PostgreSQL knows nothing of a parameter that stands beside another.
        number = f"({time} - CAST(? AS BIGINT)) / CAST(? AS BIGINT) + CAST(? AS BIGINT)"
        return Sql(number, (segment.origin, segment.width, segment.first))

    def _groups(self, *, of_attempts: bool) -> list[Sql]:
        return [expression(each, self._dialect, of_attempts=of_attempts) for each in self._question.group_by]

    def _conditions(self, *, of_attempts: bool) -> list[Sql]:
        asked = [condition(each, self._dialect, of_attempts=of_attempts) for each in self._question.filters]
        if self._only is None:
            return asked
        value = raw(self._only.dimension, self._dialect, of_attempts=of_attempts)
        found = f"{value.text} IN ({', '.join('?' * len(self._only.values))})"
        return [*asked, Sql(found, (*value.params, *self._only.values))]


def figures_of_calls(dialect: Dialect, *, held: bool = False) -> tuple[str, ...]:
    """What is counted of rows of calls: of the attempts that they hold, too, before the rest; the buckets last."""
    characters = f"{dialect.characters(_CODES)} FILTER (WHERE t.time_bucket IS NOT NULL)"
    return (*(_ATTEMPTS if held else ()), *_CALLS, characters)


def _by_themselves(segment: Segment) -> Segment:
    """Where attempts are counted that none of these calls hold."""
    return segment._replace(source="minutes") if are_whole(segment.source) else segment


def _ended(segment: Segment) -> Sql:
    """Which attempts are counted by themselves."""
    return Sql("t.duration IS NOT NULL AND t.held = 0" if segment.source == "minutes" else "t.duration IS NOT NULL")


def _in_time(segment: Segment) -> Sql:
    if segment.source in ROWS:
        return Sql("t.started >= ? AND t.started < ?", (segment.start, segment.end))
    source = "t.kind" if are_cells(segment.source) else "t.grain"
    return Sql(f"{source} = ? AND t.start >= ? AND t.start < ?", (segment.source, segment.start, segment.end))
