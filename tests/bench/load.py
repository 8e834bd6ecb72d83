"""The load: closed loop (so many at once) for cost and saturation, open loop (so many a second) for latency.

python -m bench.load
"""

from __future__ import annotations

import asyncio
import gc
import math
import random
import sys
import time
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp
import uvloop
from bench.callers import Caller, GrpcCaller, HttpCaller, Truncated, normal_form
from bench.control import obey
from grpc import aio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

# Seconds. No run takes longer.
LIMIT = 120.0
# Seconds. A timer of the loop may come a tick of a millisecond late: that is our lateness and not the server's. What
# is later than that counts from when it was due, so that a stall of ours is not left out of the figures.
TICK = 0.002
SHARES = {"p50": 0.50, "p99": 0.99}


class Run:
    """What the calls of one run took."""

    def __init__(self, caller: Caller, model: str) -> None:
        self._caller = caller
        self._model = model
        self._begin = time.perf_counter()
        # Seconds, whole calls only.
        self._total: list[float] = []
        self._first: list[float] = []
        self._errors: Counter[str] = Counter()

    async def call(self, start: float) -> None:
        """One call, counted from `start`."""
        try:
            first = await self._caller.call(self._model)
        except aio.AioRpcError as error:
            self._errors[f"{error.code().name}: {error.details()}"] += 1
        except (aiohttp.ClientError, Truncated) as error:
            self._errors[type(error).__name__] += 1
        else:
            self._total.append(time.perf_counter() - start)
            self._first.append(first - start)

    def report(self) -> dict[str, object]:
        """Milliseconds, calls, errors."""
        return {
            "seconds": time.perf_counter() - self._begin,
            "calls": len(self._total),
            "errors": dict(self._errors),
            "total_ms": {name: percentile(self._total, share) * 1e3 for name, share in SHARES.items()},
            "first_ms": {name: percentile(self._first, share) * 1e3 for name, share in SHARES.items()},
        }


def percentile(values: Sequence[float], share: float) -> float:
    """By nearest rank; not a number if there are no values."""
    if not values:
        return float("nan")
    return sorted(values)[math.ceil(share * len(values)) - 1]


class Load:
    """Runs that are asked for, one at a time."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._callers: dict[int, GrpcCaller | HttpCaller] = {}

    async def closed(
        self, kind: str, port: int, model: str, calls: int, concurrency: int, ramp: float
    ) -> dict[str, object]:
        """`calls` calls, always `concurrency` at once; they begin spread over `ramp` seconds."""
        run, left = Run(self._caller(kind, port), model), iter(range(calls))

        async def work(number: int) -> None:
            await asyncio.sleep(ramp * number / concurrency)
            for _ in left:
                await run.call(time.perf_counter())

        async with quiet(), asyncio.TaskGroup() as group:
            for number in range(concurrency):
                group.create_task(work(number))
        return run.report()

    async def open(self, kind: str, port: int, model: str, rate: float, seconds: float) -> dict[str, object]:
        """`rate` calls a second at random times (the same ones for every server), whatever becomes of them."""
        run, pauses = Run(self._caller(kind, port), model), random.Random(23)
        due = time.perf_counter()
        end = due + seconds
        async with quiet(), asyncio.TaskGroup() as group:
            while due < end:
                while (now := time.perf_counter()) < due:
                    await asyncio.sleep(due - now)
                group.create_task(run.call(due if now - due > TICK else now))
                due += pauses.expovariate(rate)
        return run.report()

    async def read(self, port: int, model: str) -> dict[str, object]:
        """One stream: what it says, and in how many messages."""
        caller = self._caller("grpc", port)
        assert isinstance(caller, GrpcCaller)
        events = await caller.events(model)
        return {"said": normal_form(events), "messages": len(events)}

    def _caller(self, kind: str, port: int) -> GrpcCaller | HttpCaller:
        if port not in self._callers:
            self._callers[port] = GrpcCaller(port, self._key) if kind == "grpc" else HttpCaller(port)
        return self._callers[port]

    async def aclose(self) -> None:
        for caller in self._callers.values():
            await caller.aclose()


@asynccontextmanager
async def quiet() -> AsyncIterator[None]:
    """A run's time limit; no garbage collection of ours in between."""
    gc.collect()
    gc.disable()
    try:
        async with asyncio.timeout(LIMIT):
            yield
    finally:
        gc.enable()


async def main(key: str) -> None:
    load = Load(key)
    try:
        await obey({"closed": load.closed, "open": load.open, "read": load.read})
    finally:
        await load.aclose()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
