"""The answers of Gemini's generateContent as it sends them: what we read of them, and nothing else.

Every field may be absent or null: the API leaves out what is zero or empty.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Raw, Struct

# What fits into the contract's int64.
Count = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]

# Where there is no JSON. (None is not to be had: msgspec takes Raw alone.)
NOTHING = Raw()


class Blob(Struct, rename="camel", gc=False):
    """Bytes in base64."""

    mime_type: str | None = None
    data: str | None = None


class FileData(Struct, rename="camel", gc=False):
    """Bytes that lie elsewhere."""

    mime_type: str | None = None
    file_uri: str | None = None


class FunctionCall(Struct, rename="camel", gc=False):
    """A function call, always whole."""

    # Only Gemini 3 and later give one.
    id: str | None = None
    name: str | None = None
    args: Raw = NOTHING
    # Pieces of arguments: Vertex AI sends them to those who ask for them, and we do not.
    partial_args: Raw = NOTHING
    will_continue: bool | None = None


class Part(Struct, rename="camel", gc=False):
    """A part of an answer, or the next piece of a text."""

    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: FunctionCall | None = None
    inline_data: Blob | None = None
    file_data: FileData | None = None


class Content(Struct, gc=False):
    """What the model says."""

    parts: list[Part] | None = None


class Token(Struct, rename="camel", gc=False):
    """A token and how likely it was. A probability of 1 is left out: its logarithm is 0."""

    token: str | None = None
    log_probability: float | None = None


class TopTokens(Struct, gc=False):
    """The likeliest tokens in one place."""

    candidates: list[Token] | None = None


class Logprobs(Struct, rename="camel", gc=False):
    """The tokens of an answer, or of one piece of it."""

    chosen_candidates: list[Token] | None = None
    top_candidates: list[TopTokens] | None = None


class Candidate(Struct, rename="camel", gc=False):
    """One of the answers; we take only the first."""

    index: int | None = None
    content: Content | None = None
    finish_reason: str | None = None
    logprobs_result: Logprobs | None = None
    # These go into the contract's provider_metadata as they stand.
    finish_message: Raw = NOTHING
    safety_ratings: Raw = NOTHING
    citation_metadata: Raw = NOTHING
    grounding_metadata: Raw = NOTHING
    url_context_metadata: Raw = NOTHING
    avg_logprobs: Raw = NOTHING
    continuation_token: Raw = NOTHING


class ModalityCount(Struct, rename="camel", gc=False):
    """Tokens of one kind: TEXT, IMAGE, AUDIO, VIDEO, DOCUMENT."""

    modality: str | None = None
    token_count: Count | None = None


class Usage(Struct, rename="camel", gc=False):
    """What the answer used so far: running totals, of which a later event may tell only some."""

    prompt_token_count: Count | None = None
    candidates_token_count: Count | None = None
    thoughts_token_count: Count | None = None
    tool_use_prompt_token_count: Count | None = None
    cached_content_token_count: Count | None = None
    prompt_tokens_details: list[ModalityCount] | None = None
    candidates_tokens_details: list[ModalityCount] | None = None
    cache_tokens_details: list[ModalityCount] | None = None
    # These go into the contract's provider_metadata as they stand.
    traffic_type: Raw = NOTHING
    service_tier: Raw = NOTHING


class PromptFeedback(Struct, rename="camel", gc=False):
    """Why a prompt was not answered."""

    block_reason: str | None = None


class Answer(Struct, rename="camel", gc=False):
    """A whole answer, or one event of a streamed one."""

    candidates: list[Candidate] | None = None
    usage_metadata: Usage | None = None
    response_id: str | None = None
    # Stands in place of an answer, or breaks it off.
    error: Any = None
    # These go into the contract's provider_metadata as they stand.
    prompt_feedback: Raw = NOTHING
    model_version: Raw = NOTHING
    model_status: Raw = NOTHING
    create_time: Raw = NOTHING


class RawContent(Struct, gc=False):
    """What the model says, in its own words."""

    parts: list[dict[str, Raw]] | None = None


class RawCandidate(Struct, gc=False):
    """One of the answers."""

    content: RawContent | None = None


class RawAnswer(Struct, gc=False):
    """An answer read a second time, for parts of a kind that the contract has no word for."""

    candidates: list[RawCandidate] | None = None


class Source(Struct, gc=False):
    """Where something was found: a web page, a document, a place."""

    uri: str | None = None
    title: str | None = None
    text: str | None = None


class GroundingChunk(Struct, rename="camel", gc=False):
    """A source of an answer. Exactly one is set."""

    web: Source | None = None
    retrieved_context: Source | None = None
    maps: Source | None = None


class Segment(Struct, rename="camel", gc=False):
    """A piece of an answer. Indices count bytes of UTF-8 from the part's beginning; 0 is left out."""

    part_index: int | None = None
    start_index: int | None = None
    end_index: int | None = None
    text: str | None = None


class GroundingSupport(Struct, rename="camel", gc=False):
    """Which sources a piece of an answer rests on."""

    segment: Segment | None = None
    # Places in grounding_chunks, of all events together.
    grounding_chunk_indices: list[int] | None = None


class Grounding(Struct, rename="camel", gc=False):
    """What an answer rests on."""

    grounding_chunks: list[GroundingChunk] | None = None
    grounding_supports: list[GroundingSupport] | None = None


class CitedSource(Struct, rename="camel", gc=False):
    """A source that an answer quotes at length. Indices count bytes of UTF-8; 0 is left out."""

    start_index: int | None = None
    end_index: int | None = None
    uri: str | None = None
    title: str | None = None


class CitationMetadata(Struct, rename="camel", gc=False):
    """What an answer quotes. The first API version called it citationSources."""

    citations: list[CitedSource] | None = None
    citation_sources: list[CitedSource] | None = None
