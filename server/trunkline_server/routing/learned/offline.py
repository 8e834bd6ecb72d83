"""What another policy would have had, from the log of one that explored."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


class Judged(NamedTuple):
    """A logged decision whose answer was scored."""

    # With what probability it was made, and with which the other policy would have made it.
    propensity: float
    other: float
    score: float


class Estimate(NamedTuple):
    """What the other policy would have scored on average."""

    mean: float
    # How many decisions of its own the log is worth (Kish).
    effective: float


def estimated(log: Iterable[Judged]) -> Estimate:
    """Self-normalised inverse propensity scoring. Decisions without a propensity above zero say nothing."""
    weights = [(each.other / each.propensity, each.score) for each in log if each.propensity > 0]
    total, squares = sum(weight for weight, _ in weights), sum(weight * weight for weight, _ in weights)
    if not squares:
        return Estimate(0.0, 0.0)
    return Estimate(sum(weight * score for weight, score in weights) / total, total * total / squares)
