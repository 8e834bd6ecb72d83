"""Callers: whole answers, streams, and some that go away, until the gateway is gone."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from grpc import aio

from trunkline.v1 import call_pb2
from trunkline.v1 import gateway_service_pb2 as pb
from trunkline.v1.gateway_service_pb2_grpc import GatewayServiceStub

if TYPE_CHECKING:
    from trunkline.v1.gateway_service_pb2_grpc import GatewayServiceAsyncStub

CALLERS = 8


@dataclass
class Calls:
    """What the callers know of their calls, by the number that each prompt and its label `n` has."""

    made: set[str] = field(default_factory=set)
    # The end was seen: an answer, an error of the gateway's, or the caller's own cancellation.
    answered: set[str] = field(default_factory=set)
    given_up: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)


async def call_until_gone(address: str, seed: int, name: str, most: int) -> Calls:
    """Make at most `most` calls, a few at once, until one finds nobody there."""
    calls, gone, dice = Calls(), asyncio.Event(), random.Random(seed)
    numbers = iter(f"{name}-{number}" for number in range(most))
    async with aio.insecure_channel(address) as channel:
        stub = GatewayServiceStub(channel)
        await asyncio.gather(*(_caller(stub, numbers, calls, gone, dice) for _ in range(CALLERS)))
    return calls


async def _caller(
    stub: GatewayServiceAsyncStub, numbers: object, calls: Calls, gone: asyncio.Event, dice: random.Random
) -> None:
    for number in numbers:  # type: ignore[attr-defined]
        if gone.is_set():
            return
        calls.made.add(number)
        request = pb.GenerateRequest(
            model="p/m", prompt=number, context=call_pb2.CallContext(labels={"n": number}, end_user_id="somebody")
        )
        try:
            await _one(stub, request, number, calls, dice.random())
        except aio.AioRpcError as error:
            calls.failed.add(number)
            if error.code().name == "UNAVAILABLE":
                gone.set()


async def _one(
    stub: GatewayServiceAsyncStub, request: pb.GenerateRequest, number: str, calls: Calls, how: float
) -> None:
    if how < 0.4:
        await stub.Generate(request, timeout=10)
        calls.answered.add(number)
        return
    stream = stub.StreamGenerate(request, timeout=10)
    try:
        async for event in stream:
            if how > 0.85 and event.HasField("part_delta"):
                calls.given_up.add(number)
                return
            if event.HasField("completed"):
                calls.answered.add(number)
    finally:
        stream.cancel()
