"""The gatekeeper: who calls, by gateway key or by client certificate, and whether that is enough for the method."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from trunkline_server.core import ANYBODY, Identity
from trunkline_server.errors import KeyRefused, KeysUnavailable, RoleNotAllowed
from trunkline_server.rpc.access import TOLD_ALWAYS, check_role
from trunkline_server.state.audit import Actor
from trunkline_server.state.identity.keys import read_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from grpc import aio

    from trunkline_server.settings import TlsSettings
    from trunkline_server.state.identity.keyring import Keyring

    Context = aio.ServicerContext[Any, Any]

HEADER = "authorization"
_SCHEME = "bearer"
# What gRPC calls the names in a client's certificate, once it has verified that.
_NAMES = ("peer_uri", "peer_dns")


class RefusalLog(Protocol):
    """Who is told of calls without a valid key, and of those whose role does not go so far."""

    def refused(self, actor: Actor, method: str) -> None:
        """A call was refused. Must not block."""


@dataclass(frozen=True, slots=True)
class Gatekeeper:
    """Lets callers in. Without a keyring no key is right."""

    keyring: Keyring | None = None
    refusals: RefusalLog | None = None
    # Whether a call needs a key or a certificate that names its caller even before any key was made.
    always: bool = False
    # By the names in client certificates: who that is. Empty where certificates are not asked for.
    certificates: Mapping[str, Identity] = field(default_factory=dict)

    async def admit(self, method: str, context: Context) -> Identity:
        """Who calls. Raises KeyRefused, RoleNotAllowed and KeysUnavailable."""
        token = token_of(context.invocation_metadata() or ())
        # Most calls come with a key that is known, and where no certificate can say otherwise.
        known = self.keyring.recall(token) if token and self.keyring is not None and not self.certificates else None
        identity = known or await self._identified(token, method, context)
        try:
            check_role(identity, method)
        except RoleNotAllowed:
            self._tell(Actor(identity.key, identity.workspace, context.peer()), method)
            raise
        return identity

    async def _identified(self, token: str | None, method: str, context: Context) -> Identity:
        """Who calls, whatever he may call. Raises KeyRefused and KeysUnavailable."""
        named = certified(context.auth_context(), self.certificates) if self.certificates else None
        try:
            identity = await self._identity(token, named)
        except KeysUnavailable:
            # How the gateway is has to be told just then: to whom it was told before.
            if method not in TOLD_ALWAYS or (identity := self._last_known(token, named)) is None:
                raise
        if identity is None:
            parts = read_key(token) if token else None
            # Of what was presented only the id is told, which is no secret.
            self._tell(Actor(key=parts[0] if parts else "", peer=context.peer()), method)
            raise KeyRefused(missing=token is None)
        return identity

    async def _identity(self, token: str | None, named: Identity | None) -> Identity | None:
        """By the key, if there is one; it must be of the workspace of the certificate, if that names one."""
        if self.keyring is None:
            return named or (None if self.always else ANYBODY)
        if token is None:
            return named or (None if await self.is_needed() else ANYBODY)
        found = await self.keyring.identify(token)
        if found is None and not await self.is_needed() and not token.startswith("tl_"):
            return ANYBODY
        return None if found and named and found.workspace != named.workspace else found

    def _last_known(self, token: str | None, named: Identity | None) -> Identity | None:
        found = self.keyring.last_known(token) if self.keyring is not None else None
        return None if found and named and found.workspace != named.workspace else found

    async def is_needed(self) -> bool:
        """Whether a call needs a key now, or a certificate in its place. Raises KeysUnavailable."""
        return self.always or (self.keyring is not None and await self.keyring.has_any())

    def _tell(self, actor: Actor, method: str) -> None:
        if self.refusals is not None:
            self.refusals.refused(actor, method)


def identities(tls: TlsSettings | None) -> Mapping[str, Identity]:
    """By the names in client certificates: who that is."""
    return {
        name: Identity(each.workspace, name, each.role, each.models, each.providers, each.strategies)
        for name, each in (tls.clients if tls else {}).items()
    }


def token_of(metadata: Iterable[tuple[str, str | bytes]]) -> str | None:
    """What stands in authorization: Bearer ...; None: there is no such header. One that is no Bearer is an empty token.

    Of several the last counts, none of them is tried after another.
    """
    said = dict(metadata).get(HEADER)
    if said is None:
        return None
    scheme, _, token = str(said).partition(" ")
    return token.strip() if scheme.lower() == _SCHEME else ""


def certified(peer: Mapping[str, Iterable[bytes]], certificates: Mapping[str, Identity]) -> Identity | None:
    """Whom the names in a verified certificate stand for: of several the first that is configured."""
    names = {name.decode(errors="replace") for kind in _NAMES for name in peer.get(kind, ())}
    return next((identity for name, identity in certificates.items() if name in names), None)
