"""What the stream decoders of all dialects do alike: frame, take, fail once, end once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from trunkline.v1 import call_pb2
from trunkline_server.errors import UpstreamError
from trunkline_server.wire.framing import FramingError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trunkline.v1.gateway_service_pb2 import StreamGenerateResponse

Frame = TypeVar("Frame")
_Given = TypeVar("_Given", covariant=True)


class Framer(Protocol[_Given]):
    """Cuts bytes into frames, the same ones however the bytes are cut. Raises FramingError."""

    def feed(self, data: bytes) -> Iterable[_Given]:
        """Take the next bytes."""

    def finish(self) -> Iterable[_Given]:
        """Take the end of the bytes."""


class Taken(Protocol):
    """The parts of an answer, as far as they are known."""

    def take(self) -> list[StreamGenerateResponse]:
        """The events that are new."""


class Told(Protocol):
    """What is known of an answer so far."""

    @property
    def parts(self) -> Taken:
        """Its parts."""

    def usage(self) -> call_pb2.Usage | None:
        """What was used, as far as the provider said so."""


class FramedDecoder(ABC, Generic[Frame]):
    """Decodes one streamed answer; the events are the same however its bytes are cut.

    `completed` comes once, and nothing after it. Else UpstreamError is raised, by every call from then on, with what
    was used so far. Events that came in the same bytes before an error are returned first: the next call raises it.
    A dialect says what a frame means (`_take`, which sets `_completed`) and what the end of the bytes does (`_end`).
    """

    def __init__(self, framer: Framer[Frame], told: Told) -> None:
        self._framer = framer
        self._told = told
        self._completed = False
        self._failure: UpstreamError | None = None

    @abstractmethod
    def _take(self, frame: Frame) -> None:
        """Take a frame. Raises UpstreamError."""

    @abstractmethod
    def _end(self) -> None:
        """The bytes have ended, and the answer has not: complete it, or raise UpstreamError (INTERRUPTED)."""

    def _unframeable(self, _: FramingError) -> UpstreamError:
        return UpstreamError(call_pb2.OUTCOME_PROTOCOL_ERROR, code="event_too_large")

    def feed(self, data: bytes) -> list[StreamGenerateResponse]:
        """Take the next bytes. Raises UpstreamError."""
        if self._failure is None and not self._completed:
            try:
                self._take_all(self._framer.feed(data))
            except UpstreamError as error:
                self._fail(error)
            except FramingError as error:
                self._fail(self._unframeable(error))
        events = self._told.parts.take()
        if self._failure is not None and not events:
            raise self._failure
        return events

    def finish(self) -> list[StreamGenerateResponse]:
        """Take the end of the bytes. Raises UpstreamError: INTERRUPTED where they end before the answer does."""
        if self._failure is None and not self._completed:
            try:
                self._take_the_rest()
                if not self._completed:
                    self._end()
            except UpstreamError as error:
                self._fail(error)
            except FramingError as error:
                self._fail(self._unframeable(error))
        if self._failure is not None:
            raise self._failure
        return self._told.parts.take()

    def _take_all(self, frames: Iterable[Frame]) -> None:
        for frame in frames:
            if not self._completed:
                self._take(frame)

    def _take_the_rest(self) -> None:
        for frame in self._framer.finish():
            try:
                self._take_all([frame])
            except UpstreamError as error:
                # A frame that is cut off tells nothing, neither that the answer ended nor that it did not.
                if error.code != "malformed_json":
                    raise

    def _fail(self, error: UpstreamError) -> None:
        if error.usage is None:
            error.usage = self._told.usage()
        self._failure = error
