"""Providers that do as they are told, at the times that they are told; how often they were asked is counted."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import make

from trunkline.v1 import call_pb2
from trunkline_server.errors import UpstreamError

if TYPE_CHECKING:
    from random import Random

    from trunkline_server.core import Call, Events

FOREVER = 1e9


@dataclass(frozen=True, slots=True)
class Doing:
    """What a provider does with one call. Seconds."""

    first_token: float = 0.3
    # The rest of the answer, in so many pieces.
    rest: float = 0.5
    pieces: int = 5
    # Fails at once so, in place of an answer.
    failure: call_pb2.Outcome.ValueType | None = None
    failure_after: float = 0.05
    retry_after: float | None = None
    # The stream breaks off after so many pieces.
    cut: int | None = None


WELL = Doing()
HANGS = Doing(first_token=FOREVER)
BROKEN = Doing(failure=call_pb2.OUTCOME_SERVER_ERROR)

# What it does with a call now: by the seconds since the start, how many it has already, and chance.
Behaviour = Callable[[float, int, "Random"], Doing]


def always(doing: Doing) -> Behaviour:
    return lambda *_: doing


class Upstream:
    """One provider."""

    def __init__(self, behaviour: Behaviour, random: Random) -> None:
        self._behaviour = behaviour
        self._random = random
        self._start = asyncio.get_running_loop().time()
        self.running = 0
        # When it was asked, and when it refused or failed: seconds since the start.
        self.asked: list[float] = []
        self.failed: list[float] = []

    def count(self, begin: float, end: float = FOREVER) -> int:
        """How often it was asked from `begin` to before `end`."""
        return bisect_left(self.asked, end) - bisect_left(self.asked, begin)

    async def handle(self, _: Call) -> Events:
        now = asyncio.get_running_loop().time() - self._start
        doing = self._behaviour(now, self.running, self._random)
        self.asked.append(now)
        self.running += 1
        try:
            if doing.failure is not None:
                await asyncio.sleep(doing.failure_after)
                self.failed.append(now)
                raise UpstreamError(doing.failure, retry_after=doing.retry_after)
            await asyncio.sleep(doing.first_token)
            yield make.part("a")
            for number in range(1, doing.pieces):
                if doing.cut == number:
                    self.failed.append(now)
                    raise UpstreamError(call_pb2.OUTCOME_INTERRUPTED)
                await asyncio.sleep(doing.rest / doing.pieces)
                yield make.delta("b")
            yield make.part_completed()
            yield make.completed()
        finally:
            self.running -= 1
