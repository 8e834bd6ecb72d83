"""What the configuration says of the scripted provider."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from trunkline_server.sections import Seconds, Section


class ScriptedFailure(Section, frozen=True, kw_only=True):
    """How the scripted provider fails. `after` counts bytes of the wire format (SSE of openai_chat)."""

    # status: answers with this HTTP status. cut: the connection closes after `after` bytes. stall: nothing more comes
    # after `after` bytes. malformed: what comes after `after` bytes is not the wire format. slow: after `after` bytes,
    # each piece takes `delay`.
    kind: Literal["status", "cut", "stall", "malformed", "slow"]
    status: Annotated[int, Meta(ge=400, le=599)] = 503
    # With status: seconds that the answer asks callers to wait.
    retry_after: Seconds | None = None
    after: Annotated[int, Meta(ge=0)] = 0
    delay: Seconds = Seconds(1.0)
    # Fail only the first so many calls. Unset = each.
    times: Annotated[int, Meta(ge=1)] | None = None


class ScriptedToolCall(Section, frozen=True, kw_only=True):
    """A tool that the scripted provider asks for."""

    name: str
    arguments: str = "{}"


class Script(Section, frozen=True, kw_only=True):
    """What a model of the scripted provider does."""

    text: str = "Mock response"
    tool_calls: tuple[ScriptedToolCall, ...] = ()
    first_token: Seconds = Seconds(0.0)
    # Pieces a second; 0 = all at once. A piece is a word with the space before it.
    rate: Annotated[float, Meta(ge=0)] = 0.0
    # How often the text is said.
    repeat: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    usage: bool = True
    failure: ScriptedFailure | None = None
