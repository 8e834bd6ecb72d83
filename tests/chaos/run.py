"""A run: providers in trouble, a gateway, callers; and what is written down of it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from chaos.invariants import STEADY
from chaos.load import MODELS, load
from chaos.machine import watched
from chaos.providers import providers
from chaos.records import Held, Run
from chaos.troubles import trouble
from grpc import aio
from ledger_truth import read_rows
from processes import listening

from trunkline.v1 import gateway_service_pb2 as pb
from trunkline.v1.gateway_service_pb2_grpc import GatewayServiceStub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from chaos.providers import Provider

VICTIMS = ("alpha", "beta", "gamma")
CALLERS = 16
# Of the run, before anything is done to anybody.
CALM = 0.2
# Seconds.
LIMITS = {"default_deadline": 2.0, "first_token": 1.2, "between_tokens": 0.8, "connect": 0.5}
# Connections to a provider: enough for all callers, and few enough that it shows if one is not given back.
MOST = 40
# Seconds in which a gateway without calls lets go of something, until it has of everything: on a machine that has other
# things to do, a thousand streams take longer than this in all.
SETTLED = 5.0
# Seconds in which it ends: the grace, and what the ledger may take.
DRAINED = 16.0


async def run(folder: Path, seed: int, seconds: float) -> Run:
    """Bring trouble for so long, and write down what came of it."""
    record = Run(seed, strict=seed % 2 == 0, default_deadline=LIMITS["default_deadline"])
    async with providers((STEADY, *VICTIMS), folder, seed) as others:
        configuration = configure(folder, others, strict=record.strict)
        async with listening("chaos.gateway", str(configuration), read=_suspicious(record.said)) as (process, address):
            record.before = await held(process)
            async with watched(record.starved, process.pid, os.getpid()), _weighed(process, record):
                await _trouble(record, others, address, seconds)
            record.in_flight = await _in_flight(address)
            await asyncio.gather(*(each.kill() for each in others.values()))
            record.after = await settled(process, record.before)
            record.memory.append((time.monotonic(), record.after.memory))
            record.attempts, record.ended, record.ledger_problems = read_rows(folder / "ledger.sqlite3")
            record.exit_code = await _drained(process)
        record.seen = sorted((seen for each in others.values() for seen in each.seen()), key=lambda seen: seen.when)
    return record


async def _trouble(record: Run, others: Mapping[str, Provider], address: str, seconds: float) -> None:
    began = time.monotonic()
    until = began + seconds
    loading = asyncio.create_task(load(address, list(others), record.seed, CALLERS, until, record.calls))
    await asyncio.sleep(seconds * CALM)
    record.chaos_since = time.monotonic()
    await asyncio.gather(*(trouble(others[name], record.seed, until, record.troubles) for name in VICTIMS))
    await loading


def configure(
    folder: Path, others: Mapping[str, Provider], *, strict: bool, connections: int = MOST, **limits: float
) -> Path:
    """The gateway's configuration: it waits less than most, so that it comes to every end. `limits`: others."""
    document = {
        "server": {"listen": "127.0.0.1:0", "admin_listen": "", "notice": 0, "grace": 5},
        "limits": {**LIMITS, **limits},
        "ledger": {
            "mode": "strict" if strict else "relaxed",
            "url": f"sqlite:///{folder / 'ledger.sqlite3'}",
            "folder": str(folder / "journal"),
        },
        "discovery": {"every": 0},
        "prices": [{"model": f"{name}/*", "input": "1", "output": "2"} for name in others],
        "providers": {name: _provider(each.port, connections) for name, each in others.items()},
    }
    path = folder / "trunkline.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def _provider(port: int, connections: int) -> dict[str, object]:
    return {
        "kind": "openai_compatible",
        "base_url": f"http://127.0.0.1:{port}/v1",
        "models": list(MODELS),
        "max_connections": connections,
        # Small, so that they come about and are over many times in a run.
        "breaker": {"recovery": 0.3},
        "retry": {"base": 0.05, "cap": 0.5},
    }


# --- looking into the gateway -----------------------------------------------------------------------------------------


async def held(process: asyncio.subprocess.Process) -> Held:
    """What it holds now."""
    assert process.stdout is not None
    process.send_signal(signal.SIGUSR1)
    return Held(**json.loads(await process.stdout.readline()))


async def settled(process: asyncio.subprocess.Process, before: Held) -> Held:
    """What it holds when it holds no more than before, or has let go of nothing for SETTLED seconds."""
    least, until = float("inf"), 0.0
    while True:
        now = await held(process)
        tasks = sum(now.tasks.values())
        left = tasks + now.sockets + now.queued
        if left < least:
            least, until = left, time.monotonic() + SETTLED
        fewer = tasks <= sum(before.tasks.values()) and now.sockets <= before.sockets and not now.queued
        if fewer or time.monotonic() >= until:
            return now
        await asyncio.sleep(0.05)


async def _drained(process: asyncio.subprocess.Process) -> int | None:
    """Its exit code once it is told to end; None if it does not within DRAINED seconds."""
    process.send_signal(signal.SIGTERM)
    with suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), DRAINED)
    return process.returncode


async def _in_flight(address: str) -> int:
    """Calls that endpoints say are running or waiting, once that is none or a second has passed."""
    until = time.monotonic() + 1
    async with aio.insecure_channel(address) as channel:
        while True:
            health = await GatewayServiceStub(channel).HealthCheck(pb.HealthCheckRequest(include_providers=True))
            ends = [end for provider in health.providers for end in provider.endpoints]
            running = sum(end.in_flight + end.queue_depth for end in ends)
            if not running or time.monotonic() >= until:
                return running
            await asyncio.sleep(0.05)


@asynccontextmanager
async def _weighed(process: asyncio.subprocess.Process, record: Run) -> AsyncIterator[None]:
    """Note now and then how large the gateway is."""
    weighing = asyncio.create_task(_weigh(process, record))
    try:
        yield
    finally:
        weighing.cancel()
        await asyncio.wait([weighing])


async def _weigh(process: asyncio.subprocess.Process, record: Run) -> None:
    while True:
        record.memory.append((time.monotonic(), _memory(process.pid)))
        await asyncio.sleep(1)


def _memory(process: int) -> int:
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _suspicious(said: list[str]):  # type: ignore[no-untyped-def]
    def read(line: bytes) -> None:
        try:
            event = json.loads(line)
        except ValueError:
            said.append(line.decode(errors="replace").rstrip())
        else:
            if event["level"] in ("error", "critical") or event["event"] == "bug":
                said.append(line.decode().rstrip()[:500])

    return read
