"""One answer of the Responses API in the making: its output items and its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.json import Encoder

from trunkline.v1 import call_pb2, content_pb2
from trunkline.v1.gateway_service_pb2 import GenerateResponse
from trunkline_server.dialects.classify import embedded_error
from trunkline_server.dialects.openai_responses.items import (
    TYPED,
    CallItem,
    MessageItem,
    ReasoningItem,
    add_provider_part,
)
from trunkline_server.dialects.openai_responses.metadata import metadata_of, usage_of
from trunkline_server.dialects.openai_responses.parts import Parts
from trunkline_server.dialects.openai_responses.wire import read
from trunkline_server.errors import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from msgspec import Raw

    from trunkline_server.dialects.openai_responses.wire import Response

# Why an answer is incomplete. All that is not here is OTHER.
INCOMPLETE: Mapping[str, content_pb2.FinishReason.ValueType] = {
    "max_output_tokens": content_pb2.FINISH_REASON_MAX_TOKENS,
    "content_filter": content_pb2.FINISH_REASON_CONTENT_FILTER,
}
TOO_LARGE = "left out: there is more of it than what is kept of a provider's metadata"
_ENCODER = Encoder()


class Answer:
    """Makes events of what the API says of one answer. Items are known by their place in the output."""

    def __init__(self) -> None:
        self.parts = Parts()
        # Whether `completed` has been said.
        self.completed = False
        self._done: set[int] = set()
        self._places: dict[str, int] = {}
        self._messages: dict[int, MessageItem] = {}
        self._calls: dict[int, CallItem] = {}
        self._reasoning: dict[int, ReasoningItem] = {}
        self._called = False
        self._refused = False

    def usage(self) -> None:
        """What was used comes with the end of the answer only."""

    def add(self, place: int, raw: Raw) -> None:
        """An item begins. Raises UpstreamError."""
        kind = self._kind(place, raw)
        if kind == "function_call":
            self.call(place).begin(raw)
        elif kind == "reasoning":
            self.reasoning(place)

    def done(self, place: int, raw: Raw) -> None:
        """An item is whole: whatever has not been said of it yet is said. Raises UpstreamError."""
        kind = self._kind(place, raw)
        if place in self._done:
            return
        match kind:
            case "message":
                message = self.message(place)
                message.done(raw)
                self._refused = self._refused or message.has_refusal
                del self._messages[place]
            case "function_call":
                self.call(place).done(raw)
                del self._calls[place]
            case "reasoning":
                # Azure gives the encrypted form only at the end of the answer.
                if self.reasoning(place).done(raw):
                    self._reasoning.pop(place).close()
            case _:
                add_provider_part(self.parts, kind, raw)
        self._done.add(place)

    def message(self, place: int) -> MessageItem:
        """The message in this place. Raises UpstreamError where it was done."""
        self._check_open(place)
        if place not in self._messages:
            self._messages[place] = MessageItem(self.parts)
        return self._messages[place]

    def call(self, place: int) -> CallItem:
        """The function call in this place. Raises UpstreamError where it was done."""
        self._check_open(place)
        self._called = True
        if place not in self._calls:
            self._calls[place] = CallItem(self.parts, place)
        return self._calls[place]

    def reasoning(self, place: int) -> ReasoningItem:
        """The reasoning in this place. Raises UpstreamError where it was done."""
        self._check_open(place)
        if place not in self._reasoning:
            self._reasoning[place] = ReasoningItem(self.parts)
        return self._reasoning[place]

    def complete(self, response: Response, status: str) -> None:
        """The answer ends with `status`. Raises UpstreamError where it failed, or is not over."""
        if response.error or status not in {"completed", "incomplete"}:
            raise _failure(response, status)
        for position, raw in enumerate(response.output or ()):
            self._repeat(position, raw)
        self._close()
        self.parts.finish(self._response(response, status))
        self.completed = True

    def _kind(self, place: int, raw: Raw) -> str:
        item = read(TYPED, raw)
        if item.id:
            self._places.setdefault(item.id, place)
        return item.type or ""

    def _check_open(self, place: int) -> None:
        if place in self._done:
            raise UpstreamError(call_pb2.OUTCOME_PROTOCOL_ERROR, code="item_reopened")

    def _repeat(self, position: int, raw: Raw) -> None:
        """An item as the end of the answer has it."""
        item = read(TYPED, raw)
        place = self._places.get(item.id or "", position)
        if place not in self._done:
            self.done(place, raw)
        elif place in self._reasoning and item.type == "reasoning":
            self._reasoning[place].done(raw)

    def _close(self) -> None:
        """What never was done is whole now."""
        for message in self._messages.values():
            self._refused = self._refused or message.has_refusal
            message.close()
        for call in self._calls.values():
            call.close()
        for reasoning in self._reasoning.values():
            reasoning.close()

    def _response(self, response: Response, status: str) -> GenerateResponse:
        reason = (response.incomplete_details and response.incomplete_details.reason) or status
        answer = GenerateResponse(
            finish_reason=self._finish_reason(status, reason),
            provider_finish_reason=reason if status == "incomplete" else status,
            usage=usage_of(response),
        )
        if response.id:
            answer.served.provider_response_id = response.id
        metadata, too_large = metadata_of(response)
        if metadata is not None:
            answer.provider_metadata.CopyFrom(metadata)
        for name in too_large:
            kind = call_pb2.Warning.KIND_CONTENT_DROPPED
            answer.warnings.add(kind=kind, field=f"provider_metadata.{name}", message=TOO_LARGE)
        return answer

    def _finish_reason(self, status: str, reason: str) -> content_pb2.FinishReason.ValueType:
        if status == "incomplete":
            return INCOMPLETE.get(reason, content_pb2.FINISH_REASON_OTHER)
        if self._called:
            return content_pb2.FINISH_REASON_TOOL_CALLS
        return content_pb2.FINISH_REASON_REFUSAL if self._refused else content_pb2.FINISH_REASON_STOP


def _failure(response: Response, status: str) -> UpstreamError:
    """What an answer means that failed, or is not over. Never raises."""
    if response.error:
        error = embedded_error(_ENCODER.encode({"error": response.error}))
    elif status == "failed":
        error = UpstreamError(call_pb2.OUTCOME_SERVER_ERROR, code=status)
    elif status == "cancelled":
        error = UpstreamError(call_pb2.OUTCOME_INTERRUPTED, code=status)
    else:
        # queued, in_progress: the caller asked for an answer in the background.
        error = UpstreamError(call_pb2.OUTCOME_PROTOCOL_ERROR, code="not_completed")
    error.usage = usage_of(response)
    return error
