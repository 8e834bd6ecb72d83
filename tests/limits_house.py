"""Where callers' limits are counted, with a clock that tests move."""

from __future__ import annotations

import asyncio
import io
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from trunkline_server.logs import build_log
from trunkline_server.state.limits.engine import Engine
from trunkline_server.state.limits.limits import Limit, Terms
from trunkline_server.state.limits.shared import SharedLimits
from trunkline_server.state.limits.where import where

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from valkeys import Valkey

    from trunkline_server.state.limits.limits import Answer, Dimension, Limits

# In place of the server's own clock: one that tests move.
SERVER_TIME = "redis.call('GET', 'clock')"


class Demand(NamedTuple):
    """What a call takes of one limit."""

    scope: str
    dimension: Dimension
    limit: int
    units: int

    @property
    def of(self) -> Limit:
        """That limit."""
        return Limit(self.scope, self.dimension, self.limit)


async def reserve(limits: Limits, *demands: Demand) -> Answer:
    """Reserve all of it or nothing."""
    terms, units = Terms([each.of for each in demands]), {each.of: each.units for each in demands}
    return await limits.reserve(terms, [units[each] for each in terms.a_minute])


@dataclass
class Clock:
    """A clock that tests move, in whole microseconds."""

    microseconds: int = 1_700_000_000_000_000
    # Where the same clock is a key.
    engine: Engine | None = None

    def __call__(self) -> float:
        return self.microseconds / 1_000_000

    async def advance(self, microseconds: int) -> None:
        self.microseconds += microseconds
        if self.engine is not None:
            await self.engine.send("SET", "clock", self.microseconds)


@dataclass
class Place:
    """Where it is counted, and its clock."""

    limits: Limits
    clock: Clock = field(default_factory=Clock)


async def clock_of(server: Valkey) -> Clock:
    """A clock that is the server's, too."""
    clock = Clock(engine=await server.engine())
    await clock.advance(0)
    return clock


@asynccontextmanager
async def shared(server: Valkey, clock: Clock, instances: int = 1) -> AsyncIterator[SharedLimits]:
    """Those of one instance."""
    limits = SharedLimits(where(server.url), instances, clock, build_log(io.BytesIO()), server_time=SERVER_TIME)
    following = asyncio.create_task(limits.follow())
    await limits.wait_ready()
    try:
        yield limits
    finally:
        following.cancel()
        await asyncio.wait([following])
