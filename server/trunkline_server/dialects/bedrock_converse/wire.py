"""The answers of Bedrock's Converse API as it sends them: what we read of them, and nothing else.

Every field may be absent or null. What is raw is passed on as it stands; empty = absent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from msgspec import DecodeError, Meta, Raw, Struct

from trunkline.v1.call_pb2 import OUTCOME_PROTOCOL_ERROR
from trunkline_server.dialects.lenient import decode_json
from trunkline_server.errors import UpstreamError

if TYPE_CHECKING:
    from msgspec.json import Decoder

T = TypeVar("T")

# The sum of several fits into the contract's int64.
Count = Annotated[int, Meta(ge=0, le=1 << 60)]
Index = Annotated[int, Meta(ge=0)]


class S3Location(Struct, rename="camel", gc=False):
    """Where in S3 something lies."""

    uri: str | None = None


class Source(Struct, rename="camel", gc=False):
    """The bytes of an image in base64, or where they are."""

    bytes: str | None = None
    s3_location: S3Location | None = None


class Image(Struct, rename="camel", gc=False):
    """An image, or a piece of one."""

    format: str | None = None
    source: Source | None = None


class ToolUse(Struct, rename="camel", gc=False):
    """A tool call; the provider's own tools have another type than "tool_use"."""

    tool_use_id: str | None = None
    name: str | None = None
    type: str | None = None
    input: Raw = Raw()


class ReasoningText(Struct, rename="camel", gc=False):
    """Thoughts, and the signature by which the model knows them again."""

    text: str | None = None
    signature: str | None = None


class Reasoning(Struct, rename="camel", gc=False):
    """Thoughts, or in base64 what is withheld of them."""

    reasoning_text: ReasoningText | None = None
    redacted_content: str | None = None


class Text(Struct, rename="camel", gc=False):
    """Words."""

    text: str | None = None


class CitationsContent(Struct, rename="camel"):
    """Words, and what they rest on."""

    content: list[Text] | None = None
    citations: list[Raw] | None = None


class Web(Struct, rename="camel", gc=False):
    """A page."""

    url: str | None = None


class Place(Struct, rename="camel", gc=False):
    """A place in a document, or in a search result, of the request."""

    document_index: int | None = None
    search_result_index: int | None = None


class Location(Struct, rename="camel", gc=False):
    """Where a citation is from."""

    web: Web | None = None
    document_char: Place | None = None
    document_page: Place | None = None
    document_chunk: Place | None = None
    search_result_location: Place | None = None


class Citation(Struct, rename="camel"):
    """What words rest on."""

    title: str | None = None
    source: str | None = None
    source_content: list[Text] | None = None
    location: Location | None = None


class Block(Struct, rename="camel"):
    """A block of a whole answer, if it is one of those that we know. One field is set."""

    text: str | None = None
    tool_use: ToolUse | None = None
    reasoning_content: Reasoning | None = None
    citations_content: CitationsContent | None = None
    image: Image | None = None


class CacheDetail(Struct, rename="camel", gc=False):
    """Tokens written to the cache, by how long they are kept."""

    ttl: str | None = None
    input_tokens: Count | None = None


class Usage(Struct, rename="camel"):
    """What the answer used. Input is what neither was in the cache nor was written to it."""

    input_tokens: Count | None = None
    output_tokens: Count | None = None
    cache_read_input_tokens: Count | None = None
    cache_write_input_tokens: Count | None = None
    # Older names for the same.
    cache_read_input_token_count: Count | None = None
    cache_write_input_token_count: Count | None = None
    cache_details: list[CacheDetail] | None = None
    # How often each of the provider's own tools was used.
    server_tool_usage: dict[str, Any] | None = None


class Metadata(Struct, rename="camel"):
    """What stands beside an answer; the last event of a streamed one."""

    usage: Usage | None = None
    metrics: Any = None
    trace: Any = None
    performance_config: Any = None
    service_tier: Any = None


class Message(Struct, rename="camel"):
    """What the model says."""

    content: list[Raw] | None = None


class Output(Struct, rename="camel"):
    """The answer itself."""

    message: Message | None = None


class Response(Metadata, rename="camel"):
    """A whole answer."""

    output: Output | None = None
    stop_reason: str | None = None
    additional_model_response_fields: Any = None
    # In place of an answer.
    message: Any = None
    error: Any = None


class MessageStop(Struct, rename="camel"):
    """Why the model stopped."""

    stop_reason: str | None = None
    additional_model_response_fields: Any = None


class Start(Struct, rename="camel"):
    """What is known of a block when it begins. Texts and thoughts have none of it."""

    tool_use: Raw = Raw()
    tool_result: Raw = Raw()
    image: Image | None = None


class BlockStart(Struct, rename="camel"):
    """A block begins. Only some do so with an event."""

    content_block_index: Index
    start: Start | None = None


class ToolUsePiece(Struct, rename="camel", gc=False):
    """A piece of a tool call's arguments."""

    input: str | None = None


class ReasoningPiece(Struct, rename="camel", gc=False):
    """A piece of thoughts."""

    text: str | None = None
    signature: str | None = None
    redacted_content: str | None = None


class Delta(Struct, rename="camel", gc=False):
    """A piece of a block. One field is set."""

    text: str | None = None
    tool_use: ToolUsePiece | None = None
    tool_result: list[Raw] | None = None
    reasoning_content: ReasoningPiece | None = None
    citation: Raw = Raw()
    image: Image | None = None


class BlockDelta(Struct, rename="camel", gc=False):
    """A block goes on, or begins."""

    content_block_index: Index
    delta: Delta | None = None


class AnyDelta(Struct, rename="camel", gc=False):
    """A piece of a block, of whatever kind."""

    delta: dict[str, Raw] | None = None


class BlockStop(Struct, rename="camel", gc=False):
    """A block is whole."""

    content_block_index: Index


def decoded(decoder: Decoder[T], raw: bytes | Raw) -> T:
    """What `raw` says. Raises UpstreamError where it is not what it should be."""
    try:
        return decode_json(decoder, bytes(raw))
    except DecodeError:
        raise UpstreamError(OUTCOME_PROTOCOL_ERROR, code="malformed_json") from None


def utf8(raw: bytes | Raw) -> str:
    """JSON as text."""
    return bytes(raw).decode("utf-8", "replace")
