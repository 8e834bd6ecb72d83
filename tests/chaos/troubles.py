"""What is done to providers: each has troubles of its own, one after the other, with quiet times between."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

from chaos.records import Trouble

if TYPE_CHECKING:
    from chaos.providers import Provider

KILLED, STOPPED = "killed", "stopped"
KINDS = (KILLED, STOPPED, "slow", "hung", "stalling", "cutting", "limiting", "failing", "garbling", "erratic")
# Seconds.
QUIET = (0.1, 0.8)
LASTS = (0.2, 1.5)


async def trouble(provider: Provider, seed: int, until: float, done: list[Trouble]) -> None:
    """One trouble after the other until time.monotonic() reads `until`; then the provider is well again."""
    dice = random.Random(f"{seed}:{provider.name}")
    while True:
        await asyncio.sleep(dice.uniform(*QUIET))
        if time.monotonic() >= until:
            return
        since, what = time.monotonic(), dice.choice(KINDS)
        await _bring(provider, what, dice.uniform(*LASTS))
        done.append(Trouble(since, time.monotonic(), provider.name, what))


async def _bring(provider: Provider, what: str, lasts: float) -> None:
    if what == KILLED:
        await provider.kill()
        await asyncio.sleep(lasts)
        await provider.start()
    elif what == STOPPED:
        provider.stop()
        try:
            await asyncio.sleep(lasts)
        finally:
            provider.go_on()
    else:
        provider.feel(what)
        await asyncio.sleep(lasts)
        provider.feel("well")
