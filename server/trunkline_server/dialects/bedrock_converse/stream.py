"""Decoding the answers of Bedrock's Converse and ConverseStream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.json import Decoder, encode

from trunkline.v1 import call_pb2, content_pb2
from trunkline.v1.gateway_service_pb2 import GenerateResponse
from trunkline_server.dialects.bedrock_converse import wire
from trunkline_server.dialects.bedrock_converse.metadata import metadata_of, usage_of
from trunkline_server.dialects.bedrock_converse.parts import Parts
from trunkline_server.dialects.bedrock_converse.wire import decoded
from trunkline_server.dialects.classify import embedded_error
from trunkline_server.dialects.decoding import FramedDecoder
from trunkline_server.dialects.scrub import scrub
from trunkline_server.errors import UpstreamError
from trunkline_server.wire.eventstream import EventStreamFramer, EventStreamMessage, TruncatedMessage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline.v1.gateway_service_pb2 import StreamGenerateResponse
    from trunkline_server.wire.framing import FramingError

FINISH_REASONS: Mapping[str, content_pb2.FinishReason.ValueType] = {
    "end_turn": content_pb2.FINISH_REASON_STOP,
    "tool_use": content_pb2.FINISH_REASON_TOOL_CALLS,
    "max_tokens": content_pb2.FINISH_REASON_MAX_TOKENS,
    "stop_sequence": content_pb2.FINISH_REASON_STOP_SEQUENCE,
    "guardrail_intervened": content_pb2.FINISH_REASON_CONTENT_FILTER,
    "content_filtered": content_pb2.FINISH_REASON_CONTENT_FILTER,
    "malformed_model_output": content_pb2.FINISH_REASON_MALFORMED,
    "malformed_tool_use": content_pb2.FINISH_REASON_MALFORMED,
    "model_context_window_exceeded": content_pb2.FINISH_REASON_CONTEXT_LENGTH,
    # Claude's own.
    "refusal": content_pb2.FINISH_REASON_REFUSAL,
    "pause_turn": content_pb2.FINISH_REASON_PAUSE,
}
UNKNOWN_PIECES = "the provider sent pieces of kinds that are not known, which are left out"
_RESPONSE = Decoder(wire.Response)
_BLOCK_START = Decoder(wire.BlockStart)
_BLOCK_DELTA = Decoder(wire.BlockDelta)
_BLOCK_STOP = Decoder(wire.BlockStop)
_MESSAGE_STOP = Decoder(wire.MessageStop)
_METADATA = Decoder(wire.Metadata)
_ANY_DELTA = Decoder(wire.AnyDelta)


def decode_response(body: bytes) -> list[StreamGenerateResponse]:
    """A whole answer as events: started and completed for each part, then completed. Raises UpstreamError.

    An answer without a stop reason is taken as whole, because its JSON is.
    """
    response = decoded(_RESPONSE, body)
    message = response.output and response.output.message
    if not message or message.content is None:
        if response.message or response.error:
            raise embedded_error(body)
        raise UpstreamError(call_pb2.OUTCOME_PROTOCOL_ERROR, code="no_output")
    answer = _Answer()
    for index, block in enumerate(message.content):
        answer.parts.add_whole(index, block)
    answer.end = response
    answer.metadata = response
    answer.complete()
    return answer.parts.take()


class ConverseStreamDecoder(FramedDecoder[EventStreamMessage]):
    """An answer is whole with messageStop and metadata, which comes after it and tells what was used."""

    def __init__(self) -> None:
        self._answer = _Answer()
        super().__init__(EventStreamFramer(), self._answer)

    def _take(self, frame: EventStreamMessage) -> None:
        kind = frame.text(":message-type")
        if kind in {"exception", "error"}:
            raise _told_error(kind, frame)
        self._answer.add(frame.text(":event-type"), frame.payload)
        if self._answer.is_whole():
            self._answer.complete()
            self._completed = True

    def _end(self) -> None:
        raise UpstreamError(call_pb2.OUTCOME_INTERRUPTED, code="no_metadata")

    def _unframeable(self, error: FramingError) -> UpstreamError:
        if isinstance(error, TruncatedMessage):
            return UpstreamError(call_pb2.OUTCOME_INTERRUPTED, code="no_metadata")
        return UpstreamError(call_pb2.OUTCOME_PROTOCOL_ERROR, code="malformed_event_stream")


class _Answer:
    """What a provider tells of one answer."""

    def __init__(self) -> None:
        self.parts = Parts()
        self.end: wire.MessageStop | wire.Response | None = None
        self.metadata: wire.Metadata | None = None
        self._unknown: dict[str, None] = {}

    def add(self, kind: str, payload: bytes) -> None:
        """Take one event of a stream; one of an unknown kind is no matter. Raises UpstreamError."""
        match kind:
            case "contentBlockDelta":
                piece = decoded(_BLOCK_DELTA, payload)
                if not self.parts.add(piece.content_block_index, piece.delta or wire.Delta()):
                    self._unknown |= dict.fromkeys(decoded(_ANY_DELTA, payload).delta or {})
            case "contentBlockStart":
                begun = decoded(_BLOCK_START, payload)
                self.parts.start(begun.content_block_index, begun.start or wire.Start())
            case "contentBlockStop":
                self.parts.stop(decoded(_BLOCK_STOP, payload).content_block_index)
            case "messageStop":
                self.end = decoded(_MESSAGE_STOP, payload)
                if not self.end.stop_reason:
                    raise UpstreamError(call_pb2.OUTCOME_PROTOCOL_ERROR, code="no_stop_reason")
            case "metadata":
                self.metadata = decoded(_METADATA, payload)

    def is_whole(self) -> bool:
        """Whether all has come that tells of the end."""
        return self.end is not None and self.metadata is not None

    def usage(self) -> call_pb2.Usage | None:
        """What was used, as far as the provider has said so."""
        return usage_of(self.metadata.usage if self.metadata else None)

    def complete(self) -> None:
        """Take the end."""
        end, metadata = self.end or wire.MessageStop(), self.metadata or wire.Metadata()
        reason = end.stop_reason or ""
        response = GenerateResponse(
            finish_reason=FINISH_REASONS.get(reason, content_pb2.FINISH_REASON_OTHER),
            provider_finish_reason=reason,
            stop_sequence=_stop_sequence(end.additional_model_response_fields),
            usage=self.usage(),
            provider_metadata=metadata_of(_beside(metadata, end)),
        )
        if self._unknown:
            named = scrub(", ".join(self._unknown))
            response.warnings.add(kind=call_pb2.Warning.KIND_CONTENT_DROPPED, message=f"{UNKNOWN_PIECES}: {named}")
        self.parts.complete(response)


def _beside(metadata: wire.Metadata, end: wire.MessageStop | wire.Response) -> dict[str, Any]:
    return {
        "metrics": metadata.metrics,
        "trace": metadata.trace,
        "performanceConfig": metadata.performance_config,
        "serviceTier": metadata.service_tier,
        "additionalModelResponseFields": end.additional_model_response_fields,
    }


def _stop_sequence(fields: Any) -> str:
    """Claude's word for it, where additionalModelResponseFieldPaths asked for it."""
    said = fields.get("stop_sequence") if isinstance(fields, dict) else None
    return said if isinstance(said, str) else ""


def _told_error(kind: str, message: EventStreamMessage) -> UpstreamError:
    """An exception is modelled and has a payload; an error is not, and has headers only."""
    if kind == "exception":
        return embedded_error(message.payload, message.text(":exception-type"))
    return embedded_error(encode({"message": message.text(":error-message")}), message.text(":error-code"))
