"""The part of AdminService that reads the ledger and begins its statistics anew."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from trunkline.v1.admin_service_pb2_grpc import AdminServiceServicer
from trunkline_server.errors import CallerGone
from trunkline_server.rpc.edge import IDENTITY

if TYPE_CHECKING:
    from grpc import aio

    from trunkline.v1 import calls_pb2 as pb
    from trunkline_server.state.ledger.reports import LedgerReports

    Context = aio.ServicerContext[Any, Any]


class LedgerMethods(AdminServiceServicer):
    """Errors are raised as CallError; rpc/edge makes statuses of them."""

    def __init__(self, reports: LedgerReports) -> None:
        self._reports = reports

    async def ListCalls(self, request: pb.ListCallsRequest, context: Context) -> pb.ListCallsResponse:
        """A page of calls."""
        return await self._reports.list_calls(request, IDENTITY.get())

    async def ExportUsage(self, request: pb.ExportUsageRequest, context: Context) -> None:  # type: ignore[override]
        """The pieces; the next one is made when gRPC has taken the last."""
        async with aclosing(self._reports.export(request, IDENTITY.get())) as pieces:
            async for piece in pieces:
                await _write(context, piece)

    async def ResetStatistics(self, request: pb.ResetStatisticsRequest, context: Context) -> pb.ResetStatisticsResponse:
        """Begin anew."""
        return await self._reports.reset(request, IDENTITY.get())


async def _write(context: Context, piece: pb.ExportUsageResponse) -> None:
    try:
        await context.write(piece)
    except asyncio.CancelledError:
        raise
    except Exception as error:
        raise CallerGone from error
