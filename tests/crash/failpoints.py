"""Where a gateway can be killed: before or after a named step of it. Nothing of this is in the gateway itself."""

from __future__ import annotations

import functools
import inspect
import os
import signal
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


class Failpoint(NamedTuple):
    """A step, which of its times is meant, and on which side of it the process dies."""

    # module:function or module:Class.method, below trunkline_server.
    step: str
    side: str = "before"
    # The how manieth time, from 1.
    time: int = 7


# Only without budgets an attempt is begun so.
ALONE: dict[str, Failpoint] = {
    "before an attempt is written down": Failpoint("state.ledger.ledger:Ledger.begin"),
    "after an attempt is written down": Failpoint("state.ledger.ledger:Ledger.begin", "after"),
}
# And only with them so.
WITH_MONEY: dict[str, Failpoint] = {
    "before an attempt asks for money": Failpoint("state.ledger.ledger:Ledger.reserve"),
    "amid putting money aside": Failpoint("state.budgets.holds:_available", "after"),
    "before attempts and their money are told": Failpoint("state.ledger.reserving:Reserving._tell"),
    "after attempts and their money are told": Failpoint("state.ledger.reserving:Reserving._tell", "after"),
    "after an attempt has its money": Failpoint("state.ledger.ledger:Ledger.reserve", "after"),
}
FAILPOINTS: dict[str, Failpoint] = {
    "amid an answer": Failpoint("layers.entry:Entry.add", time=40),
    "before an attempt's end is written down": Failpoint("state.ledger.ledger:Ledger.finish"),
    "after an attempt's end is written down": Failpoint("state.ledger.ledger:Ledger.finish", "after"),
    "before a call's end is written down": Failpoint("state.ledger.ledger:Ledger.end_call"),
    "after a call's end is written down": Failpoint("state.ledger.ledger:Ledger.end_call", "after"),
    # Not so early that it is one of those with which a gateway starts.
    "before a transaction": Failpoint("state.ledger.sqlite:_transact", time=12),
    "amid a transaction": Failpoint("state.ledger.sqlite:_play", "after", time=12),
    "after a transaction": Failpoint("state.ledger.sqlite:_transact", "after", time=12),
    "before rows leave the queue": Failpoint("state.ledger.ledger:Ledger._committed", time=2),
    "after rows left the queue": Failpoint("state.ledger.ledger:Ledger._committed", "after", time=2),
    "before a journal is changed for another": Failpoint("state.ledger.journal:Journal._rotate", time=1),
    "after a journal was changed for another": Failpoint("state.ledger.journal:Journal._rotate", "after", time=1),
    "before the drain": Failpoint("app:App.stop", time=1),
    "before the ledger is closed": Failpoint("state.ledger.ledger:Ledger.aclose", time=1),
}
# These are reached only when a gateway starts that finds what a dead one left.
AT_START: dict[str, Failpoint] = {
    "before what was left is taken in": Failpoint("state.ledger.recovery:recover_slot", time=1),
    "amid taking in what was left": Failpoint("state.ledger.recovery:_take_all", "after", time=1),
    "after what was left is taken in": Failpoint("state.ledger.recovery:recover_slot", "after", time=1),
}


ALL = {**ALONE, **WITH_MONEY, **FAILPOINTS, **AT_START}


def arm(failpoint: Failpoint) -> None:
    """Let this process die there: by SIGKILL, as a machine's memory manager would do it."""
    module, _, path = failpoint.step.partition(":")
    owner: Any = import_module(f"trunkline_server.{module}")
    *classes, name = path.split(".")
    for each in classes:
        owner = getattr(owner, each)
    setattr(owner, name, _dying(getattr(owner, name), failpoint))


def _dying(step: Callable[..., Any], failpoint: Failpoint) -> Callable[..., Any]:
    left = failpoint.time

    def reach(side: str) -> None:
        nonlocal left
        if side == failpoint.side:
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    if inspect.iscoroutinefunction(step):

        @functools.wraps(step)
        async def waited(*given: Any, **named: Any) -> Any:
            reach("before")
            result = await step(*given, **named)
            reach("after")
            return result

        return waited

    @functools.wraps(step)
    def done(*given: Any, **named: Any) -> Any:
        reach("before")
        result = step(*given, **named)
        reach("after")
        return result

    return done
