"""The raw upstream of the tests itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from upstreams import upstream

if TYPE_CHECKING:
    from upstreams import Connection


async def test_what_a_script_sends_after_the_peer_has_gone_is_no_failure_of_the_test() -> None:
    async def drip(connection: Connection) -> None:
        while True:
            await connection.send(b"on and on")
            await asyncio.sleep(0)

    async with upstream([drip]) as server:
        _, writer = await asyncio.open_connection("127.0.0.1", int(server.base_url.rpartition(":")[2]))
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await server.wait_requests(1)
        writer.transport.abort()
        await server.connections[0].closed_by_peer
        for _ in range(10):  # turns of the loop in which the script goes on sending
            await asyncio.sleep(0)
