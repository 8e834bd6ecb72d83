"""What administrators switch while the gateway runs, as one worker of a gateway tells it to the others."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class Switch(Struct, frozen=True, tag=True):
    """From now on `said` holds for `scope`; empty = what the configuration says. The last one of a scope stands."""

    kind: Literal["strategy", "provider"]
    # strategy: the workspace and the task, of which at most one is not empty. provider: its name.
    scope: tuple[str, ...]
    # strategy: its name. provider: why it is out of routing.
    said: str


def to_nobody(_: Switch) -> None:
    """There are no other workers."""
