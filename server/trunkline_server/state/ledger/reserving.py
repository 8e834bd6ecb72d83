"""Reserving: one task that begins attempts which budgets pay for, in one transaction as many as there are at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from msgspec import Struct, structs

from trunkline_server.errors import LedgerUnavailable
from trunkline_server.state.budgets.holds import Denied
from trunkline_server.state.ledger.database import SLOW, WORDS, StoreFailed
from trunkline_server.state.ledger.mend import mended
from trunkline_server.state.ledger.writer import PATIENCE, REFUSED

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Sequence

    from trunkline_server.state.ledger.commit import Wish

# Attempts in one transaction.
BATCH = 128
# Turns of the event loop in which others come along, and the seconds after which they are not waited for any longer.
TURNS, LONGEST = 16, 0.002


class _Waiting(Struct, frozen=True):
    wish: Wish
    future: asyncio.Future[int | Denied]


class Reserving:
    """Takes wishes in the order in which they come."""

    def __init__(
        self,
        begin: Callable[[Sequence[Wish], bool], Awaitable[Sequence[int | Denied | None]]],
        settled: Callable[[], Awaitable[None] | None],
        withdraw: Callable[[Wish], None],
    ) -> None:
        """`begin` takes them as a whole, see commit.begin, or raises StoreFailed.

        `settled` is to be waited for until what has ended is settled; None: it is. It raises LedgerUnavailable.
        `withdraw` is told what may have been begun for nobody.
        """
        self._begin = begin
        self._settled = settled
        self._withdraw = withdraw
        self._queue: deque[_Waiting] = deque()
        self._task: asyncio.Task[None] | None = None

    async def reserve(self, wish: Wish) -> int | Denied:
        """What is put aside for it. Raises LedgerUnavailable; then, and if it is cancelled, nothing is begun."""
        loop = asyncio.get_running_loop()
        waiting = _Waiting(wish, loop.create_future())
        self._queue.append(waiting)
        if self._task is None:
            self._task = loop.create_task(self._run())
        try:
            return await waiting.future
        except asyncio.CancelledError:
            future = waiting.future
            if not future.cancelled() and future.exception() is None:  # it was answered, and not heard
                self._unheard(wish, future.result())
            raise

    async def wait_idle(self, patience: float | None = None) -> None:
        """Wait for what is on its way, and what becomes of it if nobody wants it any more: so many seconds at most."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=patience)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._queue:
                await _Others(loop)
                some = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
                if batch := [each for each in some if not each.future.done()]:
                    timer = loop.call_later(PATIENCE, self._give_up, batch)
                    await self._take(batch)
                    timer.cancel()
        finally:
            self._task = None

    def _give_up(self, batch: Sequence[_Waiting]) -> None:
        """On those who wait behind them, too. The writer takes back what was wished, and so finds out what is wrong."""
        for each in batch:
            if not each.future.done():
                self._withdraw(each.wish)
        self._fail((*batch, *self._queue), SLOW)

    async def _take(self, batch: Sequence[_Waiting]) -> None:
        settled = self._settled()
        short = await self._try(batch, whole=settled is not None)
        if settled is None or not short:
            return
        try:
            await settled
        except LedgerUnavailable:
            self._fail(short, SLOW)
        else:
            await self._try(short, whole=False)

    async def _try(self, batch: Sequence[_Waiting], *, whole: bool) -> list[_Waiting]:
        """Those for whom there may be more once everything is settled. The others know what they have."""
        try:
            granted = await self._begin([each.wish for each in batch], whole)
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait are told
            kind = error.kind if isinstance(error, StoreFailed) else REFUSED
            singly = [_mended(each) for each in batch]
            if kind == REFUSED and (len(batch) > 1 or singly != batch):
                return [short for each in singly for short in await self._try([each], whole=whole)]
            for each in batch:
                self._withdraw(each.wish)  # whether it was committed is not known
            self._fail(batch, WORDS[kind])
            return []
        for each, amount in zip(batch, granted, strict=True):
            if amount is not None:
                self._tell(each, amount)
        return [each for each, amount in zip(batch, granted, strict=True) if amount is None]

    def _tell(self, waiting: _Waiting, amount: int | Denied) -> None:
        if waiting.future.done():
            self._unheard(waiting.wish, amount)
        else:
            waiting.future.set_result(amount)

    def _fail(self, batch: Sequence[_Waiting], why: str) -> None:
        for each in batch:
            if not each.future.done():
                each.future.set_exception(LedgerUnavailable(why))

    def _unheard(self, wish: Wish, amount: int | Denied) -> None:
        if not isinstance(amount, Denied):
            self._withdraw(wish)


class _Others:
    """Lets what is ready go first: while the event loop works, a thread of SQLite's would wait for it step by step.

    Whoever comes meanwhile shares the transaction. In a loop with nothing to do that takes some 30 microseconds.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def __await__(self) -> Generator[None, None, None]:
        until = self._loop.time() + LONGEST
        for _ in range(TURNS):
            yield
            if self._loop.time() >= until:
                return


def _mended(waiting: _Waiting) -> _Waiting:
    wish = waiting.wish
    return _Waiting(structs.replace(wish, row=mended(wish.row)), waiting.future)
