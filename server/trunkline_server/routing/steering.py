"""How a provider does now, and how much of the traffic it gets for that. Pure."""

from __future__ import annotations

from dataclasses import dataclass

# Beside one that is as good, a provider that fails three calls of ten gets a thirtieth of the traffic.
POWER = 8
# What the worst gets beside one that is well: enough to see that it is well again.
LEAST = 0.01


@dataclass(frozen=True, slots=True)
class Figure:
    """How a provider does."""

    # How likely a call is taken, from 0 to 1.
    success: float = 1.0
    # The share of its traffic that should go elsewhere.
    away: float = 0.0
    # Seconds until it can be asked; 0 = now.
    wait: float = 0.0


WELL = Figure()


def weight(figure: Figure) -> float:
    """How much of the traffic a provider gets, beside others."""
    return max(LEAST, figure.success**POWER * (1.0 - figure.away))
