"""Callers that choose among simulated endpoints by live signals: the estimators and the choice by themselves."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import count
from math import exp
from random import Random
from typing import TYPE_CHECKING, NamedTuple

import make
from msgspec import structs

from trunkline.v1 import call_pb2
from trunkline.v1 import gateway_service_pb2 as pb
from trunkline_server.routing.spread import Option, spread
from trunkline_server.state.signals.prompts import BYTES_PER_TOKEN
from trunkline_server.state.signals.signals import Signals

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trunkline_server.core import Call
    from trunkline_server.routing.signal import Signal

# First tokens: seconds for every prompt, seconds a token of it, and the noise on both.
BASE, SLOPE, NOISE = 0.4, 1e-5, 0.3
SHORT, LONG = 100, 100_000
# How an endpoint that fails fails: at once.
FAILING = 0.003
# Calls beside those that choose, whose callers name an endpoint, for each of those.
NAMED = 0.02
# What is thought of a target that nothing is known of, in seconds.
UNKNOWN = 1.0


class Health(NamedTuple):
    """How an endpoint is at a moment."""

    slower: float = 1.0
    failing: bool = False


WELL = Health()


@dataclass(frozen=True, slots=True)
class Asked:
    """An endpoint was asked. Seconds since the start; the first token took so long, unless it failed."""

    name: str
    begin: float
    tokens: int
    first: float | None
    # By the choice that is looked at, and not by somebody who named it.
    chosen: bool


class World:
    """Endpoints that answer, and what was asked of them."""

    def __init__(self, names: str, health: Callable[[str, float], Health], seed: int) -> None:
        loop = asyncio.get_running_loop()
        self.names, self.random = names, Random(seed)
        self.asked: list[Asked] = []
        self.signals = Signals(loop.time)
        self._health, self._start, self._time = health, 0.0, loop.time
        self._ids = count()
        self._targets = {name: call_pb2.Target(provider=name, model="m") for name in names}
        self._calls = {(name, tokens): self._call(name, tokens) for name in names for tokens in (SHORT, LONG)}

    def _call(self, name: str, tokens: int) -> Call:
        request = pb.GenerateRequest(prompt="x" * (BYTES_PER_TOKEN * tokens))
        return structs.replace(make.call(request), target=self._targets[name])

    def now(self) -> float:
        return self._time() - self._start

    def by_signals(self, names: Sequence[str], tokens: int) -> str:
        """Level one of the gateway's choice: expected seconds, over the share of calls that succeed."""
        signals = self.signals.read(self._targets[name] for name in names)
        costs = [expected(signal, tokens) for signal in signals]
        return names[spread([Option(cost, cost) for cost in costs], self.random.random)[0]]

    def by_oracle(self, names: Sequence[str], _: int) -> str:
        """Who knows how all are: any of those that are well."""
        return self.random.choice([name for name in names if self._health(name, self.now()) == WELL])

    async def offer(
        self,
        rate: float,
        seconds: float,
        choose: Callable[[Sequence[str], int], str],
        *,
        long: float = 0.0,
        named: int = 0,
    ) -> None:
        """Calls come at random, `rate` a second, this share of them long. The world's time begins now.

        For one of fifty there is one more, whose caller names the first endpoint, with so many tokens.
        """
        self._start, tasks = self._time(), []
        while self.now() < seconds:
            tokens = LONG if self.random.random() < long else SHORT
            tasks.append(asyncio.create_task(self.ask(choose(self.names, tokens), tokens)))
            if named and self.random.random() < NAMED:
                tasks.append(asyncio.create_task(self.ask(self.names[0], named, chosen=False)))
            await asyncio.sleep(self.random.expovariate(rate))
        await asyncio.gather(*tasks)

    async def ask(self, name: str, tokens: int, *, chosen: bool = True) -> None:
        """One call, until its first token."""
        begin, health = self.now(), self._health(name, self.now())
        sample = self.signals.begin(self._calls[name, tokens], self._time())
        noise = exp(self.random.gauss(0, NOISE))
        first = None if health.failing else (BASE + SLOPE * tokens) * health.slower * noise
        self.asked.append(Asked(name, begin, tokens, first, chosen))
        await asyncio.sleep(FAILING if first is None else first)
        if first is not None:
            sample.first_token(self._time())
        outcome = call_pb2.OUTCOME_SERVER_ERROR if first is None else call_pb2.OUTCOME_SUCCESS
        sample.ended(call_pb2.Attempt(outcome=outcome), self._time())

    def share(self, name: str, begin: float, end: float, tokens: int | None = None) -> float:
        """Of what was asked then, this one's part."""
        asked = self._then(begin, end, tokens)
        return sum(each.name == name for each in asked) / max(1, len(asked))

    def first_tokens(self, quantile: float, begin: float, end: float) -> float:
        """Seconds to the first token of what was asked then and answered."""
        found = sorted(each.first for each in self._then(begin, end, None) if each.first is not None)
        return found[min(len(found) - 1, int(quantile * len(found)))]

    def _then(self, begin: float, end: float, tokens: int | None) -> list[Asked]:
        return [
            each for each in self.asked if each.chosen and begin <= each.begin < end and tokens in (None, each.tokens)
        ]


def expected(signal: Signal, tokens: int) -> float:
    """Seconds that a first token costs: a failure costs another one."""
    first = signal.first_token(tokens)
    return (UNKNOWN if first is None else first) / max(0.01, 1.0 - signal.errors)
