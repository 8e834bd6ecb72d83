"""The answers of the chat completions API as it sends them: what we read of them, and nothing else.

Every field may be absent or null, for some host leaves it out.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

# What fits into the contract's int64.
Count = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
Byte = Annotated[int, Meta(ge=0, le=255)]


class Function(Struct, gc=False):
    """A tool call's function, or a fragment of one."""

    name: str | None = None
    arguments: str | None = None


class Custom(Struct, gc=False):
    """A call of a tool whose input is text of its own grammar, or a fragment of one."""

    name: str | None = None
    input: str | None = None


class ToolCall(Struct, gc=False):
    """A tool call, or a fragment of one."""

    # Which call of the answer. Some hosts leave it out where calls come whole.
    index: int | None = None
    id: str | None = None
    function: Function | None = None
    custom: Custom | None = None


class ContentPart(Struct, gc=False):
    """A piece of content where it comes as a list: of type "text" with a text, or "thinking" (Mistral) with a list."""

    type: str | None = None
    text: str | None = None
    thinking: str | list[ContentPart | str] | None = None


class UrlCitation(Struct, gc=False):
    """What a piece of the content rests on."""

    url: str | None = None
    title: str | None = None
    content: str | None = None
    start_index: Any = None
    end_index: Any = None


class Annotation(Struct, gc=False):
    """A remark on the content. We know those of type "url_citation"."""

    type: str | None = None
    url_citation: UrlCitation | None = None


class ImageUrl(Struct, gc=False):
    """An address, most often one that is the image itself."""

    url: str | None = None


class Image(Struct, gc=False):
    """An image that the model made (OpenRouter, LiteLLM)."""

    image_url: ImageUrl | None = None


class Message(Struct, gc=False):
    """What the model says: the whole of it in `message`, the next piece of it in `delta`."""

    content: str | list[ContentPart | str] | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None
    # What it thought. vLLM has said it in both.
    reasoning_content: str | None = None
    reasoning: str | None = None
    # OpenRouter wants these back.
    reasoning_details: list[Any] | None = None
    annotations: list[Annotation] | None = None
    images: list[Image] | None = None
    # Spoken answers; we do not ask for them.
    audio: Any = None
    # Groq's own tools.
    executed_tools: Any = None


class TopToken(Struct, gc=False):
    """One of the likeliest tokens in a place."""

    token: str | None = None
    logprob: float | None = None
    bytes: list[Byte] | None = None


class Token(TopToken, gc=False):
    """A token of the answer."""

    top_logprobs: list[TopToken] | None = None


class Logprobs(Struct, gc=False):
    """The tokens of a piece of the answer."""

    content: list[Token] | None = None
    refusal: list[Token] | None = None


class Choice(Struct, gc=False):
    """One of the answers; we take only the first."""

    index: int | None = None
    delta: Message | None = None
    message: Message | None = None
    finish_reason: str | None = None
    native_finish_reason: Any = None
    content_filter_results: Any = None
    # Together sends a bare number beside tool calls.
    logprobs: Logprobs | float | None = None


class PromptDetails(Struct, gc=False):
    """Of the input tokens."""

    cached_tokens: Count | None = None
    # OpenRouter's, LiteLLM's and Qwen's words for tokens written to the cache.
    cache_write_tokens: Count | None = None
    cache_creation_tokens: Count | None = None
    cache_creation_input_tokens: Count | None = None
    audio_tokens: Count | None = None


class CompletionDetails(Struct, gc=False):
    """Of the output tokens."""

    reasoning_tokens: Count | None = None
    audio_tokens: Count | None = None


class ServerTools(Struct, gc=False):
    """How often the provider's own tools were used (OpenRouter)."""

    web_search_requests: Count | None = None


class Usage(Struct, gc=False):
    """What the answer used."""

    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    total_tokens: Count | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None
    # Together's, DeepSeek's and LiteLLM's words for prompt_tokens_details.cached_tokens.
    cached_tokens: Count | None = None
    prompt_cache_hit_tokens: Count | None = None
    prompt_cache_miss_tokens: Count | None = None
    cache_read_input_tokens: Count | None = None
    cache_creation_input_tokens: Count | None = None
    # Perplexity's words.
    reasoning_tokens: Count | None = None
    citation_tokens: Count | None = None
    num_search_queries: Count | None = None
    # xAI's.
    num_sources_used: Count | None = None
    cost_in_usd_ticks: Any = None
    server_tool_use: ServerTools | None = None
    cost: Any = None


class GroqExtension(Struct, gc=False):
    """Groq's own field. Older streams have their usage only here."""

    usage: Usage | None = None


class Completion(Struct, gc=False):
    """A whole answer, or one event of a streamed one."""

    id: str | None = None
    choices: list[Choice] | None = None
    usage: Usage | None = None
    x_groq: GroqExtension | None = None
    # Perplexity's and xAI's sources: addresses, or objects with url and title.
    citations: Any = None
    search_results: Any = None
    # What the contract has no word for.
    service_tier: Any = None
    system_fingerprint: Any = None
    provider: Any = None
    prompt_filter_results: Any = None
    # Stands in place of an answer, or breaks it off: an object or, at some hosts, a string.
    error: Any = None
    # "error" where the error is flat: {"object": "error", "message": ...}.
    object: str | None = None
