"""Decoding the answers of Ollama's chat API, whole and streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import DecodeError, Raw, ValidationError
from msgspec.json import Decoder

from trunkline.v1 import call_pb2, content_pb2
from trunkline.v1.content_pb2 import LogprobToken, Part, TopLogprob
from trunkline.v1.gateway_service_pb2 import (
    GenerateResponse,
    PartCompleted,
    PartStarted,
    StreamCompleted,
    StreamGenerateResponse,
)
from trunkline_server.dialects.decoding import FramedDecoder
from trunkline_server.dialects.lenient import decode_json
from trunkline_server.dialects.ollama_chat.errors import told_error
from trunkline_server.dialects.ollama_chat.wire import Function, Line, Message, Token, ToolCall
from trunkline_server.errors import UpstreamError
from trunkline_server.wire.ndjson import NdjsonFramer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trunkline_server.wire.framing import FramingError

FINISH_REASONS: Mapping[str, content_pb2.FinishReason.ValueType] = {
    # Versions before 0.1.38 give none.
    "": content_pb2.FINISH_REASON_STOP,
    "stop": content_pb2.FINISH_REASON_STOP,
    "length": content_pb2.FINISH_REASON_MAX_TOKENS,
}
METADATA = (
    "model",
    "created_at",
    "remote_host",
    "remote_model",
    "total_duration",
    "load_duration",
    "prompt_eval_duration",
    "eval_duration",
)
# Of a text in provider_metadata.
MAX_CHARS = 1024
_LINE = Decoder(Line)
_OBJECT = Decoder(dict[str, Raw])


def decode_response(body: bytes) -> list[StreamGenerateResponse]:
    """A whole answer as events: started and completed for each part, then completed. Raises UpstreamError."""
    line = _line(body)
    if line.message is None and not line.done:
        raise UpstreamError(call_pb2.OUTCOME_PROTOCOL_ERROR, code="no_message")
    answer = _Answer()
    answer.add(line)
    if line.done is False:
        raise UpstreamError(call_pb2.OUTCOME_INTERRUPTED, code="not_done", usage=answer.usage())
    answer.complete(line)
    return answer.parts.take()


class OllamaStreamDecoder(FramedDecoder[bytes]):
    """An answer is whole with the line that says `done`."""

    def __init__(self) -> None:
        self._answer = _Answer()
        super().__init__(NdjsonFramer(), self._answer)

    def _take(self, frame: bytes) -> None:
        line = _line(frame)
        self._answer.add(line)
        if line.done:
            self._answer.complete(line)
            self._completed = True

    def _end(self) -> None:
        raise UpstreamError(call_pb2.OUTCOME_INTERRUPTED, code="not_done")

    def _unframeable(self, _: FramingError) -> UpstreamError:
        return UpstreamError(call_pb2.OUTCOME_PROTOCOL_ERROR, code="line_too_large")


class _Answer:
    """What the provider tells of one answer."""

    def __init__(self) -> None:
        self.parts = _Parts()
        self._last = Line()

    def add(self, line: Line) -> None:
        """Take a whole answer, or one line of it. Raises UpstreamError."""
        self._last = line
        message, tokens = line.message or Message(), _tokens(line.logprobs or [])
        if message.thinking:
            # The tokens of a line that has both are told with the words of the answer.
            self.parts.say("reasoning_text", message.thinking, [] if message.content else tokens)
        if message.content:
            self.parts.say("text", message.content, tokens)
        if tokens and not message.content and not message.thinking:
            self.parts.tell_tokens(tokens)
        for call in message.tool_calls or ():
            self.parts.call(call)

    def complete(self, line: Line) -> None:
        """Take the end."""
        said = line.done_reason or ""
        response = GenerateResponse(
            finish_reason=FINISH_REASONS.get(said, content_pb2.FINISH_REASON_OTHER),
            provider_finish_reason=said,
            usage=self.usage(),
        )
        for name in METADATA:
            if (value := getattr(line, name)) is not None:
                response.provider_metadata[name] = value[:MAX_CHARS] if isinstance(value, str) else value
        self.parts.complete(response)

    def usage(self) -> call_pb2.Usage | None:
        """What was used, as far as the provider has said so: the last line does."""
        usage = call_pb2.Usage(input_tokens=self._last.prompt_eval_count, output_tokens=self._last.eval_count)
        return usage if usage.ListFields() else None


class _Parts:
    """Makes events of the pieces of one answer; parts are numbered in the order in which they begin."""

    def __init__(self) -> None:
        self._events: list[StreamGenerateResponse] = []
        self._count = 0
        self._called = 0
        # What the last part is made of, while it is open.
        self._saying: Literal["text", "reasoning_text", ""] = ""

    def take(self) -> list[StreamGenerateResponse]:
        """The events since the last time."""
        events, self._events = self._events, []
        return events

    def say(self, kind: Literal["text", "reasoning_text"], words: str, tokens: Sequence[LogprobToken]) -> None:
        """Words go on, or begin."""
        if self._saying != kind:
            part = Part()
            # Tokens need a delta: PartStarted has no place for them.
            first = "" if tokens else words
            if kind == "text":
                part.text = first
            else:
                part.reasoning.text = first
            self._begin(part)
            self._saying = kind
            if not tokens:
                return
        # Runs for each token, and takes half the time of constructors with arguments.
        event = StreamGenerateResponse()
        delta = event.part_delta
        delta.part_index = self._count - 1
        if words:
            setattr(delta, kind, words)
        if tokens:
            delta.logprobs.extend(tokens)
        self._events.append(event)

    def tell_tokens(self, tokens: Sequence[LogprobToken]) -> None:
        """Tokens without words: of a piece of a character, or of a tool call."""
        self.say(self._saying or "text", "", tokens)

    def call(self, call: ToolCall) -> None:
        """A tool call, whole. Raises UpstreamError where it has no name, or no object for its arguments."""
        function = call.function or Function()
        if not function.name:
            raise UpstreamError(call_pb2.OUTCOME_PROTOCOL_ERROR, code="tool_call_unnamed")
        part = Part()
        part.tool_call.id = call.id or f"call_{self._called}"
        part.tool_call.name = function.name
        part.tool_call.arguments_json = _arguments(bytes(function.arguments))
        self._called += 1
        self._begin(part)
        self._complete_part()

    def complete(self, response: GenerateResponse) -> None:
        """Nothing follows but `response`."""
        if self._saying:
            self._complete_part()
        self._events.append(StreamGenerateResponse(completed=StreamCompleted(response=response)))

    def _begin(self, part: Part) -> None:
        if self._saying:
            self._complete_part()
        self._events.append(StreamGenerateResponse(part_started=PartStarted(part_index=self._count, part=part)))
        self._count += 1

    def _complete_part(self) -> None:
        self._saying = ""
        self._events.append(StreamGenerateResponse(part_completed=PartCompleted(part_index=self._count - 1)))


def _line(data: bytes) -> Line:
    """A whole answer, or a line of one. Raises UpstreamError: for the error that it tells of, or for not being one."""
    try:
        line = decode_json(_LINE, data)
    except ValidationError:
        raise UpstreamError(call_pb2.OUTCOME_PROTOCOL_ERROR, code="malformed_line") from None
    except DecodeError:
        raise UpstreamError(call_pb2.OUTCOME_PROTOCOL_ERROR, code="malformed_json") from None
    if line.error:
        raise told_error(data)
    return line


def _arguments(raw: bytes) -> str:
    if raw == b"null":
        return "{}"
    try:
        decode_json(_OBJECT, raw)
    except DecodeError:
        raise UpstreamError(call_pb2.OUTCOME_PROTOCOL_ERROR, code="malformed_arguments") from None
    return raw.decode("utf-8", "replace")


def _tokens(told: list[Token]) -> list[LogprobToken]:
    return [
        LogprobToken(
            token=token.token or "",
            logprob=token.logprob,
            raw_bytes=bytes(token.bytes or ()),
            top=[
                TopLogprob(token=top.token or "", logprob=top.logprob, raw_bytes=bytes(top.bytes or ()))
                for top in token.top_logprobs or ()
                if top.logprob is not None
            ],
        )
        for token in told
        if token.logprob is not None
    ]
