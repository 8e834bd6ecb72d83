"""Whoever stops reading stops the call: the gateway hears of it within 200 ms, however the reading ends."""

from __future__ import annotations

import asyncio
import gc
import time
from contextlib import aclosing, closing, suppress
from typing import TYPE_CHECKING

import pytest

from trunkline.v1.gateway_service_pb2 import (
    PartDelta,
    PartStarted,
    StreamCompleted,
    StreamGenerateResponse,
    StreamStarted,
)
from trunkline_client import AsyncClient, Cancelled, Client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from clients.conftest import Caller, FakeGateway

    # Leaves a call early and tells when it did.
    AsyncLeaving = Callable[[AsyncClient], Awaitable[float]]
    Leaving = Callable[[Client], float]

LIMIT = 0.2
EVENTS = [
    StreamGenerateResponse(started=StreamStarted(id="c1")),
    StreamGenerateResponse(part_started=PartStarted()),
    StreamGenerateResponse(part_delta=PartDelta(text="a")),
]


class Stop(Exception):
    """What the body of a loop raises."""


@pytest.fixture
def endless(gateway: FakeGateway) -> FakeGateway:
    """A gateway whose answer never ends."""
    gateway.events, gateway.hangs = EVENTS, True
    return gateway


async def delay(gateway: FakeGateway, left: float) -> float:
    """Seconds from leaving to the gateway's hearing of it."""
    async with asyncio.timeout(5):
        await gateway.cancelled.wait()
    assert len(gateway.cancellations) == 1
    return gateway.cancellations[0] - left


async def by_break(client: AsyncClient) -> float:
    async for _ in client.stream("x"):
        break
    return time.monotonic()


async def by_break_with_the_stream_at_hand(client: AsyncClient) -> float:
    stream = client.stream("x")
    async for _ in stream:
        break
    left = time.monotonic()
    client.kept = stream  # type: ignore[attr-defined]
    return left


async def by_break_from_text(client: AsyncClient) -> float:
    async for _ in client.stream("x").text:
        break
    return time.monotonic()


async def by_leaving_the_block(client: AsyncClient) -> float:
    async with client.stream("x") as stream:
        client.kept = events = aiter(stream)  # type: ignore[attr-defined]
        await anext(events)
        return time.monotonic()


async def by_exception(client: AsyncClient) -> float:
    with suppress(Stop):
        async for _ in client.stream("x"):
            raise Stop
    return time.monotonic()


async def by_aclose(client: AsyncClient) -> float:
    async with aclosing(client.stream("x").text) as texts:
        client.kept = texts  # type: ignore[attr-defined]
        await anext(texts)
        return time.monotonic()


async def by_garbage(client: AsyncClient) -> float:
    events = aiter(client.stream("x"))
    await anext(events)
    cycle = [events]
    cycle.append(cycle)  # type: ignore[arg-type]
    del events, cycle
    gc.collect()
    return time.monotonic()  # collecting takes as long as the process is large: what counts is what comes after


async def by_cancelling_the_task(client: AsyncClient) -> float:
    waiting = asyncio.Event()

    async def read() -> None:
        async for event in client.stream("x"):
            if event.HasField("part_delta"):
                waiting.set()

    return await cancelled(asyncio.create_task(read()), waiting)


async def by_cancelling_the_task_in_the_body(client: AsyncClient) -> float:
    waiting = asyncio.Event()

    async def read() -> None:
        async for _ in client.stream("x"):
            waiting.set()
            await asyncio.Event().wait()

    return await cancelled(asyncio.create_task(read()), waiting)


async def cancelled(task: asyncio.Task[None], waiting: asyncio.Event) -> float:
    """Cancel the task once it waits; it must end as cancelled."""
    await waiting.wait()
    left = time.monotonic()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    return left


@pytest.mark.parametrize(
    "leave",
    [
        by_break,
        by_break_with_the_stream_at_hand,
        by_break_from_text,
        by_leaving_the_block,
        by_exception,
        by_aclose,
        by_garbage,
        by_cancelling_the_task,
        by_cancelling_the_task_in_the_body,
    ],
)
async def test_leaving_cancels(leave: AsyncLeaving, endless: FakeGateway) -> None:
    async with AsyncClient(endless.address) as client:
        assert await delay(endless, await leave(client)) < LIMIT


