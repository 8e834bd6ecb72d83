"""Resume: an answer that broke off after a piece of it was sent is made again, or goes on."""

from __future__ import annotations

from contextlib import aclosing
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from trunkline.v1 import call_pb2
from trunkline.v1.content_pb2 import ROLE_ASSISTANT, ResponseFormat
from trunkline.v1.gateway_service_pb2 import GenerateRequest, PartDelta, StreamGenerateResponse, Thinking
from trunkline_server.errors import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trunkline.v1.call_pb2 import Target
    from trunkline_server.core import Call, Events, Handler
    from trunkline_server.settings import Settings

FAIL = call_pb2.ON_INTERRUPTION_FAIL
RESTART = call_pb2.ON_INTERRUPTION_RESTART
CONTINUE = call_pb2.ON_INTERRUPTION_CONTINUE
# Characters. What a model says again where it goes on is not longer.
LONGEST_OVERLAP = 64
_PLAIN_FORMATS = (ResponseFormat.KIND_UNSPECIFIED, ResponseFormat.KIND_TEXT)
_NOT_THINKING = (Thinking.EFFORT_UNSPECIFIED, Thinking.EFFORT_NONE)


class Resumption:
    """How the next attempt takes up an answer of which a piece was sent."""

    discard = True

    def __init__(self, cause: call_pb2.Outcome.ValueType) -> None:
        self.cause = cause

    def request(self, request: GenerateRequest) -> GenerateRequest:
        """What the attempt asks for, of a call that asks for this."""
        return request

    def join(self, events: list[StreamGenerateResponse]) -> list[StreamGenerateResponse]:
        """What the caller gets of these events."""
        return events

    def asked(self, call: Call, below: Handler) -> Events:
        """What answers the attempt."""
        return below(call)


class Continuation(Resumption):
    """It goes on after `sent`. What the model says again of its end, up to 64 characters, is left out."""

    discard = False

    def __init__(self, cause: call_pb2.Outcome.ValueType, sent: str) -> None:
        super().__init__(cause)
        self.sent = sent
        self._tail = sent[-LONGEST_OVERLAP:]
        # What may be said again; None once that is decided.
        self._held: str | None = ""

    def request(self, request: GenerateRequest) -> GenerateRequest:
        """The same, with what was sent at its end."""
        return continued(request, self.sent)

    def join(self, events: list[StreamGenerateResponse]) -> list[StreamGenerateResponse]:
        """The same events as pieces of the part that is open."""
        return [joined for event in events for joined in self._join(event)]

    async def asked(self, call: Call, below: Handler) -> Events:
        """The same. Raises UpstreamError where it is more than text, and the attempt is written down as such.

        Before the rest is read: an answer that nobody can use must not be a success because it was whole.
        """
        async with aclosing(below(call)) as events:
            async for event in events:
                if _is_unfit(event):
                    if call.fate.settle is not None:
                        call.fate.settle(call_pb2.OUTCOME_PROTOCOL_ERROR)
                    raise UpstreamError(call_pb2.OUTCOME_PROTOCOL_ERROR, code="cannot_continue")
                yield event

    def _join(self, event: StreamGenerateResponse) -> Iterator[StreamGenerateResponse]:
        kind = event.WhichOneof("event")
        if kind == "part_started":
            yield from self._text(event.part_started.part.text)
        elif self._held is not None and kind == "part_delta" and event.part_delta.WhichOneof("delta") == "text":
            yield from self._text(event.part_delta.text)
        else:
            yield from self._rest()
            yield event

    def _text(self, text: str) -> Iterator[StreamGenerateResponse]:
        if self._held is None:
            yield from _delta(text)
            return
        self._held += text
        if not self._may_overlap():
            yield from self._rest()

    def _may_overlap(self) -> bool:
        """Whether more text could make the overlap longer: what is held begins a longer end of what was sent."""
        held = self._held or ""
        return any(self._tail.startswith(held, i) for i in range(len(self._tail) - len(held)))

    def _rest(self) -> Iterator[StreamGenerateResponse]:
        """What was held back, less what was said before."""
        held, self._held = self._held, None
        if held:
            yield from _delta(held[overlap(self._tail, held) :])


def _is_unfit(event: StreamGenerateResponse) -> bool:
    """Whether it cannot stand in the one part of text that is open."""
    if event.WhichOneof("event") != "part_started":
        return False
    started = event.part_started
    return bool(started.part_index) or not started.part.HasField("text") or started.part.HasField("provider_state")


def _delta(text: str) -> Iterator[StreamGenerateResponse]:
    if text:
        yield StreamGenerateResponse(part_delta=PartDelta(part_index=0, text=text))


def overlap(sent: str, more: str) -> int:
    """How many characters at the end of `sent` stand at the beginning of `more` again; at most LONGEST_OVERLAP."""
    longest = min(len(sent), len(more), LONGEST_OVERLAP)
    return next((size for size in range(longest, 0, -1) if sent.endswith(more[:size])), 0)


def cannot_continue(request: GenerateRequest) -> str:
    """The field for which no answer to this request can be continued. Empty = one can."""
    if request.tools:
        return "tools"
    if request.response_format.kind not in _PLAIN_FORMATS:
        return "response_format"
    thinking = request.config.thinking
    if thinking.effort not in _NOT_THINKING or thinking.budget_tokens:
        return "config.thinking"
    return "config.top_logprobs" if request.config.HasField("top_logprobs") else ""


def can_continue(settings: Settings, target: Target) -> bool:
    """Whether the operator says that the model goes on with an answer that stands at the request's end."""
    return any(fnmatchcase(target.model, pattern) for pattern in settings.providers[target.provider].prefill)


def continued(request: GenerateRequest, sent: str) -> GenerateRequest:
    """The request with what was sent of the answer at its end: without blanks there, which providers refuse."""
    following = GenerateRequest()
    following.CopyFrom(request)
    if text := sent.rstrip():
        following.messages.add(role=ROLE_ASSISTANT).parts.add(text=text)
    return following


def warning_of(targets: Sequence[Target], settings: Settings) -> list[call_pb2.Warning]:
    """What to say of a call that wants to be continued and that nobody could continue."""
    if any(can_continue(settings, target) for target in targets):
        return []
    return [
        call_pb2.Warning(
            kind=call_pb2.Warning.KIND_PARAMETER_CHANGED,
            field="routing.on_interruption",
            message="no target of this call can continue an answer: had it broken off, the call would have failed",
        )
    ]
