"""The part of AdminService that reads the ledger and begins its statistics anew."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from trunkline.v1 import calls_pb2 as pb
from trunkline.v1.admin_service_pb2_grpc import AdminServiceServicer
from trunkline.v1.identity_pb2 import AuditEvent
from trunkline_server.errors import CallerGone
from trunkline_server.rpc.edge import IDENTITY
from trunkline_server.rpc.keys import actor_of

if TYPE_CHECKING:
    from grpc import aio

    from trunkline_server.state.audit import Audit
    from trunkline_server.state.ledger.reports import LedgerReports

    Context = aio.ServicerContext[Any, Any]


class LedgerMethods(AdminServiceServicer):
    """Errors are raised as CallError; rpc/edge makes statuses of them."""

    def __init__(self, reports: LedgerReports, audit: Audit) -> None:
        self._reports = reports
        self._audit = audit

    async def ListCalls(self, request: pb.ListCallsRequest, context: Context) -> pb.ListCallsResponse:
        """A page of calls."""
        return await self._reports.list_calls(request, IDENTITY.get())

    async def ExportUsage(self, request: pb.ExportUsageRequest, context: Context) -> None:  # type: ignore[override]
        """The pieces; the next one is made when gRPC has taken the last."""
        self._audit.record(AuditEvent.KIND_DATA_EXPORTED, actor_of(context), detail=_what(request))
        async with aclosing(self._reports.export(request, IDENTITY.get())) as pieces:
            async for piece in pieces:
                await _write(context, piece)

    async def ResetStatistics(self, request: pb.ResetStatisticsRequest, context: Context) -> pb.ResetStatisticsResponse:
        """Begin anew."""
        done = await self._reports.reset(request, IDENTITY.get())
        self._audit.record(AuditEvent.KIND_STATISTICS_RESET, actor_of(context), request.workspace)
        return done


def _what(request: pb.ExportUsageRequest) -> str:
    """What is exported, for whoever reads the audit events."""
    record = pb.ExportUsageRequest.Record.Name(request.record or pb.ExportUsageRequest.RECORD_ATTEMPTS)
    return record.removeprefix("RECORD_").lower()


async def _write(context: Context, piece: pb.ExportUsageResponse) -> None:
    try:
        await context.write(piece)
    except asyncio.CancelledError:
        raise
    except Exception as error:
        raise CallerGone from error
