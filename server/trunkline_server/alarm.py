"""An alarm that is put off with every event of a stream."""

from __future__ import annotations

import asyncio

# Seconds. Going off sooner by less is in time: loops round their timers.
_SOON = 0.001


class Alarm:
    """Wakes one waiter at a time. Putting it off costs nothing: the loop's timer is set anew when it has gone off."""

    __slots__ = ("_set", "_timer", "_until", "_waiter")

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None
        # When the timer goes off; when the waiter wants to be woken. On the loop's clock.
        self._set = self._until = 0.0
        self._waiter: asyncio.Future[None] | None = None

    def wake(self, waiter: asyncio.Future[None], until: float) -> None:
        """Resolve this waiter, and no other any more, when the clock reads `until`, unless it is done before."""
        self._waiter, self._until = waiter, until
        if self._timer is None or self._set > until:
            self.close()
            self._arm()

    def close(self) -> None:
        """Nobody is woken any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        self._set = self._until
        self._timer = asyncio.get_running_loop().call_at(self._until, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._waiter is None or self._waiter.done():
            return
        if asyncio.get_running_loop().time() < self._until - _SOON:
            self._arm()
        else:
            self._waiter.set_result(None)
