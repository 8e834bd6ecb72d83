"""Gateways in processes of their own that share a PostgreSQL and a Valkey: several, or the workers of one."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml
from grpc import aio
from processes import listening

from trunkline.v1.gateway_service_pb2_grpc import GatewayServiceStub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    from trunkline.v1.gateway_service_pb2_grpc import GatewayServiceAsyncStub


@dataclass
class Member:
    """A gateway's process."""

    process: asyncio.subprocess.Process
    address: str
    written: list[bytes]
    channels: list[aio.Channel] = field(default_factory=list)

    def lines(self, event: str) -> list[dict[str, Any]]:
        """What its log says of this."""
        return [line for line in map(json.loads, self.written) if line["event"] == event]

    async def told(self, event: str, times: int = 1) -> list[dict[str, Any]]:
        """The same, once it is said so often."""
        while len(found := self.lines(event)) < times:
            assert self.process.returncode is None, self.written
            await asyncio.sleep(0.01)
        return found

    async def connect(self) -> GatewayServiceAsyncStub:
        """Over a connection of its own."""
        # Channels with the same options would share one.
        options = [("grpc.use_local_subchannel_pool", 1)]
        self.channels.append(aio.insecure_channel(self.address, options=options))
        await self.channels[-1].channel_ready()
        return GatewayServiceStub(self.channels[-1])


def configuration(tmp_path: Path, database: str, document: Mapping[str, Any]) -> Path:
    """The file of a gateway with this database, on a port of its own."""
    server = {"listen": "127.0.0.1:0", "admin_listen": "", "notice": 0, **document.get("server", {})}
    ledger = {"url": database, "folder": str(tmp_path / "journal")}
    path = tmp_path / "trunkline.yaml"
    path.write_text(yaml.safe_dump({"discovery": {"every": 0}, **document, "server": server, "ledger": ledger}))
    return path


@asynccontextmanager
async def member(path: Path, *arguments: str) -> AsyncIterator[Member]:
    """One gateway; killed at the end."""
    written: list[bytes] = []
    command = ("serve", "--config", str(path), *arguments)
    async with listening("trunkline_server", *command, read=written.append) as (process, address):
        running = Member(process, address, written)
        try:
            yield running
        finally:
            for channel in running.channels:
                await channel.close()


@asynccontextmanager
async def fleet(path: Path, count: int) -> AsyncIterator[Sequence[Member]]:
    """Several of them with the same configuration."""
    async with AsyncExitStack() as stack:
        yield await asyncio.gather(*(stack.enter_async_context(member(path)) for _ in range(count)))
