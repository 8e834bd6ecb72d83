"""A process of its own that reserves from a budget, so many at once: `python budget_racer.py URL CALLERS LIMIT NAME`.

It says "ready", waits for a line, and then says how many were admitted.
"""

from __future__ import annotations

import asyncio
import sys

from trunkline_server.state.budgets.accounts import Account
from trunkline_server.state.budgets.budgets import Budgets
from trunkline_server.state.budgets.holds import Denied
from trunkline_server.state.ledger.open import open_database

# Nano-USD that each caller wants.
EACH = 100


async def race(url: str, callers: int, limit: int, name: str) -> int:
    """How many of the callers are admitted."""
    database = open_database(url)
    budgets = Budgets(database, name)
    account = Account('["race",""]', "race", limit, hard=True, renews=None)
    barrier = asyncio.Barrier(callers)

    async def one(number: int) -> bool:
        await barrier.wait()
        return not isinstance(await budgets.reserve((f"{name}-{number}", 1), [account], EACH, EACH), Denied)

    try:
        await database.fetch("SELECT 1")
        if name:
            print("ready", flush=True)
            await asyncio.to_thread(sys.stdin.readline)
        return sum(await asyncio.gather(*map(one, range(callers))))
    finally:
        await database.aclose()


if __name__ == "__main__":
    where, how_many, most, who = sys.argv[1:]
    print(asyncio.run(race(where, int(how_many), int(most), who)))
