"""What the configuration says of how targets are chosen."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from trunkline_server.sections import Seconds, Section

StrategyName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="at most 64 letters, digits, - and _")]
_Weight = Annotated[float, Meta(ge=0, le=1000)]
_Share = Annotated[float, Meta(ge=0.000001, le=1_000_000)]


class WeightSettings(Section, frozen=True, kw_only=True):
    """What counts how much in a score: routing/scoring.py. Only their proportions matter."""

    cost: _Weight = 0.3
    performance: _Weight = 0.4
    quality: _Weight = 0.2
    specialised: _Weight = 0.1


class StrategySettings(Section, frozen=True, kw_only=True):
    """A strategy of one's own: one of these."""

    # By score, with these weights.
    weights: WeightSettings | None = None
    # Names of targets, asked in this order; a provider's name means the best of its models. All others come after them.
    order: tuple[str, ...] = ()
    # By name of a target: its share of the traffic, beside the others'. `others` is everybody who is not named.
    shares: dict[str, _Share] = field(default_factory=dict)
    # Calls that are routed by it and do not say themselves whether they may be: another target is asked, too, where the
    # first piece of an answer is late.
    hedge: bool = False


class WorkspaceRouting(Section, frozen=True, kw_only=True):
    """What holds for calls of one workspace in place of the gateway's."""

    strategy: str = ""
    weights: WeightSettings | None = None


class RoutingSettings(Section, frozen=True, kw_only=True):
    """How targets are chosen where the call does not say it."""

    # A strategy's name. Empty = balanced; of calls that name no model only if there is no default_model.
    strategy: str = ""
    # In which order the others are asked once the first has failed. Empty = by the same strategy.
    fallback_strategy: str = ""
    # Whether others are asked once the first has failed.
    fallback: bool = True
    # Of calls that name no model: models on this machine come before all others.
    prefer_local: bool = False
    # Of calls that name no model: nobody is asked whose whole answer is expected to take longer.
    max_latency: Seconds | None = None
    # In place of the weights of `balanced`.
    weights: WeightSettings | None = None
    workspaces: dict[str, WorkspaceRouting] = field(default_factory=dict)
    strategies: dict[StrategyName, StrategySettings] = field(default_factory=dict)
