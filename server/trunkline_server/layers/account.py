"""Account: every attempt that an endpoint takes is in the ledger once, with what it cost and how sure we are of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from trunkline.v1 import call_pb2
from trunkline_server.core import now
from trunkline_server.errors import CallError, LedgerUnavailable, Unpaid, UpstreamError
from trunkline_server.layers.entry import Entry

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from trunkline.v1.call_pb2 import Cost
    from trunkline.v1.gateway_service_pb2 import StreamGenerateResponse
    from trunkline_server.core import Call, Events, Fate, Handler, Layer
    from trunkline_server.layers.entry import PriceOf
    from trunkline_server.state.ledger.rows import AttemptRow


class Ledger(Protocol):
    """Where the rows go; see state/ledger."""

    async def begin(self, row: AttemptRow) -> None:
        """An attempt is about to be sent. Raises LedgerUnavailable: then it must not be."""

    def finish(self, row: AttemptRow) -> Awaitable[None]:
        """It has ended, and the row is taken. What this returns is done once the caller may be told."""


def account(ledger: Ledger, price_of: PriceOf) -> Layer:
    """Write down each attempt: begun before it is sent, finished before its end is told.

    Guarantees: an attempt is finished exactly once, however it ends; `completed` and UpstreamError carry what it cost.
    Whoever ends an attempt from above learns by `call.fate.settle` what it cost, and waits for `call.fate.written`
    before the caller is told. Nothing is awaited of such a one here: the ledger has its row all the same. One that is
    drained is finished once that is over, with what was used in the end.
    """

    def layer(below: Handler) -> Handler:
        async def handle(call: Call) -> Events:
            entry, fate = Entry(call, price_of, time.time_ns() // 1000), call.fate
            open_row = _OpenRow(entry, fate, ledger)
            fate.settle = open_row.settle
            try:
                if fate.admit is None:
                    fate.begun = True
                    await ledger.begin(entry.begun)
                else:
                    call = await fate.admit(entry.begun)  # as it may be sent
                    fate.begun = True
                events = below(call)
                try:
                    async for event in events:
                        if event.HasField("completed"):
                            last, written = open_row.completed(event)
                            await written
                            yield last
                        else:
                            entry.add(event)
                            yield event
                except BaseException:
                    await events.aclose()
                    raise
            except Unpaid:
                open_row.ending = None
                raise
            except UpstreamError as error:
                await open_row.failed(error)
                raise
            except BaseException as error:
                open_row.ending = _ending(error, fate)
                raise
            finally:
                open_row.close()  # its row may be waited for: a cancellation of that does not write another

        return handle

    return layer


def _ending(error: BaseException, fate: Fate) -> call_pb2.Outcome.ValueType | None:
    """How an attempt ended that neither completed nor failed at the provider. None: it was not begun."""
    if isinstance(error, LedgerUnavailable) or not fate.begun:
        return None
    if isinstance(error, CallError):
        return call_pb2.OUTCOME_NOT_SENT
    # Otherwise cancelled or closed by `attempt`, which knows why.
    return call_pb2.OUTCOME_PROTOCOL_ERROR if isinstance(error, Exception) else fate.outcome


class _OpenRow:
    """A row until it is finished."""

    def __init__(self, entry: Entry, fate: Fate, ledger: Ledger) -> None:
        self.entry = entry
        self._fate = fate
        # How it is finished unless somebody knows better: the events ended without `completed`.
        self.ending: call_pb2.Outcome.ValueType | None = call_pb2.OUTCOME_INTERRUPTED
        self._finished = False
        self._cost: Cost | None = None
        self._ledger = ledger
        self._begin = now()

    def completed(self, event: StreamGenerateResponse) -> tuple[StreamGenerateResponse, Awaitable[None]]:
        """The event with what the attempt cost, and what is done once the caller may be told."""
        outcome = self._fate.outcome if self._fate.drains else call_pb2.OUTCOME_SUCCESS
        last, row = self.entry.completed(event, now() - self._begin, outcome)
        return last, self._finish(row)

    async def failed(self, error: UpstreamError) -> None:
        if self._finished:  # ended from above, and its provider failed at being closed
            return
        if self._fate.drains:
            _, row = self.entry.abandoned(self._fate.outcome, now() - self._begin, error.usage)
            await self._finish(row)
            return
        await self._finish(self.entry.failed(error, now() - self._begin))

    def settle(self, outcome: call_pb2.Outcome.ValueType) -> Cost | None:
        """It is ended from above, so. What it cost, as far as that is known; None: it was not begun."""
        if self._finished or self.ending is None or not self._fate.begun:
            return self._cost
        self.ending = outcome
        if self._fate.drains:
            return self.entry.abandoned(outcome, now() - self._begin)[0]
        self.close()
        return self._cost

    def close(self) -> None:
        """Finish the row, unless that is done or it was not begun."""
        if self.ending is not None and not self._finished:
            self._cost, row = self.entry.abandoned(self.ending, now() - self._begin)
            self._fate.written = self._finish(row)

    def _finish(self, row: AttemptRow) -> Awaitable[None]:
        self._finished = True
        self._fate.row = row
        return self._ledger.finish(row)
