"""Every test of callers' limits runs on each place where they are counted."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from trunkline_server.state.limits.limits import Limits
from trunkline_server.state.limits.local import LocalLimits


@dataclass
class Clock:
    """A clock that tests move, in whole microseconds. Both places begin at the same time."""

    microseconds: int = 1_700_000_000_000_000

    def __call__(self) -> float:
        return self.microseconds / 1_000_000

    async def advance(self, microseconds: int) -> None:
        self.microseconds += microseconds


@dataclass
class Place:
    """Where it is counted, and its clock."""

    limits: Limits
    clock: Clock = field(default_factory=Clock)


@pytest.fixture
async def place() -> Place:
    clock = Clock()
    return Place(LocalLimits(clock), clock)
