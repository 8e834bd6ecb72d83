"""What the servers of others are said to prove, tried."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.expectations import expectations
from others.proofs import prove
from others.servers import NAMES, missing, running

if TYPE_CHECKING:
    from collections.abc import Iterator


def failures_of_others() -> Iterator[str]:
    """What cells.toml says that a server proves and it does not. Says which servers could not be asked."""
    for server in NAMES:
        if why := missing(server):
            print(f"what {server} proves was not tried: {why}")
            continue
        cells = [*cells_of(server)]
        with tempfile.TemporaryDirectory() as folder, running(server, Path(folder)) as address:
            disproved = asyncio.run(disprove(server, cells, address, Path(folder)))
        print(f"{server}: {len(cells) - len(disproved)} of {len(cells)} cells proven")
        yield from disproved


def cells_of(server: str) -> Iterator[tuple[str, str]]:
    """The providers and features that it is said to prove."""
    expected = expectations()
    for provider, features in [*expected.fakes.items(), *expected.real.items()]:
        yield from ((provider, feature) for feature, servers in features.items() if server in servers)


async def disprove(server: str, cells: list[tuple[str, str]], address: str, folder: Path) -> list[str]:
    """What of the cells does not hold, in words."""
    disproved = []
    for provider, feature in cells:
        try:
            await prove(server, provider, feature, address, folder)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is no proof
            disproved.append(f"{provider}, {feature}: {server} does not prove it: {type(error).__name__}")
    return disproved
