"""What the ledger's database holds of how models did: learned again at each start, so that nothing else is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline.v1 import call_pb2

if TYPE_CHECKING:
    from trunkline_server.state.learned.memory import Memory
    from trunkline_server.state.learned.seal import Seal
    from trunkline_server.state.ledger.database import Database

# Scored calls and attempts that are learned from, the latest: cells forget older ones anyhow.
MOST_CALLS, MOST_ATTEMPTS = 20_000, 20_000
# How attempts end that an answer might have been had from: a caller who goes away or asks for what cannot be done says
# nothing of the model.
FAILED = frozenset(
    {
        call_pb2.OUTCOME_RATE_LIMITED,
        call_pb2.OUTCOME_OVERLOADED,
        call_pb2.OUTCOME_SERVER_ERROR,
        call_pb2.OUTCOME_TIMEOUT,
        call_pb2.OUTCOME_NOT_CONNECTED,
        call_pb2.OUTCOME_INTERRUPTED,
        call_pb2.OUTCOME_PROTOCOL_ERROR,
        call_pb2.OUTCOME_AUTH,
        call_pb2.OUTCOME_QUOTA,
        call_pb2.OUTCOME_MODEL_NOT_FOUND,
    }
)
_SCORES = """
SELECT c.task, c.provider, c.model, d.sealed, s.score
FROM (
    SELECT call_id, AVG(score) AS score, MAX(submitted) AS submitted FROM feedback
    GROUP BY call_id ORDER BY MAX(submitted) DESC LIMIT ?
) AS s JOIN calls AS c ON c.call_id = s.call_id LEFT JOIN decisions AS d ON d.call_id = s.call_id
WHERE c.provider <> '' ORDER BY s.submitted, s.call_id
"""
_OUTCOMES = """
SELECT task, provider, model, outcome FROM attempts WHERE duration IS NOT NULL
ORDER BY started DESC, call_id DESC, attempt DESC LIMIT ?
"""


async def recall(database: Database, memory: Memory, seal: Seal) -> None:
    """Learn what callers said of answers, and how attempts ended. Raises StoreFailed."""
    for task, provider, model, sealed, score in await database.fetch(_SCORES, (MOST_CALLS,)):
        memory.observe(task, seal.opened(sealed), f"{provider}/{model}", score)
    for task, provider, model, outcome in reversed(await database.fetch(_OUTCOMES, (MOST_ATTEMPTS,))):
        if (answered := outcome == call_pb2.OUTCOME_SUCCESS) or outcome in FAILED:
            memory.observe_outcome(task, f"{provider}/{model}", answered=answered)
