"""The one task boundary, the `Tape`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from trunkline_server.alarm import Alarm

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trunkline.v1.gateway_service_pb2 import StreamGenerateResponse
    from trunkline_server.core import Events


class Tape:
    """Events pumped by a task of their own and read through a bounded buffer.

    Waiting on a tape never touches the generator, so a time limit, a heartbeat or a lost race cannot end a stream.
    A tape has one reader.
    """

    def __init__(self, events: Events, limit: int = 256) -> None:
        self._events = events
        self._limit = limit
        self._buffer: list[StreamGenerateResponse] = []
        self._failure: BaseException | None = None
        self._ended = False
        self._gathering = False
        self._alarm = Alarm()
        self._reader: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        # Closes the generator; nobody reads any more. Set by whoever pumps.
        self.stop: Callable[[], object] = _nothing

    @property
    def idle(self) -> bool:
        """Whether there is nothing to take yet."""
        return not self._buffer and not self._ended

    @property
    def begun(self) -> bool:
        """Whether there are events to take, and not only an end."""
        return bool(self._buffer)

    async def pump(self) -> None:
        """Fill the buffer from the generator until that ends, fails, or this task is cancelled; close it always."""
        try:
            try:
                async for event in self._events:
                    self._buffer.append(event)
                    if not self._gathering:
                        _wake(self._reader)
                    if len(self._buffer) >= self._limit:
                        _wake(self._reader)
                        self._room = asyncio.get_running_loop().create_future()
                        await self._room
            finally:
                await self._events.aclose()
        except asyncio.CancelledError as cancelled:
            self.fail(cancelled)
            if _cancelling():
                raise
        except BaseException as error:  # noqa: BLE001 - handed to the reader, which raises it
            self.fail(error)
        finally:
            self._ended = True
            _wake(self._reader)

    async def wait(self, until: float) -> bool:
        """Wait until there is something to take (True) or the loop's clock reads `until` (False)."""
        if not self._buffer and not self._ended:
            await self._woken(until)
        return bool(self._buffer) or self._ended

    async def gather(self, until: float) -> None:
        """Let more arrive until the loop's clock reads `until`, the stream ended or the buffer is full."""
        self._gathering = True
        if not self._ended and len(self._buffer) < self._limit:
            await self._woken(until)
        self._gathering = False

    async def _woken(self, until: float) -> None:
        self._reader = reader = asyncio.get_running_loop().create_future()
        self._alarm.wake(reader, until)
        await reader

    def wake(self, reader: asyncio.Future[None]) -> None:
        """Resolve `reader` when there is something to take."""
        self._reader = reader

    def take(self) -> list[StreamGenerateResponse]:
        """All that is ready: it arrived together. Empty at the end of the stream; a failure is raised last."""
        if self._buffer:
            events, self._buffer = self._buffer, []
            _wake(self._room)
            return events
        if self._failure is not None:
            raise self._failure
        return []

    def close(self) -> None:
        """Stop it for good: nobody waits for it any more."""
        self._alarm.close()
        self.stop()

    def fail(self, error: BaseException) -> None:
        """End the tape: after what is buffered, the reader sees `error`. The first failure stands."""
        self._failure = self._failure or error
        self._ended = True
        _wake(self._reader)


async def wait_any(tapes: Sequence[Tape], until: float) -> bool:
    """Wait until any of the tapes has something to take (True) or the loop's clock reads `until` (False)."""
    if all(tape.idle for tape in tapes):
        await _woken(tapes, until)
    return not all(tape.idle for tape in tapes)


async def _woken(tapes: Sequence[Tape], until: float) -> None:
    loop = asyncio.get_running_loop()
    reader: asyncio.Future[None] = loop.create_future()
    for tape in tapes:
        tape.wake(reader)
    timer = loop.call_at(until, _wake, reader)
    try:
        await reader
    finally:
        timer.cancel()


def _nothing() -> None:
    """Nobody pumps yet."""


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)


def _cancelling() -> int:
    task = asyncio.current_task()
    return task.cancelling() if task else 0
