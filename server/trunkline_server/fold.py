"""Pure operations on events: fold a stream into its answer, merge deltas that arrived together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from trunkline.v1.content_pb2 import ROLE_ASSISTANT, Part
from trunkline.v1.gateway_service_pb2 import GenerateResponse, PartDelta, StreamCompleted, StreamGenerateResponse

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trunkline.v1.content_pb2 import LogprobToken, ProviderState

# The kinds of delta that are text.
TEXTS = frozenset({"text", "reasoning_text", "tool_arguments_json", "refusal", "provider_json"})
CONTENT_KINDS = frozenset({"part_started", "part_delta", "part_completed"})


def is_content(event: StreamGenerateResponse) -> bool:
    """Whether the event carries a piece of the answer."""
    return event.WhichOneof("event") in CONTENT_KINDS


class Fold(Struct):
    """Folds the events of one stream into its `GenerateResponse`."""

    _parts: list[tuple[Part, list[PartDelta]]] = field(default_factory=list)
    _states: dict[int, ProviderState] = field(default_factory=dict)
    _logprobs: list[LogprobToken] = field(default_factory=list)
    _completed: StreamCompleted | None = None
    _closed: bool = False

    def add(self, event: StreamGenerateResponse) -> None:
        """Take the next event."""
        kind = event.WhichOneof("event")
        if kind == "completed":
            self._completed = event.completed
        elif kind == "part_delta":
            self._parts[event.part_delta.part_index][1].append(event.part_delta)
            self._logprobs.extend(event.part_delta.logprobs)
        elif kind == "part_started":
            self._parts.append((event.part_started.part, []))
        elif kind == "part_completed":
            self._closed = True
            if event.part_completed.HasField("provider_state"):
                self._states[event.part_completed.part_index] = event.part_completed.provider_state
        elif kind == "restarted" and event.restarted.discard:
            self._discard()

    def _discard(self) -> None:
        self._parts, self._states, self._logprobs, self._closed = [], {}, [], False

    def open_text(self) -> str | None:
        """The text, if all there is so far is one open part of nothing but text. Else None."""
        if len(self._parts) != 1 or self._closed or self._logprobs:
            return None
        start, deltas = self._parts[0]
        if not start.HasField("text") or start.HasField("provider_state") or any(delta.citations for delta in deltas):
            return None
        return start.text + "".join([delta.text for delta in deltas])

    def response(self) -> GenerateResponse:
        """The whole answer, which is not to be changed.

        Raises ValueError if the stream has not completed: a cut stream has no answer.
        """
        completed = self._completed
        if completed is not None and (response := completed.response).HasField("message"):
            return response
        folded = GenerateResponse()
        self.write(folded)
        return folded

    def write(self, response: GenerateResponse) -> None:
        """The same, as a copy in place of what is there."""
        if self._completed is None:
            raise ValueError("the stream did not complete")
        response.CopyFrom(self._completed.response)
        if response.HasField("message"):
            return
        message, states = response.message, self._states
        message.role = ROLE_ASSISTANT
        message.parts.extend(
            [_whole(part, deltas, states.get(index)) for index, (part, deltas) in enumerate(self._parts)]
        )
        if self._logprobs:
            response.logprobs.extend(self._logprobs)


def _whole(start: Part, deltas: list[PartDelta], state: ProviderState | None) -> Part:
    if not deltas and state is None:
        return start
    part = Part()
    part.CopyFrom(start)
    text = "".join([getattr(delta, kind) for delta in deltas if (kind := delta.WhichOneof("delta")) in TEXTS])
    _append(part, text)
    if part.HasField("media"):
        part.media.data += b"".join([delta.media_data for delta in deltas])
    for delta in deltas:
        part.citations.extend(delta.citations)
    if state is not None:
        part.provider_state.CopyFrom(state)
    return part


def _append(part: Part, text: str) -> None:
    """Append to whatever text the part has."""
    match part.WhichOneof("data"):
        case "tool_call":
            part.tool_call.arguments_json += text
        case "refusal":
            part.refusal += text
        case "reasoning":
            part.reasoning.text += text
        case "provider_part":
            part.provider_part.json += text
        case "text":
            part.text += text


def fold(events: Iterable[StreamGenerateResponse], into: GenerateResponse | None = None) -> GenerateResponse:
    """The answer that these events tell, as a copy in place of what is there if it is written `into` a message.

    Raises ValueError if they do not complete.
    """
    folding = Fold()
    for event in events:
        folding.add(event)
    if into is None:
        return folding.response()
    folding.write(into)
    return into


def merge(events: list[StreamGenerateResponse]) -> list[StreamGenerateResponse]:
    """Join neighbouring deltas of one part into one event: same text, same arguments, same order, fewer messages.

    The events given are not changed.
    """
    if len(events) < 2:
        return events
    merged: list[StreamGenerateResponse] = []
    run: list[PartDelta] = []
    key: tuple[int, str] | None = None
    for event in events:
        delta = event.part_delta if event.WhichOneof("event") == "part_delta" else None
        kind = delta and delta.WhichOneof("delta")
        if delta is None or not kind:
            merged.extend(_joined(run, key))
            merged.append(event)
            run, key = [], None
            continue
        if (delta.part_index, kind) != key:
            merged.extend(_joined(run, key))
            run, key = [], (delta.part_index, kind)
        run.append(delta)
    merged.extend(_joined(run, key))
    return merged


def _joined(run: list[PartDelta], key: tuple[int, str] | None) -> list[StreamGenerateResponse]:
    if key is None:
        return []
    index, kind = key
    empty = b"" if kind == "media_data" else ""
    delta = PartDelta(part_index=index, **{kind: empty.join([getattr(piece, kind) for piece in run])})  # type: ignore[arg-type]
    for piece in run:
        if piece.logprobs:
            delta.logprobs.extend(piece.logprobs)
        if piece.citations:
            delta.citations.extend(piece.citations)
    return [StreamGenerateResponse(part_delta=delta)]
