"""Decoding the answers of Gemini's generateContent, whole and streamed."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

import msgspec
from msgspec import DecodeError, Raw
from msgspec.json import Decoder, Encoder

from trunkline.v1 import call_pb2, content_pb2
from trunkline.v1.content_pb2 import Media
from trunkline.v1.gateway_service_pb2 import GenerateResponse
from trunkline_server.dialects.classify import embedded_error
from trunkline_server.dialects.decoding import FramedDecoder
from trunkline_server.dialects.gemini_generate_content.citations import Texts, citations
from trunkline_server.dialects.gemini_generate_content.framer import GeminiFramer
from trunkline_server.dialects.gemini_generate_content.metadata import (
    Metadata,
    decode,
    is_said,
    merge_usage,
    tokens_of,
    usage_of,
)
from trunkline_server.dialects.gemini_generate_content.parts import SYNTHETIC_ID, Parts
from trunkline_server.dialects.gemini_generate_content.wire import (
    Answer,
    CitationMetadata,
    Grounding,
    PromptFeedback,
    RawAnswer,
)
from trunkline_server.errors import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trunkline.v1.gateway_service_pb2 import StreamGenerateResponse
    from trunkline_server.dialects.gemini_generate_content.wire import Candidate, CitedSource, FunctionCall, Part, Usage

# All that is not here is OTHER.
FINISH_REASONS: Mapping[str, content_pb2.FinishReason.ValueType] = {
    "STOP": content_pb2.FINISH_REASON_STOP,
    "MAX_TOKENS": content_pb2.FINISH_REASON_MAX_TOKENS,
    "SAFETY": content_pb2.FINISH_REASON_CONTENT_FILTER,
    "RECITATION": content_pb2.FINISH_REASON_CONTENT_FILTER,
    "BLOCKLIST": content_pb2.FINISH_REASON_CONTENT_FILTER,
    "PROHIBITED_CONTENT": content_pb2.FINISH_REASON_CONTENT_FILTER,
    "SPII": content_pb2.FINISH_REASON_CONTENT_FILTER,
    "MODEL_ARMOR": content_pb2.FINISH_REASON_CONTENT_FILTER,
    "IMAGE_SAFETY": content_pb2.FINISH_REASON_CONTENT_FILTER,
    "IMAGE_PROHIBITED_CONTENT": content_pb2.FINISH_REASON_CONTENT_FILTER,
    "IMAGE_RECITATION": content_pb2.FINISH_REASON_CONTENT_FILTER,
    "MALFORMED_FUNCTION_CALL": content_pb2.FINISH_REASON_MALFORMED,
    "MALFORMED_RESPONSE": content_pb2.FINISH_REASON_MALFORMED,
    "UNEXPECTED_TOOL_CALL": content_pb2.FINISH_REASON_MALFORMED,
}
# The default of the API's enums, which says nothing.
_UNSPECIFIED = ("FINISH_REASON_UNSPECIFIED", "BLOCK_REASON_UNSPECIFIED", "BLOCKED_REASON_UNSPECIFIED")
SEVERAL_CANDIDATES = "the provider gave several answers: all but the first are left out"
TOO_LARGE = "left out: there is more of it than what is kept of a provider's metadata"

_ANSWER = Decoder(Answer)
_RAW_ANSWER = Decoder(RawAnswer)
_FEEDBACK = Decoder(PromptFeedback)
_GROUNDING = Decoder(Grounding)
_CITATIONS = Decoder(CitationMetadata)
_ENCODER = Encoder()
_URL_SAFE = str.maketrans("-_", "+/")
_NOT_OF_IDS = re.compile(r"[^A-Za-z0-9_-]+")
_MAX_ID_CHARS = 24
# What may stand in a part beside its one kind of data.
_BESIDE_DATA = frozenset({"thought", "thoughtSignature", "partMetadata"})


def decode_response(body: bytes) -> list[StreamGenerateResponse]:
    """A whole answer as events: started and completed for each part, then completed. Raises UpstreamError.

    An answer without a finish reason is taken as whole, because its JSON is.
    """
    answer = _Answer()
    answer.add(body)
    if not answer.is_finished and not answer.has_candidate:
        raise UpstreamError(call_pb2.OUTCOME_PROTOCOL_ERROR, code="no_candidates", usage=answer.usage())
    answer.complete()
    return answer.parts.take()


class GeminiStreamDecoder(FramedDecoder[bytes]):
    """The API has no terminal marker.

    An answer is whole when the bytes end after a finish reason, or after the reason why the prompt is not answered.
    """

    def __init__(self) -> None:
        self._answer, self._bytes = _Answer(), GeminiFramer()
        super().__init__(self._bytes, self._answer)

    def _take(self, frame: bytes) -> None:
        # Gemini sends no [DONE], but gateways that pass it on do.
        if frame and frame != b"[DONE]":
            self._answer.add(frame)

    def _end(self) -> None:
        if self._bytes.is_cut_off or not self._answer.is_finished:
            raise UpstreamError(call_pb2.OUTCOME_INTERRUPTED, code="no_finish_reason")
        self._answer.complete()
        self._completed = True


class _Answer:
    """What the provider tells of one answer. The first of several candidates is kept."""

    def __init__(self) -> None:
        self.parts = Parts()
        self.has_candidate = False
        self._finish_reason = ""
        self._block_reason = ""
        self._id = ""
        self._calls = 0
        self._usage: Usage | None = None
        self._metadata = Metadata()
        self._several = False

    @property
    def is_finished(self) -> bool:
        """Whether the provider has said why it stopped, or why it does not begin."""
        return bool(self._finish_reason or self._block_reason)

    def usage(self) -> call_pb2.Usage | None:
        """What was used, as far as the provider has said so."""
        return usage_of(self._usage)

    def add(self, body: bytes) -> None:
        """Take one event. Raises UpstreamError: for the error that it tells of, or for not being one."""
        answer = decode(_ANSWER, body)
        if answer.error:
            raise embedded_error(body)
        self._metadata.note(answer)
        self._id = self._id or answer.response_id or ""
        if answer.usage_metadata is not None:
            self._usage = merge_usage(self._usage, answer.usage_metadata)
            self._metadata.note(answer.usage_metadata)
        if is_said(answer.prompt_feedback):
            reason = decode(_FEEDBACK, answer.prompt_feedback).block_reason
            self._block_reason = _said(reason) or self._block_reason
        for place, candidate in enumerate(answer.candidates or ()):
            if candidate.index:
                self._several = True
            else:
                self._add(candidate, body, place)

    def _add(self, candidate: Candidate, body: bytes, place: int) -> None:
        self.has_candidate = True
        self._metadata.note(candidate)
        self._finish_reason = _said(candidate.finish_reason) or self._finish_reason
        for position, part in enumerate((candidate.content and candidate.content.parts) or ()):
            if part.text is not None and part.function_call is None:
                self.parts.say("reasoning_text" if part.thought else "text", part.text, part.thought_signature)
            elif not self._add_known(part):
                self._add_raw(_raw_part(body, place, position), part)
        self.parts.tell_tokens(tokens_of(candidate.logprobs_result))
        self.parts.end_event()

    def _add_known(self, part: Part) -> bool:
        """Take a part that the contract has a word for. Images among thoughts are none: it has no place for them."""
        signature = part.thought_signature
        if part.function_call is not None:
            self._call(part.function_call, signature)
        elif part.thought:
            return False
        elif part.inline_data is not None:
            blob = part.inline_data
            self.parts.show(Media(mime_type=blob.mime_type or "", data=_bytes(blob.data or "")), signature)
        elif part.file_data is not None:
            file = part.file_data
            self.parts.show(Media(mime_type=file.mime_type or "", uri=file.file_uri or ""), signature)
        else:
            return False
        return True

    def _add_raw(self, raw: Mapping[str, Raw], part: Part) -> None:
        """Take a part of any other kind: executableCode, codeExecutionResult, toolCall, ..."""
        said = {name: value for name, value in raw.items() if is_said(value) and name != "thoughtSignature"}
        kind = next((name for name in said if name not in _BESIDE_DATA), None)
        if kind is not None:
            self.parts.tell(kind, _compact(Raw(_ENCODER.encode(said))), part.thought_signature)
        else:
            # A signature alone.
            self.parts.say("reasoning_text" if part.thought else "text", "", part.thought_signature)

    def _call(self, call: FunctionCall, signature: str | None) -> None:
        if not call.name:
            raise UpstreamError(call_pb2.OUTCOME_PROTOCOL_ERROR, code="tool_call_unnamed")
        if is_said(call.partial_args) or call.will_continue:
            raise UpstreamError(call_pb2.OUTCOME_PROTOCOL_ERROR, code="tool_call_in_pieces")
        arguments = _compact(call.args) if is_said(call.args) else "{}"
        if not arguments.startswith("{"):
            raise UpstreamError(call_pb2.OUTCOME_PROTOCOL_ERROR, code="malformed_json")
        self.parts.call(call.name, call.id or self._synthetic_id(), arguments, signature)
        self._calls += 1

    def _synthetic_id(self) -> str:
        """The same for the same bytes, and another one in every answer of a conversation."""
        answer = _NOT_OF_IDS.sub("", self._id)[:_MAX_ID_CHARS]
        return f"{SYNTHETIC_ID}{answer}-{self._calls}"

    def complete(self) -> None:
        """Take the end. Raises UpstreamError where the metadata is not in the wire format."""
        self._cite()
        reason = FINISH_REASONS.get(self._finish_reason, content_pb2.FINISH_REASON_OTHER)
        if self._block_reason and not self._finish_reason:
            reason = content_pb2.FINISH_REASON_CONTENT_FILTER
        response = GenerateResponse(
            finish_reason=reason,
            provider_finish_reason=self._finish_reason or self._block_reason,
            usage=self.usage(),
        )
        if self._id:
            response.served.provider_response_id = self._id
        metadata, too_large = self._metadata.collect()
        if metadata is not None:
            response.provider_metadata.CopyFrom(metadata)
        response.warnings.extend(self._warnings(too_large))
        self.parts.complete(response)

    def _warnings(self, too_large: list[str]) -> Iterator[call_pb2.Warning]:
        kind = call_pb2.Warning.KIND_CONTENT_DROPPED
        if self._several:
            yield call_pb2.Warning(kind=kind, message=SEVERAL_CANDIDATES)
        for name in too_large:
            yield call_pb2.Warning(kind=kind, field=f"provider_metadata.{name}", message=TOO_LARGE)

    def _cite(self) -> None:
        told = self._metadata.all("groundingMetadata", _GROUNDING)
        quoted = self._metadata.all("citationMetadata", _CITATIONS)
        if not self.parts.texts or not (told or quoted):
            return
        grounding = Grounding(
            [chunk for each in told for chunk in each.grounding_chunks or ()],
            [support for each in told for support in each.grounding_supports or ()],
        )
        sources = [source for each in quoted for source in [*(each.citations or ()), *(each.citation_sources or ())]]
        self._emit_citations(grounding, sources)

    def _emit_citations(self, grounding: Grounding, quoted: list[CitedSource]) -> None:
        whole = {index: "".join(pieces) for index, pieces in self.parts.texts.items()}
        for index, citation in citations(Texts(whole, self.parts.places), grounding, quoted):
            self.parts.cite(index, [citation])


def _said(reason: str | None) -> str:
    return "" if reason is None or reason in _UNSPECIFIED else reason


def _raw_part(body: bytes, place: int, position: int) -> Mapping[str, Raw]:
    """A part in the provider's own words."""
    candidate = (decode(_RAW_ANSWER, body).candidates or [])[place]
    return ((candidate.content and candidate.content.parts) or [])[position]


def _compact(json: Raw) -> str:
    """Without the blanks that whole answers are laid out with, and streamed ones are not."""
    try:
        return msgspec.json.format(bytes(json), indent=-1).decode("utf-8", "replace")
    except (DecodeError, RecursionError):
        raise UpstreamError(call_pb2.OUTCOME_PROTOCOL_ERROR, code="malformed_json") from None


def _bytes(data: str) -> bytes:
    """What base64 stands for, in either of its alphabets, padded or not. Raises UpstreamError."""
    try:
        return base64.b64decode(data.translate(_URL_SAFE) + "=" * (-len(data) % 4), validate=True)
    except ValueError:
        raise UpstreamError(call_pb2.OUTCOME_PROTOCOL_ERROR, code="malformed_base64") from None
