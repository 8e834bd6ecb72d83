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


class ToolCall(Struct, gc=False):
    """A tool call, or a fragment of one."""

    # Which call of the answer. Some hosts leave it out where calls come whole.
    index: int | None = None
    id: str | None = None
    function: Function | None = None


class ContentPart(Struct, gc=False):
    """A piece of content where it comes as a list. Only those of type "text" have a text of their own."""

    type: str | None = None
    text: str | None = None


class Message(Struct, gc=False):
    """What the model says: the whole of it in `message`, the next piece of it in `delta`."""

    content: str | list[ContentPart | str] | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None


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
    # Together sends a bare number beside tool calls.
    logprobs: Logprobs | float | None = None


class PromptDetails(Struct, gc=False):
    """Of the input tokens."""

    cached_tokens: Count | None = None


class CompletionDetails(Struct, gc=False):
    """Of the output tokens."""

    reasoning_tokens: Count | None = None


class Usage(Struct, gc=False):
    """What the answer used."""

    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None
    # Together's and DeepSeek's words for prompt_tokens_details.cached_tokens.
    cached_tokens: Count | None = None
    prompt_cache_hit_tokens: Count | None = None


class GroqExtension(Struct, gc=False):
    """Groq's own field. Older streams have their usage only here."""

    usage: Usage | None = None


class Completion(Struct, gc=False):
    """A whole answer, or one event of a streamed one."""

    id: str | None = None
    choices: list[Choice] | None = None
    usage: Usage | None = None
    x_groq: GroqExtension | None = None
    # Stands in place of an answer, or breaks it off: an object or, at some hosts, a string.
    error: Any = None
    # "error" where the error is flat: {"object": "error", "message": ...}.
    object: str | None = None
