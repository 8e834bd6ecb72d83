"""A server that answers from a ledger: a real database, a real server on port 0, and rows that a test writes."""

from __future__ import annotations

import asyncio
import io
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from grpc import aio

from trunkline.v1.admin_service_pb2_grpc import AdminServiceStub, add_AdminServiceServicer_to_server
from trunkline.v1.feedback_service_pb2_grpc import FeedbackServiceStub, add_FeedbackServiceServicer_to_server
from trunkline.v1.gateway_service_pb2_grpc import (
    GatewayServiceServicer,
    GatewayServiceStub,
    add_GatewayServiceServicer_to_server,
)
from trunkline_server.core import ANYBODY, Identity
from trunkline_server.logs import build_log
from trunkline_server.rpc.edge import Edge
from trunkline_server.rpc.feedback import Feedback
from trunkline_server.rpc.ledger_methods import LedgerMethods
from trunkline_server.rpc.server import Services
from trunkline_server.state.audit import Audit
from trunkline_server.state.ledger.commit import take
from trunkline_server.state.ledger.reports import LedgerReports
from trunkline_server.state.ledger.sqlite import SqliteDatabase

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Any

    from trunkline.v1.admin_service_pb2_grpc import AdminServiceAsyncStub
    from trunkline.v1.feedback_service_pb2_grpc import FeedbackServiceAsyncStub
    from trunkline.v1.gateway_service_pb2 import UsageStatsRequest, UsageStatsResponse
    from trunkline.v1.gateway_service_pb2_grpc import GatewayServiceAsyncStub
    from trunkline_server.state.ledger.commit import Entry
    from trunkline_server.state.ledger.database import Database


async def nothing_queued() -> None:
    """A ledger without a queue."""


def no_reports() -> LedgerReports:
    """For servers that nobody asks for reports: opened on the first question, which fails."""
    return LedgerReports(SqliteDatabase(Path("/nonexistent/ledger")), nothing_queued)


@dataclass
class Serving:
    """A server over a ledger. Whoever calls is `caller`; the clock says `now`, in seconds since 1970."""

    database: Database
    now: float
    caller: Identity = ANYBODY
    queue: list[Entry] = field(default_factory=list)
    address: str = ""

    def __post_init__(self) -> None:
        self.reports = LedgerReports(self.database, self.flush, lambda: self.now)

    async def write(self, *entries: Entry) -> None:
        await self.database.transact(lambda: take(entries, self.database.dialect))

    async def admit(self, method: str, context: object) -> Identity:
        """The gatekeeper's part."""
        return self.caller

    async def flush(self) -> None:
        queued, self.queue = self.queue, []
        if queued:
            await self.write(*queued)

    def connect(self, channel: aio.Channel) -> None:
        self.gateway: GatewayServiceAsyncStub = GatewayServiceStub(channel)
        self.feedback: FeedbackServiceAsyncStub = FeedbackServiceStub(channel)
        self.admin: AdminServiceAsyncStub = AdminServiceStub(channel)


class _Usage(GatewayServiceServicer):
    """The part of GatewayService that reads the ledger."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    async def UsageStats(self, request: UsageStatsRequest, context: Any) -> UsageStatsResponse:
        return await self._serving.reports.usage(request, self._serving.caller)


@asynccontextmanager
async def ledger_server(database: Database, now: float) -> AsyncIterator[Serving]:
    """Serve the reading half of the ledger."""
    serving = Serving(database, now)
    log = build_log(io.BytesIO())
    edge = Edge(log, serving)  # type: ignore[arg-type] # admits whom the test says
    server = aio.server()
    services: Any = Services(server, edge)
    add_GatewayServiceServicer_to_server(_Usage(serving), services)  # type: ignore[abstract] # the rest is not asked for
    add_FeedbackServiceServicer_to_server(Feedback(serving.reports), services)
    audit = Audit(database, asyncio.ensure_future, log)
    admin = LedgerMethods(serving.reports, audit)  # type: ignore[abstract] # the same
    add_AdminServiceServicer_to_server(admin, services)
    serving.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        async with aio.insecure_channel(serving.address) as channel:
            serving.connect(channel)
            yield serving
    finally:
        await server.stop(0)
