"""What a decision needs to know of a request: how large it is, how hard, and what a model must be able to do. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from trunkline.v1 import model_pb2 as mb
from trunkline.v1.call_pb2 import COMPLEXITY_COMPLEX
from trunkline.v1.content_pb2 import ResponseFormat
from trunkline_server.routing.analysis import analyse
from trunkline_server.routing.tokens import Count

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trunkline.v1.gateway_service_pb2 import GenerateRequest
    from trunkline.v1.model_pb2 import Capability
    from trunkline_server.routing.analysis import Analysis

_FORMS = {
    ResponseFormat.KIND_JSON: mb.CAPABILITY_JSON_MODE,
    ResponseFormat.KIND_JSON_SCHEMA: mb.CAPABILITY_JSON_SCHEMA,
}
_MEDIA = {"image": mb.CAPABILITY_VISION, "audio": mb.CAPABILITY_AUDIO}


class OwnTool(NamedTuple):
    """A tool that a provider has to run."""

    # Of the request.
    field: str
    dialect: str
    type: str
    # Whether the request asks to be sent in that dialect, where a provider has several.
    is_asked: bool = False


class Ask(Struct, frozen=True, kw_only=True):
    """A request, as far as the choice of its target hangs on it."""

    # Whether its caller sees the first token before the last.
    streaming: bool
    # How large it is, what it is about and how hard; what its size is made of.
    analysis: Analysis
    count: Count
    # Tokens that may come out at most, where the request says it.
    max_output: int | None = None
    # By the request's field: what it takes a model to be able to do.
    needs: tuple[tuple[str, Capability.ValueType], ...] = ()
    tools: tuple[OwnTool, ...] = ()

    @property
    def input_tokens(self) -> int:
        """About how many go in, of whoever's."""
        return self.analysis.input_tokens

    @property
    def is_hard(self) -> bool:
        """Whether it takes reasoning."""
        return self.analysis.complexity == COMPLEXITY_COMPLEX


def needs_of(request: GenerateRequest) -> tuple[tuple[str, Capability.ValueType], ...]:
    """What a model has to be able to do for this request, each once, with the field that says so."""
    return tuple({capability: (field, capability) for field, capability in _needs(request)}.values())


def _needs(request: GenerateRequest) -> Iterator[tuple[str, Capability.ValueType]]:
    if any(tool.HasField("function") for tool in request.tools):
        yield "tools", mb.CAPABILITY_TOOLS
    if request.response_format.kind in _FORMS:
        yield "response_format", _FORMS[request.response_format.kind]
    for message in request.messages:
        for part in message.parts:
            if part.HasField("media") and (able := _MEDIA.get(part.media.mime_type.partition("/")[0])):
                yield "messages", able


def ask_of(request: GenerateRequest, *, streaming: bool) -> Ask:
    """What is known of a request. Its size is an estimate."""
    config, analysis = request.config, analyse(request)
    count = analysis.count or Count(analysis.input_tokens)
    # Most requests are words alone, and need not be looked through again.
    is_plain = not count.media and not count.has_tools and not request.HasField("response_format")
    return Ask(
        streaming=streaming,
        analysis=analysis,
        count=count,
        max_output=config.max_output_tokens if config.HasField("max_output_tokens") else None,
        needs=() if is_plain else needs_of(request),
        tools=own_tools(request) if count.has_tools else (),
    )


def own_tools(request: GenerateRequest) -> tuple[OwnTool, ...]:
    """The tools of a request that its provider has to run."""
    return tuple(
        OwnTool(f"tools[{index}].provider_tool", own.dialect, own.type, own.dialect in request.provider_options)
        for index, tool in enumerate(request.tools)
        if tool.HasField("provider_tool")
        for own in (tool.provider_tool,)
    )
