"""A gateway that is one of several behind one port: what it is told by the process that started it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trunkline_server.state.switches import to_nobody

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline_server.state.switches import Switch


@dataclass(frozen=True, slots=True)
class Worker:
    """Its part in that."""

    # From 0. The first one has the admin service.
    number: int = 0
    count: int = 1
    # host:port that all of them listen on. Empty = it is alone, and listens where its settings say.
    address: str = ""
    # Where the admin service was before this worker was started again. Empty = it was not there yet.
    admin: str = ""
    # What was switched before it was started.
    switches: tuple[Switch, ...] = ()
    # Tells the others what is switched here.
    tell: Callable[[Switch], None] = to_nobody


ALONE = Worker()
