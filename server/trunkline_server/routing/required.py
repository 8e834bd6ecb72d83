"""A chain that says what its targets have to be, as constraints of a call. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from trunkline.v1.model_pb2 import Capability
from trunkline_server.errors import InvalidRequest, Violation
from trunkline_server.spans import seconds

if TYPE_CHECKING:
    from trunkline.v1.call_pb2 import Routing
    from trunkline_server.settings.tasks import RequirementSettings


def require(routing: Routing, wanted: RequirementSettings, chain: str) -> None:
    """Put what a chain requires into `routing`; of what both ask for the stricter holds.

    Raises InvalidRequest where the call allows none of the chain's providers.
    """
    able = (Capability.Value(f"CAPABILITY_{name.upper()}") for name in wanted.capabilities)
    routing.required_capabilities.extend(each for each in able if each not in routing.required_capabilities)
    if wanted.min_context_window is not None:
        routing.min_context_window = max(routing.min_context_window, wanted.min_context_window)
    if wanted.min_quality is not None:
        routing.min_quality = max(routing.min_quality, wanted.min_quality)
    if wanted.max_cost is not None:
        most = round(wanted.max_cost * 1e9)
        routing.max_cost_nano_usd = (
            min(routing.max_cost_nano_usd, most) if routing.HasField("max_cost_nano_usd") else most
        )
    _within(routing, "max_time_to_first_token", wanted.max_time_to_first_token)
    _within(routing, "max_expected_total_time", wanted.max_expected_total_time)
    routing.local_only = routing.local_only or wanted.local_only
    routing.prefer_open_weights = routing.prefer_open_weights or wanted.prefer_open_weights
    if wanted.providers:
        _among(routing, wanted.providers, chain)


def _within(
    routing: Routing, name: Literal["max_time_to_first_token", "max_expected_total_time"], most: float | None
) -> None:
    time = getattr(routing, name)
    if most is not None and not (routing.HasField(name) and seconds(time) <= most):
        time.FromNanoseconds(round(most * 1e9))


def _among(routing: Routing, providers: tuple[str, ...], chain: str) -> None:
    allowed = [name for name in providers if not routing.allowed_providers or name in routing.allowed_providers]
    if not allowed:
        said = f"has none of the providers of chain {chain}: {', '.join(providers)}"
        raise InvalidRequest([Violation("routing.allowed_providers", said)])
    routing.allowed_providers[:] = allowed
