"""Every test of callers' limits runs on each place where they are counted."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import valkeys
from limits_house import Clock, Place, clock_of, shared

from trunkline_server.state.limits.local import LocalLimits


@pytest.fixture
async def server() -> AsyncIterator[valkeys.Valkey]:
    async with valkeys.valkey() as server:
        yield server


@pytest.fixture(params=["local", "shared"])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    if request.param == "local":
        clock = Clock()
        yield Place(LocalLimits(clock), clock)
        return
    async with valkeys.valkey() as server:
        clock = await clock_of(server)
        async with shared(server, clock) as limits:
            assert limits._at is not None
            # On the same connection: what is settled before the clock moves is settled before it moves.
            clock.engine = limits._at.engine
            yield Place(limits, clock)
            assert limits.lost is None
