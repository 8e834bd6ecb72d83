"""What the state machines of an endpoint cost, each operation by itself.

    python -m bench.machines

Prints microseconds of CPU time; of five runs the least.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from random import random

import make

from trunkline.v1 import call_pb2
from trunkline.v1.gateway_service_pb2 import GenerateRequest
from trunkline_server.core import Call, now
from trunkline_server.errors import UpstreamError
from trunkline_server.routing.retries import Next, Situation, next_step
from trunkline_server.settings.reliability import RetrySettings
from trunkline_server.state.endpoint.attempt_budget import AttemptBudget
from trunkline_server.state.endpoint.breaker import Breaker
from trunkline_server.state.endpoint.bucket import Admitted, Bucket, Claim, reserve
from trunkline_server.state.endpoint.concurrency import Aimd, Gradient
from trunkline_server.state.endpoint.pacer import Pacer
from trunkline_server.state.endpoint.queue import AdmissionQueue, Priority
from trunkline_server.state.endpoint.retry_budget import Floor, RetryBudget
from trunkline_server.state.endpoint.throttle import Throttle
from trunkline_server.state.signals.signals import Signals

REPEATS, TIMES = 5, 20_000
SUCCESS = call_pb2.OUTCOME_SUCCESS
# A call every millisecond.
STEP = 0.001


def operations() -> dict[str, Callable[[float], object]]:
    """By name, what one call does with a machine at a moment."""
    breaker, pacer, throttle, retries = Breaker(random), Pacer(random), Throttle(), RetryBudget(Floor())
    requests, tokens = Bucket(10**9), Bucket(10**12)
    aimd, gradient = Aimd(), Gradient()
    error = UpstreamError(call_pb2.OUTCOME_SERVER_ERROR)
    at = Situation(
        content_sent=False,
        repeatable=True,
        attempts_left=3,
        attempts_here=1,
        deadline=1e12,
        first_token=1.0,
        other=Next(),
    )
    settings = RetrySettings()

    def breaker_call(now: float) -> None:
        trial = breaker.start(now)
        if trial is not None:
            breaker.first_token(trial, now)
            breaker.end(trial, SUCCESS, now)

    def bucket_call(now: float) -> None:
        admitted = reserve((Claim(requests, 1), Claim(tokens, 500)), now)
        if isinstance(admitted, Admitted):
            admitted.settle((1, 400), now, exact=True)

    return {
        "breaker: start, first token, end": breaker_call,
        "breaker: wait": breaker.wait,
        "pacer: wait": pacer.wait,
        "throttle: start, accepted": lambda now: throttle.accepted(throttle.start(now)),
        "throttle: share away": throttle.share_away,
        "retry budget: deposit": retries.deposit,
        "attempt budget: make one, take": lambda _: AttemptBudget().take(),
        "bucket: reserve and settle requests and tokens": bucket_call,
        "aimd: answered": lambda _: aimd.answered(1.0, 20),
        "gradient: answered": lambda _: gradient.answered(1.0, 4),
        "retries: next step": lambda now: next_step(error, at, settings, now, random),
    }


def signals_operations() -> dict[str, Callable[[float], object]]:
    """The same of live signals, with 25 targets that have their measurements."""
    clock = [1e9]
    signals = Signals(lambda: clock[0], lambda _: 0.1)
    targets = [call_pb2.Target(provider=f"p{number % 8}", model=f"m{number}") for number in range(25)]
    record = call_pb2.Attempt(outcome=SUCCESS, usage=call_pb2.Usage(output_tokens=100))
    template = asyncio.run(_call())

    def attempt_at(target: call_pb2.Target) -> Callable[[float], None]:
        call = template.at(target, 1, template.request)

        def feed(now: float) -> None:
            sample = signals.begin(call, now)
            sample.first_token(now + 0.4)
            sample.ended(record, now + 0.9)

        return feed

    def read(now: float) -> None:
        clock[0] = now
        signals.read(targets)

    for target in targets:
        for number in range(50):
            attempt_at(target)(1e9 - 50 + number)
    return {"signals: an attempt": attempt_at(targets[0]), "signals: read 25, anew each 50 ms": read}


async def _call() -> Call:
    return make.call(GenerateRequest(model="p/m", prompt="hello " * 100))


def least(work: Callable[[], None]) -> float:
    """Microseconds an operation."""
    spent = []
    for _ in range(REPEATS):
        began = time.process_time()
        work()
        spent.append(time.process_time() - began)
    return min(spent) / TIMES * 1e6


def many(operation: Callable[[float], object]) -> Callable[[], None]:
    """The same at one moment after another."""
    now = 1e9

    def work() -> None:
        nonlocal now
        for _ in range(TIMES):
            now += STEP
            operation(now)

    return work


async def admissions() -> None:
    """There is always a place."""
    queue = AdmissionQueue(10, bound=10)
    for _ in range(TIMES):
        (await queue.enter(Priority.NORMAL, 1e12)).leave(now())


async def waits() -> None:
    """There is a place only for one: each that leaves wakes the next."""
    queue = AdmissionQueue(1, bound=TIMES)

    async def call() -> None:
        place = await queue.enter(Priority.NORMAL, 1e12)
        await asyncio.sleep(0)
        place.leave(now())

    for _ in range(TIMES // 100):
        await asyncio.gather(*(call() for _ in range(100)))


def main() -> None:
    """Print all of it."""
    figures = {name: least(many(operation)) for name, operation in {**operations(), **signals_operations()}.items()}
    figures["queue: enter and leave, with a place"] = least(lambda: asyncio.run(admissions()))
    figures["queue: the same with a task that waits in a line of 100"] = least(lambda: asyncio.run(waits()))
    for name, microseconds in figures.items():
        print(f"{microseconds:8.2f} us  {name}")


if __name__ == "__main__":
    main()
