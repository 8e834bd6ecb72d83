"""One output item of an answer in the making: what the API says of it goes in, parts come out.

What comes piece by piece is repeated whole when the item is done: only what has not been said before is added then, so
that hosts may leave out the pieces.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import Raw
from msgspec.json import Decoder, Encoder

from trunkline.v1.call_pb2 import OUTCOME_PROTOCOL_ERROR
from trunkline.v1.content_pb2 import LogprobToken, Part, ProviderPart, ProviderState, Reasoning, ToolCall, TopLogprob
from trunkline_server.dialects.openai_responses import wire
from trunkline_server.dialects.openai_responses.citations import decode_annotation
from trunkline_server.dialects.openai_responses.wire import DIALECT, ITEM, REASONING, compact, read
from trunkline_server.errors import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trunkline_server.dialects.openai_responses.parts import Parts

TextKind = Literal["text", "refusal"]
TEXT_KINDS: dict[str, TextKind] = {"output_text": "text", "refusal": "refusal"}
# What the contract has words for, and what means nothing once the answer is over: an id ties an item to the reasoning
# before it, and is refused where that is not sent back with it.
_MESSAGE_SAID = frozenset({"type", "id", "role", "status", "content"})
_CALL_SAID = frozenset({"type", "id", "status", "call_id", "name", "arguments"})
_PARAGRAPH = "\n\n"

TYPED = Decoder(wire.Typed)
_MESSAGE = Decoder(wire.Message)
_CONTENT = Decoder(wire.Content)
_CALL = Decoder(wire.FunctionCall)
_REASONING = Decoder(wire.Reasoning)
_OBJECT = Decoder(dict[str, Raw])
_ENCODER = Encoder()


def add_provider_part(parts: Parts, kind: str, raw: Raw) -> None:
    """A part that the contract has no word for, whole."""
    part = Part(provider_part=ProviderPart(dialect=DIALECT, type=kind, json=compact(raw)))
    parts.complete(parts.begin(part))


class MessageItem:
    """A message: its texts and refusals are parts."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._texts: dict[tuple[int, TextKind], Text] = {}
        # Where contents of other types stood that are parts already.
        self._others: set[int] = set()

    @property
    def has_refusal(self) -> bool:
        """Whether the model declines to answer in it."""
        return any(kind == "refusal" for _, kind in self._texts)

    def text(self, place: int, kind: TextKind) -> Text:
        """The text at this place in its content."""
        if (place, kind) not in self._texts:
            self._texts[place, kind] = Text(self._parts, kind)
        return self._texts[place, kind]

    def done(self, raw: Raw) -> None:
        """Take all of it. Raises UpstreamError."""
        for place, each in enumerate(read(_MESSAGE, raw).content or ()):
            self.content_done(place, each)
        self._complete(_more(raw, _MESSAGE_SAID))

    def content_done(self, place: int, raw: Raw) -> None:
        """Take all of the content at this place. Raises UpstreamError."""
        kind = read(TYPED, raw).type or ""
        if kind in TEXT_KINDS:
            self.text(place, TEXT_KINDS[kind]).done(read(_CONTENT, raw))
        elif place not in self._others:
            self._others.add(place)
            add_provider_part(self._parts, kind, raw)

    def close(self) -> None:
        """Nothing more is said of it."""
        self._complete(None)

    def _complete(self, state: ProviderState | None) -> None:
        for text in self._texts.values():
            text.complete(state)


class Text:
    """A text or a refusal. The part begins with its first words."""

    def __init__(self, parts: Parts, kind: TextKind) -> None:
        self._parts = parts
        self._kind = kind
        self._index: int | None = None
        self._length = 0
        self._citations = 0

    def say(self, words: str, tokens: list[LogprobToken]) -> None:
        """Words go on, or begin."""
        self._length += len(words)
        # Tokens need a delta: PartStarted has no place for them.
        if tokens or (words and self._index is not None):
            self._parts.grow(self._begun(""), self._kind, words, tokens)
        elif words:
            self._begun(words)

    def cite(self, annotation: Raw) -> None:
        """An annotation. Raises UpstreamError."""
        self._citations += 1
        self._parts.cite(self._begun(""), decode_annotation(annotation))

    def done(self, content: wire.Content) -> None:
        """Take all of it. Raises UpstreamError."""
        words = (content.text if self._kind == "text" else content.refusal) or ""
        self.say(words[self._length :], [] if self._length else tokens_of(content.logprobs))
        for annotation in (content.annotations or [])[self._citations :]:
            self.cite(annotation)

    def complete(self, state: ProviderState | None) -> None:
        """Nothing follows."""
        if self._index is not None:
            self._parts.complete(self._index, state)

    def _begun(self, words: str) -> int:
        if self._index is None:
            self._index = self._parts.begin(Part(**{self._kind: words}))  # type: ignore[arg-type]
        return self._index


