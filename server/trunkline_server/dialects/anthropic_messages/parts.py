"""The parts of an answer in the making: blocks and their pieces go in, the contract's events come out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import DecodeError, Raw, json

from trunkline.v1.call_pb2 import OUTCOME_PROTOCOL_ERROR
from trunkline.v1.content_pb2 import Citation, Part, ProviderState
from trunkline.v1.gateway_service_pb2 import (
    GenerateResponse,
    PartCompleted,
    PartDelta,
    PartStarted,
    StreamCompleted,
    StreamGenerateResponse,
)
from trunkline_server.dialects.anthropic_messages import wire
from trunkline_server.dialects.anthropic_messages.blocks import CITATION, DIALECT, REDACTED, SIGNATURE, TOOL_USE
from trunkline_server.dialects.lenient import decode_json
from trunkline_server.errors import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Iterable

T = TypeVar("T")

_TYPED = json.Decoder(wire.Typed)
_TEXT = json.Decoder(wire.TextBlock)
_THINKING = json.Decoder(wire.ThinkingBlock)
_REDACTED = json.Decoder(wire.RedactedBlock)
_CITATION = json.Decoder(wire.Citation)
_MEMBERS = json.Decoder(dict[str, Raw])
_STRING = json.Decoder(str)
_EMPTY = {b"", b"null"}
# How most tool calls come about; not worth sending back.
_DIRECT = '{"type":"direct"}'


@dataclass(slots=True)
class _Block:
    """A block that may still grow."""

    part_index: int
    kind: str
    # What its input is if no piece of it comes: "" = it has none.
    input: str = ""
    pieces: list[str] = field(default_factory=list)
    signature: list[str] = field(default_factory=list)


class Parts:
    """Makes events of the blocks of one answer: a part for each, numbered in the order in which they begin."""

    def __init__(self) -> None:
        self._events: list[StreamGenerateResponse] = []
        self._count = 0
        self._open: dict[int, _Block] = {}
        # What there is no place for, each once.
        self.left_out: dict[str, None] = {}

    def take(self) -> list[StreamGenerateResponse]:
        """The events since the last time."""
        events, self._events = self._events, []
        return events

    def start(self, index: int, raw: bytes, *, whole: bool = False) -> None:
        """A block begins; `whole`: it is all there. Raises UpstreamError."""
        if index in self._open:
            raise UpstreamError(OUTCOME_PROTOCOL_ERROR, code="block_reopened")
        kind = decoded(_TYPED, raw).type
        if not kind:
            raise UpstreamError(OUTCOME_PROTOCOL_ERROR, code="block_of_no_type")
        block = _Block(self._count, kind)
        part = self._part(block, raw, whole=whole)
        self._count += 1
        self._open[index] = block
        self._events.append(StreamGenerateResponse(part_started=PartStarted(part_index=block.part_index, part=part)))

    def add(self, index: int, delta: wire.Delta) -> None:
        """A block goes on. Raises UpstreamError."""
        block = self._open.get(index)
        if block is None:
            raise UpstreamError(OUTCOME_PROTOCOL_ERROR, code="block_not_open")
        # Runs for each token, and takes half the time of constructors with arguments.
        if delta.type == "text_delta" and block.kind == "text":
            if delta.text:
                self._delta(block).text = delta.text
        elif delta.type == "thinking_delta" and block.kind == "thinking":
            if delta.thinking:
                self._delta(block).reasoning_text = delta.thinking
        elif delta.type == "input_json_delta" and block.input:
            self._add_input(block, delta.partial_json)
        elif delta.type == "signature_delta" and block.kind == "thinking":
            block.signature.append(delta.signature or "")
        elif delta.type == "citations_delta" and block.kind == "text":
            self._delta(block).citations.append(_citation(bytes(delta.citation)))
        else:
            self.left_out[f"{delta.type} of {block.kind}"] = None

    def stop(self, index: int) -> None:
        """A block is whole. One that never began is no matter."""
        block = self._open.pop(index, None)
        if block is None:
            return
        if block.input and block.kind != "tool_use":
            self._delta(block).provider_json = self._whole_input(block) + "}"
        elif block.input and not block.pieces:
            self._delta(block).tool_arguments_json = block.input
        completed = PartCompleted(part_index=block.part_index)
        if any(block.signature):
            completed.provider_state.CopyFrom(ProviderState(format=SIGNATURE, data="".join(block.signature)))
        self._events.append(StreamGenerateResponse(part_completed=completed))

    def stop_all(self) -> None:
        """No block goes on."""
        for index in list(self._open):
            self.stop(index)

    def complete(self, response: GenerateResponse) -> None:
        """Nothing follows but `response`; every block has stopped."""
        self._events.append(StreamGenerateResponse(completed=StreamCompleted(response=response)))

    def _delta(self, block: _Block) -> PartDelta:
        event = StreamGenerateResponse()
        delta = event.part_delta
        delta.part_index = block.part_index
        self._events.append(event)
        return delta

    def _add_input(self, block: _Block, piece: str | None) -> None:
        if not piece:
            return
        block.pieces.append(piece)
        if block.kind == "tool_use":
            self._delta(block).tool_arguments_json = piece

    def _whole_input(self, block: _Block) -> str:
        """The input of the provider's own tool. It stands inside other JSON, which a piece of it would break."""
        if not block.pieces:
            return block.input
        said = "".join(block.pieces).encode()
        try:
            decoded(_MEMBERS, said)
            return _compact(said)
        except UpstreamError:
            self.left_out[f"the input of {block.kind}, which broke off"] = None
            return block.input

    def _part(self, block: _Block, raw: bytes, *, whole: bool) -> Part:
        match block.kind:
            case "text":
                return _text(decoded(_TEXT, raw))
            case "thinking":
                return _thinking(decoded(_THINKING, raw))
            case "redacted_thinking":
                return _redacted(decoded(_REDACTED, raw))
            case "tool_use":
                return _tool_call(block, decoded(_MEMBERS, raw), whole=whole)
        return _provider_part(block, decoded(_MEMBERS, raw), whole=whole)


