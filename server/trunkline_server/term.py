"""A time for what the running task does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline_server.tape import Tape

# Seconds until it is tried again to end a block whose task somebody else was ending.
AGAIN = 0.05


class Term:
    """The time that a block of the running task has: it ends when the clock reads `until`, or is interrupted.

    What runs in the block sees a cancellation, and must let it pass; whoever entered the block sees the error. Before
    anything is cancelled `ending` is told of it. A cancellation by somebody else stays what it is. If that was a time
    limit within the block, which goes on after it, the block ends a moment later.
    """

    _error: Exception | None = None

    def __init__(
        self,
        playing: set[Tape | Term],
        until: float,
        late: Callable[[float], Exception],
        ending: Callable[[Exception], None],
    ) -> None:
        """`playing`: where it can be found while it lasts. `late` makes the error when the time, `until`, is over."""
        self._playing = playing
        self._until = until
        self._late = late
        self._ending = ending

    def __enter__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a term is of a task")
        self._task, self._cancelled = task, task.cancelling()
        self._timer = task.get_loop().call_at(self._until, self._expire)
        self._playing.add(self)

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._playing.discard(self)
        if self._error is not None and self._task.uncancel() <= self._cancelled:
            raise self._error from None

    def fail(self, error: Exception) -> None:
        """End it with this error, unless it has ended."""
        if self._error is not None:
            return
        if self._task.cancelling() > self._cancelled:
            self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_later(AGAIN, self.fail, error)
            return
        self._error = error
        self._ending(error)
        self._task.cancel()

    def _expire(self) -> None:
        self.fail(self._late(self._until))
