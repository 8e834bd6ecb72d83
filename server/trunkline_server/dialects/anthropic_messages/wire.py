"""The answers of the Messages API as it sends them: what we read of them, and nothing else.

Every field may be absent or null. Blocks stay raw until their type is known: another type's fields are not ours.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Raw, Struct

# The sum of several fits into the contract's int64.
Count = Annotated[int, Meta(ge=0, le=1 << 60)]


class CacheCreation(Struct, gc=False):
    """Tokens written to the cache, by how long they are kept."""

    ephemeral_5m_input_tokens: Count | None = None
    ephemeral_1h_input_tokens: Count | None = None


class OutputDetails(Struct, gc=False):
    """Of the output tokens."""

    thinking_tokens: Count | None = None


class Usage(Struct):
    """What the answer used so far. Input is what neither was in the cache nor was written to it."""

    input_tokens: Count | None = None
    output_tokens: Count | None = None
    cache_creation_input_tokens: Count | None = None
    cache_read_input_tokens: Count | None = None
    cache_creation: CacheCreation | None = None
    output_tokens_details: OutputDetails | None = None
    # How often each of the provider's own tools was used.
    server_tool_use: dict[str, Any] | None = None
    service_tier: Any = None
    inference_geo: Any = None
    speed: Any = None


class Message(Struct):
    """A whole answer, or the head of a streamed one."""

    type: str | None = None
    id: str | None = None
    model: str | None = None
    content: list[Raw] | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: Any = None
    container: Any = None
    context_management: Any = None
    diagnostics: Any = None
    usage: Usage | None = None
    # In place of an answer.
    error: Any = None


class Delta(Struct):
    """A piece of a block, or what is known at the end of the answer."""

    type: str | None = None
    text: str | None = None
    partial_json: str | None = None
    thinking: str | None = None
    signature: str | None = None
    citation: Raw = Raw()
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: Any = None
    container: Any = None


class Event(Struct):
    """One event of a streamed answer."""

    type: str
    index: int | None = None
    message: Message | None = None
    content_block: Raw = Raw()
    delta: Delta | None = None
    usage: Usage | None = None
    context_management: Any = None


class Typed(Struct, gc=False):
    """Of anything, what it is."""

    type: str | None = None


class TextBlock(Struct, gc=False):
    """Words of the answer."""

    text: str | None = None
    citations: list[Raw] | None = None


class ThinkingBlock(Struct, gc=False):
    """Thoughts, and the signature by which the provider knows them again."""

    thinking: str | None = None
    signature: str | None = None


class RedactedBlock(Struct, gc=False):
    """Thoughts that are withheld."""

    data: str | None = None


class Citation(Struct, gc=False):
    """What a text rests on. Which of the fields there are depends on its type."""

    type: str | None = None
    cited_text: str | None = None
    title: str | None = None
    document_title: str | None = None
    document_index: int | None = None
    file_id: str | None = None
    url: str | None = None
    source: str | None = None
