"""Decisions of `performance_based`, on their way into the ledger's database and back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from msgspec import json

from trunkline_server.state.ledger.database import Statement, StoreFailed, script

if TYPE_CHECKING:
    from trunkline_server.routing.learned.lesson import Lesson
    from trunkline_server.state.learned.seal import Seal
    from trunkline_server.state.ledger.database import Database

# Decisions that wait for the database at most; more are not kept, since no call hangs on them.
MOST_WAITING = 10_000
_ENTER = """
INSERT INTO decisions (call_id, decided, shape, sealed, candidates, propensities, assigned, served)
VALUES (?, ?, '[]', ?, ?, ?, ?, ?) ON CONFLICT (call_id) DO NOTHING
"""


class Made(NamedTuple):
    """A decision, and what became of it."""

    call_id: str
    # Microseconds since 1970.
    time: int
    lesson: Lesson
    # "provider/model" that answered; empty = nobody did.
    served: str


class DecisionLog:
    """Gathers decisions for one transaction every now and then: whoever dies in between loses those."""

    def __init__(self, database: Database, seal: Seal) -> None:
        self._database, self._seal = database, seal
        self._waiting: list[Made] = []
        # Who flushes waits for what another one has begun to write.
        self._writing = asyncio.Lock()

    def add(self, made: Made) -> None:
        """Keep this one."""
        if len(self._waiting) < MOST_WAITING:
            self._waiting.append(made)

    async def flush(self) -> None:
        """Write down what waits. If the database does not take it, it waits on."""
        async with self._writing:
            waiting, self._waiting = self._waiting, []
            if not waiting:
                return
            try:
                await self._database.transact(script(Statement(_ENTER, [self._values(each) for each in waiting])))
            except StoreFailed:
                self._waiting = [*waiting, *self._waiting][:MOST_WAITING]

    def _values(self, made: Made) -> tuple[object, ...]:
        lesson = made.lesson
        lists = (json.encode(each).decode() for each in (lesson.candidates, lesson.propensities))
        sealed = self._seal.sealed(lesson.shape)
        return (made.call_id, made.time, sealed, *lists, lesson.assigned, made.served)
