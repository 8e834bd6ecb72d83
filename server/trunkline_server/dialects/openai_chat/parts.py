"""The parts of an answer in the making: pieces of words and of tool calls go in, the contract's events come out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from msgspec import DecodeError, Raw
from msgspec.json import Decoder, encode

from trunkline.v1 import content_pb2
from trunkline.v1.call_pb2 import OUTCOME_PROTOCOL_ERROR
from trunkline.v1.gateway_service_pb2 import (
    GenerateResponse,
    PartCompleted,
    PartDelta,
    PartStarted,
    StreamCompleted,
    StreamGenerateResponse,
)
from trunkline_server.dialects.openai_chat.messages import CUSTOM, DIALECT
from trunkline_server.dialects.openai_chat.thoughts import Thoughts
from trunkline_server.dialects.openai_chat.wire import Custom, Function
from trunkline_server.errors import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trunkline.v1.content_pb2 import Citation, LogprobToken, Media
    from trunkline_server.dialects.openai_chat.wire import ToolCall

_JSON_OBJECT = Decoder(dict[str, Raw])

Words = Literal["text", "refusal", "reasoning"]


@dataclass(slots=True, eq=False)
class _Call:
    """A tool call as far as it has come."""

    id: str
    name: str = ""
    arguments: list[str] = field(default_factory=list)
    # Its part: none until its name is known.
    part_index: int | None = None
    completed: bool = False

    def ends_before(self, piece: ToolCall) -> bool:
        """Whether `piece` begins another call under the same index, as Gemini's compatible endpoint sends them.

        A new id alone does not tell: vLLM has made up one for each fragment.
        """
        return bool(self.name and piece.id and piece.id != self.id and piece.function and piece.function.name)

    def is_whole(self) -> bool:
        """Whether its arguments are a JSON object, after which nothing can follow."""
        try:
            _JSON_OBJECT.decode("".join(self.arguments))
        except (DecodeError, RecursionError):
            return False
        return True


def custom_part(name: str, custom: Custom) -> content_pb2.Part:
    """A call of a custom tool, which has no arguments: as the provider has it, to be sent back so."""
    said = {"id": name, "type": CUSTOM, "custom": {"name": custom.name, "input": custom.input}}
    return content_pb2.Part(
        provider_part=content_pb2.ProviderPart(dialect=DIALECT, type=CUSTOM, json=encode(said).decode())
    )


class Parts:
    """Makes events of the pieces of one answer.

    Parts are numbered in the order in which they begin. A part is completed when the next one begins. A tool call that
    is not a whole JSON object by then may still go on (parallel calls may interleave): it is completed at the end. So
    is the reasoning that the provider's reasoning_details belong to.
    """

    def __init__(self) -> None:
        self._events: list[StreamGenerateResponse] = []
        self._count = 0
        # What the last part is made of, while it is open; "" for a tool call.
        self._saying: Words | Literal[""] = ""
        self._thoughts = Thoughts()
        # The part that they belong to.
        self._thoughts_at: int | None = None
        self._calls: list[_Call] = []
        self._call_at: dict[int, _Call] = {}
        # The calls that grew since the last part began, as a set in order.
        self._grown: dict[_Call, None] = {}
        # By index: the id, and what has come of it.
        self._customs: dict[int, tuple[str, Custom]] = {}

    def take(self) -> list[StreamGenerateResponse]:
        """The events since the last time."""
        events, self._events = self._events, []
        return events

    def say(self, kind: Words, words: str, tokens: Sequence[LogprobToken] = ()) -> None:
        """Words go on, or begin."""
        if self._saying != kind:
            # Tokens need a delta: PartStarted has no place for them.
            self._begin_words(kind, "" if tokens else words)
            if not tokens:
                return
        # Runs for each token, and takes half the time of constructors with arguments.
        event = StreamGenerateResponse()
        delta = event.part_delta
        delta.part_index = self._count - 1
        setattr(delta, "reasoning_text" if kind == "reasoning" else kind, words)
        if tokens:
            delta.logprobs.extend(tokens)
        self._events.append(event)

    def tell_tokens(self, tokens: Sequence[LogprobToken]) -> None:
        """Tokens without words: of a piece of a character, or of a tool call."""
        if not self._count:
            self.say("text", "", tokens)
        else:
            self._emit_delta(PartDelta(part_index=self._count - 1, logprobs=tokens))

    def cite(self, citations: Sequence[Citation]) -> bool:
        """What the text that is being said rests on. False = none is being said, and nothing was done."""
        if self._saying != "text":
            return False
        self._emit_delta(PartDelta(part_index=self._count - 1, citations=citations))
        return True

    def show(self, media: Media) -> None:
        """A whole image."""
        self._emit_completed(self._begin(content_pb2.Part(media=media)))

    def detail(self, details: Sequence[Any]) -> None:
        """reasoning_details go on, or begin. They belong to the first reasoning, or to one of their own."""
        self._thoughts.add(details)
        if self._thoughts_at is None and not self._count:
            self._begin_words("reasoning", "")
        if self._thoughts_at is None and self._saying == "reasoning":
            self._thoughts_at = self._count - 1

    def call(self, index: int, piece: ToolCall) -> None:
        """A tool call goes on, or begins. Raises UpstreamError if it had ended."""
        if piece.custom is not None:
            self._add_custom(index, piece, piece.custom)
            return
        call = self._call_at.get(index)
        if call is None or call.ends_before(piece):
            call = self._call_at[index] = _Call(piece.id or f"call_{len(self._calls)}")
            self._calls.append(call)
        function = piece.function or Function()
        call.name = call.name or function.name or ""
        if function.arguments:
            self._add_arguments(call, function.arguments)
        if call.name and call.part_index is None:
            said = content_pb2.ToolCall(id=call.id, name=call.name, arguments_json="".join(call.arguments))
            call.part_index = self._begin(content_pb2.Part(tool_call=said))
        self._grown[call] = None

    def complete(self, response: GenerateResponse) -> None:
        """Nothing follows but `response`. Raises UpstreamError if a tool call never got its name."""
        self._complete_words()
        self._complete_thoughts()
        for call in self._calls:
            if not call.arguments:
                self._add_arguments(call, "{}")
            self._complete_call(call)
        for name, custom in self._customs.values():
            self._emit_completed(self._begin(custom_part(name, custom)))
        self._events.append(StreamGenerateResponse(completed=StreamCompleted(response=response)))

    def _add_custom(self, index: int, piece: ToolCall, custom: Custom) -> None:
        name, known = self._customs.setdefault(index, (piece.id or "", Custom(name="", input="")))
        known.name = known.name or custom.name
        known.input = (known.input or "") + (custom.input or "")
        self._customs[index] = name or piece.id or "", known

    def _add_arguments(self, call: _Call, arguments: str) -> None:
        if call.completed:
            if arguments.strip():
                raise UpstreamError(OUTCOME_PROTOCOL_ERROR, code="tool_call_reopened")
            return
        call.arguments.append(arguments)
        if call.part_index is not None:
            self._emit_delta(PartDelta(part_index=call.part_index, tool_arguments_json=arguments))

    def _begin(self, part: content_pb2.Part) -> int:
        self._complete_words()
        for call in self._grown:
            if call.part_index is not None and call.is_whole():
                self._complete_call(call)
        self._grown.clear()
        index, self._count = self._count, self._count + 1
        self._events.append(StreamGenerateResponse(part_started=PartStarted(part_index=index, part=part)))
        return index

    def _begin_words(self, kind: Words, words: str) -> None:
        part = content_pb2.Part()
        if kind == "reasoning":
            part.reasoning.SetInParent()
            part.reasoning.text = words
        else:
            setattr(part, kind, words)
        self._begin(part)
        self._saying = kind

    def _complete_words(self) -> None:
        if self._saying and self._count - 1 != self._thoughts_at:
            self._emit_completed(self._count - 1)
        self._saying = ""

    def _complete_thoughts(self) -> None:
        state = self._thoughts.state()
        if state is None:
            return
        if self._thoughts_at is None:
            self._thoughts_at = self._begin(content_pb2.Part(reasoning=content_pb2.Reasoning()))
        completed = PartCompleted(part_index=self._thoughts_at, provider_state=state)
        self._events.append(StreamGenerateResponse(part_completed=completed))

    def _complete_call(self, call: _Call) -> None:
        if call.part_index is None:
            raise UpstreamError(OUTCOME_PROTOCOL_ERROR, code="tool_call_unnamed")
        if not call.completed:
            call.completed = True
            self._emit_completed(call.part_index)

    def _emit_delta(self, delta: PartDelta) -> None:
        self._events.append(StreamGenerateResponse(part_delta=delta))

    def _emit_completed(self, index: int) -> None:
        self._events.append(StreamGenerateResponse(part_completed=PartCompleted(part_index=index)))
