"""A provider that bills what nobody waits for, behind a whole gateway: it is read on, and not beyond the grace."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from gateway import Gateway, gateway, settings_of
from upstreams import chunk, head, hold, upstream

from trunkline.v1 import call_pb2
from trunkline.v1 import gateway_service_pb2 as pb
from trunkline_server.providers.table import ROWS
from trunkline_server.state.ledger.reading import read

if TYPE_CHECKING:
    from pathlib import Path

    from upstreams import Connection, Upstream

BEGUN = head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"}) + chunk(
    b'data: {"id":"x","choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
)
REST = (
    chunk(
        b'data: {"id":"x","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
        b'data: {"id":"x","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":500}}\n\ndata: [DONE]\n\n'
    )
    + chunk()
)
WITHIN = 0.1


def document(server: Upstream, read_on: str) -> dict[str, Any]:
    provider = {"kind": "openai_compatible", "base_url": server.base_url, "models": ["m"], "read_on": read_on}
    return {"server": {"grace": "1s"}, "providers": {"p": provider}}


async def left_amid_an_answer(running: Gateway) -> float:
    """A caller reads the first piece and goes away: when."""
    stream: Any = running.stub.StreamGenerate(pb.GenerateRequest(model="p/m", prompt="hello"))
    assert (await stream.read()).HasField("started")
    stream.cancel()
    return asyncio.get_running_loop().time()


async def rows(running: Gateway) -> list[tuple[int, int, int]]:
    """Of each attempt that has ended: how, how sure its usage is, tokens out."""
    ledger = running.app._ledger
    await ledger.flush()
    query = "SELECT outcome, certainty, output_tokens FROM attempts WHERE duration IS NOT NULL"
    return [tuple(row) for row in await read(ledger.database, query)]


@pytest.mark.parametrize("dialect", ["bedrock_converse"])
def test_who_bills_what_nobody_reads_is_known(dialect: str) -> None:
    assert {row.dialect for row in ROWS.values() if row.read_on} == {dialect}


async def test_what_a_cancelled_stream_used_is_exact(tmp_path: Path) -> None:
    more = asyncio.Event()

    async def wait(_: Connection) -> None:
        await more.wait()

    async with upstream([BEGUN, wait, REST]) as server:
        async with gateway(settings_of(tmp_path, document(server, "30s"))) as running:
            await left_amid_an_answer(running)
            while not (await running.stub.UsageStats(pb.UsageStatsRequest())).totals.cancelled:
                await asyncio.sleep(0)
            assert await rows(running) == []
            more.set()
            async with asyncio.timeout(5):
                while not (found := await rows(running)):
                    await asyncio.sleep(0)
            assert found == [(call_pb2.OUTCOME_CANCELLED, call_pb2.CERTAINTY_REPORTED, 500)]


async def test_a_shutdown_waits_for_the_grace_and_no_longer(tmp_path: Path) -> None:
    async with upstream([BEGUN, hold]) as server:
        async with asyncio.timeout(10), gateway(settings_of(tmp_path, document(server, "1h"))) as running:
            await left_amid_an_answer(running)
            while not (await running.stub.UsageStats(pb.UsageStatsRequest())).totals.cancelled:
                await asyncio.sleep(0)
            assert not server.connections[0].closed_by_peer.done()
        assert server.connections[0].closed_by_peer.done()


async def test_everybody_else_is_closed_at_once(tmp_path: Path) -> None:
    async with upstream([BEGUN, hold]) as server:
        async with gateway(settings_of(tmp_path, document(server, "0s"))) as running:
            left = await left_amid_an_answer(running)
            closed = await asyncio.wait_for(server.connections[0].closed_by_peer, 5)
            assert closed - left < WITHIN
