"""AdminService's part for keys and audit events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trunkline.v1 import identity_pb2 as pb
from trunkline.v1.admin_service_pb2_grpc import AdminServiceServicer
from trunkline_server.errors import InvalidRequest, KeysUnavailable, Violation
from trunkline_server.routing.tables import check_strategies
from trunkline_server.rpc.edge import IDENTITY
from trunkline_server.state.audit import Actor, list_events
from trunkline_server.state.ledger.database import StoreFailed
from trunkline_server.state.pages import next_token, page_of

if TYPE_CHECKING:
    from grpc import aio

    from trunkline_server.core import Current
    from trunkline_server.state.audit import Audit
    from trunkline_server.state.identity.issuing import Issuer

    Context = aio.ServicerContext[Any, Any]


def actor_of(context: Context) -> Actor:
    """Who makes this call, for audit events."""
    identity = IDENTITY.get()
    return Actor(key=identity.key, workspace=identity.workspace, peer=context.peer())


class KeyMethods(AdminServiceServicer):
    """The methods. Who may call them stands in rpc/access.py."""

    def __init__(self, issuer: Issuer, audit: Audit, current: Current) -> None:
        self._issuer = issuer
        self._current = current
        self._audit = audit

    async def CreateApiKey(self, request: pb.CreateApiKeyRequest, context: Context) -> pb.CreateApiKeyResponse:
        """Make a key."""
        check_strategies(request.allowed_strategies, self._current.chain.snapshot.settings)
        return await self._issuer.create(request, actor_of(context))

    async def ListApiKeys(self, request: pb.ListApiKeysRequest, context: Context) -> pb.ListApiKeysResponse:
        """A page of keys."""
        return await self._issuer.page(request)

    async def RotateApiKey(self, request: pb.RotateApiKeyRequest, context: Context) -> pb.RotateApiKeyResponse:
        """Give a key another secret."""
        return await self._issuer.rotate(request, actor_of(context))

    async def RevokeApiKey(self, request: pb.RevokeApiKeyRequest, context: Context) -> pb.RevokeApiKeyResponse:
        """Refuse a key from now on."""
        return await self._issuer.revoke(request, actor_of(context))

    async def ListAuditEvents(self, request: pb.ListAuditEventsRequest, context: Context) -> pb.ListAuditEventsResponse:
        """A page of events, the newest first."""
        for name in ("api_key_id", "workspace"):
            if not getattr(request, name).isprintable():
                raise InvalidRequest([Violation(name, "must be printable characters")])
        size, before = page_of(request)
        try:
            events = await list_events(self._audit.database, request, before, size + 1)
        except StoreFailed as failed:
            raise KeysUnavailable(failed.kind) from failed
        token = next_token(request, events[size - 1].id) if len(events) > size else ""
        return pb.ListAuditEventsResponse(events=events[:size], next_page_token=token)
