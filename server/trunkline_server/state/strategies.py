"""Strategies that administrators set while the gateway runs, over what the configuration says. Until the next start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline_server.settings.tasks import spelling
from trunkline_server.state.switches import Switch, to_nobody

if TYPE_CHECKING:
    from collections.abc import Callable


class Strategies:
    """By scope: the gateway, a workspace or a task. For one event loop; nothing in it waits."""

    def __init__(self, tell: Callable[[Switch], None] = to_nobody) -> None:
        """`tell` learns what is new."""
        self._tell = tell
        self._gateway: dict[str, str] = {}
        self._workspaces: dict[str, str] = {}
        # By the names that callers say, in any spelling.
        self._tasks: dict[str, str] = {}

    def of_task(self, task: str) -> str:
        """What was set for a task. Empty = nothing."""
        return self._tasks.get(spelling(task), "") if self._tasks and task else ""

    def of_workspace(self, workspace: str) -> str:
        """What was set for a workspace. Empty = nothing."""
        return self._workspaces.get(workspace, "")

    def of_gateway(self) -> str:
        """What was set for all. Empty = nothing."""
        return self._gateway.get("", "")

    def set(self, strategy: str, workspace: str = "", task: str = "") -> bool:
        """From now on this holds, of a task, of a workspace or of all; empty = what the configuration says.

        Returns whether that is new.
        """
        switch = Switch("strategy", (workspace, spelling(task)), strategy)
        if not self.obey(switch):
            return False
        self._tell(switch)
        return True

    def obey(self, switch: Switch) -> bool:
        """The same, set elsewhere: nobody is told."""
        workspace, task = switch.scope
        if task:
            return _put(self._tasks, task, switch.said)
        return _put(self._workspaces if workspace else self._gateway, workspace, switch.said)


def _put(of: dict[str, str], name: str, strategy: str) -> bool:
    if of.get(name, "") == strategy:
        return False
    if strategy:
        of[name] = strategy
    else:
        del of[name]
    return True
