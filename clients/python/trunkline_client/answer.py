"""A whole answer, and how the events of a stream make one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trunkline.v1.content_pb2 import ROLE_ASSISTANT, Part
from trunkline.v1.gateway_service_pb2 import GenerateResponse

if TYPE_CHECKING:
    from trunkline.v1.call_pb2 import Usage
    from trunkline.v1.content_pb2 import FinishReason, LogprobToken, Message, ToolCall
    from trunkline.v1.gateway_service_pb2 import PartDelta, StreamCompleted, StreamGenerateResponse


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer: the contract's message as `raw`, with short ways to what is asked for most."""

    raw: GenerateResponse

    @property
    def id(self) -> str:
        """The call's id, as it stands in the gateway's log."""
        return self.raw.id

    @property
    def message(self) -> Message:
        """What the model said; may be put into the next prompt as it is."""
        return self.raw.message

    @property
    def text(self) -> str:
        """All text of the message."""
        return "".join(part.text for part in self.raw.message.parts)

    @property
    def refusal(self) -> str:
        """The model's own words if it declined to answer, else empty."""
        return "".join(part.refusal for part in self.raw.message.parts)

    @property
    def tool_calls(self) -> list[ToolCall]:
        """The tools that the model wants to be run, in its order."""
        return [part.tool_call for part in self.raw.message.parts if part.HasField("tool_call")]

    @property
    def finish_reason(self) -> FinishReason.ValueType:
        """Why the model stopped."""
        return self.raw.finish_reason

    @property
    def usage(self) -> Usage:
        """What it used. A figure that the provider did not report is absent: ask HasField."""
        return self.raw.usage


class Fold:
    """Gathers the events of one stream into its GenerateResponse."""

    def __init__(self) -> None:
        self.id = ""
        # Whether a part of the answer may have come.
        self.begun = False
        self._parts: dict[int, tuple[Part, list[str]]] = {}
        self._logprobs: list[LogprobToken] = []
        self._completed: StreamCompleted | None = None

    @property
    def completed(self) -> bool:
        """Whether the answer is whole."""
        return self._completed is not None

    def add(self, event: StreamGenerateResponse) -> None:
        """Take the next event; one that is not known changes nothing."""
        kind = event.WhichOneof("event")
        self.begun = self.begun or kind != "heartbeat"
        if kind == "part_delta":
            self._append(event.part_delta)
        elif kind == "part_started":
            self._parts[event.part_started.part_index] = (event.part_started.part, [])
        elif kind == "started":
            self.id = event.started.id
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
            raise ValueError("the answer is not whole: its stream has not come to `completed`")
        response = GenerateResponse()
        response.CopyFrom(self._completed.response)
        if not response.HasField("message"):  # with include_final_message it is there, and the logprobs with it
            response.message.role = ROLE_ASSISTANT
            response.message.parts.extend(_whole(*self._parts[index]) for index in sorted(self._parts))
            response.logprobs.extend(self._logprobs)
        return response


def _whole(start: Part, pieces: list[str]) -> Part:
    part, rest = Part(), "".join(pieces)
    part.CopyFrom(start)
    if part.HasField("tool_call"):
        part.tool_call.arguments_json += rest
    elif part.HasField("refusal"):
        part.refusal += rest
    elif rest:
        part.text += rest
    return part


def text_of(event: StreamGenerateResponse) -> str:
    """The text that this event adds to the answer; empty if it adds none."""
    return event.part_delta.text or event.part_started.part.text
