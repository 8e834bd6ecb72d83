"""Strategies that administrators set while the gateway runs, over what the configuration says. Until the next start."""

from __future__ import annotations


class Strategies:
    """By scope: the gateway, a workspace or a task. For one event loop; nothing in it waits."""

    def __init__(self) -> None:
        self._gateway = ""
        self._workspaces: dict[str, str] = {}
        self._tasks: dict[str, str] = {}

    def of_task(self, task: str) -> str:
        """What holds for a task. Empty = nothing was set."""
        return self._tasks.get(task, "")

    def of_workspace(self, workspace: str) -> str:
        """What holds for a workspace. Empty = nothing was set."""
        return self._workspaces.get(workspace, "")

    def of_gateway(self) -> str:
        """What holds for all. Empty = nothing was set."""
        return self._gateway

    def set(self, strategy: str, workspace: str = "", task: str = "") -> None:
        """From now on this holds, of a task, of a workspace or of all. Empty = what the configuration says."""
        if task:
            _put(self._tasks, task, strategy)
        elif workspace:
            _put(self._workspaces, workspace, strategy)
        else:
            self._gateway = strategy


def _put(of: dict[str, str], name: str, strategy: str) -> None:
    if strategy:
        of[name] = strategy
    else:
        of.pop(name, None)
