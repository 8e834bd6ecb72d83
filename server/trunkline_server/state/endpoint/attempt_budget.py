"""How often one call is tried in all."""

from __future__ import annotations

from msgspec import Struct

ATTEMPTS = 4


class AttemptBudget(Struct):
    """One a call, shared by its first attempt, retries, fallbacks and hedges: they add up, and never multiply."""

    left: int = ATTEMPTS

    def take(self) -> bool:
        """An attempt wants to begin, whatever for. False = it must not."""
        if self.left <= 0:
            return False
        self.left -= 1
        return True
