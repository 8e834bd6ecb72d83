"""Decoding the answers of Cohere's chat API, whole and streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import DecodeError, ValidationError
from msgspec.json import Decoder

from trunkline.v1 import call_pb2, content_pb2
from trunkline.v1.content_pb2 import LogprobToken
from trunkline.v1.gateway_service_pb2 import GenerateResponse
from trunkline_server.dialects.cohere_chat import wire
from trunkline_server.dialects.cohere_chat.errors import failed, told_error
from trunkline_server.dialects.cohere_chat.parts import Parts
from trunkline_server.dialects.decoding import FramedDecoder
from trunkline_server.dialects.lenient import decode_json
from trunkline_server.errors import UpstreamError
from trunkline_server.wire.sse import SseEvent, SseFramer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline.v1.gateway_service_pb2 import StreamGenerateResponse

T = TypeVar("T")

FINISH_REASONS: Mapping[str, content_pb2.FinishReason.ValueType] = {
    "COMPLETE": content_pb2.FINISH_REASON_STOP,
    "STOP_SEQUENCE": content_pb2.FINISH_REASON_STOP_SEQUENCE,
    "MAX_TOKENS": content_pb2.FINISH_REASON_MAX_TOKENS,
    "TOOL_CALL": content_pb2.FINISH_REASON_TOOL_CALLS,
    # Words of the first version's, which are still sent by hosts of older models.
    "ERROR_LIMIT": content_pb2.FINISH_REASON_CONTEXT_LENGTH,
    "ERROR_TOXIC": content_pb2.FINISH_REASON_CONTENT_FILTER,
}
# Finish reasons by which the provider says that the answer is not whole.
FAILURES = frozenset({"ERROR", "TIMEOUT"})
EVENTS = frozenset(
    {
        "message-start",
        "content-start",
        "content-delta",
        "tool-plan-delta",
        "tool-call-start",
        "tool-call-delta",
        "tool-call-end",
        "citation-start",
        "message-end",
    }
)
LOST_CITATIONS = "the provider gave citations of content that it did not send, which are left out"
_ANSWER = Decoder(wire.Answer)
_EVENT = Decoder(wire.Event)
_TYPED = Decoder(wire.Typed)
_CONTENT = Decoder(wire.Content)
_FRAGMENT = Decoder(wire.Content | None)
_CALLS = Decoder(wire.ToolCall | list[wire.ToolCall] | None)
_CITATIONS = Decoder(wire.Citation | list[wire.Citation] | None)
_DONE = b"[DONE]"
# What a double holds without loss.
MOST_UNITS = 1 << 53


def decode_response(body: bytes) -> list[StreamGenerateResponse]:
    """A whole answer as events: started and completed for each part, then completed. Raises UpstreamError."""
    told = _decode(_ANSWER, body)
    if told.finish_reason not in FAILURES and (told.error or not isinstance(told.message, wire.Message)):
        if told.error or isinstance(told.message, str):
            raise told_error(body)
        raise UpstreamError(call_pb2.OUTCOME_PROTOCOL_ERROR, code="no_message")
    answer = _Answer()
    answer.begin(told.id)
    if isinstance(told.message, wire.Message):
        answer.say(told.message, told.logprobs or [])
    answer.usage_told = told.usage
    try:
        answer.complete(told.finish_reason, told.error or told.message, told.error_type)
    except UpstreamError as failure:
        failure.usage = answer.usage()
        raise
    return answer.parts.take()


class CohereStreamDecoder(FramedDecoder[SseEvent]):
    """An answer is whole with message-end."""

    def __init__(self) -> None:
        self._answer = _Answer()
        super().__init__(SseFramer(), self._answer)

    def _take(self, frame: SseEvent) -> None:
        if not frame.data:
            return
        if frame.event == "error":
            raise told_error(frame.data)
        if frame.data.startswith(_DONE):
            raise UpstreamError(call_pb2.OUTCOME_PROTOCOL_ERROR, code="no_finish_reason")
        event = _event(frame.data)
        if event is not None:
            self._answer.add(event)
            self._completed = event.type == "message-end"

    def _end(self) -> None:
        raise UpstreamError(call_pb2.OUTCOME_INTERRUPTED, code="no_message_end")


class _Answer:
    """What the provider tells of one answer."""

    def __init__(self) -> None:
        self.parts = Parts()
        self.usage_told: wire.Usage | None = None
        self._id = ""

    def begin(self, name: str | None) -> None:
        """Take the answer's id."""
        self._id = name or ""

    def add(self, event: wire.Event) -> None:
        """Take one event of a stream. Raises UpstreamError where it breaks the protocol."""
        delta = event.delta or wire.Delta()
        match event.type:
            case "message-start":
                self.begin(event.id)
            case "message-end":
                self.usage_told = delta.usage
                self.complete(delta.finish_reason, delta.error, delta.error_type)
            case "tool-call-start" | "tool-call-delta" | "tool-call-end":
                self._add_call(event, delta.message or wire.Fragment())
            case _:
                self._add_words(event, delta.message or wire.Fragment())

    def _add_words(self, event: wire.Event, said: wire.Fragment) -> None:
        index = event.index or 0
        match event.type:
            case "content-delta":
                content = _decode(_FRAGMENT, bytes(said.content)) or wire.Content()
                self.parts.add(index, content, _tokens([event.logprobs] if event.logprobs else []))
            case "content-start":
                self._start(index, bytes(said.content))
            case "tool-plan-delta" if said.tool_plan:
                self.parts.plan(said.tool_plan)
            case "citation-start":
                for citation in _several(_decode(_CITATIONS, bytes(said.citations))):
                    self.parts.cite(citation)

    def _add_call(self, event: wire.Event, said: wire.Fragment) -> None:
        index = event.index or 0
        if event.type == "tool-call-end":
            self.parts.end_call(index)
            return
        for call in _several(_decode(_CALLS, bytes(said.tool_calls))):
            if event.type == "tool-call-start":
                self.parts.start_call(index, call)
            else:
                self.parts.add_arguments(index, (call.function and call.function.arguments) or "")

    def say(self, message: wire.Message, logprobs: list[wire.LogprobItem]) -> None:
        """Take a whole message."""
        if message.tool_plan:
            self.parts.plan(message.tool_plan)
        for index, content in enumerate(message.content or ()):
            self._start(index, bytes(content))
        for citation in message.citations or ():
            self.parts.cite(citation)
        self.parts.tell_tokens(_tokens(logprobs))
        for index, call in enumerate(message.tool_calls or ()):
            self.parts.start_call(index, call)
            self.parts.end_call(index)

    def _start(self, index: int, raw: bytes) -> None:
        kind = _decode(_TYPED, raw).type
        if not kind:
            raise UpstreamError(call_pb2.OUTCOME_PROTOCOL_ERROR, code="content_of_no_type")
        known = kind in {"text", "thinking"}
        self.parts.start(index, kind, _decode(_CONTENT, raw) if known else wire.Content(), raw)

    def complete(self, finish_reason: str | None, error: Any, error_type: str | None) -> None:
        """Take the end. Raises UpstreamError where the provider says that the answer is not whole."""
        if not finish_reason:
            raise UpstreamError(call_pb2.OUTCOME_PROTOCOL_ERROR, code="no_finish_reason")
        if finish_reason in FAILURES:
            raise failed(finish_reason, error if isinstance(error, str) else None, error_type)
        reason = FINISH_REASONS.get(finish_reason, content_pb2.FINISH_REASON_OTHER)
        response = GenerateResponse(finish_reason=reason, provider_finish_reason=finish_reason, usage=self.usage())
        if self._id:
            response.served.provider_response_id = self._id
        if self.parts.lost_citations:
            response.warnings.add(kind=call_pb2.Warning.KIND_CONTENT_DROPPED, message=LOST_CITATIONS)
        self.parts.complete(response)

    def usage(self) -> call_pb2.Usage | None:
        """What was used, as far as the provider has said so."""
        told = self.usage_told or wire.Usage()
        tokens = told.tokens or wire.Tokens()
        usage = call_pb2.Usage(
            input_tokens=_count(tokens.input_tokens),
            output_tokens=_count(tokens.output_tokens),
            cache_read_input_tokens=_count(told.cached_tokens),
            reasoning_output_tokens=_count(tokens.reasoning_tokens),
        )
        for name, units in (told.billed_units or {}).items():
            if isinstance(units, int | float) and 0 <= units <= MOST_UNITS:
                usage.other_units[f"billed_{name}"] = int(units)
        return usage if usage.ListFields() else None


