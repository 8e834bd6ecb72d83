"""Guarded: a handler that others wrote, held to what a handler promises."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import TYPE_CHECKING

from trunkline.v1 import call_pb2
from trunkline.v1.gateway_service_pb2 import StreamGenerateResponse
from trunkline_server.dialects.scrub import scrub
from trunkline_server.errors import InvalidRequest, UnsupportedCapability, UpstreamError
from trunkline_server.logs import frames_of

if TYPE_CHECKING:
    from trunkline_server.core import Call, Events, Handler
    from trunkline_server.logs import Log


def guarded(handler: Handler, log: Log) -> Handler:
    """`handler`, whose failures are typed: UpstreamError with its message scrubbed, or what it says of the request.

    Any other exception, and events that break the order of an answer, are a PROTOCOL_ERROR. The log has the kind of the
    exception and where it was raised, never its text. However the call ends, the handler's generator is closed.
    """

    async def handle(call: Call) -> Events:
        order = _Order()
        try:
            async with aclosing(_generator(handler(call))) as events:
                async for event in events:
                    order.take(event)
                    yield event
                    if order.completed:
                        break  # what it does after that changes nothing
        except UpstreamError as error:
            error.message = scrub(error.message)
            raise
        except (InvalidRequest, UnsupportedCapability):
            raise
        except Exception as error:  # noqa: BLE001 - theirs; its text may hold a prompt or a secret
            target, kind = call.target, type(error).__name__
            log.error(  # noqa: TRY400 - without the text
                "handler_failed", id=call.id, provider=target.provider, kind=kind, at=frames_of(error)
            )
            if not order.completed:  # else only at closing, and the answer is whole
                raise UpstreamError(call_pb2.OUTCOME_PROTOCOL_ERROR, code="handler_failed") from None

    return handle


def _generator(events: object) -> Events:
    if not isinstance(events, AsyncGenerator):
        if isinstance(events, Coroutine):
            events.close()
        raise TypeError("a handler is an async generator")
    return events


class _Order:
    """Parts are numbered without gaps, grow only while open, and are completed before the end, which is last."""

    def __init__(self) -> None:
        self._started = 0
        self._open: set[int] = set()
        self.completed = False

    def take(self, event: StreamGenerateResponse) -> None:
        """Take the next event. Raises UpstreamError."""
        if not isinstance(event, StreamGenerateResponse) or not self._fits(event):
            raise UpstreamError(call_pb2.OUTCOME_PROTOCOL_ERROR, code="events_out_of_order")

    def _fits(self, event: StreamGenerateResponse) -> bool:
        match event.WhichOneof("event"):
            case "part_started":
                self._open.add(event.part_started.part_index)
                self._started += 1
                return event.part_started.part_index == self._started - 1
            case "part_delta":
                return event.part_delta.part_index in self._open
            case "part_completed" if event.part_completed.part_index in self._open:
                self._open.remove(event.part_completed.part_index)
                return True
            case "completed" if not self._open:
                self.completed = True
                return True
        return False
