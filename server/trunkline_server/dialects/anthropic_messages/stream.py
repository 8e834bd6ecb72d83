"""Decoding the answers of the Messages API, whole and streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import DecodeError, ValidationError
from msgspec.json import Decoder

from trunkline.v1 import call_pb2, content_pb2
from trunkline.v1.gateway_service_pb2 import GenerateResponse
from trunkline_server.dialects.anthropic_messages.parts import Parts
from trunkline_server.dialects.anthropic_messages.usage import Tally
from trunkline_server.dialects.anthropic_messages.wire import Delta, Event, Message, Typed
from trunkline_server.dialects.classify import embedded_error
from trunkline_server.dialects.decoding import FramedDecoder
from trunkline_server.dialects.lenient import decode_json
from trunkline_server.dialects.metadata import Metadata
from trunkline_server.dialects.scrub import scrub
from trunkline_server.errors import UpstreamError
from trunkline_server.wire.sse import SseEvent, SseFramer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline.v1.gateway_service_pb2 import StreamGenerateResponse
    from trunkline_server.dialects.anthropic_messages.wire import Usage

FINISH_REASONS: Mapping[str, content_pb2.FinishReason.ValueType] = {
    "end_turn": content_pb2.FINISH_REASON_STOP,
    "max_tokens": content_pb2.FINISH_REASON_MAX_TOKENS,
    "stop_sequence": content_pb2.FINISH_REASON_STOP_SEQUENCE,
    "tool_use": content_pb2.FINISH_REASON_TOOL_CALLS,
    "pause_turn": content_pb2.FINISH_REASON_PAUSE,
    "refusal": content_pb2.FINISH_REASON_REFUSAL,
    "model_context_window_exceeded": content_pb2.FINISH_REASON_CONTEXT_LENGTH,
}
EVENTS = frozenset(
    {
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
        "error",
    }
)
LEFT_OUT = "some of what the provider sent is left out, for there is no place for it"
LARGE_METADATA = "the provider told more than is kept, which is left out"
_MESSAGE = Decoder(Message)
_EVENT = Decoder(Event)
_TYPED = Decoder(Typed)


def decode_response(body: bytes) -> list[StreamGenerateResponse]:
    """A whole answer as events: started and completed for each part, then completed. Raises UpstreamError."""
    try:
        message = decode_json(_MESSAGE, body)
    except DecodeError:
        raise UpstreamError(call_pb2.OUTCOME_PROTOCOL_ERROR, code="malformed_json") from None
    if message.error or message.type == "error":
        raise embedded_error(body)
    if message.content is None:
        raise UpstreamError(call_pb2.OUTCOME_PROTOCOL_ERROR, code="no_content")
    answer = _Answer()
    answer.begin(message)
    for index, block in enumerate(message.content):
        answer.parts.start(index, bytes(block), whole=True)
        answer.parts.stop(index)
    answer.end(message)
    answer.complete()
    return answer.parts.take()


class MessagesStreamDecoder(FramedDecoder[SseEvent]):
    """An answer is whole with message_stop, after a stop reason."""

    def __init__(self) -> None:
        self._answer = _Answer()
        super().__init__(SseFramer(), self._answer)

    def _take(self, frame: SseEvent) -> None:
        if not frame.data:
            return
        if frame.event == "error":
            raise embedded_error(frame.data)
        event = _event(frame.data)
        if event is None:
            return
        if event.type == "error":
            raise embedded_error(frame.data)
        self._answer.add(event)
        self._completed = event.type == "message_stop"

    def _end(self) -> None:
        raise UpstreamError(call_pb2.OUTCOME_INTERRUPTED, code="no_message_stop")


class _Answer:
    """What a provider tells of one answer."""

    def __init__(self) -> None:
        self.parts = Parts()
        self.tally = Tally()
        self._metadata = Metadata()
        self._response = GenerateResponse()
        self._stop_reason = ""

    def usage(self) -> call_pb2.Usage | None:
        """What was used so far."""
        return self.tally.usage()

    def add(self, event: Event) -> None:
        """Take one event of a stream. Raises UpstreamError where it breaks the protocol."""
        match event.type:
            case "content_block_delta":
                self.parts.add(_index(event), event.delta or Delta())
            case "content_block_start":
                self.parts.start(_index(event), bytes(event.content_block))
            case "content_block_stop":
                self.parts.stop(_index(event))
            case "message_start":
                self.begin(event.message or Message())
            case "message_delta":
                self.tally.add(event.usage)
                self._metadata.add("context_management", event.context_management)
                self._add_usage(event.usage)
                self.end(event.delta or Delta())
            case "message_stop":
                if not self._stop_reason:
                    raise UpstreamError(call_pb2.OUTCOME_PROTOCOL_ERROR, code="no_stop_reason")
                self.complete()

    def begin(self, message: Message) -> None:
        """Take what is known from the start."""
        if message.id:
            self._response.served.provider_response_id = message.id
        self.tally.add(message.usage)
        self._add_usage(message.usage)
        self._metadata.add("model", message.model)
        self._metadata.add("context_management", message.context_management)
        self._metadata.add("diagnostics", message.diagnostics)

    def _add_usage(self, usage: Usage | None) -> None:
        """Take what stands beside the figures and is none."""
        if usage is not None:
            for name in ("service_tier", "inference_geo", "speed"):
                self._metadata.add(name, getattr(usage, name))

    def end(self, told: Message | Delta) -> None:
        """Take why it stopped."""
        self._stop_reason = told.stop_reason or self._stop_reason
        self._response.stop_sequence = told.stop_sequence or self._response.stop_sequence
        self._metadata.add("stop_details", told.stop_details)
        self._metadata.add("container", told.container)

    def complete(self) -> None:
        """Take the end."""
        self.parts.stop_all()
        response = self._response
        response.finish_reason = FINISH_REASONS.get(self._stop_reason, content_pb2.FINISH_REASON_OTHER)
        response.provider_finish_reason = self._stop_reason
        if usage := self.tally.usage():
            response.usage.CopyFrom(usage)
        if metadata := self._metadata.struct():
            response.provider_metadata.CopyFrom(metadata)
        for why, names in ((LEFT_OUT, self.parts.left_out), (LARGE_METADATA, self._metadata.left_out)):
            if names:
                told = f"{why}: {scrub(', '.join(names))}"
                response.warnings.add(kind=call_pb2.Warning.KIND_CONTENT_DROPPED, message=told)
        self.parts.complete(response)


def _event(data: bytes) -> Event | None:
    """An event; None = of a type that is not known. Raises UpstreamError where it is no event at all."""
    try:
        event = decode_json(_EVENT, data)
    except ValidationError:
        # What an event of an unknown type has is not ours to check.
        if (named := _type(data)) is None or named in EVENTS:
            raise UpstreamError(call_pb2.OUTCOME_PROTOCOL_ERROR, code="malformed_event") from None
        return None
    except DecodeError:
        raise UpstreamError(call_pb2.OUTCOME_PROTOCOL_ERROR, code="malformed_json") from None
    return event if event.type in EVENTS else None


def _type(data: bytes) -> str | None:
    try:
        return decode_json(_TYPED, data).type
    except DecodeError:
        return None


def _index(event: Event) -> int:
    if event.index is None:
        raise UpstreamError(call_pb2.OUTCOME_PROTOCOL_ERROR, code="block_of_no_index")
    return event.index
