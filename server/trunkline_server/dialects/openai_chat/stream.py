"""Decoding the answers of the chat completions API, whole and streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import DecodeError
from msgspec.json import Decoder

from trunkline.v1 import call_pb2
from trunkline_server.dialects.classify import embedded_error
from trunkline_server.dialects.lenient import decode_json
from trunkline_server.dialects.openai_chat.answer import Answer
from trunkline_server.dialects.openai_chat.wire import Completion
from trunkline_server.errors import UpstreamError
from trunkline_server.wire.sse import EventTooLarge, SseFramer

if TYPE_CHECKING:
    from trunkline.v1.gateway_service_pb2 import StreamGenerateResponse
    from trunkline_server.wire.sse import SseEvent

_COMPLETION = Decoder(Completion)
_DONE = b"[DONE]"


def decode_response(body: bytes) -> list[StreamGenerateResponse]:
    """A whole answer as events: started and completed for each part, then completed. Raises UpstreamError.

    An answer without a finish reason is taken as whole, because its JSON is.
    """
    completion = _completion(body)
    if not completion.choices:
        raise UpstreamError(call_pb2.OUTCOME_PROTOCOL_ERROR, code="no_choices")
    # But for names and numbers it is a stream of one event.
    completion.choices.sort(key=lambda choice: choice.index or 0)
    for place, choice in enumerate(completion.choices):
        choice.index, choice.delta = place, choice.message
        for position, call in enumerate((choice.message and choice.message.tool_calls) or ()):
            call.index = position
    answer = Answer()
    answer.add(completion)
    answer.complete()
    return answer.parts.take()


class ChatStreamDecoder:
    """Decodes one streamed answer; the events are the same however its bytes are cut.

    The answer is whole with a finish reason and then `[DONE]` or the end of the bytes: `completed` comes, once, and
    nothing after it. Else UpstreamError is raised, by every call from then on. Events that came in the same bytes
    before an error are returned first, and the next call raises it.
    """

    def __init__(self) -> None:
        self._framer = SseFramer()
        self._answer = Answer()
        self._completed = False
        self._failure: UpstreamError | None = None

    def feed(self, data: bytes) -> list[StreamGenerateResponse]:
        """Take the next bytes. Raises UpstreamError."""
        if self._failure is None and not self._completed:
            try:
                for event in self._framer.feed(data):
                    self._take(event)
            except UpstreamError as error:
                self._fail(error)
            except EventTooLarge:
                self._fail(UpstreamError(call_pb2.OUTCOME_PROTOCOL_ERROR, code="event_too_large"))
        events = self._answer.parts.take()
        if self._failure is not None and not events:
            raise self._failure
        return events

    def finish(self) -> list[StreamGenerateResponse]:
        """Take the end of the bytes. Raises UpstreamError: INTERRUPTED where they end before the answer does."""
        if self._failure is None and not self._completed:
            try:
                self._read_end()
            except UpstreamError as error:
                self._fail(error)
        if self._failure is not None:
            raise self._failure
        return self._answer.parts.take()

    def _take(self, event: SseEvent) -> None:
        if self._completed:
            return
        if event.event == "error":
            raise embedded_error(event.data)
        if event.data.startswith(_DONE):
            self._complete(call_pb2.OUTCOME_PROTOCOL_ERROR)
        elif event.data:
            self._answer.add(_completion(event.data))

    def _read_end(self) -> None:
        for event in self._framer.finish():
            try:
                self._take(event)
            except UpstreamError as error:
                # An event that is cut off tells nothing, neither that the answer ended nor that it did not.
                if error.code != "malformed_json":
                    raise
        if not self._completed:
            self._complete(call_pb2.OUTCOME_INTERRUPTED)

    def _complete(self, otherwise: call_pb2.Outcome.ValueType) -> None:
        if not self._answer.finish_reason:
            raise UpstreamError(otherwise, code="no_finish_reason")
        self._answer.complete()
        self._completed = True

    def _fail(self, error: UpstreamError) -> None:
        error.usage = self._answer.usage()
        self._failure = error


def _completion(body: bytes) -> Completion:
    """An answer, or one event of it. Raises UpstreamError: for the error that it tells of, or for not being one."""
    try:
        completion = decode_json(_COMPLETION, body)
    except DecodeError:
        raise UpstreamError(call_pb2.OUTCOME_PROTOCOL_ERROR, code="malformed_json") from None
    if completion.error or completion.object == "error":
        raise embedded_error(body)
    return completion
