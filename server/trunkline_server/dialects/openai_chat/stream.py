"""Decoding the answers of the chat completions API, whole and streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import DecodeError
from msgspec.json import Decoder

from trunkline.v1 import call_pb2
from trunkline_server.dialects.classify import embedded_error
from trunkline_server.dialects.decoding import FramedDecoder
from trunkline_server.dialects.lenient import decode_json
from trunkline_server.dialects.openai_chat.answer import Answer
from trunkline_server.dialects.openai_chat.wire import Completion
from trunkline_server.errors import UpstreamError
from trunkline_server.wire.sse import SseEvent, SseFramer

if TYPE_CHECKING:
    from trunkline.v1.gateway_service_pb2 import StreamGenerateResponse

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


class ChatStreamDecoder(FramedDecoder[SseEvent]):
    """An answer is whole with a finish reason and then `[DONE]` or the end of the bytes."""

    def __init__(self) -> None:
        self._answer = Answer()
        super().__init__(SseFramer(), self._answer)

    def _take(self, frame: SseEvent) -> None:
        if frame.event == "error":
            raise embedded_error(frame.data)
        if frame.data.startswith(_DONE):
            self._complete(call_pb2.OUTCOME_PROTOCOL_ERROR)
        elif frame.data:
            self._answer.add(_completion(frame.data))

    def _end(self) -> None:
        self._complete(call_pb2.OUTCOME_INTERRUPTED)

    def _complete(self, otherwise: call_pb2.Outcome.ValueType) -> None:
        if not self._answer.finish_reason:
            raise UpstreamError(otherwise, code="no_finish_reason")
        self._answer.complete()
        self._completed = True


def _completion(body: bytes) -> Completion:
    """An answer, or one event of it. Raises UpstreamError: for the error that it tells of, or for not being one."""
    try:
        completion = decode_json(_COMPLETION, body)
    except DecodeError:
        raise UpstreamError(call_pb2.OUTCOME_PROTOCOL_ERROR, code="malformed_json") from None
    if completion.error or completion.object == "error":
        raise embedded_error(body)
    return completion
