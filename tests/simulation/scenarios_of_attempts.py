"""What callers see of it: failures that are made good by another attempt, and what that costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulation.scenarios import MOVED, RATE, TROUBLE, Bar, beside_a_healthy_one, browned_out
from simulation.stack import Stack
from simulation.upstream import BROKEN, HANGS, WELL, Doing, always

from trunkline.v1 import call_pb2
from trunkline.v1 import gateway_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

    from simulation.scenarios import Scenario


async def fallback_from_a_brown_out(seed: int) -> list[Bar]:
    """30% errors at one of two."""
    stack = await beside_a_healthy_one(browned_out, seed, 60)
    return [
        Bar("share from 3 s on, of an even one", stack.share("a", MOVED), 0.35),
        Bar("answers until then, of all", stack.succeeded(TROUBLE, MOVED), 0.98, least=True),
        Bar("answers from 3 s on, of all", stack.succeeded(MOVED), 0.999, least=True),
    ]


async def fallback_from_a_black_hole(seed: int) -> list[Bar]:
    """One of two takes calls and never answers."""
    stack = await beside_a_healthy_one(lambda now, *_: HANGS if now >= TROUBLE else WELL, seed, 60)
    return [
        Bar("answers, of all", stack.succeeded(0), 0.999, least=True),
        Bar("first token p99 from 3 s on, seconds", stack.first_tokens(0.99, MOVED), 0.5),
    ]


async def fallback_from_a_flapping_one(seed: int) -> list[Bar]:
    """One of two is well and broken in turn, ten seconds each."""
    stack = await beside_a_healthy_one(lambda now, *_: BROKEN if now // 10 % 2 else WELL, seed, 300)
    return [
        Bar("traffic from half a minute on, of all", stack.share("a", 30) / 2, 0.05),
        Bar("answers, of all", stack.succeeded(0), 0.999, least=True),
    ]


async def retry_storm(seed: int) -> list[Bar]:
    """All fail."""
    stack = Stack({"a": broken, "b": broken}, seed)
    await stack.offer(RATE, 60)
    return [Bar("asked of both, of what was offered", _asked(stack, "a") + _asked(stack, "b"), 0.05)]


async def retry_storm_without_breakers(seed: int) -> list[Bar]:
    """All fail, and no breaker opens: the budgets alone."""
    two = Stack({"a": broken, "b": broken}, seed, breakers=False)
    await two.offer(RATE, 60)
    one = Stack({"a": broken}, seed, breakers=False)
    await one.offer(RATE, 60)
    # Three retries a second are there whatever is offered.
    floor = 3 / RATE
    return [
        Bar("asked of one of two, of what was offered", _asked(two, "a"), 1.2 + floor),
        Bar("asked of the other, of what was offered", _asked(two, "b"), 1.2 + floor),
        Bar("asked of one alone, of what was offered", _asked(one, "a"), 1.2 + floor),
        Bar("it was tried again at all", _asked(one, "a"), 1.05, least=True),
    ]


async def retry_storm_with_three_keys(seed: int) -> list[Bar]:
    """All fail, and no breaker opens: what a provider gets beyond what is offered does not grow with its keys."""
    stack = Stack({"a": broken}, seed, breakers=False, keys=3)
    await stack.offer(RATE, 60)
    floor = 3 / RATE
    asked = stack.asked_with["a"]
    return [
        Bar("asked of it, of what was offered", _asked(stack, "a"), 1.2 + floor),
        # They take turns: what a key gets more than the others is chance.
        Bar("asked with one key, of its third", max(asked) * 3 / sum(asked) * _asked(stack, "a"), 1.02 * (1.2 + floor)),
        Bar("it was tried again at all", _asked(stack, "a"), 1.05, least=True),
    ]


async def keys_without_quota(seed: int) -> list[Bar]:
    """Two of three keys have nothing left: nobody hears of it, and both are asked once in a while only."""
    stack = Stack({"a": always(WELL)}, seed, keys=3)
    empty = Doing(failure=call_pb2.OUTCOME_QUOTA)
    asked = stack.asked_with["a"]
    stack.upstreams["a"]._behaviour = lambda *_: empty if sum(asked) <= 3 and sum(asked) != 2 else WELL
    await stack.offer(RATE, 30)
    return [
        Bar("answers, of all", stack.succeeded(0), 1, least=True),
        Bar("attempts beyond the calls", sum(asked) - len(stack.told), 4),
    ]


def broken(now: float, *_: object) -> Doing:
    return BROKEN if now >= TROUBLE else WELL


def _asked(stack: Stack, name: str) -> float:
    """How often it was asked from the tenth to the sixtieth second, of what was offered."""
    return stack.upstreams[name].count(10, 60) / sum(10 <= told.begin < 60 for told in stack.told)


def bimodal(_: float, __: int, random: Random) -> Doing:
    return Doing(first_token=3.0 if random.random() < 0.04 else 0.3)


async def hedging(seed: int) -> list[Bar]:
    """One in 25 first tokens takes ten times as long."""
    plain = Stack({"a": bimodal, "b": bimodal}, seed)
    await plain.offer(RATE, 120)
    hedged = Stack({"a": bimodal, "b": bimodal}, seed)
    await hedged.offer(
        RATE, 120, pb.GenerateRequest(model="m", prompt="x", routing=call_pb2.Routing(allow_hedging=True))
    )
    asked = sum(upstream.count(20) for upstream in hedged.upstreams.values())
    calls = sum(told.begin >= 20 for told in hedged.told)
    shorter = plain.first_tokens(0.99, 20) / hedged.first_tokens(0.99, 20)
    return [
        Bar("first token p99, times shorter", shorter, 3, least=True),
        Bar("attempts beyond the calls", asked / calls - 1, 0.05),
        Bar("answers, of all", hedged.succeeded(0), 1, least=True),
    ]


SCENARIOS: Mapping[str, Scenario] = {
    each.__name__: each
    for each in (
        fallback_from_a_brown_out,
        fallback_from_a_black_hole,
        fallback_from_a_flapping_one,
        retry_storm,
        retry_storm_without_breakers,
        retry_storm_with_three_keys,
        keys_without_quota,
        hedging,
    )
}
