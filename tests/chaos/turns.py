"""The longest turns of an event loop: for how long nothing else could happen, and what was being done."""

from __future__ import annotations

import asyncio
import gc
import heapq
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from chaos.machine import Waits

if TYPE_CHECKING:
    from types import FrameType

# Seconds between two looks of the loop at the clocks, and of the thread that looks at the loop.
TICK, LOOK = 0.005, 0.005
# Seconds of a turn from which on it is looked at, and how many turns are kept.
LONG, KEPT = 0.01, 30
# Frames of a stack that are told.
DEPTH = 6


class Turn(NamedTuple):
    """One turn, or several that came at once. Seconds."""

    # By the clock on the wall, without what the machine took: what the process's threads waited for a processor.
    took: float
    # What the loop's thread was at work; the rest it waited for a disk, say, or for another thread.
    busy: float
    # What the garbage collector took of that.
    collecting: float
    # When it ended: time.monotonic().
    when: float
    # Where it was, the innermost first; empty: nobody saw it.
    where: str


class Turns:
    """Watches the running loop."""

    def __init__(self) -> None:
        self.longest: list[Turn] = []
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._clock = time.pthread_getcpuclockid(self._thread)
        self._waits = Waits((os.getpid(),))
        self._collecting = self._began = 0.0
        # By generation: seconds that the longest one took.
        self.collections = [0.0, 0.0, 0.0]
        gc.callbacks.append(self._collector)
        self._last, self._where = self._now(), ""
        threading.Thread(target=self._look, daemon=True).start()
        self._loop.call_later(TICK, self._tick)

    def _now(self) -> tuple[float, float, float, float]:
        """The wall's clock, the thread's, its waits for a processor, the collector's."""
        return time.monotonic(), time.clock_gettime(self._clock), self._waits.total(), self._collecting

    def _tick(self) -> None:
        now = self._now()
        wall, busy, waited, collecting = (after - before for after, before in zip(now, self._last, strict=True))
        took = wall - TICK - waited
        if took > LONG:
            turn = Turn(round(took, 4), round(busy, 4), round(collecting, 4), now[0], self._where)
            heapq.heappush(self.longest, turn)
            if len(self.longest) > KEPT:
                heapq.heappop(self.longest)
        self._last, self._where = self._now(), ""
        self._loop.call_later(TICK, self._tick)

    def _collector(self, phase: str, about: dict[str, int]) -> None:
        if threading.get_ident() != self._thread:
            return
        busy = time.clock_gettime(self._clock)
        if phase == "start":
            self._began = busy
            return
        took, generation = busy - self._began, about["generation"]
        self._collecting += took
        self.collections[generation] = max(self.collections[generation], round(took, 4))

    def _look(self) -> None:
        """In a thread of its own: who is at work when a turn is long."""
        while True:
            time.sleep(LOOK)
            last = self._last
            if time.monotonic() - last[0] < LONG:
                continue
            frame = sys._current_frames().get(self._thread)
            if frame is not None and self._last is last:
                self._where = _stack(frame)


def _stack(frame: FrameType | None) -> str:
    found: list[str] = []
    while frame is not None and len(found) < DEPTH:
        found.append(f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno} {frame.f_code.co_name}")
        frame = frame.f_back
    return " < ".join(found)
