"""Decisions of `performance_based`, on their way into the ledger's database and back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from msgspec import json

from trunkline_server.routing.learned.shape import NO_SHAPE, Shape
from trunkline_server.state.ledger.database import Statement, StoreFailed, script

if TYPE_CHECKING:
    from trunkline_server.routing.learned.lesson import Lesson
    from trunkline_server.state.ledger.database import Database

# Decisions that wait for the database at most; more are not kept, since no call hangs on them.
MOST_WAITING = 10_000
_ENTER = """
INSERT INTO decisions (call_id, decided, shape, words, candidates, propensities, assigned, served)
VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (call_id) DO NOTHING
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

    def __init__(self, database: Database) -> None:
        self._database = database
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
                await self._database.transact(script(Statement(_ENTER, [_values(each) for each in waiting])))
            except StoreFailed:
                self._waiting = [*waiting, *self._waiting][:MOST_WAITING]


def shape_of(views: str | None, words: str | None) -> Shape:
    """What is kept of a prompt, from what the database has of it. None: nobody looked at the prompt."""
    return json.decode(f"[{views},{words}]", type=Shape) if views and words else NO_SHAPE


def _values(made: Made) -> tuple[object, ...]:
    lesson = made.lesson
    kept = (*lesson.shape, lesson.candidates, lesson.propensities)
    lists = (json.encode(each).decode() for each in kept)
    return (made.call_id, made.time, *lists, lesson.assigned, made.served)
