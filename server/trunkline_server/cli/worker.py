"""One of the workers of `trunkline serve --workers N`: a process that `cli/supervisor.py` starts."""

from __future__ import annotations

import asyncio
import io
import os
import select
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import uvloop

from trunkline_server.cli.channel import Begin, Drain, NotStarted, Ready, open_channel
from trunkline_server.cli.failures import ExitCode, Failed
from trunkline_server.cli.gateway import admin_address, announce, started
from trunkline_server.cli.serve import settings_of
from trunkline_server.cli.signals import stop_on_signals
from trunkline_server.config import ConfigError, data_folder
from trunkline_server.logs import LINGER, build_log
from trunkline_server.state.switches import Switch
from trunkline_server.worker import Worker

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from trunkline_server.app import App
    from trunkline_server.cli.channel import Channel
    from trunkline_server.logs import Log


def main() -> None:
    """The one argument is the descriptor of a socket: the other end is the process that started this one."""
    sys.exit(uvloop.run(_work(int(sys.argv[1]))))


class _Shared(io.RawIOBase):
    """What several processes write lines to: no more of them at once than a pipe takes in one piece."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer, /) -> int:
        lines, start = bytes(data), 0
        while start < len(lines):
            end = lines.rfind(b"\n", start, start + select.PIPE_BUF) + 1 or start + select.PIPE_BUF
            start += os.write(self._descriptor, lines[start:end])
        return len(lines)


def shared_stream(descriptor: int = 2) -> BinaryIO:
    """Standard error, for whole lines that other processes write, too."""
    return io.BufferedWriter(_Shared(descriptor), buffer_size=1 << 20)


async def _work(descriptor: int) -> int:
    """Returns the exit code."""
    channel = await open_channel(socket.socket(fileno=descriptor))
    begin = await channel.receive()
    try:
        if isinstance(begin, Begin):
            await _serve(begin, channel)
    except (Failed, ConfigError) as failed:
        code = failed.code if isinstance(failed, Failed) else ExitCode.USAGE
        channel.send(NotStarted(code, str(failed)))
        return code
    finally:
        await channel.aclose()
    return ExitCode.OK


async def _serve(begin: Begin, channel: Channel) -> None:
    """Raises Failed and ConfigError."""
    asked_to_stop, log = stop_on_signals(), build_log(shared_stream(), linger=LINGER).bind(worker=begin.number)
    settings = settings_of(None if begin.config is None else Path(f"/dev/fd/{begin.config}"), begin.listen)
    worker = Worker(begin.number, begin.count, begin.address, begin.admin, begin.switches, channel.send)
    async with started(settings, log, data_folder(), worker=worker) as app:
        channel.send(Ready(admin_address(settings, app)))
        if begin.announces:
            await announce(settings, app, log)
        hearing = asyncio.create_task(_hear(channel, app, asked_to_stop, log))
        await asked_to_stop.wait()
    hearing.cancel()


async def _hear(channel: Channel, app: App, asked_to_stop: asyncio.Event, log: Log) -> None:
    """Do what is said. Whoever started us is gone: drain, or where we drain already, end at once, as he did."""
    while (message := await channel.receive()) is not None:
        if isinstance(message, Switch):
            app.obey(message)
        elif isinstance(message, Drain):
            asked_to_stop.set()
    if asked_to_stop.is_set():
        os._exit(ExitCode.FAILED)
    log.warning("draining", why="the process that started this worker is gone")
    asked_to_stop.set()


if __name__ == "__main__":
    main()
