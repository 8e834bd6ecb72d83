"""Decoding the answers of the chat completions API, whole and streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import DecodeError
from msgspec.json import Decoder

from trunkline.v1 import call_pb2, content_pb2
from trunkline.v1.content_pb2 import LogprobToken, TopLogprob
from trunkline.v1.gateway_service_pb2 import GenerateResponse
from trunkline_server.dialects.classify import embedded_error
from trunkline_server.dialects.lenient import decode_json
from trunkline_server.dialects.openai_chat_parts import Parts
from trunkline_server.dialects.openai_chat_wire import Completion, CompletionDetails, Logprobs, PromptDetails
from trunkline_server.errors import UpstreamError
from trunkline_server.wire.sse import EventTooLarge, SseFramer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trunkline.v1.gateway_service_pb2 import StreamGenerateResponse
    from trunkline_server.dialects.openai_chat_wire import ContentPart, Message, Usage
    from trunkline_server.wire.sse import SseEvent

FINISH_REASONS: Mapping[str, content_pb2.FinishReason.ValueType] = {
    "stop": content_pb2.FINISH_REASON_STOP,
    "eos": content_pb2.FINISH_REASON_STOP,
    "length": content_pb2.FINISH_REASON_MAX_TOKENS,
    "model_length": content_pb2.FINISH_REASON_CONTEXT_LENGTH,
    "tool_calls": content_pb2.FINISH_REASON_TOOL_CALLS,
    "tool_call": content_pb2.FINISH_REASON_TOOL_CALLS,
    "function_call": content_pb2.FINISH_REASON_TOOL_CALLS,
    "content_filter": content_pb2.FINISH_REASON_CONTENT_FILTER,
}
# Finish reasons by which a provider says that the answer is not whole.
FAILURES: Mapping[str, call_pb2.Outcome.ValueType] = {
    "error": call_pb2.OUTCOME_SERVER_ERROR,
    "insufficient_system_resource": call_pb2.OUTCOME_OVERLOADED,
    "abort": call_pb2.OUTCOME_INTERRUPTED,
}
SEVERAL_CHOICES = "the provider gave several answers: all but the first are left out"
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
    answer = _Answer()
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
        self._answer = _Answer()
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


class _Answer:
    """What a provider tells of one answer. The first of several choices is kept."""

    def __init__(self) -> None:
        self.parts = Parts()
        self.finish_reason = ""
        self._id = ""
        self._usage: Usage | None = None
        self._refused = False
        self._several = False

    def add(self, completion: Completion) -> None:
        """Take one event. Raises UpstreamError where it contradicts what came before."""
        if completion.usage is not None:
            self._usage = completion.usage
        elif completion.x_groq is not None:
            self._usage = completion.x_groq.usage or self._usage
        if not self._id:
            self._id = completion.id or ""
        for choice in completion.choices or ():
            if choice.index:
                self._several = True
                continue
            if choice.delta is not None:
                self._add(choice.delta, choice.logprobs)
            if choice.finish_reason:
                self.finish_reason = choice.finish_reason

    def _add(self, delta: Message, logprobs: Logprobs | float | None) -> None:
        tokens = _tokens(logprobs) if isinstance(logprobs, Logprobs) else []
        content = delta.content
        if content and (text := content if isinstance(content, str) else _text(content)):
            self.parts.say("text", text, tokens)
            tokens = []
        if delta.refusal:
            self._refused = True
            self.parts.say("refusal", delta.refusal, tokens)
            tokens = []
        for position, piece in enumerate(delta.tool_calls or ()):
            self.parts.call(position if piece.index is None else piece.index, piece)
        if tokens:
            self.parts.tell_tokens(tokens)

    def complete(self) -> None:
        """Take the end. Raises UpstreamError where the provider says that the answer is not whole."""
        if self.finish_reason in FAILURES:
            raise UpstreamError(FAILURES[self.finish_reason], code=self.finish_reason)
        reason = FINISH_REASONS.get(self.finish_reason, content_pb2.FINISH_REASON_OTHER)
        if self._refused and reason == content_pb2.FINISH_REASON_STOP:
            reason = content_pb2.FINISH_REASON_REFUSAL
        response = GenerateResponse(finish_reason=reason, provider_finish_reason=self.finish_reason, usage=self.usage())
        if self._id:
            response.served.provider_response_id = self._id
        if self._several:
            response.warnings.add(kind=call_pb2.Warning.KIND_CONTENT_DROPPED, message=SEVERAL_CHOICES)
        self.parts.complete(response)

    def usage(self) -> call_pb2.Usage | None:
        """What was used, as far as the provider has said so."""
        usage = self._usage
        if usage is None:
            return None
        prompt = usage.prompt_tokens_details or PromptDetails()
        completion = usage.completion_tokens_details or CompletionDetails()
        cached = (prompt.cached_tokens, usage.cached_tokens, usage.prompt_cache_hit_tokens)
        return call_pb2.Usage(
            input_tokens=usage.prompt_tokens,
            output_tokens=usage.completion_tokens,
            cache_read_input_tokens=next((count for count in cached if count is not None), None),
            reasoning_output_tokens=completion.reasoning_tokens,
        )


def _completion(body: bytes) -> Completion:
    """An answer, or one event of it. Raises UpstreamError: for the error that it tells of, or for not being one."""
    try:
        completion = decode_json(_COMPLETION, body)
    except DecodeError:
        raise UpstreamError(call_pb2.OUTCOME_PROTOCOL_ERROR, code="malformed_json") from None
    if completion.error or completion.object == "error":
        raise embedded_error(body)
    return completion


def _text(parts: Iterable[ContentPart | str]) -> str:
    """The text of a list of content; other kinds, such as thinking, are no part of the answer."""
    pieces = (part if isinstance(part, str) else part.text if part.type == "text" else "" for part in parts)
    return "".join(piece or "" for piece in pieces)


def _tokens(logprobs: Logprobs) -> list[LogprobToken]:
    told = [*(logprobs.content or ()), *(logprobs.refusal or ())]
    return [
        LogprobToken(
            token=token.token,
            logprob=token.logprob,
            raw_bytes=bytes(token.bytes or ()),
            top=[
                TopLogprob(token=top.token, logprob=top.logprob, raw_bytes=bytes(top.bytes or ()))
                for top in token.top_logprobs or ()
                if top.logprob is not None
            ],
        )
        for token in told
        if token.logprob is not None
    ]
