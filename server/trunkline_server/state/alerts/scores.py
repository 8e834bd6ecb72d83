"""What callers said of models' answers: in the last day, and in the week before."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from trunkline_server.state.ledger.database import Database

# Microseconds.
_DAY = 86_400_000_000

_SCORES = """
SELECT provider, model, metric, SUM(lately), SUM(lately * score), SUM(lately * score * score),
    SUM(1 - lately), SUM((1 - lately) * score), SUM((1 - lately) * score * score)
FROM (
    SELECT c.provider AS provider, c.model AS model, f.metric AS metric, f.score AS score,
        CASE WHEN f.submitted >= ? THEN 1 ELSE 0 END AS lately
    FROM feedback AS f JOIN calls AS c ON c.call_id = f.call_id WHERE f.submitted >= ? AND c.provider <> ''
) AS t
GROUP BY provider, model, metric
"""


class Sums(NamedTuple):
    """Scores, as far as their mean and spread are asked for."""

    n: int
    total: float
    squares: float

    @property
    def mean(self) -> float:
        """Of at least one score."""
        return self.total / self.n

    @property
    def variance(self) -> float:
        """Of at least two scores."""
        return max(0.0, (self.squares - self.total * self.total / self.n) / (self.n - 1))


class Scores(NamedTuple):
    """Of one model and metric."""

    # "provider/model".
    model: str
    metric: str
    lately: Sums
    before: Sums


async def read_scores(database: Database, now: int) -> list[Scores]:
    """Of all models, at a time in microseconds since 1970. Raises StoreFailed."""
    rows = await database.fetch(_SCORES, (now - _DAY, now - 8 * _DAY))
    return [
        Scores(f"{provider}/{model}", metric, _sums(*figures[:3]), _sums(*figures[3:]))
        for provider, model, metric, *figures in rows
    ]


def _sums(n: int, total: float, squares: float) -> Sums:
    return Sums(int(n), float(total), float(squares))
