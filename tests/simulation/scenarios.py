"""What is simulated, and the bars that have to hold: providers that fail, and who is asked then."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from simulation.stack import Stack
from simulation.upstream import BROKEN, HANGS, WELL, Behaviour, Doing, always

from trunkline.v1 import call_pb2
from trunkline_server.settings import ProviderSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from random import Random

    # Plays a scenario with this seed.
    Scenario = Callable[[int], Coroutine[object, object, list["Bar"]]]

# Calls a second; when trouble begins, in seconds; how long it takes until traffic has to have moved.
RATE, TROUBLE, MOVED = 40.0, 5.0, 8.0
LIMITED = call_pb2.OUTCOME_RATE_LIMITED


class Bar(NamedTuple):
    """A figure, and what it has to be."""

    what: str
    figure: float
    # At most (or, if `least`, at least) so much.
    bar: float
    least: bool = False

    @property
    def holds(self) -> bool:
        return self.figure >= self.bar if self.least else self.figure <= self.bar

    def __str__(self) -> str:
        return f"{self.what}: {self.figure:.4g} ({'at least' if self.least else 'at most'} {self.bar:g})"


async def beside_a_healthy_one(behaviour: Behaviour, seed: int, seconds: float) -> Stack:
    """Provider "a", which behaves so, and "b", which is well."""
    stack = Stack({"a": behaviour, "b": always(WELL)}, seed)
    await stack.offer(RATE, seconds)
    return stack


async def alone(
    behaviour: Behaviour, seed: int, rate: float, seconds: float, settings: ProviderSettings | None = None
) -> Stack:
    """Provider "a", which behaves so, and no other."""
    stack = Stack({"a": behaviour}, seed, {"a": settings or ProviderSettings()})
    await stack.offer(rate, seconds)
    return stack


def browned_out(now: float, _: int, random: Random) -> Doing:
    return BROKEN if now >= TROUBLE and random.random() < 0.3 else WELL


async def brown_out(seed: int) -> list[Bar]:
    """30% errors at one of two."""
    stack = await beside_a_healthy_one(browned_out, seed, 60)
    return [
        Bar("share before, of an even one", stack.share("a", 0, TROUBLE), 0.7, least=True),
        Bar("share from 3 s on, of an even one", stack.share("a", MOVED), 0.35),
        Bar("share in the first 3 s thereafter, of an even one", stack.share("a", MOVED, MOVED + 3), 0.35),
    ]


async def black_hole(seed: int) -> list[Bar]:
    """One of two takes calls and never answers."""
    stack = await beside_a_healthy_one(lambda now, *_: HANGS if now >= TROUBLE else WELL, seed, 60)
    return [
        Bar("share from 3 s on, of an even one", stack.share("a", MOVED), 0.05),
        Bar("calls that were lost to it", stack.upstreams["a"].count(TROUBLE), 90),
    ]


async def flapping(seed: int) -> list[Bar]:
    """One of two is well and broken in turn, ten seconds each."""
    stack = await beside_a_healthy_one(lambda now, *_: BROKEN if now // 10 % 2 else WELL, seed, 600)
    return [Bar("traffic from half a minute on, of all", stack.share("a", 30) / 2, 0.05)]


async def healing(seed: int) -> list[Bar]:
    """One of two is broken for 20 seconds, and well again."""
    stack = await beside_a_healthy_one(lambda now, *_: BROKEN if TROUBLE <= now < 25 else WELL, seed, 120)
    return [
        Bar("share while it is broken, of an even one", stack.share("a", MOVED, 25), 0.02),
        Bar("share a minute later, of an even one", stack.share("a", 85), 0.85, least=True),
    ]


async def slow_first_token(seed: int) -> list[Bar]:
    """One of two takes six seconds to begin, for 35 seconds."""
    stack = await beside_a_healthy_one(
        lambda now, *_: Doing(first_token=6.0) if TROUBLE <= now < 40 else WELL, seed, 90
    )
    return [
        Bar("share from 3 s on, of an even one", stack.share("a", MOVED, 40), 0.35),
        Bar("first token p50 then, seconds", stack.first_tokens(0.5, MOVED, 40), 0.35),
        Bar("share when it is well again, of an even one", stack.share("a", 70), 0.85, least=True),
    ]


def cut(now: float, _: int, random: Random) -> Doing:
    return Doing(cut=2) if now >= TROUBLE and random.random() < 0.5 else WELL


async def mid_stream_cuts(seed: int) -> list[Bar]:
    """Every second stream of one of two breaks off."""
    stack = await beside_a_healthy_one(cut, seed, 60)
    broken = [told for told in stack.told if told.reason]
    return [
        Bar("share from 3 s on, of an even one", stack.share("a", MOVED), 0.2),
        Bar("broken answers that are told otherwise", sum(t.reason != "STREAM_INTERRUPTED" for t in broken), 0),
        Bar("broken answers from 3 s on, of all", 1 - stack.succeeded(MOVED), 0.04),
    ]


async def total_failure(seed: int) -> list[Bar]:
    """All fail, for a minute; then they are well."""
    broken: Behaviour = lambda now, *_: BROKEN if TROUBLE <= now < 65 else WELL  # noqa: E731
    stack = Stack({"a": broken, "b": broken}, seed)
    await stack.offer(RATE, 200)
    asked = sum(upstream.count(10, 65) for upstream in stack.upstreams.values())
    return [
        Bar("asked from 5 s on, of what was offered", asked / (RATE * 55), 0.05),
        Bar("answers a minute after, of all", stack.succeeded(125), 0.999, least=True),
    ]


def knee(most: int, retry_after: float | None = None) -> Behaviour:
    """It takes so many at once, and refuses what is too much with 429."""
    refusal = Doing(failure=LIMITED, retry_after=retry_after)
    return lambda _, running, __: refusal if running >= most else WELL


async def mass_429(seed: int) -> list[Bar]:
    """Twice as many calls as it takes, and refusals that do not say for how long."""
    stack = await alone(knee(20), seed, 50.0, 90)
    asked, refused = stack.upstreams["a"].count(20, 90), sum(20 <= at < 90 for at in stack.upstreams["a"].failed)
    answers = sum(not told.reason and 20 <= told.end < 90 for told in stack.told)
    return [
        Bar("refused by the provider from 15 s on, of all asked", refused / asked, 0.1),
        # An answer takes 0.7 s (the rest in four pauses of 0.1 s): 20 at once are 28.6 a second.
        Bar("answers from 15 s on, of what it could give", answers / 70 / (20 / 0.7), 0.85, least=True),
        Bar("refused and not told so", sum(t.reason not in ("", *REFUSALS) for t in stack.told), 0),
    ]


REFUSALS = ("OVERLOADED", "ALL_PROVIDERS_FAILED")


async def mass_429_with_retry_after(seed: int) -> list[Bar]:
    """It refuses everything from the fifth to the twentieth second, and says for how long."""

    def limited(now: float, *_: object) -> Doing:
        return Doing(failure=LIMITED, retry_after=20.0 - now) if TROUBLE <= now < 20 else WELL

    stack = await beside_a_healthy_one(limited, seed, 60)
    return [
        Bar("asked while it said to wait", stack.upstreams["a"].count(TROUBLE + 0.5, 20), 0),
        Bar("calls that were refused", sum(bool(told.reason) for told in stack.told), 5),
        Bar("share thereafter, of an even one", stack.share("a", 40), 0.85, least=True),
    ]


async def thundering_recovery(seed: int) -> list[Bar]:
    """The only provider says to wait until the twentieth second; many wait for it, and it takes twenty at once."""

    def limited(now: float, running: int, _: Random) -> Doing:
        if TROUBLE <= now < 20:
            return Doing(failure=LIMITED, retry_after=20.0 - now)
        return Doing(failure=LIMITED, retry_after=1.0) if now >= 20 and running >= 20 else WELL

    stack = await alone(limited, seed, 25.0, 90)
    up = stack.upstreams["a"]
    return [
        Bar("asked while it said to wait", up.count(TROUBLE + 0.5, 20), 0),
        Bar("asked in its first 100 ms", up.count(20, 20.1), 20),
        # It could take all, but each call too many closes it for a second.
        Bar("answers from ten seconds on, of all", stack.succeeded(30), 0.75, least=True),
    ]


async def probes(seed: int) -> list[Bar]:
    """The only provider is dead for two minutes: who finds out whether it still is?"""
    stack = await alone(lambda now, *_: BROKEN if TROUBLE <= now < 125 else WELL, seed, RATE, 240)
    up = stack.upstreams["a"]
    return [
        Bar("asked while it was dead, after it was found to be", up.count(TROUBLE + 1, 125), 10),
        Bar("answers once it has been found to be well, of all", stack.succeeded(215), 0.999, least=True),
    ]


SCENARIOS: Mapping[str, Scenario] = {
    each.__name__: each
    for each in (
        brown_out,
        black_hole,
        flapping,
        healing,
        slow_first_token,
        mid_stream_cuts,
        total_failure,
        mass_429,
        mass_429_with_retry_after,
        thundering_recovery,
        probes,
    )
}
