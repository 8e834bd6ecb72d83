"""What programs are run against: a gateway in the clear, one with TLS, and an upstream that streams for ever."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import yaml
from certificates import Authority
from keyed import PEPPER, make_key, new_database
from matrix.cases import GOLDEN, HELLO, TOOL, WEATHER
from processes import listening
from upstreams import chunk, head, upstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from upstreams import Connection, Upstream

# Seconds between two pieces of the answer that never ends.
PACE = 0.02
# Seconds that scripted/busy asks callers to wait.
BUSY = 0.3
# Of the retries only those of the program are looked at, and what fails on purpose is not left alone.
FIRM = {"retry": {"max_attempts": 1}, "breaker": {"failures": 1000}}
FAILING = {"kind": "cut", "after": 0}
SCRIPTS = {
    "hello": {"text": HELLO},
    "tools": {"text": WEATHER, "tool_calls": [{"name": TOOL[0], "arguments": TOOL[1]}]},
    "error": {"failure": FAILING},
    "stop": {"failure": FAILING},
    "busy": {"text": HELLO, "failure": {"kind": "status", "status": 503, "retry_after": BUSY, "times": 2}},
}


@dataclass(frozen=True)
class House:
    """Where everything is."""

    gateway: asyncio.subprocess.Process
    slow: Upstream
    environment: Mapping[str, str]


@asynccontextmanager
async def house(folder: Path) -> AsyncIterator[House]:
    """Everything running, with a key and files below `folder`."""
    authority = Authority.new(folder)
    (folder / "pepper").write_bytes(PEPPER)
    database = await new_database(folder)
    key = await make_key(database)
    await database.aclose()
    async with AsyncExitStack() as stack:
        slow = await stack.enter_async_context(upstream([head(200, _HEADERS), _first, _drip]))
        plain, secure = _write(folder, "plain", slow), _write(folder, "secure", slow, tls=authority.server())
        gateway, address = await stack.enter_async_context(listening("chaos.gateway", str(plain)))
        _, tls_address = await stack.enter_async_context(listening("chaos.gateway", str(secure)))
        environment = {
            "TRUNKLINE_ADDRESS": address,
            "TRUNKLINE_TLS_ADDRESS": f"localhost:{tls_address.rpartition(':')[2]}",
            "TRUNKLINE_CA": str(folder / "ca.pem"),
            "TRUNKLINE_API_KEY": key,
            "TRUNKLINE_GOLDEN": str(GOLDEN),
        }
        yield House(gateway, slow, environment)


def _write(folder: Path, name: str, slow: Upstream, **server: Any) -> Path:
    """The configuration of one of the gateways. They share the ledger's database, which has the key."""
    document = {
        "default_model": "scripted/hello",
        "server": {
            "listen": "127.0.0.1:0",
            "admin_listen": "",
            "notice": 0,
            "grace": 1,
            "auth": "keys",
            "pepper": f"file:{folder / 'pepper'}",
            **server,
        },
        "ledger": {"url": f"sqlite:///{folder / 'ledger.sqlite3'}", "folder": str(folder / name)},
        "discovery": {"every": 0},
        "providers": {
            "scripted": {"kind": "scripted", "scripts": SCRIPTS, **FIRM},
            "slow": {"kind": "openai_compatible", "base_url": f"{slow.base_url}/v1", "models": ["upstream"]},
        },
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


# --- the upstream -----------------------------------------------------------------------------------------------------

_HEADERS = {"content-type": "text/event-stream", "transfer-encoding": "chunked"}
# When the first piece was sent, by the loop's time.
BEGAN: dict[Connection, float] = {}


async def _first(connection: Connection) -> None:
    BEGAN[connection] = asyncio.get_running_loop().time()
    await connection.send(_piece({"role": "assistant", "content": "on"}))


async def _drip(connection: Connection) -> None:
    """Go on until the gateway closes the connection."""
    while not connection.closed_by_peer.done():
        await asyncio.wait([connection.closed_by_peer], timeout=PACE)
        await connection.send(_piece({"content": " and on"}))


def _piece(delta: Mapping[str, str]) -> bytes:
    event = {"id": "slow", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    return chunk(b"data: " + msgspec.json.encode(event) + b"\n\n")


async def closings(slow: Upstream, prompt: str, limit: float) -> list[float | None]:
    """Of each request with this prompt: how long after its first piece its connection was closed, if within `limit`.

    The caller cancels when it has read that piece: this is more than it took from there.
    """
    asked = [number for number, request in enumerate(slow.requests) if prompt.encode() in request.body]
    return [await _closing(slow.connections[number], limit) for number in asked]


async def _closing(connection: Connection, limit: float) -> float | None:
    done, _ = await asyncio.wait([connection.closed_by_peer], timeout=limit)
    return connection.closed_by_peer.result() - BEGAN[connection] if done else None
