"""What is asked of the choice of a target, as whoever knows the task or the configuration says it: a value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What counts how much in a score: routing/scoring.py. Each is at least 0; only their proportions matter."""

    cost: float = 0.3
    performance: float = 0.4
    quality: float = 0.2
    specialised: float = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What is asked of the choice beyond the request's own words. What stands at its default is not said."""

    # A strategy's name, in any spelling. Empty = the workspace's, else the gateway's. The request's own goes before.
    strategy: str = ""
    # None = the strategy's own.
    weights: Weights | None = None
    # Names of targets in the order in which they are asked, of a chain or a task. Empty = all that may be asked.
    order: tuple[str, ...] = ()
    # Names of targets by tier: the strategy orders those of a tier, and all of them come before the next tier's.
    # With `order` too, `order` comes first.
    tiers: tuple[tuple[str, ...], ...] = ()
    # After all of those whoever else may be asked.
    then_anybody: bool = False
    # The first of `order` stays first, whatever was measured.
    pinned: bool = False
    # Tokens that come out at most: the lesser of this and of what the request says holds.
    max_output_tokens: int | None = None
    # The quality that is aimed at, from 0 to 1: what lies below it loses score, and is not removed. 0 = none.
    quality_target: float = 0.0
    # What the weight of cost is multiplied with: above 1 saves more, below 1 less.
    cost_emphasis: float = 1.0
    # Who is asked if the constraints leave nobody: a name as GenerateRequest.model takes it. Empty = the call fails.
    last_resort: str = ""
    # For statistics, and for what is learned by task.
    task: str = ""
    chain: str = ""
    environment: str = ""


PLAIN = Policy()
