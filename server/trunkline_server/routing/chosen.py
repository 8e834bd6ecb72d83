"""Which strategy a call is routed by, of all that were said for it. Pure over the call and what was set at run time."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from trunkline_server.errors import StrategyNotAllowed
from trunkline_server.routing.policy import PLAIN
from trunkline_server.routing.strategies import DEFAULT
from trunkline_server.routing.tables import weights_of
from trunkline_server.settings.tasks import spelling

if TYPE_CHECKING:
    from trunkline_server.core import Call
    from trunkline_server.routing.policy import Policy, Weights


class Overlay(Protocol):
    """Strategies that were set while the gateway runs; empty names = none."""

    def of_task(self, task: str) -> str:
        """What holds for a task."""

    def of_workspace(self, workspace: str) -> str:
        """What holds for a workspace."""

    def of_gateway(self) -> str:
        """What holds for all."""


def strategy_for(call: Call, overlay: Overlay) -> str:
    """A strategy's name; empty if nobody said one.

    The first that is said of these: the call's; what was set at run time for its task, its task's own; for its
    workspace, the workspace's own; for the gateway, the gateway's own. A key that may not use that gets the first that
    it may. Raises StrategyNotAllowed if the call itself says one that its key may not use.
    """
    identity, settings = call.identity, call.snapshot.settings.routing
    policy, asked = call.policy or PLAIN, call.request.routing.strategy
    workspace = settings.workspaces.get(identity.workspace)
    name = (
        asked
        or overlay.of_task(policy.task or call.request.routing.task)
        or policy.strategy
        or overlay.of_workspace(identity.workspace)
        or (workspace.strategy if workspace is not None else "")
        or overlay.of_gateway()
        or settings.strategy
    )
    if not identity.strategies or spelling(name or DEFAULT.name) in map(spelling, identity.strategies):
        return name
    if asked:
        raise StrategyNotAllowed(asked, identity.strategies)
    return identity.strategies[0]


def policy_for(call: Call, overlay: Overlay) -> Policy:
    """The call's policy. A strategy that was set at run time for its task orders whom the task names, as one that the
    configuration says of the task does: all but the one that is pinned, and not a chain that the call names.
    """
    policy, routing = call.policy or PLAIN, call.request.routing
    if not policy.order or routing.chain or not overlay.of_task(policy.task or routing.task):
        return policy
    pinned = 1 if policy.pinned else 0
    return replace(policy, order=policy.order[:pinned], tiers=(policy.order[pinned:], *policy.tiers))


def weights_for(call: Call) -> Weights | None:
    """In place of the weights of `balanced`: the task's, else the workspace's, else the gateway's. None = none."""
    settings = call.snapshot.settings.routing
    workspace = settings.workspaces.get(call.identity.workspace)
    own = call.policy.weights if call.policy is not None else None
    return own or weights_of(workspace.weights if workspace is not None else None) or weights_of(settings.weights)
