"""Scores of calls: the last of each call and metric."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from trunkline_server.errors import InvalidRequest, Violation
from trunkline_server.state.ledger.database import Statement
from trunkline_server.state.ledger.reading import write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trunkline.v1.feedback_service_pb2 import SubmitFeedbackRequest
    from trunkline_server.core import Identity
    from trunkline_server.state.ledger.database import Database, Script

_METRIC = re.compile(r"[A-Za-z0-9_-]{1,64}")

_FIND = """
SELECT c.workspace, c.started, c.task, c.provider, c.model, d.sealed,
    (SELECT AVG(f.score) FROM feedback AS f WHERE f.call_id = c.call_id)
FROM calls AS c LEFT JOIN decisions AS d ON d.call_id = c.call_id WHERE c.call_id = ?
"""
_MEAN = "SELECT AVG(score) FROM feedback WHERE call_id = ?"
_SCORE = """
INSERT INTO feedback (call_id, metric, score, workspace, started, submitted) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (call_id, metric) DO UPDATE SET score = excluded.score, submitted = excluded.submitted
"""


def check(request: SubmitFeedbackRequest) -> None:
    """Raises InvalidRequest, naming every bad field."""
    if bad := [*_violations(request)]:
        raise InvalidRequest(bad)


def _violations(request: SubmitFeedbackRequest) -> Iterator[Violation]:
    if not request.call_id:
        yield Violation("call_id", "is empty: say GenerateResponse.id")
    if not _METRIC.fullmatch(request.metric):
        yield Violation("metric", "at most 64 letters, digits, '_' and '-', at least one: task_success, ...")
    if not request.HasField("score"):
        yield Violation("score", "is not set")
    elif not 0 <= request.score <= 1:
        yield Violation("score", "is not from 0 to 1")


class Scored(NamedTuple):
    """A call that was scored: a call's score is the mean of its metrics'."""

    task: str
    # "provider/model" that answered; empty = nobody did.
    served: str
    # What is kept of the prompt, as state/learned/seal.py has it. None: nobody looked at it.
    sealed: str | None
    # The call's score before, if it had one, and now.
    before: float | None
    after: float


async def score(database: Database, request: SubmitFeedbackRequest, identity: Identity, now: int) -> Scored | None:
    """Write a valid score down. None if no call of the identity's workspace has this id. Raises LedgerUnreadable."""
    return await write(database, partial(_score, request, identity.workspace, now))


def _score(request: SubmitFeedbackRequest, workspace: str, now: int) -> Script[Scored | None]:
    found = yield Statement(_FIND, [(request.call_id,)], returns=True)
    if not found or found[0][0] != workspace:
        return None
    _, started, task, provider, model, sealed, before = found[0]
    yield Statement(_SCORE, [(request.call_id, request.metric, request.score, workspace, started, now)])
    ((after,),) = yield Statement(_MEAN, [(request.call_id,)], returns=True)
    return Scored(task, f"{provider}/{model}" if provider else "", sealed, before, after)
