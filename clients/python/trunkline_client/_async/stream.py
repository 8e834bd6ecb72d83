"""One streamed answer."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from grpc import StatusCode

from trunkline_client.answer import Answer, Fold, text_of
from trunkline_client.errors import Interrupted
from trunkline_client.status import raising

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from trunkline.v1.gateway_service_pb2 import StreamGenerateResponse
    from trunkline_client.channel import AsyncEventCall


class AsyncStream:
    """An answer as it is made. Read it once, by its events or by its `text`.

    The call begins with the reading. It is cancelled as soon as the reading ends early, however that happens; leaving
    the stream's `with` block, or closing the stream, cancels it at once.
    """

    def __init__(self, start: Callable[[], AsyncEventCall], address: str) -> None:
        self._start = start
        self._address = address
        self._call: AsyncEventCall | None = None
        self._closed = False
        self._fold = Fold()

    async def __aiter__(self) -> AsyncGenerator[StreamGenerateResponse, None]:
        """The events, `completed` last.

        Raises TrunklineError; Interrupted also if the stream ends in good order but without `completed`.
        """
        if self._call is not None:
            raise RuntimeError("a stream is read once")
        call = self._call = self._start()
        try:
            if self._closed:  # perhaps by another thread, while the call was being started
                call.cancel()
            events = aiter(call)
            while (event := await self._next(events)) is not None:
                self._fold.add(event)
                yield event
        finally:
            call.cancel()  # dropping a call does not end it
        if not self._fold.completed:
            raise _interrupted(self._fold.id)

    async def _next(self, events: AsyncIterator[StreamGenerateResponse]) -> StreamGenerateResponse | None:
        with raising(self._address, begun=self._fold.begun):
            return await anext(events, None)

    @property
    def text(self) -> AsyncGenerator[str, None]:
        """The answer's text, piece by piece. Raises as the events do."""
        return self._texts()

    async def _texts(self) -> AsyncGenerator[str, None]:
        async with aclosing(aiter(self)) as events:
            async for event in events:
                if text := text_of(event):
                    yield text

    @property
    def response(self) -> Answer:
        """The whole answer, once it has been read to its end. Raises ValueError before that and after a failure."""
        return Answer(self._fold.response())

    async def aclose(self) -> None:
        """Cancel the call if it still runs. Whoever reads it then, or later, gets Cancelled."""
        self._closed = True
        if self._call is not None:
            self._call.cancel()

    async def __aenter__(self) -> AsyncStream:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def _interrupted(call_id: str) -> Interrupted:
    message = "the stream ended before the answer was whole"
    return Interrupted(message, StatusCode.ABORTED, reason="STREAM_INTERRUPTED", call_id=call_id)
