"""The client for operators."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline.v1.admin_service_pb2 import (
    ListProvidersRequest,
    SetProviderEnabledRequest,
    ValidateCredentialsRequest,
)
from trunkline.v1.admin_service_pb2_grpc import AdminServiceStub
from trunkline_client._async.caller import AsyncCaller

if TYPE_CHECKING:
    from grpc import ChannelCredentials

    from trunkline.v1.admin_service_pb2 import (
        ListProvidersResponse,
        SetProviderEnabledResponse,
        ValidateCredentialsResponse,
    )
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
