"""What all attempts of a call come to. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trunkline.v1.call_pb2 import Cost, Usage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trunkline.v1.call_pb2 import Attempt

_TOKENS: Final = (
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_write_input_tokens",
    "reasoning_output_tokens",
)
_KINDS: Final = (
    "input_nano_usd",
    "output_nano_usd",
    "cache_read_nano_usd",
    "cache_write_nano_usd",
    "reasoning_nano_usd",
    "other_nano_usd",
)


def cost_of(attempts: Sequence[Attempt]) -> Cost | None:
    """What they cost together, and how sure that is: as sure as the least sure of them. None: nobody knows of any cost.

    There is no total if one of them has none. The price book is the last one's.
    """
    costs = [attempt.cost for attempt in attempts if attempt.HasField("cost")]
    if len(costs) < 2:
        return costs[0] if costs else None
    total = Cost(price_version=costs[-1].price_version, certainty=max(cost.certainty for cost in costs))
    if all(cost.HasField("total_nano_usd") for cost in costs):
        total.total_nano_usd = sum(cost.total_nano_usd for cost in costs)
    for kind in _KINDS:
        if any(cost.HasField(kind) for cost in costs):
            setattr(total, kind, sum(getattr(cost, kind) for cost in costs))
    total.unpriced_units.extend(sorted({unit for cost in costs for unit in cost.unpriced_units}))
    return total


def usage_of(attempts: Sequence[Attempt]) -> Usage | None:
    """What they used together, as far as providers said so. None: none of them did."""
    used = [attempt.usage for attempt in attempts if attempt.HasField("usage")]
    if len(used) < 2:
        return used[0] if used else None
    total = Usage()
    for name in _TOKENS:
        if any(usage.HasField(name) for usage in used):
            setattr(total, name, sum(getattr(usage, name) for usage in used))
    for usage in used:
        for unit, count in usage.other_units.items():
            total.other_units[unit] += count
    return total
