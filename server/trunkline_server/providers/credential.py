"""Credentials: what a provider knows us by, how it is shown, and what it adds to a request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from trunkline_server.providers.http import HttpRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

Sign = Callable[[HttpRequest], Awaitable[HttpRequest]]
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Held:
    """How a credential is at this moment; see Shown in state/provider_health.py."""

    hint: str
    version: int = 0
    missing: str = ""
    note: str = ""


class Source(Protocol[T_co]):
    """Where a secret comes from that may change."""

    def look(self) -> Held:
        """How it is now."""

    def refused(self) -> None:
        """The provider refuses what `get` gave: a newer one may be had."""

    async def get(self) -> T_co:
        """The secret as it is to be sent now. Raises CredentialMissing."""


class Credential(Protocol):
    """One credential of a provider."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What is the same in every request: all of it, where the secret cannot change."""

    @property
    def sign(self) -> Sign | None:
        """Adds the rest, and raises CredentialMissing. None: there is no rest, and no call pays for one."""

    def look(self) -> Held:
        """How it is now."""

    def refused(self) -> None:
        """The provider refuses it."""


class Fixed:
    """A credential that stays as it is until the gateway ends; also that there is none."""

    def __init__(
        self, hint: str = "", headers: Mapping[str, str] = {}, sign: Sign | None = None, note: str = ""
    ) -> None:
        self.headers = headers
        self.sign = sign
        self._held = Held(hint, note=note)

    def look(self) -> Held:
        """Always the same."""
        return self._held

    def refused(self) -> None:
        """There is no newer one."""


class Changing(Generic[T]):
    """A credential whose secret comes from a source, anew for each request."""

    def __init__(self, source: Source[T], put: Callable[[HttpRequest, T], HttpRequest]) -> None:
        """`put` gives the request with the secret in it."""
        self.headers: Mapping[str, str] = {}
        self.look = source.look
        self.refused = source.refused
        self._source = source
        self._put = put

    async def sign(self, request: HttpRequest) -> HttpRequest:
        """The request with the secret as it is now. Raises CredentialMissing."""
        return self._put(request, await self._source.get())
