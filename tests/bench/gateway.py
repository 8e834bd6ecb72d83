"""Trunkline as `trunkline serve` runs it, with its defaults and its log on, in front of one provider.

python -m bench.gateway http://127.0.0.1:PORT/v1
"""

from __future__ import annotations

import sys
import tempfile
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import uvloop
from bench.control import obey, usage

from trunkline_server.cli.gateway import running
from trunkline_server.logs import build_log
from trunkline_server.sections import Seconds
from trunkline_server.settings import (
    DatabaseUrl,
    DiscoverySettings,
    LedgerSettings,
    ProviderSettings,
    ServerSettings,
    Settings,
)

PROVIDER = "bench"


def settings_for(base_url: str, folder: Path) -> Settings:
    """The defaults, but for a free port, no waiting at the end, one provider and a ledger in `folder`."""
    provider = ProviderSettings(kind="openai_compatible", base_url=base_url, default_model="unary")
    return Settings(
        server=ServerSettings(listen="127.0.0.1:0", admin_listen="", grace=Seconds(1.0), notice=Seconds(0.0)),
        # The provider has no list of models.
        discovery=DiscoverySettings(every=Seconds(0.0)),
        providers={PROVIDER: provider},
        ledger=LedgerSettings(url=DatabaseUrl(f"sqlite:///{folder / 'ledger.sqlite3'}"), folder=str(folder)),
    )


async def serve(base_url: str, folder: Path, log: BinaryIO) -> None:
    async with running(settings_for(base_url, folder), build_log(log)) as address:
        await obey({"usage": usage}, port=int(address.rpartition(":")[2]))


def main(base_url: str) -> None:
    """Serve, and then show the first bugs that the log tells of."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        with path.open("wb") as log:
            uvloop.run(serve(base_url, Path(folder), log))
        with path.open() as log:
            bugs = (line for line in log if '"level":"error"' in line)
            print(*islice(bugs, 3), sep="", end="", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1])
