"""The registry of tasks."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from trunkline_server.tape import Tape
from trunkline_server.term import Term

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from trunkline_server.core import Events


class TaskRegistry:
    """Holds every task that must outlive the RPC that began it; the drain awaits them."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._playing: set[Tape | Term] = set()
        # Makes a time for a block of the running task, which `interrupt` ends as well; see Term.
        self.term = partial(Term, self._playing)
        # Nothing is begun any more that outlives its call.
        self.interrupted = False

    def spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Run `work` in a task of its own."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    @contextmanager
    def play(self, events: Events) -> Iterator[Tape]:
        """Pump `events` into a tape until the block is left; closing them is seen to by the registry, not awaited."""
        tape = self.start(events)
        try:
            yield tape
        finally:
            self.end(tape)

    def start(self, events: Events) -> Tape:
        """Pump `events` into a tape. Whoever starts it ends it."""
        tape = Tape(events)
        tape.stop = self.spawn(tape.pump()).cancel
        self._playing.add(tape)
        return tape

    def end(self, tape: Tape) -> None:
        """Close what the tape plays; that is not awaited."""
        self._playing.discard(tape)
        tape.close()

    def interrupt(self, make_error: Callable[[], Exception]) -> None:
        """End every tape that still plays, and every term; its reader sees an error of its own."""
        self.interrupted = True
        for playing in tuple(self._playing):
            playing.fail(make_error())

    async def wait_idle(self) -> None:
        """Wait until no task is left."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)
