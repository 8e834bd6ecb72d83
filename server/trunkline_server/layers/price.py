"""Price: what an attempt's usage costs, by the price book of the call's configuration. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline.v1.call_pb2 import Cost
from trunkline_server.prices import cost
from trunkline_server.prices.rates import INPUT

if TYPE_CHECKING:
    from trunkline.v1.call_pb2 import Usage
    from trunkline_server.core import Call
    from trunkline_server.layers.worst import CostOf
    from trunkline_server.prices.rates import Prices

# Words in which providers say how they processed a call, and what the book calls it. Any other is as usual.
PROCESSINGS = {"flex": "flex", "priority": "priority", "batch": "batch", "fast": "fast"}


def price_of(call: Call, usage: Usage, when: int, took: float, tier: str = "") -> tuple[Cost, int]:
    """What `usage` of the call's target costs.

    And the nano-USD by which reads from the provider's cache cost less than the same tokens at their full price.

    `when` it began is in microseconds since 1970, how long it `took` in seconds; `tier` is the provider's word for how
    it processed the call. Without a price there is no total.
    """
    book, target = call.snapshot.prices, call.target
    prices = book.find(target.provider, target.model, when // 1_000_000, PROCESSINGS.get(tier, ""))
    if prices is None:
        return Cost(price_version=book.version), 0
    paid = cost.cost_of(usage, prices, wall_nanoseconds=round(took * 1e9))
    return paid, _saved(usage, prices, paid) if usage.cache_read_input_tokens else 0


def most_of(call: Call, input_tokens: int, when: int, longest: float) -> CostOf | None:
    """The most that the call's target takes for so many tokens; see prices/cost.py. None: it has no price.

    It begins at `when`, in microseconds since 1970, and takes `longest` seconds.
    """
    prices = call.snapshot.prices.find(call.target.provider, call.target.model, when // 1_000_000)
    if prices is None:
        return None
    return cost.most_of(input_tokens, prices, wall_nanoseconds=round(longest * 1e9)).cost


def _saved(usage: Usage, prices: Prices, paid: Cost) -> int:
    if INPUT not in prices.rates:
        return 0
    full = prices.rates[INPUT].amount(usage.cache_read_input_tokens, usage.input_tokens) // 1000
    return max(0, full - paid.cache_read_nano_usd)
