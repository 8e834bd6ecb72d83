"""The parts of an answer in the making: blocks and their pieces go in, the contract's events come out."""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from typing import Any, Literal

from msgspec import DecodeError, Raw
from msgspec.json import Decoder, encode

from trunkline.v1.call_pb2 import OUTCOME_PROTOCOL_ERROR
from trunkline.v1.content_pb2 import Media, Part, ProviderPart, ProviderState, Reasoning, ToolCall
from trunkline.v1.gateway_service_pb2 import (
    GenerateResponse,
    PartCompleted,
    PartDelta,
    PartStarted,
    StreamCompleted,
    StreamGenerateResponse,
)
from trunkline_server.dialects.bedrock_converse import wire
from trunkline_server.dialects.bedrock_converse.blocks import DIALECT, REDACTED, SIGNATURE, json_object
from trunkline_server.dialects.bedrock_converse.citations import citation_of
from trunkline_server.dialects.bedrock_converse.wire import decoded, utf8
from trunkline_server.dialects.lenient import decode_json
from trunkline_server.errors import UpstreamError

Kind = Literal["text", "reasoning", "redacted", "call", "image", "provider"]

_BLOCK = Decoder(wire.Block)
_MEMBERS = Decoder(dict[str, Raw])
_TOOL_USE = Decoder(wire.ToolUse)
_STRING = Decoder(str)
_EMPTY = frozenset({b"", b"null"})


@dataclass(slots=True)
class _Block:
    """A block that may still grow."""

    kind: Kind
    part_index: int
    # Its arguments, signature or withheld thoughts, in pieces.
    pieces: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Own:
    """A block of the provider's own tools: it becomes a part when it is whole."""

    name: Literal["toolUse", "toolResult"]
    members: dict[str, Raw]
    pieces: list[str] = field(default_factory=list)
    content: list[Raw] = field(default_factory=list)


