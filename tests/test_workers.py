"""`trunkline serve --workers N`, as processes: one gateway from outside, whatever becomes of its workers."""

from __future__ import annotations

import asyncio
import os
import re
import select
import signal
import socket
import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import databases
import grpc
import pytest
import yaml
from fleet import configuration, member
from valkeys import valkey

from trunkline.v1 import admin_service_pb2 as admin_pb
from trunkline.v1 import gateway_service_pb2 as pb
from trunkline.v1.admin_service_pb2_grpc import AdminServiceStub
from trunkline_server.cli.failures import Failed
from trunkline_server.cli.supervisor import reserved
from trunkline_server.cli.worker import shared_stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from fleet import Member

    from trunkline.v1.gateway_service_pb2_grpc import GatewayServiceAsyncStub

HELLO = pb.GenerateRequest(model="mock/mock-fast", prompt="hello")
SLOW = pb.GenerateRequest(model="slow", prompt="hello")
SCRIPTS = {"slow": {"kind": "scripted", "scripts": {"talk": {"text": "word", "repeat": 20, "rate": 20}}}}
COUNT = 2


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with databases.postgres_server() as server:
        yield server


@asynccontextmanager
async def workers(tmp_path: Path, postgres: str, **document: Any) -> AsyncIterator[Member]:
    """A gateway with workers, all of which take calls."""
    said = {"providers": {"mock": {}, **SCRIPTS}, "server": {"admin_listen": "127.0.0.1:0"}, **document}
    path = configuration(tmp_path, await databases.new_database(postgres), said)
    async with member(path, "--workers", str(COUNT)) as running:
        await running.told("workers_ready")
        yield running


async def connections(running: Member) -> list[GatewayServiceAsyncStub]:
    """A connection to each worker: the kernel says to which a connection goes."""
    found: dict[int, GatewayServiceAsyncStub] = {}
    while len(found) < COUNT:
        stub = await running.connect()
        before = len(running.lines("call"))
        await stub.Generate(HELLO)
        found.setdefault((await running.told("call", before + 1))[-1]["worker"], stub)
    return [stub for _, stub in sorted(found.items())]


async def last_of(stream: Any) -> str:
    last = ""
    while (event := await stream.read()) is not grpc.aio.EOF:
        last = event.WhichOneof("event")
    return last


def children(process: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process)], capture_output=True, text=True, check=False)
    return [int(pid) for pid in found.stdout.split()]


def is_there(process: int) -> bool:
    told = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True, check=False).stdout
    return bool(told.strip()) and not told.startswith("Z")  # nobody waited for it


async def until_gone(processes: list[int]) -> None:
    while any(map(is_there, processes)):
        await asyncio.sleep(0.01)


async def test_all_take_calls_at_one_port_and_come_to_their_end_together(tmp_path: Path, server: str) -> None:
    async with workers(tmp_path, server) as running:
        stubs = await connections(running)
        spawned = children(running.process.pid)
        assert len(spawned) == COUNT
        streams = [stub.StreamGenerate(SLOW) for stub in stubs]
        for stream in streams:
            await stream.read()
        running.process.send_signal(signal.SIGTERM)
        for stream in streams:
            assert await last_of(stream) == "completed"
        assert await running.process.wait() == 0
        assert not any(map(is_there, spawned))
        assert len(running.lines("workers_ready")) == 1


async def test_what_an_administrator_switches_holds_at_every_worker_also_at_one_that_is_new(
    tmp_path: Path, server: str
) -> None:
    async with workers(tmp_path, server) as running:
        stubs = await connections(running)
        address = running.lines("listening")[0]["admin"]
        async with grpc.aio.insecure_channel(address) as channel:
            admin = AdminServiceStub(channel)
            await admin.SetProviderEnabled(admin_pb.SetProviderEnabledRequest(provider="slow", reason="late"))
            await admin.SetStrategy(admin_pb.SetStrategyRequest(strategy="cost_optimized", workspace="default"))
            await running.told("provider_disabled", COUNT)
            for stub in stubs:
                with pytest.raises(grpc.aio.AioRpcError, match="out of routing"):
                    await stub.Generate(SLOW)
                assert (await stub.Generate(pb.GenerateRequest(prompt="hi"))).served.strategy == "cost_optimized"
        for pid in children(running.process.pid):
            os.kill(pid, signal.SIGKILL)
        await running.told("worker_started", COUNT)
        for stub in await connections(running):
            with pytest.raises(grpc.aio.AioRpcError, match="out of routing"):
                await stub.Generate(SLOW)
        async with grpc.aio.insecure_channel(address) as channel:
            listed = await AdminServiceStub(channel).ListProviders(admin_pb.ListProvidersRequest(provider="slow"))
            assert "out of routing" in listed.providers[0].health.reason


