"""`trunkline serve --workers N`: starts the workers, has them live, passes on what one of them tells, and ends them.

It holds the port, so that nobody else gets it, and takes no calls itself.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

from msgspec import structs

from trunkline_server.cli.channel import Drain, NotStarted, Ready, open_channel
from trunkline_server.cli.failures import ExitCode, Failed
from trunkline_server.cli.signals import stop_on_signals
from trunkline_server.logs import build_log
from trunkline_server.state.switches import Switch

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Iterator

    from trunkline_server.cli.channel import Begin, Channel
    from trunkline_server.logs import Log
    from trunkline_server.settings import ServerSettings

# Seconds until a worker that died is started again: the first time, and at most; it is the first time again for one
# that lived so long.
PAUSE, LONGEST_PAUSE, STEADY = 0.5, 30.0, 60.0
# Seconds that a worker may take to end beyond what the settings give its calls.
CLOSING = 15.0


def serve_with_workers(begin: Begin, config: bytes | None, server: ServerSettings) -> None:
    """Run workers until SIGTERM or SIGINT, then drain them. Raises Failed if they cannot start.

    `begin` is what the first is told, but for what is known only here. `config` is the configuration's file as it is
    now: a worker that is started again has the same.
    """
    with reserved(server.listen) as address:
        supervisor = Supervisor(structs.replace(begin, address=address), config, build_log())
        asyncio.run(_supervise(supervisor, server.notice + server.grace + CLOSING))


async def _supervise(supervisor: Supervisor, patience: float) -> None:
    asked_to_stop = asyncio.create_task(stop_on_signals().wait())
    working = asyncio.create_task(supervisor.work())
    await asyncio.wait([working, asked_to_stop], return_when=asyncio.FIRST_COMPLETED)
    failed = working.exception() if working.done() else None
    working.cancel()
    await asyncio.wait([working])
    await supervisor.drain(patience)
    if failed is not None:
        raise failed


@contextmanager
def reserved(listen: str) -> Iterator[str]:
    """The address with its port, kept from everybody but our workers. Raises Failed where another has it.

    Nobody else can have bound it, nor bind it while we do, since it is bound before it is shared.
    """
    host, _, port = listen.rpartition(":")
    with ExitStack() as opened:
        try:
            places = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            for family, _, _, _, place in places:
                bound = opened.enter_context(socket.socket(family))
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                bound.bind((place[0], int(port), *place[2:]))
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                port = bound.getsockname()[1]
        except OSError:
            why = f"cannot listen on {listen}: it is in use, or not an address of this machine"
            raise Failed(ExitCode.FAILED, why) from None
        yield f"{host}:{port}"


@dataclass(slots=True)
class _Child:
    """A worker's process."""

    process: Process
    channel: Channel
    begun: float
    # It takes calls.
    ready: bool = False
    # Why it does not.
    failure: NotStarted | None = None
    # Set once it is ready, or gone.
    news: asyncio.Event = field(default_factory=asyncio.Event)


class Supervisor:
    """For one event loop."""

    def __init__(self, begin: Begin, config: bytes | None, log: Log) -> None:
        self._begin = begin
        self._config = config
        self._log = log
        self._children: dict[int, _Child] = {}
        self._hearing: set[asyncio.Task[None]] = set()
        # By what it is about: the last of its kind.
        self._switches: dict[tuple[str, ...], Switch] = {}

    async def work(self) -> None:
        """Start them, the first one first, and have them live, until this is cancelled. Raises Failed."""
        first, *others = range(self._begin.count)
        await self._start(first)
        self._begin = structs.replace(self._begin, announces=False)
        await asyncio.gather(*map(self._start, others))
        self._log.info("workers_ready", workers=self._begin.count)
        await asyncio.gather(*map(self._keep, self._children))

    async def drain(self, patience: float) -> None:
        """Have all of them end, within so many seconds."""
        self._log.info("draining")
        for child in self._children.values():
            child.channel.send(Drain())
        ends = [asyncio.create_task(child.process.wait()) for child in self._children.values()]
        if ends:
            await asyncio.wait(ends, timeout=patience)
        for number, child in self._children.items():
            if child.process.returncode is None:
                self._log.error("worker_killed", worker=number, why="it did not come to its end in time")
                child.process.kill()
            await child.process.wait()
            await child.channel.aclose()
        self._log.info("stopped")

    async def _start(self, number: int) -> None:
        """Raises Failed."""
        child = await self._spawn(number)
        await child.news.wait()
        if not child.ready:
            code, why = await _end(child)
            raise Failed(ExitCode.FAILED if child.failure is None else ExitCode(child.failure.code), why or code)

    async def _keep(self, number: int) -> None:
        """Start it again whenever it ends."""
        pause = PAUSE
        while True:
            child = self._children[number]
            status, why = await _end(child)
            pause = PAUSE if time.monotonic() - child.begun >= STEADY else min(pause, LONGEST_PAUSE)
            self._log.warning("worker_died", worker=number, status=status, why=why or None, again_after=pause)
            await asyncio.sleep(pause)
            pause *= 2
            child = await self._spawn_somehow(number)
            await child.news.wait()
            if child.ready:
                self._log.info("worker_started", worker=number)

    async def _spawn_somehow(self, number: int) -> _Child:
        """Also where the system has no room for a process at the moment: the others go on meanwhile."""
        while True:
            try:
                return await self._spawn(number)
            except OSError as error:
                self._log.warning("worker_not_started", worker=number, why=error.strerror, again_after=LONGEST_PAUSE)
                await asyncio.sleep(LONGEST_PAUSE)

    async def _spawn(self, number: int) -> _Child:
        ours, its = socket.socketpair()
        with its, TemporaryFile() as copy:
            if self._config is not None:
                copy.write(self._config)
                copy.seek(0)
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                "trunkline_server.cli.worker",
                str(its.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=sys.stderr,
                pass_fds=(its.fileno(), copy.fileno()),
                # A terminal's Ctrl-C is for us alone: workers are told by us.
                start_new_session=True,
            )
            begin = structs.replace(
                self._begin,
                number=number,
                switches=tuple(self._switches.values()),
                config=None if self._config is None else copy.fileno(),
            )
        self._children[number] = child = _Child(process, await open_channel(ours), time.monotonic())
        child.channel.send(begin)
        hearing = asyncio.create_task(self._hear(number, child))
        self._hearing.add(hearing)
        hearing.add_done_callback(self._hearing.discard)
        return child

    async def _hear(self, number: int, child: _Child) -> None:
        while (message := await child.channel.receive()) is not None:
            if isinstance(message, Ready):
                child.ready = True
                child.news.set()
                if number == 0:
                    self._begin = structs.replace(self._begin, admin=message.admin)
            elif isinstance(message, NotStarted):
                child.failure = message
            elif isinstance(message, Switch):
                self._pass_on(number, message)
        child.news.set()

    def _pass_on(self, teller: int, switch: Switch) -> None:
        self._switches[switch.kind, *switch.scope] = switch
        for number, child in self._children.items():
            if number != teller:
                child.channel.send(switch)


async def _end(child: _Child) -> tuple[str, str]:
    """How it ended, and why, if it said so."""
    code = await child.process.wait()
    status = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
    return status, "" if child.failure is None else child.failure.why
