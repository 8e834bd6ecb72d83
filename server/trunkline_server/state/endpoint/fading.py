"""A share of the latest calls, which fades to nothing where nobody calls."""

from __future__ import annotations

from math import exp

# What one call more weighs: the last ten or so make most of it.
WEIGHT = 0.1
# Seconds after which what is known of what nobody calls has faded to a third.
FORGETTING = 60.0


class FadingShare:
    """From 0 to 1; 0 to begin with. Time that goes back stands still."""

    __slots__ = ("_at", "_share")

    def __init__(self) -> None:
        self._share, self._at = 0.0, 0.0

    def learn(self, one: float, now: float) -> None:
        """It was one of them (1), or not (0)."""
        known = self.read(now)
        self._share, self._at = known + WEIGHT * (one - known), now

    def read(self, now: float) -> float:
        """The share, as far as it is still known."""
        return self._share * exp(-max(0.0, now - self._at) / FORGETTING) if self._share else 0.0
