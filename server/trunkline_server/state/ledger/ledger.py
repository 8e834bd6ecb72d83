"""The ledger of a gateway that runs: rows go in here, and are in the database exactly once.

relaxed   A row is in the journal when `begin` or `finish` returns, and in the database a moment later. A gateway that
          is killed loses nothing that had ended; its successor ends what was in flight, at unknown cost.
strict    An attempt is in the database before it is sent, and its end before the caller is told.

An attempt that budgets hold money for is in the database before it is sent, in either mode. In the relaxed one what it
held is settled a moment after its end, but before anybody is refused money that may be left.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from trunkline_server.errors import LedgerUnavailable
from trunkline_server.state.budgets import holds
from trunkline_server.state.budgets.budgets import Budgets
from trunkline_server.state.budgets.holds import Denied, Owner, Wanted
from trunkline_server.state.ledger import instances, journal, recovery, retention
from trunkline_server.state.ledger.cells import make_cells
from trunkline_server.state.ledger.commit import Taken, Wish, Withdrawn, begin, take
from trunkline_server.state.ledger.database import SLOW, WORDS, StoreFailed
from trunkline_server.state.ledger.journal import Journal, JournalFailed
from trunkline_server.state.ledger.overflow import Overflow
from trunkline_server.state.ledger.reserving import Reserving
from trunkline_server.state.ledger.rows import AttemptRow, CallRow
from trunkline_server.state.ledger.schema import migrate
from trunkline_server.state.ledger.slots import take_slot
from trunkline_server.state.ledger.writer import PATIENCE, Writer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Sequence
    from pathlib import Path

    from trunkline_server.logs import Log
    from trunkline_server.settings import LedgerSettings
    from trunkline_server.state.budgets.accounts import Account
    from trunkline_server.state.budgets.holds import Attempt
    from trunkline_server.state.ledger.commit import Entry
    from trunkline_server.state.ledger.database import Database
    from trunkline_server.state.ledger.slots import Slot

# Entries in the queue beyond which no new call is taken.
LIMIT = 20_000
# Seconds that rows are gathered for one transaction when nobody waits for them: the journal has them.
LINGER = 0.25
# Seconds that closing goes on trying.
CLOSING = 10.0
# Seconds between two rounds of housekeeping, and rounds between two looks for rows whose time is over.
ROUND, EXPIRY_ROUNDS = 60.0, 60


class LedgerHealth(NamedTuple):
    """How the ledger is."""

    # Rows that are not in the database yet.
    queued: int
    # Why the database does not take them, in words; "" = it does. Since when, in seconds since 1970.
    failing: str
    failing_since: float | None
    # Refused calls without attempts for which there was no room in the queue, and none on the disk.
    unrecorded: int
    # Rows that the database refused for what is in them; they are kept in a file.
    set_aside: int


class Ledger:
    """Takes rows. See `begin_ledger`."""

    def __init__(self, database: Database, slot: Slot, settings: LedgerSettings, log: Log) -> None:
        self.database = database
        self.budgets = Budgets(database, slot.id)
        self._slot = slot
        self._strict = settings.mode == "strict"
        # What is done already; with asyncio's own a call that waits for it does not go through code of ours.
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._done.set_result(None)
        self._retention = round(settings.retention * 1e6)
        self._log = log
        self._unrecorded = self._set_aside = 0
        self._journal = Journal(slot.folder, self._remove)
        self._overflow = Overflow(slot.folder)
        linger = 0.0 if self._strict else LINGER
        self._writer = Writer(self._commit, self._committed, self._put_aside, linger)
        self._reserving = Reserving(self._begin_wishes, self._settled, lambda wish: self._withdraw(wish.row))
        self._housekeeping = asyncio.get_running_loop().create_task(self._keep_house())

    async def begin(self, row: AttemptRow) -> None:
        """An attempt is about to be sent. Raises LedgerUnavailable: then it must not be."""
        if self._strict or len(self._writer) >= LIMIT:
            await self._ready(strict=self._strict)
        self._begin_in_journal(row)
        if self._strict:
            self._writer.put(row)
            try:
                await self._sure()
            except LedgerUnavailable:
                self._withdraw(row)
                raise

    async def reserve(self, row: AttemptRow, accounts: Sequence[Account], least: int, most: int) -> int | Denied:
        """The same, if budgets pay for it: what is put aside, and with it the row, in one transaction: see holds.

        Whoever is refused, fails or is cancelled meanwhile has begun nothing, and nothing stays held for him.
        """
        await self._ready(strict=True)
        self.budgets.used = True
        granted = await self._reserving.reserve(Wish(row, accounts, least, most))
        if not isinstance(granted, Denied):
            try:
                self._begin_in_journal(row)
            except LedgerUnavailable:
                self._withdraw(row)
                raise
        self.budgets.told((row.call_id, row.attempt), granted)
        return granted

    async def extend(self, attempt: Attempt, accounts: Sequence[Account], least: int, most: int) -> int | Denied:
        """Put aside more; see holds.extend. Raises LedgerUnavailable."""
        if not self._is_settled:
            granted = await self._extend(Wanted(attempt, accounts, most, most))
            if not isinstance(granted, Denied):
                return granted
            await self._sure()
        return await self._extend(Wanted(attempt, accounts, least, most))

    async def _extend(self, wanted: Wanted) -> int | Denied:
        try:
            return await self.database.transact(partial(holds.extend, wanted))
        except StoreFailed as failed:
            raise LedgerUnavailable(WORDS[failed.kind]) from None

    async def _ready(self, *, strict: bool) -> None:
        if len(self._writer) >= LIMIT:
            await self._sure()
        if strict and self._writer.failing:
            raise LedgerUnavailable(WORDS[self._writer.failing])

    def _begin_in_journal(self, row: AttemptRow) -> None:
        try:
            self._journal.begin(row)
        except JournalFailed as failed:
            raise LedgerUnavailable(WORDS[failed.kind]) from None

    def finish(self, row: AttemptRow) -> Awaitable[None]:
        """It has ended, and the row is taken. What this returns is done once the caller may be told.

        Waiting for it raises LedgerUnavailable if that takes too long; the row is taken all the same.
        """
        self._journal.finish(row)
        self._writer.put(row)
        if row.reserved:
            self.budgets.ended((row.call_id, row.attempt))
        return _Committed(self._sure) if self._strict else self._done

    def end_call(self, row: CallRow) -> None:
        """A call has ended."""
        if not row.attempts and len(self._writer) >= 2 * LIMIT:
            self._spill(row)
            return
        self._journal.end(row)
        self._writer.put(row)

    def _spill(self, row: CallRow) -> None:
        """Refusing calls must not fill the memory: they wait on the disk for room in the queue."""
        try:
            self._overflow.add(row)
        except OSError:
            self._unrecorded += 1

    async def flush(self) -> None:
        """Wait until everything that was taken is in the database."""
        await self._reserving.wait_idle()
        spilt = True
        while spilt:
            spilt = bool(self._overflow)
            await self._writer.wait()

    def health(self) -> LedgerHealth:
        """How the ledger is now."""
        writer = self._writer
        failing = WORDS.get(writer.failing, "")
        return LedgerHealth(len(writer), failing, writer.failing_since, self._unrecorded, self._set_aside)

    async def aclose(self) -> None:
        """Write down what is queued, and close. What cannot be written stays in the journal, for the next start."""
        self._housekeeping.cancel()
        await asyncio.wait([self._housekeeping])
        await self._reserving.wait_idle(CLOSING)
        await self._writer.aclose(CLOSING)
        if len(self._writer):
            reason = WORDS.get(self._writer.failing, SLOW)
            self._log.error("ledger rows left in the journal", rows=len(self._writer), reason=reason)
        elif self._is_seen:
            await self._try(instances.say_gone(self.database, self._slot.id))
        self._journal.close()
        await self.database.aclose()
        self._slot.release()

    async def tidy(self) -> None:
        """One round of housekeeping: forget journals, end what dead gateways left open. Raises StoreFailed."""
        self._journal.tidy()
        if self._is_seen:
            await instances.say_alive(self.database, self._slot.id, _now())
        _tell(self._log, await recovery.recover_others(self.database, self._slot, _now()))
        await self.budgets.tidy()

    async def expire(self) -> int:
        """Delete rows whose time is over. Returns how many. Raises StoreFailed."""
        return await retention.expire(self.database, _now() - self._retention)

    @property
    def _is_seen(self) -> bool:
        """Whether attempts stand open in the database, so that others have to know that we live."""
        return self._strict or self.budgets.used

    # --- waiting ------------------------------------------------------------------------------------------------------

    async def _sure(self) -> None:
        """Wait until what was put is committed. Raises LedgerUnavailable if that takes too long."""
        waiting = self._writer.wait()
        await asyncio.wait([waiting], timeout=PATIENCE)
        if not waiting.done():
            raise LedgerUnavailable(WORDS.get(self._writer.failing, SLOW))

    @property
    def _is_settled(self) -> bool:
        """Whether the database has whatever has ended."""
        return not len(self._writer)

    def _settled(self) -> Awaitable[None] | None:
        return None if self._is_settled else _Committed(self._sure)

    def _withdraw(self, row: AttemptRow) -> None:
        entry = Withdrawn(row.call_id, row.attempt)
        self._journal.withdraw(entry)
        self.budgets.ended((row.call_id, row.attempt))
        self._writer.put(entry)

    # --- what the writer calls ----------------------------------------------------------------------------------------

    async def _commit(self, entries: Sequence[Entry]) -> None:
        taken = await self.database.transact(partial(take, entries, self.database.dialect, self._slot.id))
        if taken.spent:
            self.budgets.spent(taken.spent)

    async def _begin_wishes(self, wishes: Sequence[Wish], whole: bool) -> Sequence[int | Denied | None]:
        owner = Owner(self._slot.id, self.budgets.expires())
        return await self.database.transact(partial(begin, wishes, owner, whole=whole))

    def _committed(self, entries: Sequence[Entry]) -> None:
        self._journal.committed(entries)
        if self._overflow and len(self._writer) < LIMIT:
            for row in self._overflow.oldest():
                self._journal.end(row)
                self._writer.put(row)
            self._remove(self._overflow.forget())

    def _put_aside(self, entry: Entry) -> None:
        self._set_aside += 1
        if isinstance(entry, AttemptRow | CallRow):
            self._log.error("ledger row refused", call_id=entry.call_id)
            journal.append(self._slot.folder / "refused", entry)

    # --- housekeeping -------------------------------------------------------------------------------------------------

    def _remove(self, path: Path) -> None:
        asyncio.get_running_loop().run_in_executor(None, partial(path.unlink, missing_ok=True))

    async def _keep_house(self) -> None:
        number = 0
        while True:
            await self._try(self.tidy())
            if number % EXPIRY_ROUNDS == 0:
                await self._try(self.expire())
                await self._try(make_cells(self.database, _now()))
            number += 1
            await asyncio.sleep(ROUND)

    async def _try(self, work: Awaitable[object]) -> None:
        """What is done again later need not succeed now."""
        try:
            await work
        except StoreFailed as failed:
            self._log.warning("ledger housekeeping failed", reason=WORDS[failed.kind])
        except OSError:
            self._log.warning("ledger housekeeping failed", reason="its folder cannot be read")


class _Committed:
    """Waits only if it is waited for."""

    def __init__(self, wait: Callable[[], Awaitable[None]]) -> None:
        self._wait = wait

    def __await__(self) -> Generator[None, None, None]:
        return self._wait().__await__()


async def begin_ledger(database: Database, folder: Path, settings: LedgerSettings, log: Log) -> Ledger:
    """Bring the database up to date, take in what dead gateways left, and be ready for rows.

    `folder` is for the journals of gateways that write into this database. Raises StoreFailed, NewerSchema and OSError.
    """
    await migrate(database)
    slot = take_slot(folder)
    try:
        lost = [await recovery.recover_slot(database, slot), *await recovery.recover_others(database, slot, _now())]
        _tell(log, lost)
        return Ledger(database, slot, settings, log)
    except BaseException:
        slot.release()
        raise


def _tell(log: Log, lost: Sequence[Taken]) -> None:
    calls, attempts = sum(each.calls for each in lost), sum(each.attempts for each in lost)
    if calls or attempts:
        log.warning("calls in flight were lost", calls=calls, attempts=attempts)


def _now() -> int:
    return time.time_ns() // 1000