class CallItem:
    """A function call. The part begins when its name is known."""

    def __init__(self, parts: Parts, place: int) -> None:
        self._parts = parts
        self._default_id = f"call_{place}"
        self._index: int | None = None
        self._arguments = ""

    def begin(self, raw: Raw) -> None:
        """Take what is known of it so far. Raises UpstreamError."""
        call = read(_CALL, raw)
        if self._index is None and call.name:
            whole = call.arguments or ""
            self._arguments += whole[len(self._arguments) :]
            said = ToolCall(
                id=call.call_id or call.id or self._default_id, name=call.name, arguments_json=self._arguments
            )
            self._index = self._parts.begin(Part(tool_call=said))

    def go_on(self, arguments: str) -> None:
        """The arguments go on, or begin."""
        self._arguments += arguments
        if self._index is not None and arguments:
            self._parts.grow(self._index, "tool_arguments_json", arguments)

    def done(self, raw: Raw) -> None:
        """Take all of it. Raises UpstreamError."""
        self.begin(raw)
        self.go_on((read(_CALL, raw).arguments or "")[len(self._arguments) :])
        self._complete(_more(raw, _CALL_SAID))

    def close(self) -> None:
        """Nothing more is said of it. Raises UpstreamError if it never got its name."""
        self._complete(None)

    def _complete(self, state: ProviderState | None) -> None:
        if self._index is None:
            raise UpstreamError(OUTCOME_PROTOCOL_ERROR, code="tool_call_unnamed")
        if not self._arguments:
            self.go_on("{}")
        self._parts.complete(self._index, state)


class ReasoningItem:
    """Reasoning: one part, its summaries or its plain text with blank lines between them."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._index = parts.begin(Part(reasoning=Reasoning()))
        # How much of each piece has been said, by its kind and place.
        self._lengths: dict[tuple[str, int], int] = {}
        self._last: tuple[str, int] | None = None
        self._state = ""

    def say(self, kind: str, place: int, words: str) -> None:
        """A summary, or a piece of plain text, goes on or begins."""
        if not words:
            return
        if self._last not in {None, (kind, place)}:
            self._parts.grow(self._index, "reasoning_text", _PARAGRAPH)
        self._last = (kind, place)
        self._lengths[kind, place] = self._lengths.get((kind, place), 0) + len(words)
        self._parts.grow(self._index, "reasoning_text", words)

    def done(self, raw: Raw) -> bool:
        """Take all of it; returns whether its encrypted form is there. Raises UpstreamError."""
        reasoning = read(_REASONING, raw)
        for kind, pieces in (("summary", reasoning.summary), ("content", reasoning.content)):
            for place, piece in enumerate(pieces or ()):
                self.say(kind, place, (piece.text or "")[self._lengths.get((kind, place), 0) :])
        self._state = compact(raw)
        return bool(reasoning.encrypted_content)

    def close(self) -> None:
        """Nothing more is said of it."""
        state = ProviderState(format=REASONING, data=self._state) if self._state else None
        self._parts.complete(self._index, state)


def _more(raw: Raw, said: frozenset[str]) -> ProviderState | None:
    """What an item says beside what the contract has words for."""
    members = read(_OBJECT, raw).items()
    more = {key: value for key, value in members if key not in said and bytes(value) not in {b"null", b"[]", b"{}"}}
    return ProviderState(format=ITEM, data=compact(Raw(_ENCODER.encode(more)))) if more else None


def tokens_of(logprobs: Iterable[wire.Token] | None) -> list[LogprobToken]:
    """The tokens of a piece of text."""
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
        for token in logprobs or ()
        if token.logprob is not None
    ]
