"""The answers of the Responses API as it sends them: what we read of them, and nothing else.

Every field may be absent or null, for some host leaves it out. What goes back to the provider as it came stays raw.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from msgspec import DecodeError, Meta, Raw, Struct
from msgspec.json import format as format_json

from trunkline.v1.call_pb2 import OUTCOME_PROTOCOL_ERROR
from trunkline_server.dialects.lenient import decode_json
from trunkline_server.errors import UpstreamError

if TYPE_CHECKING:
    from msgspec.json import Decoder

T = TypeVar("T")
DIALECT = "openai_responses"
# What a ProviderState holds: a reasoning item; what else was said of a message or a function call; an annotation that
# is more than the address of a page.
REASONING = "openai.reasoning"
ITEM = "openai.item"
ANNOTATION = "openai.annotation"
# What fits into the contract's int64.
Count = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
# OpenAI has counted -9 tokens.
Tokens = Annotated[int, Meta(le=(1 << 63) - 1)]
Byte = Annotated[int, Meta(ge=0, le=255)]


class TopToken(Struct, gc=False):
    """One of the likeliest tokens in a place."""

    token: str | None = None
    logprob: float | None = None
    bytes: list[Byte] | None = None


class Token(TopToken, gc=False):
    """A token of the answer."""

    top_logprobs: list[TopToken] | None = None


class Content(Struct, gc=False):
    """A piece of a message or of reasoning."""

    type: str | None = None
    text: str | None = None
    refusal: str | None = None
    annotations: list[Raw] | None = None
    logprobs: list[Token] | None = None


class Typed(Struct, gc=False):
    """An output item of any type."""

    type: str | None = None
    id: str | None = None


class Message(Struct, gc=False):
    """Output item "message"."""

    content: list[Raw] | None = None


class FunctionCall(Struct, gc=False):
    """Output item "function_call"."""

    id: str | None = None
    # The id that its result refers to.
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None


class Reasoning(Struct, gc=False):
    """Output item "reasoning"."""

    summary: list[Content] | None = None
    # In plain text: from models with open weights.
    content: list[Content] | None = None
    encrypted_content: str | None = None


class InputDetails(Struct, gc=False):
    """Of the input tokens."""

    cached_tokens: Tokens | None = None
    cache_write_tokens: Tokens | None = None


class OutputDetails(Struct, gc=False):
    """Of the output tokens."""

    reasoning_tokens: Tokens | None = None


class Usage(Struct, gc=False):
    """What the answer used."""

    input_tokens: Tokens | None = None
    input_tokens_details: InputDetails | None = None
    output_tokens: Tokens | None = None
    output_tokens_details: OutputDetails | None = None
    # xAI's: how often each of its own tools ran, and what it all cost.
    server_side_tool_usage_details: Any = None
    cost_in_usd_ticks: Any = None


class WebSearches(Struct, gc=False):
    """How often the provider searched."""

    num_requests: Count | None = None


class ToolUsage(Struct, gc=False):
    """What the provider's own tools used."""

    web_search: WebSearches | None = None


class IncompleteDetails(Struct, gc=False):
    """Why the answer is not complete."""

    reason: str | None = None


class Response(Struct, gc=False):
    """A whole answer, or what is known of it so far."""

    id: str | None = None
    status: str | None = None
    output: list[Raw] | None = None
    usage: Usage | None = None
    tool_usage: ToolUsage | None = None
    incomplete_details: IncompleteDetails | None = None
    # An object or, at some hosts, a string: the answer failed, or there is none.
    error: Any = None
    # "error" where the error is flat: {"object": "error", "message": ...}.
    object: Any = None
    # Metadata: kept as it stands.
    model: Any = None
    service_tier: Any = None
    system_fingerprint: Any = None
    metadata: Any = None
    content_filters: Any = None
    moderation: Any = None
    prompt_cache_retention: Any = None


class EventKind(Struct, gc=False):
    """What every event of a stream has."""

    type: str | None = None
    # Hosts that copy the API have errors of other shapes, too.
    error: Any = None
    object: Any = None


class ItemEvent(Struct, gc=False):
    """An output item begins, or is whole."""

    item: Raw
    output_index: Count = 0


class DeltaEvent(Struct, gc=False):
    """A piece of an output item goes on."""

    delta: str
    output_index: Count = 0
    content_index: Count = 0
    summary_index: Count = 0
    logprobs: list[Token] | None = None


class AnnotationEvent(Struct, gc=False):
    """A text gets an annotation."""

    annotation: Raw
    output_index: Count = 0
    content_index: Count = 0


class ContentEvent(Struct, gc=False):
    """A piece of an output item is whole."""

    part: Raw
    output_index: Count = 0
    content_index: Count = 0


class ResponseEvent(Struct, gc=False):
    """The answer begins or ends."""

    response: Response


def read(decoder: Decoder[T], json: bytes | Raw) -> T:
    """What `json` says. Raises UpstreamError where it is not in the wire format."""
    try:
        return decode_json(decoder, bytes(json))
    except DecodeError:
        raise UpstreamError(OUTCOME_PROTOCOL_ERROR, code="malformed_json") from None


def compact(json: Raw) -> str:
    """The same JSON without white space. Raises UpstreamError where it is nested too deeply."""
    try:
        return format_json(bytes(json).decode("utf-8", "replace"), indent=-1)
    except RecursionError:
        raise UpstreamError(OUTCOME_PROTOCOL_ERROR, code="malformed_json") from None
