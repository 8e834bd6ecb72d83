"""A caller that goes away, at every stage: the upstream is closed within 100 ms and nothing is left running."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from make import delta, part
from msgspec import structs
from serving import serving
from upstreams import chunk, head, hold, upstream

from trunkline.v1 import gateway_service_pb2 as pb
from trunkline_server.core import Call, Events, Handler, Layer, now
from trunkline_server.dialects import openai_chat
from trunkline_server.dialects.dialect import Quirks
from trunkline_server.layers.attempt import attempt
from trunkline_server.layers.observe import observe
from trunkline_server.logs import build_log
from trunkline_server.providers.http import HttpClient
from trunkline_server.providers.upstream import Endpoint, build_upstream
from trunkline_server.registry import TaskRegistry
from trunkline_server.state.endpoint.experience import Experience

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from serving import Running

    from trunkline_server.state.statistics import Finished

WITHIN = 0.1
REQUEST = pb.GenerateRequest(model="p/m", prompt="hello")


def awaiting(below: Handler) -> Handler:
    """A layer with an `await` in its `finally`: a second cancellation may hit it there."""

    async def handle(call: Call) -> Events:
        try:
            async with aclosing(below(call)) as events:
                async for event in events:
                    yield event
        finally:
            await asyncio.sleep(0)

    return handle


class Source:
    """A provider that reaches a stage and stays there, and notes when it was closed."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self.reached = asyncio.Event()
        self.closed = asyncio.Event()
        self.closed_at = 0.0
        self.written = 0

    async def __call__(self, _: Call) -> Events:
        try:
            if self.stage != "before the first piece":
                yield part("a")
            if self.stage == "blocked in a write":
                async for event in self._flood():
                    yield event
            self.reached.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            self.closed_at = time.monotonic()
            self.closed.set()

    async def _flood(self) -> Events:
        """More than flow control lets through: in the end the tape is full and nobody takes."""
        piece = "x" * 100_000
        while True:
            self.written += 1
            yield delta(piece)
            if self.written > 400:
                self.reached.set()


@asynccontextmanager
async def gateway(source: Handler, *, awaits: bool) -> AsyncIterator[tuple[Running, TaskRegistry, list[Finished]]]:
    registry: TaskRegistry = TaskRegistry()
    finished: list[Finished] = []
    layers: list[Layer] = [
        observe(build_log(), lambda call, _: finished.append(call), lambda _: None),
        attempt(registry, lambda _, __: None, Experience(now)),
    ]
    handler = awaiting(source) if awaits else source
    for layer in reversed(layers):
        handler = awaiting(layer(handler)) if awaits else layer(handler)
    async with serving(with_plan(handler)) as running:
        yield running, registry, finished


def with_plan(below: Handler) -> Handler:

    from make import TARGET

    return lambda call: below(structs.replace(call, plan=(TARGET,)))


STAGES = ["before the first piece", "after a piece", "blocked in a write"]


@pytest.mark.parametrize("awaits", [False, True])
@pytest.mark.parametrize("stage", STAGES)
async def test_a_cancelled_stream_is_closed_and_counted_once(stage: str, awaits: bool) -> None:
    source = Source(stage)
    async with gateway(source, awaits=awaits) as (running, registry, finished):
        stream = running.stub.StreamGenerate(REQUEST)
        if stage == "after a piece":
            first: Any = await stream.read()
            assert first.HasField("started")
        await stream.initial_metadata() if stage == "blocked in a write" else None
        await source.reached.wait() if stage != "blocked in a write" else await wait_stuck(source)
        cancelled_at = time.monotonic()
        stream.cancel()
        await asyncio.wait_for(source.closed.wait(), 5)
        assert source.closed_at - cancelled_at < WITHIN
        await registry.wait_idle()
        await wait_until(lambda: bool(finished))
        assert [call.result for call in finished] == ["cancelled"]


@pytest.mark.parametrize("awaits", [False, True])
async def test_a_cancelled_unary_call_is_closed_and_counted_once(awaits: bool) -> None:
    source = Source("after a piece")
    async with gateway(source, awaits=awaits) as (running, registry, finished):
        call = running.stub.Generate(REQUEST)
        await source.reached.wait()
        cancelled_at = time.monotonic()
        call.cancel()
        await asyncio.wait_for(source.closed.wait(), 5)
        assert source.closed_at - cancelled_at < WITHIN
        await registry.wait_idle()
        await wait_until(lambda: bool(finished))
        assert [call.result for call in finished] == ["cancelled"]


@pytest.mark.parametrize("method", ["Generate", "StreamGenerate"])
@pytest.mark.parametrize("stage", ["waiting for the head", "amid the body"])
async def test_the_upstreams_socket_is_closed(method: str, stage: str) -> None:
    event = b'data: {"id":"x","choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
    begun = [head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"}), chunk(event)]
    async with upstream([*(begun if stage == "amid the body" else []), hold]) as server:
        client = HttpClient(max_connections=4, connect_timeout=2)
        source = build_upstream(Endpoint(server.base_url, {}, Quirks()), openai_chat, client)
        async with gateway(source, awaits=True) as (running, registry, _):
            call = getattr(running.stub, method)(REQUEST)
            if stage == "amid the body" and method == "StreamGenerate":
                await call.read()
            await asyncio.wait_for(server.wait_requests(1), 5)
            cancelled_at = asyncio.get_running_loop().time()
            call.cancel()
            closed_at = await asyncio.wait_for(server.connections[0].closed_by_peer, 5)
            assert closed_at - cancelled_at < WITHIN
            await registry.wait_idle()
        await client.aclose()


async def test_a_deadline_closes_the_upstream_too() -> None:
    source = Source("after a piece")
    async with gateway(source, awaits=True) as (running, registry, finished):
        with pytest.raises(Exception, match="DEADLINE_EXCEEDED"):
            await running.stub.Generate(REQUEST, timeout=0.2)
        await asyncio.wait_for(source.closed.wait(), 5)
        await registry.wait_idle()
        await wait_until(lambda: bool(finished))
        assert [call.result for call in finished] == ["error"]


async def wait_until(condition) -> None:  # type: ignore[no-untyped-def]
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)


async def wait_stuck(source: Source) -> None:
    """Until nothing more can be written: the count stands still for many turns of the loop."""
    async with asyncio.timeout(10):
        still, last = 0, -1
        while still < 5000:
            still, last = (still + 1, last) if source.written == last else (0, source.written)
            await asyncio.sleep(0)
