"""Decoding the answers of the Responses API, whole and streamed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec.json import Decoder

from trunkline.v1 import call_pb2
from trunkline_server.dialects.classify import embedded_error
from trunkline_server.dialects.decoding import FramedDecoder
from trunkline_server.dialects.openai_responses import wire
from trunkline_server.dialects.openai_responses.answer import Answer
from trunkline_server.dialects.openai_responses.items import TYPED, TextKind, tokens_of
from trunkline_server.dialects.openai_responses.wire import read
from trunkline_server.errors import UpstreamError
from trunkline_server.wire.sse import SseEvent, SseFramer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline.v1.gateway_service_pb2 import StreamGenerateResponse

_RESPONSE = Decoder(wire.Response)
_KIND = Decoder(wire.EventKind)
_ITEM = Decoder(wire.ItemEvent)
_DELTA = Decoder(wire.DeltaEvent)
_ANNOTATION = Decoder(wire.AnnotationEvent)
_CONTENT_EVENT = Decoder(wire.ContentEvent)
_RESPONSE_EVENT = Decoder(wire.ResponseEvent)
_DONE = b"[DONE]"
_OF_REASONING = frozenset({"reasoning_text", "summary_text"})

_Taker = Callable[[Answer, bytes], None]


def decode_response(body: bytes) -> list[StreamGenerateResponse]:
    """A whole answer as events: each part started and completed, then completed. Raises UpstreamError.

    An answer without a status is taken as whole, because its JSON is.
    """
    response = read(_RESPONSE, body)
    if response.object == "error":
        raise embedded_error(body)
    if response.output is None and not response.error and not response.status:
        raise UpstreamError(call_pb2.OUTCOME_PROTOCOL_ERROR, code="no_output")
    answer = Answer()
    answer.complete(response, response.status or "completed")
    return answer.parts.take()


class ResponsesStreamDecoder(FramedDecoder[SseEvent]):
    """An answer is whole with `response.completed` or `response.incomplete`."""

    def __init__(self) -> None:
        self._answer = Answer()
        super().__init__(SseFramer(), self._answer)

    def _take(self, frame: SseEvent) -> None:
        if not frame.data or frame.data.startswith(_DONE):
            return
        if frame.event == "error":
            raise embedded_error(frame.data)
        said = read(_KIND, frame.data)
        if said.type == "error" or said.object == "error" or (said.error and not said.type):
            raise embedded_error(frame.data)
        take = _TAKERS.get(said.type or frame.event)
        if take is not None:
            take(self._answer, frame.data)
            self._completed = self._answer.completed

    def _end(self) -> None:
        raise UpstreamError(call_pb2.OUTCOME_INTERRUPTED, code="no_terminal_event")


def _add(answer: Answer, data: bytes) -> None:
    event = read(_ITEM, data)
    answer.add(event.output_index, event.item)


def _done(answer: Answer, data: bytes) -> None:
    event = read(_ITEM, data)
    answer.done(event.output_index, event.item)


def _say(kind: TextKind) -> _Taker:
    def take(answer: Answer, data: bytes) -> None:
        event = read(_DELTA, data)
        text = answer.message(event.output_index).text(event.content_index, kind)
        text.say(event.delta, tokens_of(event.logprobs))

    return take


def _cite(answer: Answer, data: bytes) -> None:
    event = read(_ANNOTATION, data)
    answer.message(event.output_index).text(event.content_index, "text").cite(event.annotation)


def _end_content(answer: Answer, data: bytes) -> None:
    event = read(_CONTENT_EVENT, data)
    # Reasoning has pieces, too.
    if read(TYPED, event.part).type not in _OF_REASONING:
        answer.message(event.output_index).content_done(event.content_index, event.part)


def _call(answer: Answer, data: bytes) -> None:
    event = read(_DELTA, data)
    answer.call(event.output_index).go_on(event.delta)


def _summarize(answer: Answer, data: bytes) -> None:
    event = read(_DELTA, data)
    answer.reasoning(event.output_index).say("summary", event.summary_index, event.delta)


def _think(answer: Answer, data: bytes) -> None:
    event = read(_DELTA, data)
    answer.reasoning(event.output_index).say("content", event.content_index, event.delta)


def _end(status: str) -> _Taker:
    def take(answer: Answer, data: bytes) -> None:
        answer.complete(read(_RESPONSE_EVENT, data).response, status)

    return take


# All other events say what these repeat, or nothing of the answer: how a provider's own tool is getting on.
_TAKERS: Mapping[str, _Taker] = {
    "response.output_item.added": _add,
    "response.output_item.done": _done,
    "response.output_text.delta": _say("text"),
    "response.refusal.delta": _say("refusal"),
    "response.output_text.annotation.added": _cite,
    "response.content_part.done": _end_content,
    "response.function_call_arguments.delta": _call,
    "response.reasoning_summary_text.delta": _summarize,
    "response.reasoning_text.delta": _think,
    "response.completed": _end("completed"),
    "response.incomplete": _end("incomplete"),
    "response.failed": _end("failed"),
    "response.cancelled": _end("cancelled"),
}
