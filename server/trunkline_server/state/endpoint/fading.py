"""A share of the latest calls, which fades to nothing where nobody calls."""

from __future__ import annotations

from math import exp

# What one call more weighs: the last ten or so make most of it.
WEIGHT = 0.1
# Seconds after which what is known of what nobody calls has faded to a third: the first time, and at most.
FORGETTING, LONGEST_FORGETTING = 30.0, 240.0
# A share that grows beyond this is trouble; it is another one if it had faded below that before.
TROUBLE = 0.2
# Seconds. After so long without trouble it is as if there had never been any.
FORGIVEN = 600.0


class FadingShare:
    """From 0 to 1; 0 to begin with. Time that goes back stands still.

    Who was in trouble again and again is remembered for longer each time.
    """

    __slots__ = ("_at", "_forgetting", "_share", "_trouble_at")

    def __init__(self) -> None:
        self._share, self._at = 0.0, 0.0
        self._forgetting, self._trouble_at = FORGETTING, float("-inf")

    def learn(self, one: float, now: float) -> None:
        """It was one of them (1), or not (0)."""
        if not one and not self._share:
            return  # as it nearly always is: there is nothing that could fade
        known = self.read(now)
        self._share, self._at = known + WEIGHT * (one - known), now
        if self._share > TROUBLE >= known:
            self._remember(now)

    def _remember(self, now: float) -> None:
        again = now - self._trouble_at < FORGIVEN
        self._forgetting = min(LONGEST_FORGETTING, 2 * self._forgetting) if again else FORGETTING
        self._trouble_at = now

    def read(self, now: float) -> float:
        """The share, as far as it is still known."""
        return self._share * exp(-max(0.0, now - self._at) / self._forgetting) if self._share else 0.0
