"""A whole answer, and how the events of a stream make one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trunkline.v1.content_pb2 import ROLE_ASSISTANT, Part
from trunkline.v1.gateway_service_pb2 import GenerateResponse

if TYPE_CHECKING:
    from trunkline.v1.call_pb2 import Cost, Usage
    from trunkline.v1.content_pb2 import FinishReason, LogprobToken, Message, ProviderState, ToolCall
    from trunkline.v1.gateway_service_pb2 import PartDelta, StreamCompleted, StreamGenerateResponse


# The kinds of delta that are text.
TEXTS = frozenset({"text", "reasoning_text", "tool_arguments_json", "refusal", "provider_json"})


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
    def reasoning(self) -> str:
        """What the model thought before it answered, as far as the provider tells."""
        return "".join(part.reasoning.text for part in self.raw.message.parts)

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

    @property
    def cost(self) -> Cost:
        """What it cost in nano-USD, failed attempts included.

        Without `total_nano_usd` the price is not known, which is not free: ask HasField.
        """
        return self.raw.cost


class Fold:
    """Gathers the events of one stream into its GenerateResponse."""

    def __init__(self) -> None:
        self.id = ""
        # Whether a part of the answer may have come.
        self.begun = False
        self._parts: dict[int, tuple[Part, list[PartDelta]]] = {}
        self._states: dict[int, ProviderState] = {}
        self._logprobs: list[LogprobToken] = []
        self._completed: StreamCompleted | None = None

    @property
    def completed(self) -> bool:
        """Whether the answer is whole."""
        return self._completed is not None

    def add(self, event: StreamGenerateResponse) -> None:
        """Take the next event; one that is not known changes nothing. `restarted` with discard begins anew."""
        kind = event.WhichOneof("event")
        self.begun = self.begun or kind != "heartbeat"
        if kind == "part_delta":
            self._parts[event.part_delta.part_index][1].append(event.part_delta)
            self._logprobs.extend(event.part_delta.logprobs)
        elif kind == "part_started":
            self._parts[event.part_started.part_index] = (event.part_started.part, [])
        elif kind == "part_completed" and event.part_completed.HasField("provider_state"):
            self._states[event.part_completed.part_index] = event.part_completed.provider_state
        elif kind == "restarted" and event.restarted.discard:
            self._parts, self._states, self._logprobs = {}, {}, []
        elif kind == "started":
            self.id = event.started.id
        elif kind == "completed":
            self._completed = event.completed

    def response(self) -> GenerateResponse:
        """The whole answer. Raises ValueError if the stream has not completed: a cut stream has no answer."""
        if self._completed is None:
            raise ValueError("the answer is not whole: its stream has not come to `completed`")
        response = GenerateResponse()
        response.CopyFrom(self._completed.response)
        if not response.HasField("message"):  # with include_final_message it is there, and the logprobs with it
            response.message.role = ROLE_ASSISTANT
            for index in sorted(self._parts):
                response.message.parts.append(_whole(*self._parts[index], self._states.get(index)))
            response.logprobs.extend(self._logprobs)
        return response


def _whole(start: Part, deltas: list[PartDelta], state: ProviderState | None) -> Part:
    part = Part()
    part.CopyFrom(start)
    _append(part, "".join([getattr(delta, kind) for delta in deltas if (kind := delta.WhichOneof("delta")) in TEXTS]))
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


def text_of(event: StreamGenerateResponse) -> str:
    """The text that this event adds to the answer; empty if it adds none."""
    return event.part_delta.text or event.part_started.part.text
