"""The budgets of a gateway that runs: holds are made here, and settled by the ledger with the attempt's own row."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Protocol

from trunkline_server.errors import LedgerUnavailable
from trunkline_server.state.budgets import holds
from trunkline_server.state.budgets.holds import LEASE, Denied, Owner
from trunkline_server.state.ledger.database import StoreFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from trunkline_server.state.budgets.accounts import Account
    from trunkline_server.state.budgets.holds import Attempt, Totals
    from trunkline_server.state.ledger.database import Database, Script

_UNREACHED = "its database does not answer, and no call is made that its budget may not pay for"


def _now() -> int:
    return time.time_ns() // 1000


class Listener(Protocol):
    """Who wants to know how accounts do."""

    def spent(self, totals: Totals) -> None:
        """So much is spent of these, as it stands in the database."""

    def refused(self, account: str) -> None:
        """It did not pay for an attempt."""


class _Nobody:
    def spent(self, totals: Totals) -> None:
        """Nobody wants to know."""

    def refused(self, account: str) -> None:
        """Nobody wants to know."""


class Budgets:
    """Holds of one gateway, in the ledger's database."""

    def __init__(self, database: Database, instance: str, clock: Callable[[], int] = _now) -> None:
        """`clock` tells microseconds since 1970."""
        self._database = database
        self._instance = instance
        self._clock = clock
        # What holds, as far as is known here: the rest of what stands in the database under our name runs out.
        self._live: set[Attempt] = set()
        # What is on its way to the database.
        self._running: set[asyncio.Task[None]] = set()
        # Whether anything was ever held: then others have to know that we live.
        self.used = False
        self.listener: Listener = _Nobody()

    async def reserve(self, attempt: Attempt, accounts: Sequence[Account], least: int, most: int) -> int | Denied:
        """See holds.reserve. Whoever is cancelled meanwhile holds nothing. Raises LedgerUnavailable."""
        self.used = True
        owner = self._owner()
        work = asyncio.ensure_future(
            self._transact(lambda: holds.reserve(attempt, accounts, least, most, owner)),
        )
        try:
            granted = await asyncio.shield(work)
        except asyncio.CancelledError:
            self._spawn(self._void_after(work, attempt))
            raise
        if isinstance(granted, Denied):
            self.listener.refused(granted.account.id)
        else:
            self._live.add(attempt)
        return granted

    async def extend(self, attempt: Attempt, accounts: Sequence[Account], least: int, most: int) -> int | Denied:
        """See holds.extend. Raises LedgerUnavailable."""
        return await self._transact(lambda: holds.extend(attempt, accounts, least, most))

    def void(self, attempt: Attempt) -> None:
        """Nothing was sent. If the database cannot be told, the lease runs out."""
        self.ended(attempt)
        self._spawn(self._void(attempt))

    def ended(self, attempt: Attempt) -> None:
        """The ledger has the attempt's end, and settles its hold."""
        self._live.discard(attempt)

    def spent(self, totals: Totals) -> None:
        """The ledger has what was spent of these."""
        self.listener.spent(totals)

    async def tidy(self) -> None:
        """One round of housekeeping. Raises StoreFailed."""
        if live := list(self._live):
            owner = self._owner()
            await self._database.transact(lambda: holds.renew(live, owner))
        now = self._clock()
        if await self._database.fetch(holds.LOST, (now,)):
            await self._database.transact(lambda: holds.sweep(now))

    async def aclose(self) -> None:
        """Wait for what is on its way."""
        if self._running:
            await asyncio.wait(self._running)

    def _owner(self) -> Owner:
        return Owner(self._instance, self._clock() + LEASE)

    async def _transact(self, script: Callable[[], Script[int | Denied]]) -> int | Denied:
        try:
            return await self._database.transact(script)
        except StoreFailed:
            raise LedgerUnavailable(_UNREACHED) from None

    async def _void_after(self, work: asyncio.Future[int | Denied], attempt: Attempt) -> None:
        await asyncio.wait([work])
        if work.exception() is None:
            await self._void(attempt)

    async def _void(self, attempt: Attempt) -> None:
        try:
            await self._database.transact(lambda: holds.void([attempt]))
        except StoreFailed:
            return

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