async def test_a_worker_that_dies_is_replaced_and_said_once(tmp_path: Path, server: str) -> None:
    async with workers(tmp_path, server) as running:
        dying, living = children(running.process.pid)
        os.kill(dying, signal.SIGKILL)
        ((died),) = await running.told("worker_died")
        await running.told("worker_started")
        assert died["status"] == "SIGKILL"
        assert living in children(running.process.pid)
        assert len(children(running.process.pid)) == COUNT
        await connections(running)
        assert len(running.lines("worker_died")) == 1


async def test_no_worker_outlives_the_process_that_started_it(tmp_path: Path, server: str) -> None:
    async with workers(tmp_path, server) as running:
        spawned = children(running.process.pid)
        running.process.kill()
        await running.process.wait()
        await until_gone(spawned)


async def test_a_second_signal_ends_all_at_once(tmp_path: Path, server: str) -> None:
    async with workers(tmp_path, server, server={"notice": "1h"}) as running:
        spawned = children(running.process.pid)
        while running.process.returncode is None:
            running.process.send_signal(signal.SIGINT)
            await asyncio.sleep(0.1)
        await until_gone(spawned)


async def test_limits_hold_for_all_workers_together_and_without_valkey_each_has_its_part(
    tmp_path: Path, server: str
) -> None:
    room = 5
    async with valkey() as shared:
        limits = {"each_workspace": {"requests_per_minute": room}}
        async with workers(tmp_path, server, caller_limits=limits, valkey={"url": shared.url}) as running:
            stubs = [await running.connect() for _ in range(8)]
            calls = (stub.Generate(HELLO) for stub in stubs for _ in range(4))
            answers = await asyncio.gather(*calls, return_exceptions=True)
            assert sum(isinstance(each, pb.GenerateResponse) for each in answers) == room
            shared.kill()
            with pytest.raises(grpc.aio.AioRpcError, match=f"may have {room // COUNT} requests a minute"):
                while True:
                    await stubs[0].Generate(HELLO)


def refused(tmp_path: Path, document: dict[str, Any], *arguments: str) -> tuple[int, str]:
    path = tmp_path / "trunkline.yaml"
    path.write_text(yaml.safe_dump(document))
    command = [sys.executable, "-m", "trunkline_server", "serve", "--config", str(path), "--workers", "2", *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in ran.stderr
    return ran.returncode, ran.stderr


def test_what_workers_would_not_share_is_refused_by_name(tmp_path: Path) -> None:
    code, told = refused(tmp_path, {"caller_limits": {"each_key": {"concurrency": 3}}})
    assert code == 2
    assert "ledger.url: expected postgresql://" in told
    assert "valkey.url: expected valkey://" in told


def test_a_port_that_another_has_is_refused(tmp_path: Path) -> None:
    for option in (None, socket.SO_REUSEPORT):
        with socket.socket() as taken:
            if option:
                taken.setsockopt(socket.SOL_SOCKET, option, 1)
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            document = {"ledger": {"url": "postgresql://nobody@127.0.0.1/none"}}
            assert refused(tmp_path, document, "--listen", address)[0] == 1


def test_a_database_that_is_not_there_is_told_once(tmp_path: Path) -> None:
    document = {"ledger": {"url": "postgresql://nobody@127.0.0.1:1/none"}, "server": {"listen": "127.0.0.1:0"}}
    code, told = refused(tmp_path, document)
    assert code == 1
    assert told.count("the ledger cannot be opened") == 1


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "localhost:0", "0.0.0.0:0", "[::1]:0"])
async def test_a_port_that_is_held_is_nobody_elses(listen: str) -> None:
    """Of ours as many as like listen on it; who binds it otherwise is refused, as long as it is held."""
    with reserved(listen) as address:
        host, _, port = address.rpartition(":")
        servers = [grpc.aio.server(options=[("grpc.so_reuseport", 1)]) for _ in range(2)]
        assert [server.add_insecure_port(address) for server in servers] == [int(port)] * 2
        for server in servers:
            await server.start()
        async with grpc.aio.insecure_channel(address.replace("0.0.0.0", "127.0.0.1")) as channel:
            await channel.channel_ready()
        with pytest.raises(Failed, match=f"cannot listen on {re.escape(address)}"), reserved(f"{host}:{port}"):
            pass
        for server in servers:
            await server.stop(None)


def test_lines_of_several_workers_do_not_mix() -> None:
    """A pipe takes so much in one piece, which is a packet in this kind of pipe, and never breaks a line."""
    reads, writes = os.pipe2(os.O_DIRECT)
    lines = [b"%d " % number * (number % 90) + b"\n" for number in range(256)]
    stream = shared_stream(writes)
    stream.write(b"".join(lines))
    stream.flush()
    os.close(writes)
    packets = list(iter(lambda: os.read(reads, 1 << 16), b""))
    os.close(reads)
    assert b"".join(packets) == b"".join(lines)
    assert len(packets) > 1
    assert all(packet.endswith(b"\n") and len(packet) <= select.PIPE_BUF for packet in packets)
