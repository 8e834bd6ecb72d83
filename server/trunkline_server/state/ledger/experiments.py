"""What became of the calls that were given to an experiment's arms.

Figures are those of the arm that a call was given to, whoever answered it: a call that failed, or that another target
had to answer than the first that was asked, is a failure of its arm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from trunkline_server.routing.verdicts import Sample

if TYPE_CHECKING:
    from trunkline_server.state.ledger.database import Database


class Arm(NamedTuple):
    """An arm's calls; cancelled ones are not among them."""

    # "experiment/arm".
    name: str
    calls: int
    # Who called: end users, and calls without one.
    units: int
    failures: int
    # What callers said of answers; a call's score is the mean of its metrics'.
    scores: Sample
    # Seconds of whole answers, and what a call cost in nano-USD, where that is known.
    seconds: Sample
    costs: Sample


_ARMS = """
SELECT arm, COUNT(*), COUNT(DISTINCT unit), SUM(CASE WHEN result = 'error' OR fell_back = 1 THEN 1 ELSE 0 END),
    COUNT(score), SUM(score), SUM(score * score),
    COUNT(seconds), SUM(seconds), SUM(seconds * seconds),
    COUNT(cost), SUM(cost), SUM(1.0 * cost * cost)
FROM (
    SELECT arm, result, fell_back, CASE WHEN end_user <> '' THEN end_user ELSE call_id END AS unit,
        CASE WHEN result = 'success' THEN duration / 1e6 END AS seconds,
        (SELECT AVG(f.score) FROM feedback AS f WHERE f.call_id = c.call_id) AS score,
        (SELECT CASE WHEN COUNT(a.cost) = COUNT(*) THEN SUM(a.cost) END FROM attempts AS a WHERE a.call_id = c.call_id
            AND NOT EXISTS (SELECT 1 FROM open_attempts AS o WHERE o.call_id = c.call_id)) AS cost
    FROM calls AS c WHERE arm <> '' AND result <> 'cancelled' AND started >= ?
) AS t
GROUP BY arm ORDER BY arm
"""


async def arms(database: Database, start: int) -> list[Arm]:
    """Of all experiments, in the order of their names, since `start` (microseconds since 1970). Raises StoreFailed."""
    return [
        Arm(
            row[0], int(row[1]), int(row[2]), int(row[3]), _sample(*row[4:7]), _sample(*row[7:10]), _sample(*row[10:13])
        )
        for row in await database.fetch(_ARMS, (start,))
    ]


def _sample(n: int, total: float | None, squares: float | None) -> Sample:
    return Sample(int(n), float(total or 0.0), float(squares or 0.0))
