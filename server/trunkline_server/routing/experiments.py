"""Experiments: which arm of one a caller is in, for good.

Each arm draws a number for each unit (a caller, a conversation) from a digest of their names, and the arm with the
least number for its weight has the unit: weighted rendezvous hashing. Shares are those of the weights; raising an arm's
weight only moves units into it, lowering it only out of it, and no unit moves between arms whose weights stay as they
are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from math import inf, log
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# An arm of this name is everybody who is in no other arm.
OTHERS = "others"


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """Arms, and how many units each is to have."""

    name: str
    # By arm; any numbers from 0 on, of which only the proportions matter. They are not scaled: see above.
    weights: Mapping[str, float]
    # Whom an arm asks, in words of GenerateRequest.model. An arm that is not here asks whom its own name means.
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    # Another salt gives all units out anew.
    salt: str = ""

    def names_of(self, arm: str) -> Sequence[str]:
        """Whom an arm asks. Of OTHERS whom it does not: see `is_rest`."""
        if self.is_rest(arm):
            return [name for other in self.weights if not self.is_rest(other) for name in self.names_of(other)]
        return self.groups.get(arm, (arm,))

    def is_rest(self, arm: str) -> bool:
        """Whether the arm asks all whom no other arm asks."""
        return arm == OTHERS and arm not in self.groups


# Of those who have no other: half to Fireworks, half to all others.
AB_TESTING = Experiment(name="ab-testing", weights={"fireworks": 0.5, OTHERS: 0.5})


def arm_of(experiment: Experiment, unit: str) -> str:
    """The arm that has this unit. Empty if no arm has a weight."""
    best, least = "", inf
    for arm, weight in experiment.weights.items():
        if weight > 0:
            number = -log(_number(experiment, unit, arm)) / weight
            if (number, arm) < (least, best):
                best, least = arm, number
    return best


def unit_of(sticky_key: str, end_user: str, call_id: str) -> str:
    """What is given to an arm as a whole. The kinds are kept apart: a user may be named as a key is."""
    if sticky_key:
        return f"key {sticky_key}"
    return f"user {end_user}" if end_user else f"call {call_id}"


def _number(experiment: Experiment, unit: str, arm: str) -> float:
    """From 0 to 1, neither of them."""
    parts = (experiment.name, experiment.salt, unit, arm)
    digest = sha256("|".join(f"{len(part)}:{part}" for part in parts).encode("utf-8", "surrogatepass")).digest()
    return ((int.from_bytes(digest[:8], "big") >> 11) + 0.5) / 2**53