def break_off(client: Client) -> float:
    for _ in client.stream("x"):
        break
    return time.monotonic()


def break_off_text(client: Client) -> float:
    stream = client.stream("x")
    for _ in stream.text:
        break
    left = time.monotonic()
    client.kept = stream  # type: ignore[attr-defined]
    return left


def leave_the_block(client: Client) -> float:
    with client.stream("x") as stream:
        client.kept = events = iter(stream)  # type: ignore[attr-defined]
        next(events)
        return time.monotonic()


def raise_in_the_body(client: Client) -> float:
    with suppress(Stop):
        for _ in client.stream("x"):
            raise Stop
    return time.monotonic()


def close_the_generator(client: Client) -> float:
    with closing(iter(client.stream("x"))) as events:
        client.kept = events  # type: ignore[attr-defined]
        next(events)
        return time.monotonic()


def forget(client: Client) -> float:
    events = iter(client.stream("x"))
    next(events)
    cycle = [events]
    cycle.append(cycle)  # type: ignore[arg-type]
    del events, cycle
    gc.collect()
    return time.monotonic()  # collecting takes as long as the process is large: what counts is what comes after


@pytest.mark.parametrize(
    "leave", [break_off, break_off_text, leave_the_block, raise_in_the_body, close_the_generator, forget]
)
async def test_leaving_cancels_in_sync_code(leave: Leaving, endless: FakeGateway) -> None:
    client = Client(endless.address)
    assert await delay(endless, await asyncio.to_thread(leave, client)) < LIMIT
    client.close()


async def test_cancelling_a_task_cancels_its_unary_call(endless: FakeGateway) -> None:
    async with AsyncClient(endless.address) as client:
        task = asyncio.create_task(client.generate("x"))
        await endless.reached.wait()
        left = time.monotonic()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert await delay(endless, left) < LIMIT


async def test_time_limits_of_asyncio_work(endless: FakeGateway) -> None:
    async with AsyncClient(endless.address) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.generate("x")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                [text async for text in client.stream("x").text]


async def test_a_stream_that_is_not_read_calls_nobody(gateway: FakeGateway) -> None:
    async with AsyncClient(gateway.address) as client:
        async with client.stream("x"):
            pass
        await client.health()
    assert len(gateway.requests) == 1


async def test_closing_a_stream_from_elsewhere_is_not_its_end(endless: FakeGateway) -> None:
    async with AsyncClient(endless.address) as client:
        stream = client.stream("x")
        read: list[str] = []
        reading = asyncio.create_task(gather(read, stream.text))
        while not read:
            await asyncio.sleep(0)
        await stream.aclose()
        with pytest.raises(Cancelled):
            await reading


async def gather(into: list[str], texts: AsyncIterator[str]) -> None:
    async for text in texts:
        into.append(text)


async def test_closing_a_sync_stream_from_another_thread(endless: FakeGateway) -> None:
    with Client(endless.address) as client:
        stream = client.stream("x")
        reading = asyncio.create_task(asyncio.to_thread(list, stream))
        await endless.reached.wait()
        stream.close()
        with pytest.raises(Cancelled):
            await asyncio.wait_for(reading, 5)


async def test_a_closed_stream_cannot_be_read(endless: FakeGateway) -> None:
    async with AsyncClient(endless.address) as client:
        async with client.stream("x") as stream:
            pass
        with pytest.raises(Cancelled):
            async with asyncio.timeout(5):
                [text async for text in stream.text]


async def test_closing_the_client_ends_what_runs(endless: FakeGateway, caller: Caller) -> None:
    calls = [asyncio.create_task(caller.call("generate", "x")), asyncio.create_task(caller.events("x"))]
    while len(endless.requests) < 2:
        await asyncio.sleep(0)
    await caller.aclose()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results] == [Cancelled, Cancelled]


async def test_reading_to_the_end_cancels_nothing(gateway: FakeGateway, caller: Caller) -> None:
    gateway.events = [*EVENTS, StreamGenerateResponse(completed=StreamCompleted())]
    await caller.texts("x")
    await caller.call("health")
    assert not gateway.cancellations
