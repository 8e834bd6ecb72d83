"""Learns from calls while the gateway runs, and tells the router what was learned."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from trunkline.v1 import call_pb2
from trunkline_server.routing.learned.pacing import Pace, paced
from trunkline_server.state.backlog import Backlog
from trunkline_server.state.learned.decisions import DecisionLog, Made
from trunkline_server.state.learned.history import FAILED, recall
from trunkline_server.state.learned.memory import Memory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trunkline_server.routing.learned.cells import Quality
    from trunkline_server.routing.learned.lesson import Lesson
    from trunkline_server.routing.learned.shape import Shape
    from trunkline_server.state.learned.seal import Seal
    from trunkline_server.state.ledger.database import Database
    from trunkline_server.state.ledger.feedback import Scored

# Seconds between two times that decisions are written down.
EVERY = 1.0


class Learner:
    """For one event loop. What it is told of is known at once; what it keeps is in the database a moment later."""

    def __init__(self, database: Database, seal: Seal, clock: Callable[[], float] = time.time) -> None:
        """`clock`: seconds since 1970."""
        self._memory = Memory()
        self._database = database
        self._clock = clock
        self._seal, self._log = seal, DecisionLog(database, seal)
        self._pace = Pace(1.0)
        self._attempts = Backlog(self._memory.observe_outcome)

    async def start(self) -> None:
        """Recall what the database holds. Raises StoreFailed."""
        await recall(self._database, self._memory, self._seal)

    async def follow(self) -> None:
        """Write decisions down, until it is cancelled."""
        while True:
            await asyncio.sleep(EVERY)
            await self._log.flush()

    async def aclose(self) -> None:
        """Write down what waits."""
        await self._log.flush()

    # --- what the router asks -----------------------------------------------------------------------------------------

    def qualities(self, task: str, shape: Shape, models: Sequence[str], priors: Mapping[str, float]) -> list[Quality]:
        """What is expected of each "provider/model" on a call."""
        self._attempts.learn()
        return self._memory.qualities(task, shape, models, priors)

    def price_weight(self, target: float) -> float:
        """What price counts for calls that may cost `target` nano-USD on average, by what they cost so far."""
        return self._pace.weight if self._pace.target == target else 0.0

    # --- what it is told ----------------------------------------------------------------------------------------------

    def attempted(self, task: str, model: str, outcome: call_pb2.Outcome.ValueType) -> None:
        """An attempt has ended."""
        if outcome == call_pb2.OUTCOME_SUCCESS or outcome in FAILED:
            self._attempts.add(task, model, outcome == call_pb2.OUTCOME_SUCCESS)

    def ended(self, call_id: str, lesson: Lesson, served: str, target: float, cost: int | None) -> None:
        """A call that `performance_based` decided has ended, and was answered by `served`, if by anybody.

        It cost `cost` nano-USD, if that is known, where calls may cost `target` on average; 0 = nobody said.
        """
        self._log.add(Made(call_id, int(self._clock() * 1e6), lesson, served))
        if target and cost is not None:
            pace = self._pace if self._pace.target == target else Pace(target)
            self._pace = paced(pace, cost)

    def scored(self, scored: Scored) -> None:
        """A caller has said what an answer was worth; the same said again changes nothing."""
        if not scored.served:
            return
        self._attempts.learn()
        shape = self._seal.opened(scored.sealed)
        if scored.before is None:
            self._memory.observe(scored.task, shape, scored.served, scored.after)
        elif scored.before != scored.after:
            self._memory.correct(scored.task, shape, scored.served, scored.before, scored.after)

    async def flush(self) -> None:
        """Wait until decisions are in the database: a score may be about one of them."""
        await self._log.flush()