def decoded(decoder: json.Decoder[T], raw: bytes) -> T:
    """What `raw` says. Raises UpstreamError where it is not what it should be."""
    try:
        return decode_json(decoder, raw)
    except DecodeError:
        raise UpstreamError(OUTCOME_PROTOCOL_ERROR, code="malformed_json") from None


def _text(block: wire.TextBlock) -> Part:
    return Part(text=block.text or "", citations=[_citation(bytes(citation)) for citation in block.citations or ()])


def _thinking(block: wire.ThinkingBlock) -> Part:
    part = Part()
    part.reasoning.text = block.thinking or ""
    if block.signature:
        part.provider_state.CopyFrom(ProviderState(format=SIGNATURE, data=block.signature))
    return part


def _redacted(block: wire.RedactedBlock) -> Part:
    part = Part(provider_state=ProviderState(format=REDACTED, data=block.data or ""))
    part.reasoning.redacted = True
    return part


def _tool_call(block: _Block, members: dict[str, Raw], *, whole: bool) -> Part:
    part = Part()
    part.tool_call.id, part.tool_call.name = _string(members, "id"), _string(members, "name")
    arguments = _said(members, "input") or "{}"
    if whole:
        part.tool_call.arguments_json = arguments
    else:
        block.input = arguments
    more = {name: value for name, value in members.items() if name not in {"type", "id", "name", "input"}}
    if _said(more, "caller") == _DIRECT:
        del more["caller"]
    if more:
        part.provider_state.CopyFrom(ProviderState(format=TOOL_USE, data=_object(more.items())))
    return part


def _provider_part(block: _Block, members: dict[str, Raw], *, whole: bool) -> Part:
    """A block in the provider's own words, its members in the order of their names but for `input`, which may grow."""
    part = Part()
    part.provider_part.dialect, part.provider_part.type = DIALECT, block.kind
    said = [(name, members[name]) for name in sorted(members) if name != "input"]
    if "input" not in members:
        part.provider_part.json = _object(said)
    elif whole:
        part.provider_part.json = _object([*said, ("input", members["input"])])
    else:
        block.input = _said(members, "input") or "{}"
        head = _object(said).removesuffix("}")
        part.provider_part.json = f'{head}{"," if said else ""}"input":'
    return part


def _object(members: Iterable[tuple[str, Raw]]) -> str:
    return _compact(json.encode(dict(members)))


def _said(members: dict[str, Raw], name: str) -> str:
    """A member's JSON; "" = absent or null."""
    raw = bytes(members.get(name, b""))
    return "" if raw in _EMPTY else _compact(raw)


def _string(members: dict[str, Raw], name: str) -> str:
    raw = bytes(members.get(name, b""))
    return "" if raw in _EMPTY else decoded(_STRING, raw)


def _compact(raw: bytes) -> str:
    """JSON without the white space between its words, and otherwise as it stands."""
    try:
        return json.format(raw, indent=-1).decode("utf-8", "replace")
    except (DecodeError, RecursionError):
        raise UpstreamError(OUTCOME_PROTOCOL_ERROR, code="malformed_json") from None


def _citation(raw: bytes) -> Citation:
    """What a whole part rests on. The source is the document of the request, by its number, or a file or a search."""
    said = decoded(_CITATION, raw)
    source: Any = said.file_id or said.source
    if source is None and said.document_index is not None:
        source = str(said.document_index)
    return Citation(
        title=said.title or said.document_title or "",
        uri=said.url or "",
        cited_text=said.cited_text or "",
        source_id=source or "",
        provider_state=ProviderState(format=CITATION, data=_compact(raw)),
    )
