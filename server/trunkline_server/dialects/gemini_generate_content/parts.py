"""The parts of one of Gemini's answers in the making: pieces go in, the contract's events come out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from trunkline.v1.content_pb2 import Media, Part, ProviderPart, ProviderState, Reasoning, ToolCall
from trunkline.v1.gateway_service_pb2 import (
    GenerateResponse,
    PartCompleted,
    PartDelta,
    PartStarted,
    StreamCompleted,
    StreamGenerateResponse,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trunkline.v1.content_pb2 import Citation, LogprobToken

DIALECT = "gemini_generate_content"
SIGNATURE = "gemini.thought_signature"
# How the ids begin that calls are given here where the provider gives none.
SYNTHETIC_ID = "gemini-"
# Sound without a header: pieces of it are one sound.
_RAW_SOUND = ("audio/l16", "audio/pcm")

TextKind = Literal["text", "reasoning_text"]


class Parts:
    """Makes events of the pieces of one answer. Parts are numbered in the order in which they begin.

    Pieces of text that follow each other are one part. A piece with a signature is a part of its own: it goes back to
    the provider as it came. Texts are completed at the end, for citations come last; all else when the next part
    begins, or at the end of the event if nothing can follow.
    """

    def __init__(self) -> None:
        # Each text so far, in pieces, by the number of its part.
        self.texts: dict[int, list[str]] = {}
        # Where each of the provider's own parts went: the number of our part, and at which character of its text.
        self.places: list[tuple[int, int]] = []
        self._events: list[StreamGenerateResponse] = []
        self._count = 0
        # What the last part goes on with: a text, or a sound of this type. Empty: nothing can follow.
        self._growing: str = ""
        # The length of the last text.
        self._length = 0
        # The last part, if it is not a text and not completed yet.
        self._pending: int | None = None

    def take(self) -> list[StreamGenerateResponse]:
        """The events since the last time."""
        events, self._events = self._events, []
        return events

    def say(self, kind: TextKind, words: str, signature: str | None) -> None:
        """Words go on, or begin. What is empty and unsigned is nothing."""
        if signature is None and self._growing == kind:
            self._grow(kind, words)
        elif words or signature is not None:
            self._begin_text(kind, words, signature)
        self.places.append((self._count - 1, self._length - len(words)))

    def call(self, name: str, given_id: str, arguments: str, signature: str | None) -> None:
        """The model asks for a tool."""
        self._whole(Part(tool_call=ToolCall(id=given_id, name=name, arguments_json=arguments)), signature)

    def show(self, media: Media, signature: str | None) -> None:
        """An image, a sound, a document; or the next piece of a sound."""
        growing = f"sound {media.mime_type}" if media.mime_type.lower().startswith(_RAW_SOUND) else ""
        if growing and growing == self._growing and signature is None:
            self._emit_delta(PartDelta(part_index=self._count - 1, media_data=media.data))
            self.places.append((self._count - 1, 0))
            return
        self._whole(Part(media=media), signature)
        self._growing = growing if signature is None else ""

    def tell(self, kind: str, json: str, signature: str | None) -> None:
        """A part that only the provider understands."""
        self._whole(Part(provider_part=ProviderPart(dialect=DIALECT, type=kind, json=json)), signature)

    def tell_tokens(self, tokens: Sequence[LogprobToken]) -> None:
        """The tokens of what came last."""
        if not tokens:
            return
        if self._pending is None and not self.texts:
            self._begin_text("text", "", None)
        index = self._pending if self._pending is not None else max(self.texts)
        self._emit_delta(PartDelta(part_index=index, logprobs=tokens))

    def end_event(self) -> None:
        """Nothing follows that came together with what came last."""
        if not self._growing:
            self._complete_pending()

    def cite(self, index: int, citations: Iterable[Citation]) -> None:
        """What a text rests on."""
        self._emit_delta(PartDelta(part_index=index, citations=citations))

    def complete(self, response: GenerateResponse) -> None:
        """Nothing follows but `response`."""
        self._complete_pending()
        for index in self.texts:
            self._emit_completed(index)
        self._events.append(StreamGenerateResponse(completed=StreamCompleted(response=response)))

    def _begin_text(self, kind: TextKind, words: str, signature: str | None) -> None:
        self._begin(Part(text=words) if kind == "text" else Part(reasoning=Reasoning(text=words)), signature)
        self._growing = kind if signature is None else ""
        self._length = len(words)
        if kind == "text":
            self._pending = None
            self.texts[self._count - 1] = [words]

    def _grow(self, kind: TextKind, words: str) -> None:
        if not words:
            return
        # Runs for each event of a stream, and takes half the time of constructors with arguments.
        event = StreamGenerateResponse()
        delta = event.part_delta
        delta.part_index = self._count - 1
        setattr(delta, kind, words)
        self._events.append(event)
        self._length += len(words)
        if kind == "text":
            self.texts[self._count - 1].append(words)

    def _whole(self, part: Part, signature: str | None) -> None:
        self._begin(part, signature)
        self._growing = ""
        self.places.append((self._count - 1, 0))

    def _begin(self, part: Part, signature: str | None) -> None:
        self._complete_pending()
        if signature is not None:
            part.provider_state.CopyFrom(ProviderState(format=SIGNATURE, data=signature))
        index, self._count = self._count, self._count + 1
        self._pending = index
        self._events.append(StreamGenerateResponse(part_started=PartStarted(part_index=index, part=part)))

    def _complete_pending(self) -> None:
        if self._pending is not None:
            self._emit_completed(self._pending)
            self._pending = None

    def _emit_delta(self, delta: PartDelta) -> None:
        self._events.append(StreamGenerateResponse(part_delta=delta))

    def _emit_completed(self, index: int) -> None:
        self._events.append(StreamGenerateResponse(part_completed=PartCompleted(part_index=index)))
