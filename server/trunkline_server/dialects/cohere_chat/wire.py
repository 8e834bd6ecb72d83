"""The answers of Cohere's chat API as it sends them: what we read of them, and nothing else.

Every field may be absent or null.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Raw, Struct

# Counts are numbers that may be written with a fraction of zero; all of them fit into a double.
Count = Annotated[float, Meta(ge=0, le=1 << 53)]
# What fits into the contract's int32.
Index = Annotated[int, Meta(ge=0, le=(1 << 31) - 1)]
EMPTY = Raw(b"null")


class Typed(Struct, gc=False):
    """Only what kind of thing it is."""

    type: str | None = None


class Content(Typed, gc=False):
    """A piece of content, or a fragment of one: the member that its type names."""

    text: str | None = None
    thinking: str | None = None


class Function(Struct, gc=False):
    """A tool call's function, or a fragment of one."""

    name: str | None = None
    arguments: str | None = None


class ToolCall(Struct, gc=False):
    """A tool call, or a fragment of one."""

    id: str | None = None
    function: Function | None = None


class Source(Typed):
    """What a citation rests on: a document of the request, or a tool's output."""

    id: str | None = None
    document: Any = None
    tool_output: Any = None


class Citation(Typed):
    """A span of the content with number content_index, and what it rests on."""

    start: Index | None = None
    end: Index | None = None
    text: str | None = None
    sources: list[Source] | None = None
    content_index: Index | None = None


class LogprobItem(Struct):
    """A piece of text and the probabilities of its tokens."""

    text: str | None = None
    logprobs: list[float] | None = None


class Tokens(Struct, gc=False):
    """What went in and out, whether billed or not."""

    input_tokens: Count | None = None
    output_tokens: Count | None = None
    # Of output_tokens.
    reasoning_tokens: Count | None = None


class Usage(Struct):
    """What the answer used."""

    billed_units: dict[str, Any] | None = None
    tokens: Tokens | None = None
    # Of tokens.input_tokens.
    cached_tokens: Count | None = None


class Message(Struct):
    """What the model says, as a whole."""

    content: list[Raw] | None = None
    tool_plan: str | None = None
    tool_calls: list[ToolCall] | None = None
    citations: list[Citation] | None = None


class Answer(Struct):
    """A whole answer."""

    id: str | None = None
    # A text where it stands in place of an answer: {"id": ..., "message": "..."}.
    message: Message | str | None = None
    finish_reason: str | None = None
    usage: Usage | None = None
    logprobs: list[LogprobItem] | None = None
    error: Any = None
    error_type: str | None = None


class Fragment(Struct, gc=False):
    """What the model says in one event. Each member is an object in the events that tell of it, else a list."""

    content: Raw = EMPTY
    tool_plan: str | None = None
    tool_calls: Raw = EMPTY
    citations: Raw = EMPTY


class Delta(Struct, gc=False):
    """What an event adds."""

    message: Fragment | None = None
    finish_reason: str | None = None
    usage: Usage | None = None
    error: Any = None
    error_type: str | None = None


class Event(Typed, gc=False):
    """One event of a streamed answer."""

    id: str | None = None
    # Of the content, or of the tool call.
    index: Index | None = None
    delta: Delta | None = None
    logprobs: LogprobItem | None = None
    # Stand in place of an event: {"message": "..."}.
    message: Any = None
    error: Any = None
