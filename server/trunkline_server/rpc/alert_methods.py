"""The part of AdminService that tells of alerts, and what the ledger and the catalogue advise."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from trunkline.v1 import alerts_pb2 as pb
from trunkline.v1.admin_service_pb2_grpc import AdminServiceServicer
from trunkline.v1.insights_pb2 import GetInsightsResponse
from trunkline_server.errors import CallerGone, InvalidRequest, Violation
from trunkline_server.routing.filters import Known
from trunkline_server.routing.insights import insights
from trunkline_server.rpc.edge import IDENTITY
from trunkline_server.state.pages import next_token, page_of

if TYPE_CHECKING:
    from grpc import aio

    from trunkline.v1.insights_pb2 import GetInsightsRequest
    from trunkline_server.core import Current
    from trunkline_server.state.alerts.monitor import Monitor
    from trunkline_server.state.ledger.reports import LedgerReports
    from trunkline_server.state.provider_health import ProviderStates

    Context = aio.ServicerContext[Any, Any]

DEFAULT_DAYS, MOST_DAYS = 30, 366
_LONGEST_WORKSPACE = 64


class AlertMethods(AdminServiceServicer):
    """Errors are raised as CallError; rpc/edge makes statuses of them."""

    def __init__(self, monitor: Monitor, current: Current, states: ProviderStates, reports: LedgerReports) -> None:
        self._monitor = monitor
        self._current = current
        self._states = states
        self._reports = reports

    async def ListAlerts(self, request: pb.ListAlertsRequest, context: Context) -> pb.ListAlertsResponse:
        """A page of alerts, the latest first."""
        size, before = page_of(request)
        found = await self._monitor.page(open_only=request.open_only, before=before, limit=size + 1, **_whose())
        token = next_token(request, found[size - 1].id) if len(found) > size else ""
        return pb.ListAlertsResponse(alerts=found[:size], next_page_token=token)

    async def WatchAlerts(self, request: pb.WatchAlertsRequest, context: Context) -> None:  # type: ignore[override]
        """Changes, until the caller ends it or the gateway drains."""
        async with aclosing(self._monitor.watch(**_whose())) as changes:
            async for change, alert in changes:
                await _write(context, pb.WatchAlertsResponse(change=change, alert=alert))

    async def GetInsights(self, request: GetInsightsRequest, context: Context) -> GetInsightsResponse:
        """What would be better, by what was used."""
        if bad := _violations(request):
            raise InvalidRequest(bad)
        spent = await self._reports.spent(request.days or DEFAULT_DAYS, request.workspace)
        snapshot = self._current.chain.snapshot
        known = Known(int(time.time()), snapshot.prices, missing=self._states.missing)
        told = GetInsightsResponse(insights=insights(snapshot, known, spent))
        told.start_time.FromMicroseconds(spent.start)
        told.end_time.FromMicroseconds(spent.end)
        return told


def _whose() -> dict[str, str]:
    """Whose alerts whoever asks may see. Empty = all."""
    identity = IDENTITY.get()
    return {"workspace": identity.workspace, "api_key": identity.key} if identity.role == "caller" else {}


def _violations(request: GetInsightsRequest) -> list[Violation]:
    bad = []
    if not 0 <= request.days <= MOST_DAYS:
        bad.append(Violation("days", f"must be from 0 to {MOST_DAYS}"))
    if len(request.workspace) > _LONGEST_WORKSPACE or not request.workspace.isprintable():
        bad.append(Violation("workspace", f"must be at most {_LONGEST_WORKSPACE} printable characters"))
    return bad


async def _write(context: Context, piece: pb.WatchAlertsResponse) -> None:
    try:
        await context.write(piece)
    except asyncio.CancelledError:
        raise
    except Exception as error:
        raise CallerGone from error
