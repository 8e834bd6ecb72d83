"""The answers of Ollama's chat API as it sends them: what we read of them, and nothing else.

Every field may be absent or null.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Raw, Struct

# What fits into the contract's int64.
Count = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
Byte = Annotated[int, Meta(ge=0, le=255)]
EMPTY = Raw(b"null")


class Function(Struct, gc=False):
    """A tool call's function. Its arguments are an object."""

    name: str | None = None
    arguments: Raw = EMPTY


class ToolCall(Struct, gc=False):
    """A tool call, whole. Versions before 0.13 give it no id."""

    id: str | None = None
    function: Function | None = None


class Message(Struct, gc=False):
    """What the model says: the whole of it, or the next piece."""

    content: str | None = None
    thinking: str | None = None
    tool_calls: list[ToolCall] | None = None


class TopToken(Struct, gc=False):
    """One of the likeliest tokens in a place."""

    token: str | None = None
    logprob: float | None = None
    bytes: list[Byte] | None = None


class Token(TopToken, gc=False):
    """A token of the answer."""

    top_logprobs: list[TopToken] | None = None


class Line(Struct, gc=False):
    """A whole answer, or one line of a streamed one. Figures and durations (in ns) come with the last."""

    message: Message | None = None
    done: bool | None = None
    done_reason: str | None = None
    logprobs: list[Token] | None = None
    model: str | None = None
    created_at: str | None = None
    # The server that a cloud model runs on, and its name there.
    remote_host: str | None = None
    remote_model: str | None = None
    total_duration: Count | None = None
    load_duration: Count | None = None
    prompt_eval_count: Count | None = None
    prompt_eval_duration: Count | None = None
    eval_count: Count | None = None
    eval_duration: Count | None = None
    # Stands in place of an answer, or breaks it off.
    error: Any = None
