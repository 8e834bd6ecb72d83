"""The budgets of a gateway that runs. The ledger makes holds and settles them, with the attempt's own row."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from trunkline_server.state.budgets import holds
from trunkline_server.state.budgets.holds import LEASE, Denied, Owner

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline_server.state.budgets.holds import Attempt, Totals
    from trunkline_server.state.ledger.database import Database


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
        # Whether anything was ever held: then others have to know that we live.
        self.used = False
        self.listener: Listener = _Nobody()

    def told(self, attempt: Attempt, granted: int | Denied) -> None:
        """The ledger has put aside what an attempt wants, or has not."""
        if isinstance(granted, Denied):
            self.listener.refused(granted.account.id)
        else:
            self._live.add(attempt)

    def ended(self, attempt: Attempt) -> None:
        """The ledger has the attempt's end, and settles its hold."""
        self._live.discard(attempt)

    def spent(self, totals: Totals) -> None:
        """The ledger has what was spent of these."""
        self.listener.spent(totals)

    async def tidy(self) -> None:
        """One round of housekeeping. Raises StoreFailed."""
        if live := list(self._live):
            owner = Owner(self._instance, self.expires())
            await self._database.transact(lambda: holds.renew(live, owner))
        now = self._clock()
        if await self._database.fetch(holds.LOST, (now,)):
            await self._database.transact(lambda: holds.sweep(now))

    def expires(self) -> int:
        """Until when what is held now stands without another sign of life; see holds.Owner."""
        return self._clock() + LEASE
