"""Who is asked by live signals: an endpoint that slows down, one that fails at once, and prompts of all sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulation.choosing import LONG, SHORT, WELL, Health, World
from simulation.scenarios import Bar

from trunkline_server.state.signals.peak import TAU

if TYPE_CHECKING:
    from collections.abc import Mapping

    from simulation.scenarios import Scenario

FOUR, RATE = "abcd", 40.0
# Seconds since the start: "a" turns five times slower, and is healed; from then on "b" fails at once.
SLOW, HEALED, END = 60.0, 120.0, 240.0
# From when on figures count: until then nothing is known.
KNOWN = 10.0
# Long enough for shares to be means over many times tau, in which they waver.
LASTS, FEWER = 1200.0, 20.0


def troubled(name: str, now: float) -> Health:
    if name == "a" and SLOW <= now < HEALED:
        return Health(slower=5.0)
    return Health(failing=True) if name == "b" and now >= HEALED else WELL


def healthy(*_: object) -> Health:
    return WELL


async def slow_then_failing(seed: int) -> list[Bar]:
    """One of four turns five times slower at 60 s and is healed at 120 s; another answers 500 in 3 ms from then on."""
    world, oracle = World(FOUR, troubled, seed), World(FOUR, troubled, seed)
    await world.offer(RATE, END, world.by_signals)
    await oracle.offer(RATE, END, oracle.by_oracle)
    return [
        Bar("slow one's share in the first 3 tau", world.share("a", SLOW, SLOW + 3 * TAU), 0.05),
        Bar("slow one's share from then until it is healed", world.share("a", SLOW + 3 * TAU, HEALED), 0.05),
        Bar("seconds until it has four fifths of an even share again", _recovered(world), 5 * TAU),
        Bar("failing one's share", world.share("b", HEALED, END), 0.03),
        Bar("first token p99, of an oracle's", _p99(world, KNOWN, END) / _p99(oracle, KNOWN, END), 1.15),
    ]


def _recovered(world: World) -> float:
    """By the share of ten seconds at a time, among the three that are well."""
    seconds = range(10, int(END - HEALED))
    return next((each for each in seconds if 3 * world.share("a", HEALED + each - 10, HEALED + each) >= 0.8), END)


def _p99(world: World, begin: float, end: float) -> float:
    return world.first_tokens(0.99, begin, end)


async def mixed_prompts(seed: int) -> list[Bar]:
    """Of 100 tokens and of 100,000: once everywhere, once at one of them alone, whose callers name it."""
    plain, mixed, short, long = (World(FOUR, healthy, seed) for _ in range(4))
    await plain.offer(FEWER, LASTS, plain.by_signals)
    await mixed.offer(FEWER, LASTS, mixed.by_signals, long=0.2)
    await short.offer(FEWER, LASTS, short.by_signals, named=SHORT)
    await long.offer(FEWER, LASTS, long.by_signals, named=LONG)
    return [
        Bar("what long prompts move shares by, at most", max(_moved(plain, mixed, name) for name in FOUR), 0.05),
        Bar("what they move the share of the only one by that has any", _moved(short, long, "a"), 0.05),
    ]


def _moved(before: World, after: World, name: str) -> float:
    """What its share of the short prompts changed by."""
    shares = [world.share(name, KNOWN, LASTS, SHORT) for world in (before, after)]
    return abs(shares[0] - shares[1])


SCENARIOS: Mapping[str, Scenario] = {each.__name__: each for each in (slow_then_failing, mixed_prompts)}
