"""Callers who all go away: a thousand streams at once, each cancelled at a moment of its own.

The provider's own clock tells when its side of each was closed; it is the clock that the callers use.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chaos.invariants import blocked, left_over, starved
from chaos.load import MODELS
from chaos.machine import watched
from chaos.providers import providers
from chaos.run import configure, held, settled
from grpc import aio
from processes import listening

from trunkline.v1 import call_pb2
from trunkline.v1 import gateway_service_pb2 as pb
from trunkline.v1.gateway_service_pb2_grpc import GatewayServiceStub

if TYPE_CHECKING:
    from pathlib import Path

    from chaos.records import Held

    from trunkline.v1.gateway_service_pb2_grpc import GatewayServiceAsyncStub

    Stream = aio.UnaryStreamCall[pb.GenerateRequest, pb.StreamGenerateResponse]

PROVIDER = "endless"
# Seconds from a caller's cancellation to the end of the provider's connection, at the latest.
SOON = 0.1
# Opening so many takes a while.
PATIENT = {"default_deadline": 120.0, "first_token": 60.0, "between_tokens": 60.0, "connect": 30.0}
# Seconds over which cancellations are spread.
SPREAD = 4.0


@dataclass(slots=True)
class Cancelled:
    """What came of it. Times are seconds of time.monotonic(), by the number of the stream."""

    streams: int
    left: dict[str, float] = field(default_factory=dict)
    gone: dict[str, float] = field(default_factory=dict)
    # Those that ended before they were cancelled.
    ended: list[str] = field(default_factory=list)
    before: Held | None = None
    after: Held | None = None
    starved: list[tuple[float, float]] = field(default_factory=list)

    def took(self) -> dict[str, float]:
        """Seconds from each cancellation to the end of the provider's connection, but for what the machine took."""
        both = self.left.keys() & self.gone.keys()
        return {n: self.gone[n] - self.left[n] - starved(self.starved, self.left[n], self.gone[n]) for n in both}


def problems(record: Cancelled) -> list[str]:
    """What is wrong. Pure."""
    return [
        *(f"{number} ended before it was cancelled" for number in record.ended),
        *(
            f"{number} was cancelled and the provider never saw it"
            for number in record.left.keys() - record.gone.keys()
        ),
        *(
            f"{number} ended at the provider after {took:.3f} s"
            for number, took in record.took().items()
            if took > SOON
        ),
        *([] if len(record.left) == record.streams else [f"only {len(record.left)} streams were cancelled"]),
        *left_over(record.before, record.after),
        *blocked(record.before, record.after),
    ]


async def cancel_all(folder: Path, streams: int, seed: int, spread: float = SPREAD) -> Cancelled:
    """Open so many streams, wait until each has begun, and cancel them at random over `spread` seconds."""
    record = Cancelled(streams)
    async with providers((PROVIDER,), folder, seed) as others:
        provider = others[PROVIDER]
        provider.feel("endless")
        configuration = configure(folder, others, strict=False, connections=streams, **PATIENT)
        async with listening("chaos.gateway", str(configuration)) as (process, address):
            record.before = await held(process)
            async with (
                watched(record.starved, process.pid, provider.pid, os.getpid()),
                aio.insecure_channel(address) as channel,
            ):
                await _open_and_leave(GatewayServiceStub(channel), record, random.Random(seed), spread)
            record.after = await settled(process, record.before)
        record.gone = {seen.number: seen.when for seen in provider.seen() if seen.what == "gone"}
    return record


async def _open_and_leave(stub: GatewayServiceAsyncStub, record: Cancelled, dice: random.Random, spread: float) -> None:
    numbers = [f"s{number}" for number in range(record.streams)]
    streams = [stub.StreamGenerate(_request(number)) for number in numbers]
    await asyncio.gather(*(stream.read() for stream in streams))
    # What opening them took is not what closing them takes.
    await asyncio.sleep(0.5)
    await asyncio.gather(
        *(
            _leave(record, number, stream, dice.uniform(0, spread))
            for number, stream in zip(numbers, streams, strict=True)
        )
    )


def _request(number: str) -> pb.GenerateRequest:
    context = call_pb2.CallContext(labels={"n": number})
    return pb.GenerateRequest(model=f"{PROVIDER}/{MODELS[0]}", prompt=number, context=context)


async def _leave(record: Cancelled, number: str, stream: Stream, after: float) -> None:
    reading = asyncio.create_task(_read(stream))
    await asyncio.wait([reading], timeout=after)
    if reading.done():
        record.ended.append(number)
    record.left[number] = time.monotonic()
    stream.cancel()
    await asyncio.wait([reading])


async def _read(stream: Stream) -> None:
    with suppress(aio.AioRpcError):
        while await stream.read() is not aio.EOF:
            pass
