"""The parts of an answer as the contract's events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from trunkline.v1.gateway_service_pb2 import (
    GenerateResponse,
    PartCompleted,
    PartDelta,
    PartStarted,
    StreamCompleted,
    StreamGenerateResponse,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trunkline.v1.content_pb2 import Citation, LogprobToken, Part, ProviderState

Words = Literal["text", "refusal", "reasoning_text", "tool_arguments_json"]


class Parts:
    """Makes the events of one answer. Parts are numbered in the order in which they begin."""

    def __init__(self) -> None:
        self._events: list[StreamGenerateResponse] = []
        self._count = 0

    def take(self) -> list[StreamGenerateResponse]:
        """The events since the last time."""
        events, self._events = self._events, []
        return events

    def begin(self, part: Part) -> int:
        """A part begins; returns its number."""
        index, self._count = self._count, self._count + 1
        self._events.append(StreamGenerateResponse(part_started=PartStarted(part_index=index, part=part)))
        return index

    def grow(self, index: int, kind: Words, words: str, tokens: Sequence[LogprobToken] = ()) -> None:
        """A part goes on."""
        # Runs for each token, and takes half the time of constructors with arguments.
        event = StreamGenerateResponse()
        delta = event.part_delta
        delta.part_index = index
        setattr(delta, kind, words)
        if tokens:
            delta.logprobs.extend(tokens)
        self._events.append(event)

    def cite(self, index: int, citation: Citation) -> None:
        """A part gets a citation."""
        self._events.append(StreamGenerateResponse(part_delta=PartDelta(part_index=index, citations=[citation])))

    def complete(self, index: int, state: ProviderState | None = None) -> None:
        """A part is whole."""
        completed = PartCompleted(part_index=index, provider_state=state)
        self._events.append(StreamGenerateResponse(part_completed=completed))

    def finish(self, response: GenerateResponse) -> None:
        """The answer is whole."""
        self._events.append(StreamGenerateResponse(completed=StreamCompleted(response=response)))