def _count(told: float | None) -> int | None:
    return None if told is None else int(told)


def _several(told: T | list[T] | None) -> list[T]:
    return told if isinstance(told, list) else [] if told is None else [told]


def _tokens(items: list[wire.LogprobItem]) -> list[LogprobToken]:
    """The tokens of these pieces; the text of several that are told of together stands at the first."""
    return [
        LogprobToken(token="" if place else item.text or "", logprob=logprob)
        for item in items
        for place, logprob in enumerate(item.logprobs or ())
    ]


def _decode(decoder: Decoder[T], raw: bytes) -> T:
    try:
        return decode_json(decoder, raw)
    except DecodeError:
        raise UpstreamError(call_pb2.OUTCOME_PROTOCOL_ERROR, code="malformed_json") from None


def _event(data: bytes) -> wire.Event | None:
    """An event; None = of a type that tells nothing, or is not known. Raises UpstreamError where it is none at all."""
    try:
        event = decode_json(_EVENT, data)
    except ValidationError:
        # What an event of an unknown type has is not ours to check.
        named = _decode(_TYPED, data).type
        if named is None or named in EVENTS:
            raise UpstreamError(call_pb2.OUTCOME_PROTOCOL_ERROR, code="malformed_event") from None
        return None
    except DecodeError:
        raise UpstreamError(call_pb2.OUTCOME_PROTOCOL_ERROR, code="malformed_json") from None
    if event.error or (event.type is None and event.message) or event.type == "error":
        raise told_error(data)
    return event if event.type in EVENTS else None
