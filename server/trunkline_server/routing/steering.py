"""In which order targets are asked that are equally good: by chance, and by how their providers do now. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trunkline.v1.call_pb2 import Target

# Beside one that is well, a provider that fails three calls of ten gets a seventeenth of its traffic.
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


def steer(targets: Sequence[Target], figures: Mapping[str, Figure], draw: Callable[[], float]) -> tuple[Target, ...]:
    """All of `targets`, who goes first by chance: each weighs what its provider's figure says.

    Never simply the best: all who see the same figures would go there at once. Those that cannot be asked now come
    last, whoever is back first before the others. `draw` gives random numbers from 0 to 1.
    """
    if len(targets) < 2:
        return tuple(targets)
    known = [figures.get(target.provider, WELL) for target in targets]
    keys = [(figure.wait, -log(1.0 - draw()) / weight(figure)) for figure in known]
    return tuple(targets[index] for index in sorted(range(len(targets)), key=keys.__getitem__))


def weight(figure: Figure) -> float:
    """How much of the traffic a provider gets, beside others."""
    return max(LEAST, figure.success**POWER * (1.0 - figure.away))
