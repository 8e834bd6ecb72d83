"""Decoding the answers of the Responses API, whole and streamed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec.json import Decoder

from trunkline.v1 import call_pb2
from trunkline_server.dialects.classify import embedded_error
from trunkline_server.dialects.openai_responses import wire
from trunkline_server.dialects.openai_responses.answer import Answer
from trunkline_server.dialects.openai_responses.items import TYPED, TextKind, tokens_of
from trunkline_server.dialects.openai_responses.wire import read
from trunkline_server.errors import UpstreamError
from trunkline_server.wire.sse import EventTooLarge, SseFramer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline.v1.gateway_service_pb2 import StreamGenerateResponse
    from trunkline_server.wire.sse import SseEvent

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


class ResponsesStreamDecoder:
    """Decodes one streamed answer; the events are the same however its bytes are cut.

    The answer is whole with `response.completed` or `response.incomplete`: `completed` comes, once, and nothing after
    it. Else UpstreamError is raised, by every call from then on. Events that came in the same bytes before an error are
    returned first, and the next call raises it.
    """

    def __init__(self) -> None:
        self._framer = SseFramer()
        self._answer = Answer()
        self._failure: UpstreamError | None = None

    def feed(self, data: bytes) -> list[StreamGenerateResponse]:
        """Take the next bytes. Raises UpstreamError."""
        if self._failure is None and not self._answer.completed:
            try:
                for event in self._framer.feed(data):
                    self._take(event)
            except UpstreamError as error:
                self._failure = error
            except EventTooLarge:
                self._failure = UpstreamError(call_pb2.OUTCOME_PROTOCOL_ERROR, code="event_too_large")
        events = self._answer.parts.take()
        if self._failure is not None and not events:
            raise self._failure
        return events

    def finish(self) -> list[StreamGenerateResponse]:
        """Take the end of the bytes. Raises UpstreamError: INTERRUPTED where they end before the answer does."""
        if self._failure is None and not self._answer.completed:
            try:
                self._read_end()
            except UpstreamError as error:
                self._failure = error
        if self._failure is not None:
            raise self._failure
        return self._answer.parts.take()

    def _take(self, event: SseEvent) -> None:
        if self._answer.completed or not event.data or event.data.startswith(_DONE):
            return
        if event.event == "error":
            raise embedded_error(event.data)
        said = read(_KIND, event.data)
        if said.type == "error" or said.object == "error" or (said.error and not said.type):
            raise embedded_error(event.data)
        take = _TAKERS.get(said.type or event.event)
        if take is not None:
            take(self._answer, event.data)

    def _read_end(self) -> None:
        for event in self._framer.finish():
            try:
                self._take(event)
            except UpstreamError as error:
                # An event that is cut off tells nothing, neither that the answer ended nor that it did not.
                if error.code != "malformed_json":
                    raise
        if not self._answer.completed:
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
