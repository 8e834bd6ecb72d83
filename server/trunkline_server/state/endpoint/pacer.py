"""When an endpoint may be called again after it asked us to wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# Seconds. Nobody's word keeps an endpoint waiting for longer: it may be wrong, and it cannot be taken back.
LONGEST_BLOCK = 86_400.0
# All who were asked to wait come back at once unless they wait a little longer: up to this share, and these seconds.
JITTER, LONGEST_JITTER = 0.1, 2.0


class Pacer:
    """What is asked for last may be shorter than what was asked before; the longer one holds."""

    __slots__ = ("_draw", "blocked_until")

    def __init__(self, draw: Callable[[], float]) -> None:
        """`draw` gives random numbers from 0 to 1."""
        self._draw = draw
        # Only ever grows.
        self.blocked_until = 0.0

    def block(self, retry_after: float, now: float) -> None:
        """The endpoint asks us to wait for so many seconds."""
        wait = min(max(retry_after, 0.0), LONGEST_BLOCK)
        later = min(LONGEST_JITTER, JITTER * wait) * self._draw()
        self.blocked_until = max(self.blocked_until, now + wait + later)

    def wait(self, now: float) -> float:
        """Seconds until it may be called. 0 = now."""
        return max(0.0, self.blocked_until - now)
