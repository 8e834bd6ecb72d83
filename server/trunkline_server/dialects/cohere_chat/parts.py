"""The parts of an answer in the making: pieces of Cohere's answers go in, the contract's events come out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from msgspec.json import encode

from trunkline.v1.call_pb2 import OUTCOME_PROTOCOL_ERROR
from trunkline.v1.content_pb2 import Citation, LogprobToken, Part, ProviderState
from trunkline.v1.gateway_service_pb2 import (
    GenerateResponse,
    PartCompleted,
    PartDelta,
    PartStarted,
    StreamCompleted,
    StreamGenerateResponse,
)
from trunkline_server.dialects.cohere_chat import wire
from trunkline_server.dialects.cohere_chat.messages import CITATION, DIALECT, TOOL_PLAN
from trunkline_server.errors import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Kind = Literal["text", "thinking", "plan", "call", "other"]


@dataclass(slots=True)
class _Open:
    """A part that may still grow."""

    part_index: int
    kind: Kind
    # The words of a plan, or of a call's arguments.
    pieces: list[str] = field(default_factory=list)


class Parts:
    """Makes events of the pieces of one answer; parts are numbered in the order in which they begin.

    A tool call is completed when its provider says so. All else is completed at the end, in order: citations may
    come late.
    """

    def __init__(self) -> None:
        # How many citations have no text that they could stand at.
        self.lost_citations = 0
        self._events: list[StreamGenerateResponse] = []
        self._count = 0
        # By the provider's own number, which counts contents and calls apart.
        self._contents: dict[int, _Open] = {}
        self._calls: dict[int, _Open] = {}
        self._called = 0
        # The last of each kind.
        self._last: dict[Kind, _Open] = {}
        self._open: dict[int, _Open] = {}

    def take(self) -> list[StreamGenerateResponse]:
        """The events since the last time."""
        events, self._events = self._events, []
        return events

    def plan(self, words: str) -> None:
        """The model's plan for its tools goes on, or begins."""
        plan = self._last.get("plan")
        if plan is None:
            plan = self._begin("plan", _reasoning(words))
        else:
            self._delta(plan).reasoning_text = words
        plan.pieces.append(words)

    def start(self, index: int, kind: str, content: wire.Content, raw: bytes) -> None:
        """Content begins. What is of no kind that is known is kept as it stands."""
        if kind == "text":
            self._contents[index] = self._begin("text", Part(text=content.text or ""))
        elif kind == "thinking":
            self._contents[index] = self._begin("thinking", _reasoning(content.thinking or ""))
        else:
            part = Part()
            part.provider_part.dialect, part.provider_part.type = DIALECT, kind
            part.provider_part.json = raw.decode("utf-8", "replace")
            self._contents[index] = self._begin("other", part)

    def add(self, index: int, content: wire.Content, tokens: Sequence[LogprobToken]) -> None:
        """Content goes on; one that was not told of begins."""
        if content.thinking:
            self._delta(self._content(index, "thinking")).reasoning_text = content.thinking
        if content.text or tokens:
            delta = self._delta(self._content(index, "text"))
            if content.text:
                delta.text = content.text
            delta.logprobs.extend(tokens)

    def _content(self, index: int, kind: Literal["text", "thinking"]) -> _Open:
        found = self._contents.get(index)
        if found is None or found.kind != kind:
            part = Part(text="") if kind == "text" else _reasoning("")
            found = self._contents[index] = self._begin(kind, part)
        return found

    def tell_tokens(self, tokens: Sequence[LogprobToken]) -> None:
        """The tokens of the whole answer."""
        if tokens:
            text = self._last.get("text") or next(iter(self._open.values()), None)
            text = text or self._begin("text", Part(text=""))
            self._delta(text).logprobs.extend(tokens)

    def start_call(self, index: int, call: wire.ToolCall) -> None:
        """A tool call begins. Raises UpstreamError if it has no name."""
        if call.function is None or not call.function.name:
            raise UpstreamError(OUTCOME_PROTOCOL_ERROR, code="tool_call_unnamed")
        if (before := self._calls.pop(index, None)) is not None:
            self._complete(before)
        part = Part()
        part.tool_call.id = call.id or f"call_{self._called}"
        part.tool_call.name = call.function.name
        part.tool_call.arguments_json = call.function.arguments or ""
        self._called += 1
        self._calls[index] = begun = self._begin("call", part)
        begun.pieces.append(part.tool_call.arguments_json)

    def add_arguments(self, index: int, arguments: str) -> None:
        """A tool call goes on. Raises UpstreamError if there is none."""
        call = self._calls.get(index)
        if call is None:
            raise UpstreamError(OUTCOME_PROTOCOL_ERROR, code="tool_call_not_open")
        if arguments:
            call.pieces.append(arguments)
            self._delta(call).tool_arguments_json = arguments

    def end_call(self, index: int) -> None:
        """A tool call is whole. One that never began is no matter."""
        if (call := self._calls.pop(index, None)) is not None:
            self._complete(call)

    def cite(self, citation: wire.Citation) -> None:
        """A span of what was said rests on something."""
        cited = self._cited(citation)
        if cited is None:
            self.lost_citations += 1
        else:
            self._delta(cited).citations.extend(_citations(citation))

    def _cited(self, citation: wire.Citation) -> _Open | None:
        if citation.type == "PLAN":
            return self._last.get("plan")
        if citation.content_index is not None:
            return self._contents.get(citation.content_index)
        return self._last.get("thinking" if citation.type == "THINKING_CONTENT" else "text")

    def complete(self, response: GenerateResponse) -> None:
        """Nothing follows but `response`."""
        for part in list(self._open.values()):
            self._complete(part)
        self._events.append(StreamGenerateResponse(completed=StreamCompleted(response=response)))

    def _begin(self, kind: Kind, part: Part) -> _Open:
        begun = self._open[self._count] = self._last[kind] = _Open(self._count, kind)
        self._events.append(StreamGenerateResponse(part_started=PartStarted(part_index=self._count, part=part)))
        self._count += 1
        return begun

    def _complete(self, part: _Open) -> None:
        if part.kind == "call" and not any(part.pieces):
            self._delta(part).tool_arguments_json = "{}"
        del self._open[part.part_index]
        completed = PartCompleted(part_index=part.part_index)
        if part.kind == "plan":
            completed.provider_state.CopyFrom(ProviderState(format=TOOL_PLAN, data="".join(part.pieces)))
        self._events.append(StreamGenerateResponse(part_completed=completed))

    def _delta(self, part: _Open) -> PartDelta:
        # Runs for each token, and takes half the time of constructors with arguments.
        event = StreamGenerateResponse()
        delta = event.part_delta
        delta.part_index = part.part_index
        self._events.append(event)
        return delta


def _reasoning(text: str) -> Part:
    part = Part()
    part.reasoning.text = text
    return part


def _citations(citation: wire.Citation) -> Iterator[Citation]:
    """One for each source: the contract's citations have one each."""
    for source in citation.sources or [wire.Source()]:
        state = encode({"type": source.type} if source.type else {}).decode()
        yield Citation(
            start_index=citation.start,
            end_index=citation.end,
            cited_text=citation.text or "",
            source_id=source.id or "",
            title=_string(source, "title"),
            uri=_string(source, "url", "uri", "link"),
            provider_state=ProviderState(format=CITATION, data=state),
        )


def _string(source: wire.Source, *names: str) -> str:
    """The first of these members that is a text: of the document, or of the tool's output."""
    for members in (source.document, source.tool_output):
        for name in names:
            if isinstance(members, dict) and members.get(name) and isinstance(members[name], str):
                said: str = members[name]
                return said
    return ""
