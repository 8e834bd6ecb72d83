"""A process of its own that reserves from a budget, so many at once: `python budget_racer.py URL CALLERS LIMIT NAME`.

It says "ready", waits for a line, and then says how many were admitted.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from ledger_rows import begun

from trunkline_server.logs import build_log
from trunkline_server.settings import LedgerSettings
from trunkline_server.state.budgets.accounts import Account
from trunkline_server.state.budgets.holds import Denied
from trunkline_server.state.ledger.ledger import begin_ledger
from trunkline_server.state.ledger.open import open_database

if TYPE_CHECKING:
    from trunkline_server.state.ledger.ledger import Ledger

# Nano-USD that each caller wants.
EACH = 100


async def race(url: str, callers: int, limit: int, name: str) -> int:
    """How many of the callers are admitted."""
    with TemporaryDirectory() as folder:
        return await _race(
            await begin_ledger(open_database(url), Path(folder), LedgerSettings(), build_log()), callers, limit, name
        )


async def _race(ledger: Ledger, callers: int, limit: int, name: str) -> int:
    account = Account('["race",""]', "race", limit, hard=True, renews=None)
    barrier = asyncio.Barrier(callers)

    async def one(number: int) -> bool:
        await barrier.wait()
        row = begun(f"{name}-{number}", reserved=True)
        return not isinstance(await ledger.reserve(row, [account], EACH, EACH), Denied)

    try:
        if name:
            print("ready", flush=True)
            await asyncio.to_thread(sys.stdin.readline)
        return sum(await asyncio.gather(*map(one, range(callers))))
    finally:
        await ledger.aclose()


if __name__ == "__main__":
    where, how_many, most, who = sys.argv[1:]
    print(asyncio.run(race(where, int(how_many), int(most), who)))
