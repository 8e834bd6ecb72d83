"""The catalogue, asked as it stands on one day: the data knows days, and tests that hang on today's fail on another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline_server.core import ANYBODY
from trunkline_server.routing import listing, replaced
from trunkline_server.routing.filters import Known

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline.v1.call_pb2 import Target
    from trunkline.v1.model_pb2 import Model
    from trunkline.v1.model_service_pb2 import ListModelsRequest, ListModelsResponse
    from trunkline_server.core import Identity
    from trunkline_server.snapshot import Snapshot

# 2026-10-01T00:00:00Z: OpenAI retired gpt-4 three weeks later.
DAY = 1_790_812_800


def resolve_model(snapshot: Snapshot, name: str, identity: Identity = ANYBODY, when: int = DAY) -> tuple[Target, ...]:
    return replaced.targets_of(snapshot, name, when, identity).targets


def get_model(
    snapshot: Snapshot,
    name: str,
    identity: Identity = ANYBODY,
    missing: Callable[[str], str] = lambda _: "",
    when: int = DAY,
) -> Model:
    return listing.get_model(snapshot, name, Known(when, snapshot.prices, missing=missing), identity)


def list_models(
    snapshot: Snapshot,
    request: ListModelsRequest,
    identity: Identity = ANYBODY,
    missing: Callable[[str], str] = lambda _: "",
    when: int = DAY,
) -> ListModelsResponse:
    return listing.list_models(snapshot, request, Known(when, snapshot.prices, missing=missing), identity)
