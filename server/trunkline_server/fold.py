"""Pure operations on events: fold a stream into its answer, merge deltas that arrived together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline.v1.content_pb2 import ROLE_ASSISTANT, Part
from trunkline.v1.gateway_service_pb2 import GenerateResponse, PartDelta, StreamCompleted, StreamGenerateResponse

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trunkline.v1.content_pb2 import LogprobToken

CONTENT_KINDS = frozenset({"part_started", "part_delta", "part_completed"})


def is_content(event: StreamGenerateResponse) -> bool:
    """Whether the event carries a piece of the answer."""
    return event.WhichOneof("event") in CONTENT_KINDS


class Fold:
    """Folds the events of one stream into its `GenerateResponse`."""

    def __init__(self) -> None:
        self._parts: list[tuple[Part, list[str]]] = []
        self._logprobs: list[LogprobToken] = []
        self._completed: StreamCompleted | None = None

    def add(self, event: StreamGenerateResponse) -> None:
        """Take the next event."""
        kind = event.WhichOneof("event")
        if kind == "part_delta":
            self._append(event.part_delta)
        elif kind == "part_started":
            self._parts.append((event.part_started.part, []))
        elif kind == "completed":
            self._completed = event.completed

    def _append(self, delta: PartDelta) -> None:
        kind = delta.WhichOneof("delta")
        if kind is not None:
            self._parts[delta.part_index][1].append(getattr(delta, kind))
        self._logprobs.extend(delta.logprobs)

    def response(self) -> GenerateResponse:
        """The whole answer. Raises ValueError if the stream has not completed: a cut stream has no answer."""
        if self._completed is None:
            raise ValueError("the stream did not complete")
        response = GenerateResponse()
        response.CopyFrom(self._completed.response)
        response.message.role = ROLE_ASSISTANT
        response.message.parts.extend(_whole(part, pieces) for part, pieces in self._parts)
        response.logprobs.extend(self._logprobs)
        return response


def _whole(start: Part, pieces: list[str]) -> Part:
    if not pieces:
        return start
    part, rest = Part(), "".join(pieces)
    part.CopyFrom(start)
    kind = part.WhichOneof("data")
    if kind == "tool_call":
        part.tool_call.arguments_json += rest
    elif kind == "refusal":
        part.refusal += rest
    else:
        part.text += rest
    return part


def fold(events: Iterable[StreamGenerateResponse]) -> GenerateResponse:
    """The answer that these events tell. Raises ValueError if they do not complete."""
    folding = Fold()
    for event in events:
        folding.add(event)
    return folding.response()


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
    delta = PartDelta(part_index=index, **{kind: "".join([getattr(piece, kind) for piece in run])})  # type: ignore[arg-type]
    for piece in run:
        if piece.logprobs:
            delta.logprobs.extend(piece.logprobs)
    return [StreamGenerateResponse(part_delta=delta)]
