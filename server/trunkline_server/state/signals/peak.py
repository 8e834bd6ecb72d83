"""Peak-EWMA: up at once, down slowly; of what nobody measures any more it is forgotten."""

from __future__ import annotations

from math import exp

# Seconds in which two thirds of what is known fade.
TAU = 10.0


class Peak:
    """A ratio: 1 is as usual. Time that goes back stands still."""

    __slots__ = ("_at", "_estimate")

    def __init__(self) -> None:
        self._estimate, self._at = 1.0, 0.0

    def learn(self, ratio: float, now: float) -> None:
        """It was so this time."""
        kept = exp(-max(0.0, now - self._at) / TAU)
        if ratio > 1.0 + (self._estimate - 1.0) * kept:
            self._estimate = ratio
        else:
            # One that is below 1 has faded upwards meanwhile: it is not less than what was measured now.
            self._estimate = max(ratio, self._estimate * kept + ratio * (1.0 - kept))
        self._at = now

    def raise_to(self, ratio: float, now: float) -> None:
        """It was at least so: what says nothing else."""
        if ratio > self.read(now):
            self._estimate, self._at = ratio, now

    def read(self, now: float) -> float:
        """How it is most likely now: what is known fades towards 1, so that whoever was left alone is tried again."""
        return 1.0 + (self._estimate - 1.0) * exp(-max(0.0, now - self._at) / TAU)
