"""What calls of whole days used and cost, by task and model: from the rollups, which are exact."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline_server.routing.spent import Answers, Spending, Spent
from trunkline_server.state.endpoint.breaker import NOT_TAKEN
from trunkline_server.state.ledger.database import Query
from trunkline_server.state.ledger.reading import read_all

if TYPE_CHECKING:
    from trunkline_server.state.ledger.database import Database

_DAY = 86_400_000_000
_FAULTS = ", ".join(map(str, sorted(NOT_TAKEN)))
_WHERE = "grain = 'detail' AND start >= ? AND start < ? AND (? = '' OR workspace = ?) AND provider <> ''"
_SPENDING = f"""
SELECT task, provider, model, SUM(attempts), SUM(CASE WHEN outcome IN ({_FAULTS}) THEN attempts ELSE 0 END),
    SUM(unpriced), SUM(input_tokens), SUM(output_tokens), SUM(cache_read_tokens), SUM(cache_write_tokens),
    SUM(reasoning_tokens), SUM(cost)
FROM attempt_sums WHERE {_WHERE} GROUP BY task, provider, model ORDER BY task, provider, model
"""
_ANSWERS = f"""
SELECT provider, model, SUM(calls), SUM(CASE WHEN outcome IN ({_FAULTS}) THEN errors ELSE 0 END), SUM(times),
    SUM(time_sum)
FROM call_sums WHERE {_WHERE} GROUP BY provider, model ORDER BY provider, model
"""


async def read_spent(database: Database, days: int, workspace: str, now: int) -> Spent:
    """Of so many days of UTC, the running one included; of one workspace, or "" of all. Raises LedgerUnreadable."""
    start = (now // _DAY + 1 - days) * _DAY
    params = start, now + 1, workspace, workspace
    spending, answers = await read_all(database, [Query(_SPENDING, params), Query(_ANSWERS, params)])
    return Spent(
        start,
        now,
        tuple(Spending(*row[:3], *map(int, row[3:])) for row in spending),
        tuple(Answers(*row[:2], *map(int, row[2:])) for row in answers),
    )
