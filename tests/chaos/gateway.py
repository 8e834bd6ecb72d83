"""The gateway that is looked into: `python -m chaos.gateway CONFIGURATION`.

As `trunkline serve` runs it, but on SIGUSR1 it writes on standard output what it holds: see `Held`.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import uvloop
from chaos.turns import Turns

from trunkline_server import config
from trunkline_server.app import App
from trunkline_server.cli import gateway
from trunkline_server.logs import LINGER, build_log

_APPS: list[Watched] = []
_TURNS: list[Turns] = []
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Watched(App):
    """An App that can be found."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        _APPS.append(self)

    def held(self) -> dict[str, Any]:
        """What the process holds; the keys are those of chaos.records.Held."""
        tasks = Counter(_name(task) for task in asyncio.all_tasks())
        files = [_target(name) for name in Path("/proc/self/fd").iterdir()]
        return {
            "tasks": dict(tasks),
            "registered": len(self._registry),
            "files": len(files),
            "sockets": sum(target.startswith("socket:") for target in files),
            "queued": self._ledger.health().queued,
            "memory": int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE,
            "turns": sorted(_TURNS[0].longest, reverse=True),
            "collections": _TURNS[0].collections,
        }


def _name(task: asyncio.Task[Any]) -> str:
    return getattr(task.get_coro(), "__qualname__", "?")


def _target(name: Path) -> str:
    try:
        return str(name.readlink())
    except OSError:
        return ""  # of the listing itself


async def _main(configuration: Path) -> None:
    def tell() -> None:
        print(json.dumps(_APPS[0].held()), flush=True)

    _TURNS.append(Turns())
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, tell)
    await gateway._serve(config.load(configuration), build_log(linger=LINGER))


def main() -> None:
    gateway.App = Watched  # type: ignore[attr-defined]
    uvloop.run(_main(Path(sys.argv[1])))


if __name__ == "__main__":
    main()
