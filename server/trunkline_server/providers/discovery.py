"""Discovery: providers are asked for their models in the background, for free, and without being counted as calls."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from msgspec import DecodeError

from trunkline.v1 import call_pb2
from trunkline_server.errors import UpstreamError
from trunkline_server.providers.http import HttpRequest
from trunkline_server.providers.upstream import MAX_ERROR_BODY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from trunkline_server.dialects.dialect import ModelList, Page
    from trunkline_server.listed import Listed
    from trunkline_server.providers.probe import Asked
    from trunkline_server.providers.row import Row
    from trunkline_server.providers.upstream import Endpoint

# Seconds that a provider may take to tell all of its models, and how many are asked at once.
WITHIN: Final = 15.0
AT_ONCE: Final = 8
# Seconds until a provider that did not tell is asked again; twice as many each further time, at most the usual pause.
RETRY: Final = 60.0
# A list with more pages, or a longer page (in bytes), is no list.
MAX_PAGES: Final = 50
MAX_LIST: Final = 32 << 20
# What is the fault of the credential: another one may do better.
_OF_THE_CREDENTIAL: Final = (call_pb2.OUTCOME_AUTH, call_pb2.OUTCOME_QUOTA, call_pb2.OUTCOME_RATE_LIMITED)


class Learner(Protocol):
    """Who keeps what providers tell."""

    def told(self, provider: str, models: Sequence[Listed]) -> None:
        """The provider told its whole list."""

    def failed(self, provider: str, error: UpstreamError) -> None:
        """It did not."""


class Lists(Protocol):
    """Who asks a provider for its models."""

    async def ask(self) -> list[Listed]:
        """The whole list. Raises UpstreamError."""


@dataclass(frozen=True, slots=True)
class Lister:
    """A provider's list of its models, and how it is asked for with one credential."""

    provider: str
    endpoint: Endpoint
    asked: Asked
    how: ModelList

    async def ask(self) -> list[Listed]:
        """The whole list, all pages of it. Raises UpstreamError."""
        models: list[Listed] = []
        token = ""
        for _ in range(MAX_PAGES):
            page = await self._page(token)
            models += page.models
            if not page.token or page.token == token:
                return models
            token = page.token
        raise UpstreamError(call_pb2.OUTCOME_PROTOCOL_ERROR, code="endless_list")

    async def _page(self, token: str) -> Page:
        headers = {"accept": "application/json", **self.how.HEADERS, **self.endpoint.headers}
        request = HttpRequest("GET", self.endpoint.base_url + self.how.list_path(token), headers)
        signed = await self.asked.sign(request) if self.asked.sign is not None else request
        async with self.asked.http.exchange(signed) as response:
            if response.status < 300:
                return self._decoded(await response.read(MAX_LIST))
            body = await response.read_start(MAX_ERROR_BODY)
            error = self.asked.dialect.decode_error(response.status, response.headers, body)
        if error.outcome == call_pb2.OUTCOME_MODEL_NOT_FOUND:
            error.outcome = call_pb2.OUTCOME_INVALID  # no model was asked for: it is the path that is unknown
        raise error

    def _decoded(self, body: bytes) -> Page:
        try:
            return self.how.decode_list(body)
        except DecodeError:
            raise UpstreamError(call_pb2.OUTCOME_PROTOCOL_ERROR, code="no_list_of_models") from None


@dataclass(frozen=True, slots=True)
class AnyOf:
    """A provider's list, asked for with one of its credentials after another until one is taken."""

    # Of each credential: how many seconds until it makes sense to use it, and who asks with it.
    listers: Sequence[tuple[Callable[[], float], Lister]]

    async def ask(self) -> list[Listed]:
        """The whole list; those that may be used now are tried first. Raises UpstreamError."""
        refused = UpstreamError(call_pb2.OUTCOME_AUTH)
        for _, lister in sorted(self.listers, key=lambda each: each[0]()):
            try:
                return await lister.ask()
            except UpstreamError as error:
                if error.outcome not in _OF_THE_CREDENTIAL:
                    raise
                refused = error
        raise refused


@dataclass(slots=True)
class Discoverer:
    """Asks providers for their models, and never fails."""

    learner: Learner
    # By provider.
    listers: Mapping[str, Lists]
    _free: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    # A provider is asked once at a time: else an older list could be the last to arrive.
    _turns: dict[str, asyncio.Lock] = field(default_factory=dict)

    async def refresh(self, names: Iterable[str], within: float = WITHIN) -> None:
        """Ask these now. Takes at most `within` seconds; who has not told by then has failed."""
        await asyncio.gather(*(self.ask(name, within) for name in names))

    async def follow(self, every: float, spread: Callable[[float, float], float] = random.uniform) -> None:
        """Ask each provider now and every so often, for ever; each pause is up to a tenth shorter or longer."""
        async with asyncio.TaskGroup() as group:
            for name in self.listers:
                group.create_task(self._follow(name, every, spread))

    async def _follow(self, name: str, every: float, spread: Callable[[float, float], float]) -> None:
        failures = 0
        while True:
            failures = 0 if await self.ask(name) else failures + 1
            pause = min(every, RETRY * 2.0 ** min(failures - 1, 32)) if failures else every
            await asyncio.sleep(pause * spread(0.9, 1.1))

    async def ask(self, name: str, within: float = WITHIN) -> bool:
        """Ask one provider, and let the learner know. Returns whether it told its models."""
        timed_out = UpstreamError(call_pb2.OUTCOME_NOT_SENT, code="no_turn")
        try:
            async with asyncio.timeout(within), self._turns.setdefault(name, asyncio.Lock()), self._free:
                timed_out = UpstreamError(call_pb2.OUTCOME_TIMEOUT)
                models = await self.listers[name].ask()
        except UpstreamError as error:
            self.learner.failed(name, error)
        except TimeoutError:
            self.learner.failed(name, timed_out)
        except Exception:  # noqa: BLE001 - whatever one provider does to us, it does to its own list only
            self.learner.failed(name, UpstreamError(call_pb2.OUTCOME_PROTOCOL_ERROR))
        else:
            self.learner.told(name, models)
            return True
        return False


def build_lister(
    name: str, row: Row, endpoint: Endpoint, credential: str, asked: Asked, how: ModelList | None
) -> Lister | None:
    """How the provider is asked for its models. None: it has no list, or wants a credential and there is none.

    `credential` is how the credential is shown, empty if there is none.
    """
    if how is None or not row.lists_models or not endpoint.base_url or (row.key_required and not credential):
        return None
    return Lister(name, endpoint, asked, how)
