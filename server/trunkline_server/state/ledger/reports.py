"""What the ledger tells callers: the reading half, behind the RPCs."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Protocol

from trunkline_server.errors import LedgerUnreadable, UnknownCall
from trunkline_server.state.budgets.accounts import Rules
from trunkline_server.state.budgets.status import status_of
from trunkline_server.state.ledger import feedback
from trunkline_server.state.ledger.calls import list_calls
from trunkline_server.state.ledger.export import export_usage
from trunkline_server.state.ledger.ledger import LedgerHealth
from trunkline_server.state.ledger.resets import reset_statistics
from trunkline_server.state.ledger.spending import read_spent
from trunkline_server.state.ledger.usage import usage_stats

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from trunkline.v1.calls_pb2 import (
        ExportUsageRequest,
        ExportUsageResponse,
        ListCallsRequest,
        ListCallsResponse,
        ResetStatisticsRequest,
        ResetStatisticsResponse,
    )
    from trunkline.v1.feedback_service_pb2 import SubmitFeedbackRequest
    from trunkline.v1.gateway_service_pb2 import UsageStatsRequest, UsageStatsResponse
    from trunkline_server.core import Identity
    from trunkline_server.routing.spent import Spent
    from trunkline_server.state.ledger.database import Database
    from trunkline_server.state.ledger.feedback import Scored

WELL = LedgerHealth(0, "", None, 0, 0)
# Seconds that a report waits for rows that are queued; it is told without them after that.
PATIENCE = 2.0


class Learner(Protocol):
    """Who learns from scores: state/learned."""

    async def flush(self) -> None:
        """Wait until what it knows of calls that ended is in the database."""

    def scored(self, scored: Scored) -> None:
        """A caller has said what an answer was worth."""


class LedgerReports:
    """Reads the database that a ledger writes to. Every method raises CallError."""

    def __init__(
        self,
        database: Database,
        flush: Callable[[], Awaitable[None]],
        clock: Callable[[], float] = time.time,
        health: Callable[[], LedgerHealth] = lambda: WELL,
        learner: Learner | None = None,
        rules: Callable[[], Rules] = lambda: Rules({}),
    ) -> None:
        """`flush` waits until what is queued is in the database, `health` says how the ledger is.

        `learner` is told of each score; `rules` are the budgets of the configuration.
        """
        self._database = database
        self._flush = flush
        self._clock = clock
        self.health = health
        self._learner = learner
        self._rules = rules

    async def usage(self, request: UsageStatsRequest, identity: Identity) -> UsageStatsResponse:
        """UsageStats. A call that ended before it was asked is counted."""
        await self._settled()
        told = await usage_stats(self._database, request, identity, self._now())
        if request.include_budgets:
            told.budgets.extend(await status_of(self._database, self._rules(), identity, self._now()))
        return told

    async def list_calls(self, request: ListCallsRequest, identity: Identity) -> ListCallsResponse:
        """AdminService.ListCalls."""
        await self._settled()
        return await list_calls(self._database, request, identity, self._now())

    async def export(
        self, request: ExportUsageRequest, identity: Identity
    ) -> AsyncGenerator[ExportUsageResponse, None]:
        """AdminService.ExportUsage: the next piece is made when the last one was taken."""
        await self._settled()
        async with aclosing(export_usage(self._database, request, identity, self._now())) as pieces:
            async for piece in pieces:
                yield piece

    async def spent(self, days: int, workspace: str) -> Spent:
        """What calls of so many days used and cost, the running one included; of all workspaces if none is named."""
        await self._settled()
        return await read_spent(self._database, days, workspace, self._now())

    async def reset(self, request: ResetStatisticsRequest, identity: Identity) -> ResetStatisticsResponse:
        """AdminService.ResetStatistics."""
        return await reset_statistics(self._database, request, identity, self._now())

    async def submit_feedback(self, request: SubmitFeedbackRequest, identity: Identity) -> None:
        """FeedbackService.SubmitFeedback. A call is known from its end on, also while its row is queued."""
        feedback.check(request)
        if self._learner is not None:
            await self._learner.flush()
        found = await feedback.score(self._database, request, identity, self._now())
        if found is None:
            settled = await self._settled()
            found = await feedback.score(self._database, request, identity, self._now())
            if found is None and not settled:
                raise LedgerUnreadable("rows still wait to be written")
        if found is None:
            raise UnknownCall
        if self._learner is not None:
            self._learner.scored(found)

    async def _settled(self) -> bool:
        """Wait for queued rows, but not for ever."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await self._flush()
                return True
        return False

    def _now(self) -> int:
        return int(self._clock() * 1e6)
