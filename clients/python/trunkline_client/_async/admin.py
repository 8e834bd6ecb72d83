"""The client for operators."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline.v1.admin_service_pb2 import (
    ListProvidersRequest,
    SetProviderEnabledRequest,
    SetStrategyRequest,
    ValidateCredentialsRequest,
)
from trunkline.v1.admin_service_pb2_grpc import AdminServiceStub
from trunkline.v1.alerts_pb2 import ListAlertsRequest, WatchAlertsRequest
from trunkline.v1.calls_pb2 import ResetStatisticsRequest
from trunkline.v1.insights_pb2 import GetInsightsRequest
from trunkline_client._async.caller import AsyncCaller
from trunkline_client.status import raising

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from google.protobuf.timestamp_pb2 import Timestamp
    from grpc import ChannelCredentials

    from trunkline.v1.admin_service_pb2 import (
        ListProvidersResponse,
        SetProviderEnabledResponse,
        SetStrategyResponse,
        ValidateCredentialsResponse,
    )
    from trunkline.v1.alerts_pb2 import ListAlertsResponse, WatchAlertsResponse
    from trunkline.v1.calls_pb2 import ExportUsageRequest, ListCallsRequest, ListCallsResponse
    from trunkline.v1.insights_pb2 import GetInsightsResponse
    from trunkline_client.channel import AsyncChannel


class AsyncAdminClient(AsyncCaller):
    """A gateway's admin service, which has an address of its own. Made like the client for callers; raises the same."""

    def __init__(
        self,
        target: str | None = None,
        *,
        credentials: ChannelCredentials | None = None,
        api_key: str | None = None,
        timeout: float | None = None,
        channel: AsyncChannel | None = None,
    ) -> None:
        super().__init__(target, credentials=credentials, api_key=api_key, timeout=timeout, channel=channel)
        self._admin = AdminServiceStub(self._channel)

    async def providers(self, *, provider: str = "", timeout: float | None = None) -> ListProvidersResponse:
        """Every provider of the gateway, or one: how it is, its credentials (masked), its models."""
        return await self._ask(self._admin.ListProviders, ListProvidersRequest(provider=provider), timeout)

    async def validate_credentials(
        self, *, provider: str = "", timeout: float | None = None
    ) -> ValidateCredentialsResponse:
        """What the providers, or one of them, say to their credentials now. Free; takes up to ten seconds."""
        request = ValidateCredentialsRequest(provider=provider)
        return await self._ask(self._admin.ValidateCredentials, request, timeout)

    async def set_provider_enabled(
        self, provider: str, *, enabled: bool, reason: str = "", timeout: float | None = None
    ) -> SetProviderEnabledResponse:
        """Take a provider out of routing or put it back in, until the gateway starts again."""
        request = SetProviderEnabledRequest(provider=provider, enabled=enabled, reason=reason)
        return await self._ask(self._admin.SetProviderEnabled, request, timeout)

    async def set_strategy(
        self, strategy: str, *, workspace: str = "", task: str = "", timeout: float | None = None
    ) -> SetStrategyResponse:
        """Say how targets are chosen from the next call on: of all calls, of a workspace's or of a task's.

        Empty = as the configuration says. Until the gateway starts again.
        """
        request = SetStrategyRequest(strategy=strategy, workspace=workspace, task=task)
        return await self._ask(self._admin.SetStrategy, request, timeout)

    async def calls(self, request: ListCallsRequest, *, timeout: float | None = None) -> ListCallsResponse:
        """A page of the ledger's calls, the newest first."""
        return await self._ask(self._admin.ListCalls, request, timeout)

    async def export_usage(self, request: ExportUsageRequest, *, timeout: float | None = None) -> AsyncIterator[bytes]:
        """The ledger's rows as text: pieces of whole lines. However the reading ends, the call is cancelled."""
        call = self._admin.ExportUsage(request, timeout=timeout, metadata=self._metadata)
        pieces = aiter(call)
        try:
            while True:
                with raising(self._address):
                    piece = await anext(pieces, None)
                if piece is None:
                    return
                yield piece.data
        finally:
            call.cancel()

    async def reset_statistics(self, workspace: str = "", *, timeout: float | None = None) -> Timestamp:
        """Begin the statistics of a workspace, or of all, anew; when that was. The ledger stays as it was."""
        request = ResetStatisticsRequest(workspace=workspace)
        return (await self._ask(self._admin.ResetStatistics, request, timeout)).reset_time

    async def alerts(
        self, *, open_only: bool = False, page_size: int = 0, page_token: str = "", timeout: float | None = None
    ) -> ListAlertsResponse:
        """A page of alerts, the latest first."""
        request = ListAlertsRequest(open_only=open_only, page_size=page_size, page_token=page_token)
        return await self._ask(self._admin.ListAlerts, request, timeout)

    async def watch_alerts(self, *, timeout: float | None = None) -> AsyncIterator[WatchAlertsResponse]:
        """The alerts that are open, then each change. However the watching ends, the call is cancelled."""
        call = self._admin.WatchAlerts(WatchAlertsRequest(), timeout=timeout, metadata=self._metadata)
        changes = aiter(call)
        try:
            while True:
                with raising(self._address):
                    change = await anext(changes, None)
                if change is None:
                    return
                yield change
        finally:
            call.cancel()

    async def insights(
        self, *, days: int = 0, workspace: str = "", timeout: float | None = None
    ) -> GetInsightsResponse:
        """What would be cheaper, faster or safer, by the calls of so many days (0 = 30), of one workspace or of all."""
        request = GetInsightsRequest(days=days, workspace=workspace)
        return await self._ask(self._admin.GetInsights, request, timeout)
