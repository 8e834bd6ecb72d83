"""What callers' limits are asked, and what they answer. Where it is counted is behind `Limits`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# requests and tokens: so many a minute. concurrency: so many at once.
Dimension = Literal["requests", "tokens", "concurrency"]


class Demand(NamedTuple):
    """What a call takes of one limit."""

    # Whose limit it is: "key:abc", "workspace:research".
    scope: str
    dimension: Dimension
    limit: int
    units: int


class Left(NamedTuple):
    """What is left of one limit once the call has taken its part, and when all of it is there again."""

    demand: Demand
    # Never negative.
    remaining: int
    # Seconds. 0 = there is nothing to wait for: calls that end make room.
    reset: float = 0.0


class Admitted:
    """What was reserved for a call. Settled once: by the first who does."""

    __slots__ = ("_settle", "left")

    def __init__(self, left: Sequence[Left], settle: Callable[[int | None], None]) -> None:
        # In the order of the demands.
        self.left = left
        self._settle: Callable[[int | None], None] | None = settle

    def settle(self, tokens: int | None) -> None:
        """The call is over. It used so many tokens; None: nobody knows, and what was reserved counts as used."""
        settle, self._settle = self._settle, None
        if settle is not None:
            settle(tokens)


class TooMuch(NamedTuple):
    """Not now. Nothing was reserved."""

    demand: Demand
    # Until it can be, if nobody else takes any. None: as soon as a call ends.
    seconds: float | None


class NeverAdmissible(NamedTuple):
    """More than the limit ever has. Nothing was reserved."""

    demand: Demand


Answer = Admitted | TooMuch | NeverAdmissible


class Lost(NamedTuple):
    """What is shared cannot be reached."""

    # Why, in our own words.
    why: str
    # Seconds since the epoch.
    since: float


class Limits(Protocol):
    """Where it is counted."""

    async def follow(self) -> None:
        """What goes on in the background, until it is cancelled. Before it has begun nothing is shared."""

    async def wait_ready(self) -> None:
        """Wait until it is there, or is known to be lost."""

    async def reserve(self, demands: Sequence[Demand]) -> Answer:
        """Take all of it or nothing. No two demands may be of the same limit. A cancelled call has taken nothing."""

    @property
    def lost(self) -> Lost | None:
        """None: it is there. Otherwise each instance holds callers to its part of their limits."""
