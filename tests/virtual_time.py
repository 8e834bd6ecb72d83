"""An event loop on which time passes only when nothing else can happen: tests of time limits that never wait."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from trunkline_server import core

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")


class OwnTimeLoop(asyncio.SelectorEventLoop):
    """While it runs, `core.now()` is its time."""

    def run_forever(self) -> None:
        before, core.clock = core.clock, self.time
        try:
            super().run_forever()
        finally:
            core.clock = before


class VirtualTimeLoop(OwnTimeLoop):
    """`time()` starts at 1,000 and jumps to the next timer when no callback is ready."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 1000.0
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        if not self._ready:  # type: ignore[attr-defined]
            self._now = max(self._now, self._next_timer())
        super()._run_once()  # type: ignore[misc]

    def _next_timer(self) -> float:
        timers: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        if timers and not timers[0].cancelled():
            return timers[0].when()  # a heap
        live = [timer.when() for timer in timers if not timer.cancelled()]
        if not live:
            raise RuntimeError("nothing will ever happen again")
        return min(live)


class SkippingLoop(OwnTimeLoop):
    """Real time, for real sockets, that a test can skip ahead."""

    skipped = 0.0

    def time(self) -> float:
        return super().time() + self.skipped

    async def skip(self, seconds: float) -> None:
        """So much time has passed; what it set off has begun."""
        self.skipped += seconds
        for _ in range(5):
            await asyncio.sleep(0)


def run_skipping(main: Callable[[SkippingLoop], Coroutine[object, object, T]]) -> T:
    """Run `main` on a loop whose time it can skip."""
    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, SkippingLoop)
        return runner.run(main(loop))


def run_virtual(main: Coroutine[object, object, T]) -> T:
    """Run `main` to its end in virtual time. Fails if a task is left over."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        result = runner.run(main)
        left = asyncio.all_tasks(runner.get_loop())
        assert not left, left
        return result
