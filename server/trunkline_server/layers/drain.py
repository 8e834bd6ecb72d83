"""Drain: an answer whose caller went away is read on where the provider bills it all the same, for its usage."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec import structs

from trunkline.v1 import call_pb2
from trunkline_server.core import Fate, now

if TYPE_CHECKING:
    from trunkline.v1.call_pb2 import Cost
    from trunkline_server.core import Call, Events, Handler
    from trunkline_server.registry import TaskRegistry
    from trunkline_server.tape import Tape

# Answers of one provider that are read on at once; of more than these what was used is estimated.
AT_ONCE = 64
FOREVER = float("inf")


def drained(registry: TaskRegistry, below: Handler, patience: float) -> Handler:
    """`below`, whose events are read on when their caller goes away: for `patience` seconds at most, by the registry.

    Only of requests that were sent, and not of attempts that failed or were too late: those are closed at once. Whoever
    goes away is not kept waiting. What is read on ends when the registry interrupts its tapes.
    """
    drains = _Drains(registry, patience)

    async def handle(call: Call) -> Events:
        inner = structs.replace(call, fate=Fate())
        ended = _Ended(drains, call, inner.fate)
        call.fate.settle = ended.settle
        tape = registry.start(below(inner))
        try:
            while await tape.wait(FOREVER) and (events := tape.take()):
                ended.answered = True
                for event in events:
                    yield event
        except asyncio.CancelledError:
            ended.settle(call.fate.outcome)  # its caller went away, and nobody above has said so yet
            raise
        finally:
            ended.over = True
            drains.leave(tape, inner.fate)

    return handle


class _Ended:
    """What is decided when an attempt is ended from above."""

    def __init__(self, drains: _Drains, call: Call, fate: Fate) -> None:
        """`call` as it is known above, `fate` as it is below."""
        self.answered = self.over = False
        self._drains = drains
        self._call = call
        self._fate = fate

    def settle(self, outcome: call_pb2.Outcome.ValueType) -> Cost | None:
        """See Fate.settle."""
        self._fate.outcome = outcome
        if self._is_gone(outcome) and self._fate.sent and not self.over and not self._fate.drains:
            self._fate.drains = self._drains.enter()
        cost = None if self._fate.settle is None else self._fate.settle(outcome)
        self._call.fate.written = self._fate.written
        return cost

    def _is_gone(self, outcome: call_pb2.Outcome.ValueType) -> bool:
        """Whether it is the caller that wants no more of an answer that may be as good as any."""
        late = self.answered and now() >= self._call.deadline
        return outcome == call_pb2.OUTCOME_CANCELLED or (outcome == call_pb2.OUTCOME_TIMEOUT and late)


class _Drains:
    """Those of one provider."""

    def __init__(self, registry: TaskRegistry, patience: float) -> None:
        self._registry = registry
        self._patience = patience
        self._count = 0

    def enter(self) -> bool:
        """One more wants to be read on. False: it must not."""
        if self._registry.interrupted or self._count >= AT_ONCE:
            return False
        self._count += 1
        return True

    def leave(self, tape: Tape, fate: Fate) -> None:
        """Nobody reads it any more: it plays on if it was taken in, and is closed otherwise."""
        if fate.drains:
            self._registry.spawn(self._read_on(tape, now() + self._patience))
        else:
            self._registry.end(tape)

    async def _read_on(self, tape: Tape, until: float) -> None:
        try:
            # How it fails is in the ledger, and nobody else wants to know.
            with suppress(Exception):
                while await tape.wait(until) and tape.take():
                    pass
        finally:
            self._count -= 1
            self._registry.end(tape)
