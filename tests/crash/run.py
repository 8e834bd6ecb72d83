"""One life and death of a gateway: load, a kill, a new start, and what the ledger then says."""

from __future__ import annotations

import asyncio
import random
import signal
from typing import TYPE_CHECKING, Any

import yaml
from crash.check import WITH_BUDGETS, Report, copy_ledger, judge
from crash.failpoints import AT_START
from crash.load import call_until_gone
from crash.provider import remembering
from processes import listening, start

if TYPE_CHECKING:
    from pathlib import Path

_MODULE = "crash.gateway"
# Calls that are made before a gateway is taken for immortal.
MOST = 4_000
# Seconds after which a random kill comes at the latest.
SOON = 0.6
# Seconds in which a gateway dies that nobody calls any more: what comes later was not brought about by the calls.
PATIENCE = 10.0


async def run(folder: Path, mode: str, failpoint: str = "", seed: int = 0, postgres: str = "") -> Report:
    """Kill a gateway at a failpoint, or where there is none at a random moment, and judge what is left.

    `mode` is the ledger's, or "budgets": relaxed, with hard budgets for everything; or "periods": and a day that ends
    amid the calls.

    The ledger is an SQLite file in `folder`, or what the URL `postgres` names.
    """
    dice = random.Random(seed)
    asked, ledger = folder / "asked.log", folder / "ledger.sqlite3"
    async with remembering(asked) as provider:
        configuration = _configuration(folder, mode, provider.port, postgres or f"sqlite:///{ledger}")
        at_start = failpoint in AT_START
        today, then = ("rolls", "tomorrow") if mode == "periods" else ("today", "today")
        async with listening(_MODULE, str(configuration), today, "" if at_start else failpoint) as (process, address):
            loading = asyncio.create_task(call_until_gone(address, seed, "a", MOST))
            await _end(process, loading, failpoint if not at_start else "", dice)
            calls = await loading
            async with asyncio.timeout(PATIENCE):
                await process.wait()
            assert process.returncode == -signal.SIGKILL, f"{failpoint} was not reached: {process.returncode}"
        if at_start:
            await _dies_at_start(configuration, then, failpoint)
        async with listening(_MODULE, str(configuration), then, "") as (process, address):
            later = await call_until_gone(address, seed, "b", 5)
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
    if postgres:
        await copy_ledger(postgres, ledger)
    return judge(ledger, asked, mode, [calls, later])


async def _end(process: asyncio.subprocess.Process, loading: asyncio.Task[Any], name: str, dice: random.Random) -> None:
    """Bring about the end where no step of a call does."""
    if "drain" in name or "closed" in name:
        await asyncio.sleep(0.3)
        process.send_signal(signal.SIGTERM)
    elif not name:
        await asyncio.wait([loading], timeout=dice.uniform(0.02, SOON))
        process.kill()


async def _dies_at_start(configuration: Path, calendar: str, failpoint: str) -> None:
    process = await start(_MODULE, str(configuration), calendar, failpoint)
    await process.wait()
    assert process.returncode == -signal.SIGKILL, f"{failpoint} was not reached"


def _configuration(folder: Path, mode: str, port: int, url: str) -> Path:
    document = {
        "server": {"listen": "127.0.0.1:0", "admin_listen": "", "notice": 0, "grace": 1},
        "ledger": {"mode": "relaxed" if mode in WITH_BUDGETS else mode, "url": url, "folder": str(folder / "journal")},
        "discovery": {"every": 0},
        "prices": [{"model": "p/*", "input": "1", "output": "2"}],
        "providers": {"p": {"kind": "openai_compatible", "base_url": f"http://127.0.0.1:{port}/v1", "models": ["m"]}},
    }
    if mode in WITH_BUDGETS:
        day = {"limit": 1000, "period": "daily", "time_zone": "UTC"}
        document["budgets"] = {"everything": {"limit": 1000, "period": "total"}, "day": day}
    path = folder / "trunkline.yaml"
    path.write_text(yaml.safe_dump(document))
    return path
