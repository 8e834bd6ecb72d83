"""What callers' limits are asked, and what they answer. Where it is counted is behind `Limits`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

# requests and tokens: so many a minute. concurrency: so many at once.
Dimension = Literal["requests", "tokens", "concurrency"]
# What a limit of each is, beside its name and how much it is, in a RateLimit-Policy header field for HTTP.
_POLICIES: Mapping[Dimension, str] = {
    "requests": "w=60",
    "tokens": 'w=60;qu="tokens"',
    "concurrency": 'qu="concurrent-requests"',
}


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit of a caller."""

    # Whose it is: "key:abc", "workspace:research".
    scope: str
    dimension: Dimension
    most: int
    # What it is called wherever it is counted, however much it is.
    place: str = field(init=False)
    # What it is, as the RateLimit-Policy header field for HTTP says it.
    policy: str = field(init=False)
    # What is left of it, as the RateLimit header field says it: a template for how much that is.
    rest: str = field(init=False)

    def __post_init__(self) -> None:
        """Once for all calls of the caller."""
        object.__setattr__(self, "place", f"{self.scope}:{self.dimension}")
        object.__setattr__(self, "policy", f'"{self.dimension}";q={self.most};{_POLICIES[self.dimension]}')
        object.__setattr__(self, "rest", f'"{self.dimension}";r=%d')


class Terms:
    """All limits that a caller's calls have to be within: what is the same for each of them is worked out once."""

    __slots__ = ("a_minute", "alike", "all", "at_once", "one_each", "requests", "tokens")

    def __init__(self, limits: Sequence[Limit]) -> None:
        """No two `limits` may be of the same scope and dimension."""
        self.requests = tuple(each for each in limits if each.dimension == "requests")
        self.tokens = tuple(each for each in limits if each.dimension == "tokens")
        self.a_minute = self.requests + self.tokens
        self.at_once = tuple(each for each in limits if each.dimension == "concurrency")
        self.all = self.a_minute + self.at_once
        # What a call takes of its limits of requests.
        self.one_each = (1,) * len(self.requests)
        # The places among all of those that are of the same dimension.
        places, first, last = range(len(self.all)), len(self.requests), len(self.a_minute)
        self.alike = [each for each in (places[:first], places[first:last], places[last:]) if each]


class Left(Struct, frozen=True):
    """What is left of one limit, and when all of it is there again."""

    limit: Limit
    # Never negative.
    remaining: int
    # Seconds. 0 = there is nothing to wait for: calls that end make room.
    reset: float = 0.0


class Admitted(Struct, eq=False):
    """What was reserved for a call. Settled once: by the first who does."""

    # Of each dimension the limit that is nearest to its end, once the call has taken its part.
    left: Sequence[Left]
    _settle: Callable[[int | None], None] | None

    def settle(self, tokens: int | None) -> None:
        """The call is over. It used so many tokens; None: nobody knows, and what was reserved counts as used."""
        settle, self._settle = self._settle, None
        if settle is not None:
            settle(tokens)


class TooMuch(NamedTuple):
    """Not now. Nothing was reserved."""

    # Of the limit that is in the way.
    left: Left
    # Until it can be, if nobody else takes any. None: as soon as a call ends.
    seconds: float | None


class NeverAdmissible(NamedTuple):
    """More than the limit ever has. Nothing was reserved."""

    limit: Limit
    units: int


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

    async def reserve(self, terms: Terms, units: Sequence[int]) -> Answer:
        """Take so much of each limit a minute, and a place in each of calls at once: all of it or nothing.

        A cancelled call has taken nothing.
        """

    @property
    def lost(self) -> Lost | None:
        """None: it is there. Otherwise each instance holds callers to its part of their limits."""