class Parts:
    """Makes events of the blocks of one answer. Parts are numbered in the order in which they begin."""

    def __init__(self) -> None:
        self._events: list[StreamGenerateResponse] = []
        self._count = 0
        self._open: dict[int, _Block] = {}
        self._own: dict[int, _Own] = {}

    def take(self) -> list[StreamGenerateResponse]:
        """The events since the last time."""
        events, self._events = self._events, []
        return events

    def add_whole(self, index: int, raw: Raw) -> None:
        """A block that is all there. Raises UpstreamError."""
        block = decoded(_BLOCK, raw)
        if block.text is not None:
            self._say(index, "text", block.text)
        elif block.tool_use is not None and block.tool_use.type in {None, "tool_use"}:
            self._start_call(index, block.tool_use, _said(block.tool_use.input) or "{}")
        elif block.reasoning_content is not None:
            self._add_reasoning(index, block.reasoning_content)
        elif block.citations_content is not None:
            self._add_cited(index, block.citations_content)
        elif block.image is not None and block.image.source is not None:
            self._add_image(index, block.image)
        else:
            self._add_provider_part(raw)
        self.stop(index)

    def start(self, index: int, start: wire.Start) -> None:
        """A block begins; what it is of may show later. Raises UpstreamError."""
        self.stop(index)
        if _said(start.tool_use):
            call = decoded(_TOOL_USE, start.tool_use)
            if call.type in {None, "tool_use"}:
                self._start_call(index, call, "")
            else:
                self._own[index] = _Own("toolUse", decoded(_MEMBERS, start.tool_use))
        elif _said(start.tool_result):
            self._own[index] = _Own("toolResult", decoded(_MEMBERS, start.tool_result))
        elif start.image is not None:
            self._begin(index, "image", _image(start.image))

    def add(self, index: int, delta: wire.Delta) -> bool:
        """A block goes on, or begins. False = by something that nothing is known of. Raises UpstreamError."""
        if delta.text is not None:
            self._say(index, "text", delta.text)
        elif delta.tool_use is not None:
            self._add_input(index, delta.tool_use.input or "")
        elif delta.reasoning_content is not None:
            self._add_thoughts(index, delta.reasoning_content)
        elif _said(delta.citation):
            self._delta(self._at(index, "text")).citations.append(citation_of(delta.citation))
        elif delta.tool_result is not None and index in self._own:
            self._own[index].content += delta.tool_result
        elif delta.image is not None and delta.image.source is not None:
            self._add_image(index, delta.image)
        else:
            return False
        return True

    def stop(self, index: int) -> None:
        """A block is whole. One that never began is no matter."""
        own = self._own.pop(index, None)
        if own is not None:
            self._add_provider_part(_whole(own))
        block = self._open.pop(index, None)
        if block is None:
            return
        if block.kind == "call" and not block.pieces:
            self._delta(block).tool_arguments_json = "{}"
        completed = PartCompleted(part_index=block.part_index)
        if state := _state(block):
            completed.provider_state.CopyFrom(state)
        self._events.append(StreamGenerateResponse(part_completed=completed))

    def complete(self, response: GenerateResponse) -> None:
        """Nothing follows but `response`. Raises UpstreamError."""
        for index in [*self._open, *self._own]:
            self.stop(index)
        self._events.append(StreamGenerateResponse(completed=StreamCompleted(response=response)))

    # --- words and thoughts

    def _say(self, index: int, kind: Literal["text", "reasoning"], words: str) -> None:
        if not words:
            return
        block = self._open.get(index)
        if block is None or block.kind != kind:
            self._begin(index, kind, Part(text=words) if kind == "text" else Part(reasoning=Reasoning(text=words)))
            return
        # Runs for each token, and takes half the time of constructors with arguments.
        event = StreamGenerateResponse()
        delta = event.part_delta
        delta.part_index = block.part_index
        if kind == "text":
            delta.text = words
        else:
            delta.reasoning_text = words
        self._events.append(event)

    def _add_thoughts(self, index: int, piece: wire.ReasoningPiece) -> None:
        self._say(index, "reasoning", piece.text or "")
        if piece.signature:
            self._at(index, "reasoning").pieces.append(piece.signature)
        if piece.redacted_content:
            self._at(index, "redacted").pieces.append(piece.redacted_content)

    def _add_reasoning(self, index: int, said: wire.Reasoning) -> None:
        thoughts = said.reasoning_text or wire.ReasoningText()
        self._add_thoughts(index, wire.ReasoningPiece(thoughts.text, thoughts.signature, said.redacted_content))

    def _add_cited(self, index: int, said: wire.CitationsContent) -> None:
        self._say(index, "text", "".join(piece.text or "" for piece in said.content or ()))
        if said.citations:
            self._delta(self._at(index, "text")).citations.extend(map(citation_of, said.citations))

    # --- tools

    def _start_call(self, index: int, call: wire.ToolUse, arguments: str) -> None:
        if not call.name:
            raise UpstreamError(OUTCOME_PROTOCOL_ERROR, code="tool_call_unnamed")
        said = ToolCall(id=call.tool_use_id or f"call_{self._count}", name=call.name, arguments_json=arguments)
        block = self._begin(index, "call", Part(tool_call=said))
        if arguments:
            block.pieces.append(arguments)

    def _add_input(self, index: int, piece: str) -> None:
        block = self._open.get(index)
        if index in self._own:
            self._own[index].pieces.append(piece)
        elif block is None or block.kind != "call":
            raise UpstreamError(OUTCOME_PROTOCOL_ERROR, code="tool_call_unnamed")
        elif piece:
            block.pieces.append(piece)
            self._delta(block).tool_arguments_json = piece

    def _add_provider_part(self, raw: Raw) -> None:
        """A block in the provider's own words: its tools, and what nothing is known of."""
        members = decoded(_MEMBERS, raw)
        if not members:
            return
        name, said = next(iter(members.items()))
        inner = json_object(utf8(said))
        if inner is not None:
            # In one order, for a stream tells them in another than a whole answer.
            members[name] = Raw(encode(dict(sorted(inner.items()))))
            name = _string(inner.get("type")) or name
        part = ProviderPart(dialect=DIALECT, type=name, json=utf8(encode(members)))
        index, self._count = self._count, self._count + 1
        started = PartStarted(part_index=index, part=Part(provider_part=part))
        self._events.append(StreamGenerateResponse(part_started=started))
        self._events.append(StreamGenerateResponse(part_completed=PartCompleted(part_index=index)))

    # --- images

    def _add_image(self, index: int, image: wire.Image) -> None:
        source = image.source or wire.Source()
        block = self._open.get(index)
        if block is None or block.kind != "image":
            block = self._begin(index, "image", _image(image))
        if source.bytes:
            self._delta(block).media_data = _bytes(source.bytes)

    # --- events

    def _at(self, index: int, kind: Kind) -> _Block:
        """The open block, begun if need be."""
        block = self._open.get(index)
        if block is not None and block.kind == kind:
            return block
        part = Part(text="") if kind == "text" else Part(reasoning=Reasoning(redacted=kind == "redacted"))
        return self._begin(index, kind, part)

    def _begin(self, index: int, kind: Kind, part: Part) -> _Block:
        self.stop(index)
        block = self._open[index] = _Block(kind, self._count)
        self._count += 1
        self._events.append(StreamGenerateResponse(part_started=PartStarted(part_index=block.part_index, part=part)))
        return block

    def _delta(self, block: _Block) -> PartDelta:
        event = StreamGenerateResponse()
        event.part_delta.part_index = block.part_index
        self._events.append(event)
        return event.part_delta


def _state(block: _Block) -> ProviderState | None:
    if block.kind == "reasoning" and block.pieces:
        return ProviderState(format=SIGNATURE, data="".join(block.pieces))
    if block.kind == "redacted":
        whole = block.pieces[0] if len(block.pieces) == 1 else b64encode(b"".join(map(_bytes, block.pieces))).decode()
        return ProviderState(format=REDACTED, data=whole)
    return None


def _whole(own: _Own) -> Raw:
    members: dict[str, Any] = dict(own.members)
    if own.name == "toolUse":
        members["input"] = Raw("".join(own.pieces).encode() or b"{}")
    else:
        members["content"] = own.content
    return Raw(encode({own.name: members}))


def _image(image: wire.Image) -> Part:
    media = Media(mime_type=f"image/{image.format}" if image.format else "")
    location = image.source and image.source.s3_location
    if location and location.uri:
        media.uri = location.uri
    return Part(media=media)


def _bytes(base64: str) -> bytes:
    try:
        return b64decode(base64, validate=True)
    except ValueError:
        raise UpstreamError(OUTCOME_PROTOCOL_ERROR, code="malformed_base64") from None


def _said(raw: Raw) -> str:
    """A member's JSON; "" = absent or null."""
    return "" if bytes(raw) in _EMPTY else utf8(raw)


def _string(raw: Raw | None) -> str:
    """A member's text; "" = there is none."""
    try:
        return decode_json(_STRING, bytes(raw or b""))
    except DecodeError:
        return ""
