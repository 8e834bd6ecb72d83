"""A call that is cancelled at every point where it waits, through all of App's layers over real files and sockets.

Strict ledger, a hard budget, limits of the caller's. Whenever it happens: exactly one row of the call, at most one
attempt and that one ended, no task, no money held, no limit held.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import aclosing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from gateway import gateway, settings_of
from upstreams import chunk, head, upstream

from trunkline.v1 import gateway_service_pb2 as pb
from trunkline_server.core import Call, now
from trunkline_server.rpc.edge import new_id

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    from gateway import Gateway
    from upstreams import Connection, Upstream

    from trunkline_server.settings import Settings

PIECE = b'data: {"id":"x","choices":[{"index":0,"delta":{"content":"word "}}]}\n\n'
LAST = b"""data: {"id":"x","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}

data: {"id":"x","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}

data: [DONE]

"""
WHOLE = b"""{"id":"x","choices":[{"index":0,"message":{"content":"word"},"finish_reason":"stop"}],
"usage":{"prompt_tokens":7,"completion_tokens":3}}"""


class Stepped(Coroutine[Any, Any, Any]):
    """A coroutine that tells each time it waits."""

    def __init__(self, inner: Coroutine[Any, Any, Any], waits: Callable[[], None]) -> None:
        self._inner = inner
        self._waits = waits

    def send(self, value: Any) -> Any:
        found = self._inner.send(value)
        self._waits()
        return found

    def throw(self, *error: Any) -> Any:
        found = self._inner.throw(*error)
        self._waits()
        return found

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._inner.__await__()


@contextmanager
def stepping(waits: Callable[[], None]) -> Iterator[None]:
    """Every task that begins in here, whoever begins it, tells when it waits."""
    loop = asyncio.get_running_loop()
    loop.set_task_factory(lambda loop, coro, **more: asyncio.Task(Stepped(coro, waits), loop=loop, **more))
    try:
        yield
    finally:
        loop.set_task_factory(None)


async def slowly(connection: Connection) -> None:
    """A stream in pieces that the gateway reads one by one."""
    begin = head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"})
    with suppress(RuntimeError):  # uvloop, of a connection that was closed
        for piece in (begin, chunk(PIECE), chunk(PIECE), chunk(LAST), chunk()):
            for _ in range(3):
                await asyncio.sleep(0)
            await connection.send(piece)


def settings_for(tmp_path: Path, server: Upstream) -> Settings:
    provider = {"kind": "openai_compatible", "base_url": server.base_url, "models": ["m"]}
    document = {
        "ledger": {"mode": "strict"},
        "providers": {"p": provider},
        "prices": [{"model": "p/m", "input": 1, "output": 1000}],
        "budgets": {"b": {"limit": 1000, "period": "total"}},
        # One call at once: a place that is not given back refuses all that follow.
        "caller_limits": {"each_workspace": {"concurrency": 1, "requests_per_minute": 10**6}},
    }
    return settings_of(tmp_path, document)


async def cancelled_at(
    running: Gateway, server: Upstream, step: int, *, streaming: bool, twice: bool
) -> tuple[bool, str]:
    """Cancel a call where it, or what it began, waits for the time `step`. Whether it had ended before, and its id."""
    app, waited = running.app, 0
    request = pb.GenerateRequest(model="p/m", prompt="hello")
    request.config.max_output_tokens = 100
    call = Call(new_id(), request, now(), now() + 60, streaming, app.current.chain.snapshot)

    async def read() -> None:
        async with aclosing(app.current.chain.handler(call)) as events:
            async for _ in events:
                await asyncio.sleep(0)

    def waits() -> None:
        nonlocal waited
        waited += 1
        if waited == step or (twice and waited == step + 1):
            reading.cancel()

    before = asyncio.all_tasks()
    with stepping(waits):
        reading = asyncio.create_task(read())
        await asyncio.wait([reading])
        async with asyncio.timeout(5):
            while begun := asyncio.all_tasks() - before - {*server._tasks}:
                await asyncio.wait(begun)
    if not reading.cancelled():
        reading.result()
    return not reading.cancelled(), call.id


async def left_behind(running: Gateway, call_id: str) -> dict[str, list[tuple[Any, ...]]]:
    """What there is of a call, and what is held."""
    ledger = running.app._ledger
    await ledger.flush()
    queries = {
        "calls": f"SELECT result FROM calls WHERE call_id = '{call_id}'",
        "attempts": f"SELECT attempt FROM attempts WHERE call_id = '{call_id}'",
        "open": "SELECT call_id FROM open_attempts",
        "held": "SELECT amount FROM budget_holds WHERE state = 0",
    }
    return {name: [tuple(row) for row in await ledger.database.fetch(sql)] for name, sql in queries.items()}


@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize("streaming", [True, False])
async def test_wherever_a_call_is_cancelled_one_row_is_left_and_nothing_else(
    tmp_path: Path, streaming: bool, twice: bool
) -> None:
    body = [slowly] if streaming else [head(200, {"content-length": str(len(WHOLE))}), WHOLE]
    async with upstream(body) as server, gateway(settings_for(tmp_path, server)) as running:
        seen, step, whole = [], 0, False
        while not whole:
            step += 1
            whole, call_id = await cancelled_at(running, server, step, streaming=streaming, twice=twice)
            left = await left_behind(running, call_id)
            seen.append((len(left["attempts"]), left["calls"]))
            assert len(left["attempts"]) <= 1, step
            assert (len(left["calls"]), left["open"], left["held"]) == (1, [], []), step
            assert left["calls"] == [("success" if whole else "cancelled",)], step
        ledger = running.app._ledger
        ((paid, posted),) = await ledger.database.fetch(
            "SELECT (SELECT SUM(cost) FROM attempts), (SELECT SUM(posted) FROM budget_accounts)"
        )
        assert paid == posted > 0
    assert {attempts for attempts, _ in seen} == {0, 1}, "both before and after it was sent"
    assert step > 8
