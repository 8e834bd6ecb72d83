"""The writer: one task that takes everything that is queued into the database, many rows in one transaction."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

from trunkline_server.state.ledger.database import StoreFailed
from trunkline_server.state.ledger.mend import mended

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from trunkline_server.state.ledger.commit import Entry
    from trunkline_server.state.ledger.database import Failure

# Rows in one transaction.
BATCH = 512
# Seconds that a call waits for the database, or for room in the queue, before it is refused.
PATIENCE = 5.0
# Seconds between tries of a database that fails.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
REFUSED: Failure = "refused"
STALLED: Failure = "stalled"


class Writer:
    """Takes entries in the order in which they were put; an entry leaves the queue once it is committed.

    `commit` takes a batch as a whole or raises StoreFailed. `committed` is told of what is in the database. `refuse` is
    given an entry that the database does not take for what is in it, whatever is done to it.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[Entry]], Awaitable[object]],
        committed: Callable[[Sequence[Entry]], None],
        refuse: Callable[[Entry], None],
        linger: float,
    ) -> None:
        """`linger`: seconds that entries which nobody waits for may be gathered."""
        self._commit = commit
        self._committed = committed
        self._refuse = refuse
        self._linger = linger
        self._queue: deque[Entry] = deque()
        # Entries taken since the beginning.
        self._taken = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._work = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        # Why the database does not do it now, and since when, in seconds since 1970; "" = it does.
        self.failing = ""
        self.failing_since: float | None = None
        self._task = asyncio.get_running_loop().create_task(self._run())

    def __len__(self) -> int:
        return len(self._queue)

    def put(self, entry: Entry) -> None:
        """Queue an entry."""
        self._queue.append(entry)
        if len(self._queue) >= BATCH:
            self._work.set()
        elif self._timer is None:
            self._arm()

    def _arm(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._linger, self._work.set)

    def wait(self) -> asyncio.Future[None]:
        """Done once everything that was put until now is committed. Makes haste."""
        future = asyncio.get_running_loop().create_future()
        if self._queue:
            self._waiting.append((self._taken + len(self._queue), future))
            self._work.set()
        else:
            future.set_result(None)
        return future

    async def aclose(self, patience: float) -> None:
        """Take in what is queued, for at most so many seconds."""
        await asyncio.wait([self.wait()], timeout=patience)
        self._task.cancel()
        await asyncio.wait([self._task])
        if self._timer is not None:
            self._timer.cancel()

    async def _run(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            await self._some()
            batch = list(islice(self._queue, BATCH))
            timer = asyncio.get_running_loop().call_later(PATIENCE, self._note, STALLED)
            try:
                await self._take(batch)
            except StoreFailed as failed:
                self._note(failed.kind)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                pause = _FIRST_PAUSE
                self._note("")
            finally:
                timer.cancel()

    async def _some(self) -> None:
        """Wait for entries, and for more of them while nobody is in a hurry."""
        if self._queue and self._timer is None:
            self._arm()
        if not self._queue or not (self._waiting or self.failing or len(self._queue) >= BATCH):
            await self._work.wait()
        self._work.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _take(self, batch: Sequence[Entry]) -> None:
        try:
            await self._try(batch)
        except StoreFailed as failed:
            if failed.kind != REFUSED:
                raise
            await self._take_singly(batch)
            return
        self._done(batch)

    async def _try(self, batch: Sequence[Entry]) -> None:
        try:
            await self._commit(batch)
        except StoreFailed:
            raise
        except Exception as error:
            raise StoreFailed(REFUSED) from error

    async def _take_singly(self, batch: Sequence[Entry]) -> None:
        """One of them is refused: the others go in, and that one as far as it can be mended."""
        for entry in batch:
            for version in (entry, mended(entry)):
                try:
                    await self._try([version])
                    break
                except StoreFailed as failed:
                    if failed.kind != REFUSED:
                        raise
            else:
                self._refuse(entry)
            self._done([entry])

    def _done(self, batch: Sequence[Entry]) -> None:
        for _ in batch:
            self._queue.popleft()
        self._taken += len(batch)
        self._committed(batch)
        while self._waiting and self._waiting[0][0] <= self._taken:
            future = self._waiting.popleft()[1]
            if not future.done():
                future.set_result(None)

    def _note(self, kind: str) -> None:
        if kind and not self.failing:
            self.failing_since = time.time()
        elif not kind:
            self.failing_since = None
        self.failing = kind
