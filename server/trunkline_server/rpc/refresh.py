"""RefreshModels: the providers are asked now, and what that changed is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from trunkline.v1.call_pb2 import OUTCOME_NOT_SENT
from trunkline.v1.model_service_pb2 import ProviderRefresh, RefreshModelsResponse
from trunkline_server.errors import InvalidRequest, Violation
from trunkline_server.routing.names import known_provider

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from trunkline_server.snapshot import Snapshot
    from trunkline_server.state.live import Live

# Seconds that it takes at most.
REFRESH_TIME = 15.0


class Discoverer(Protocol):
    """Who asks providers for their models. Never fails, and takes no longer than it is told."""

    @property
    def listers(self) -> Collection[str]:
        """The names of those that can be asked."""

    async def refresh(self, names: Iterable[str], within: float) -> None:
        """Ask these."""


async def refresh_models(
    snapshot: Snapshot, live: Live, discoverer: Discoverer, provider: str, within: float
) -> RefreshModelsResponse:
    """Ask the provider, or all of them. Raises InvalidRequest for one that is not there or cannot be asked."""
    names = [provider] if provider else sorted(discoverer.listers)
    if provider:
        known_provider(snapshot, provider)
        if provider not in discoverer.listers:
            raise InvalidRequest([Violation("provider", _unasked(snapshot, provider))])
    before = live.shown(names)
    await discoverer.refresh(names, within)
    after = live.shown(names)
    return RefreshModelsResponse(
        added=sorted(after - before),
        removed=sorted(before - after),
        providers=sorted(
            [*_asked(live, names), *(() if provider else _left_out(snapshot, discoverer))],
            key=lambda each: each.provider,
        ),
    )


def _asked(live: Live, names: Iterable[str]) -> Iterator[ProviderRefresh]:
    for name in names:
        if (told := live.discovery(name)) is not None:
            yield ProviderRefresh(provider=name, outcome=told.outcome, reason=told.reason, model_count=told.model_count)


def _left_out(snapshot: Snapshot, discoverer: Discoverer) -> Iterator[ProviderRefresh]:
    """Those that could not be asked for want of a credential, or of whatever else they lack."""
    for name, offer in snapshot.offers.items():
        if name not in discoverer.listers and offer.unavailable_reason and not offer.builtin:
            yield ProviderRefresh(provider=name, outcome=OUTCOME_NOT_SENT, reason=offer.unavailable_reason)


def _unasked(snapshot: Snapshot, provider: str) -> str:
    reason = snapshot.offers[provider].unavailable_reason
    return f"{provider} cannot be asked: {reason or 'it has no list of models that is free and says what it can do'}"
