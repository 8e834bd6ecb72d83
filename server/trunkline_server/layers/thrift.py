"""Thrift: near the end of a soft budget, and beyond it, what a target costs weighs more when one is chosen."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from msgspec import structs

from trunkline_server.layers.budget import payer_of
from trunkline_server.routing.policy import PLAIN
from trunkline_server.state.budgets.purses import NEAR

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trunkline_server.core import Call, Events, Handler, Layer
    from trunkline_server.state.budgets.accounts import Rules

# What the weight of cost is multiplied with at a budget's end.
MOST = 5.0


class Purses(Protocol):
    """How much of accounts is spent; see state/budgets."""

    @property
    def near(self) -> Mapping[str, float]:
        """Of those that are near their end: 1 = all. By the ids that Rules.soft has for them."""


def thrift(rules: Rules, purses: Purses) -> Layer:
    """Tell the choice of a target to save. Without soft budgets it is not there."""
    save = saving(rules, purses)

    def layer(below: Handler) -> Handler:
        def handle(call: Call) -> Events:
            return below(save(call))

        return handle

    return layer if any(not rule.hard for rule in rules.all) else _nothing


def saving(rules: Rules, purses: Purses) -> Callable[[Call], Call]:
    """What makes of a call one that saves as much as the soft budget of its caller wants that is nearest to its end."""

    def save(call: Call) -> Call:
        if not (near := purses.near):
            return call
        accounts = rules.soft(payer_of(call), time.time_ns() // 1000)
        emphasis = emphasis_at(max((near.get(account.id, 0.0) for account in accounts), default=0.0))
        if emphasis == 1.0:
            return call
        policy = call.policy or PLAIN
        return structs.replace(call, policy=replace(policy, cost_emphasis=policy.cost_emphasis * emphasis))

    return save


def emphasis_at(share: float) -> float:
    """What the weight of cost is multiplied with where so much of a budget is spent: nothing changes all at once."""
    return 1.0 + (MOST - 1.0) * min(1.0, max(0.0, share - NEAR) / (1.0 - NEAR))


def _nothing(below: Handler) -> Handler:
    return below
