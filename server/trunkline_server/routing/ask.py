"""What a decision needs to know of a request: how large it is, how hard, and what a model must be able to do. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trunkline.v1 import model_pb2 as mb
from trunkline.v1.content_pb2 import ResponseFormat

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trunkline.v1.gateway_service_pb2 import GenerateRequest
    from trunkline.v1.model_pb2 import Capability

# Where nobody says better: bytes to a token, and tokens that come out.
BYTES_A_TOKEN = 4
OUTPUT_TOKENS = 500
_FORMS = {
    ResponseFormat.KIND_JSON: mb.CAPABILITY_JSON_MODE,
    ResponseFormat.KIND_JSON_SCHEMA: mb.CAPABILITY_JSON_SCHEMA,
}
_MEDIA = {"image": mb.CAPABILITY_VISION, "audio": mb.CAPABILITY_AUDIO}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A request, as far as the choice of its target hangs on it."""

    # Whether its caller sees the first token before the last.
    streaming: bool
    # Tokens that go in; whether they were counted, and not estimated.
    input_tokens: int
    exact: bool = False
    # Tokens that are expected to come out, and that are kept free for them in a window.
    output_tokens: int
    kept_free: int = 0
    coding: bool = False
    # A value of the contract's Complexity.
    complexity: int = 0
    # By the request's field: what it takes a model to be able to do.
    needs: tuple[tuple[str, Capability.ValueType], ...] = ()


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
    config = request.config
    most = config.max_output_tokens if config.HasField("max_output_tokens") else 0
    return Ask(
        streaming=streaming,
        input_tokens=request.ByteSize() // BYTES_A_TOKEN,
        output_tokens=most or OUTPUT_TOKENS,
        kept_free=most,
        complexity=request.routing.complexity,
        needs=needs_of(request),
    )
