"""The Responses API of OpenAI, Azure, xAI and the servers that copy it. This module is a Dialect.

Nothing is stored at the provider unless the caller says so: reasoning travels in encrypted form, in the provider_state
of its part, and comes back with the next request.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from msgspec.json import Encoder

from trunkline_server.dialects.classify import answered_error as decode_error
from trunkline_server.dialects.dialect import Encoded
from trunkline_server.dialects.notes import Notes
from trunkline_server.dialects.openai_responses.input import encode_input
from trunkline_server.dialects.openai_responses.models import facts_of
from trunkline_server.dialects.openai_responses.settings import encode_format, encode_settings
from trunkline_server.dialects.openai_responses.stream import ResponsesStreamDecoder, decode_response
from trunkline_server.dialects.openai_responses.tools import encode_tools
from trunkline_server.dialects.openai_responses.wire import DIALECT
from trunkline_server.dialects.options import merge_options

if TYPE_CHECKING:
    from trunkline.v1.gateway_service_pb2 import GenerateRequest
    from trunkline_server.dialects.dialect import Quirks, StreamDecoder

__all__ = ["decode_error", "decode_response", "encode_request", "stream_decoder"]

PATH = "/responses"
# What provider_options may not carry. `store` and `include` they may, see encode_request.
WRITTEN = frozenset(
    {
        "model",
        "instructions",
        "input",
        "max_output_tokens",
        "temperature",
        "top_p",
        "top_logprobs",
        "reasoning.effort",
        "reasoning.summary",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "text.format",
        "stream",
    }
)
ENCRYPTED = "reasoning.encrypted_content"
LOGPROBS = "message.output_text.logprobs"
_ENCODER = Encoder()

JsonObject = dict[str, Any]


def encode_request(request: GenerateRequest, model: str, *, stream: bool, quirks: Quirks) -> Encoded:
    """The request for `model`, its fields always in the same order.

    The request is valid: its JSON schemas are JSON, and are sent byte for byte as they stand. Where `quirks` have
    "thinking" among what is unsupported, no reasoning is asked for. Of provider_options, `store` takes the place of
    ours; `include` is joined with ours, and turns it off where it is empty. Raises InvalidRequest.
    """
    facts, notes = facts_of(model), Notes()
    if "thinking" in quirks.unsupported:
        facts = replace(facts, thinks=False, efforts=())
    stored = _stores(request)
    body: JsonObject = {"model": model}
    if request.system_instruction:
        body["instructions"] = request.system_instruction
    body["input"] = encode_input(request, facts, stored=stored, notes=notes)
    body |= encode_settings(request.config, facts, quirks, notes)
    body |= encode_tools(request, quirks, notes)
    body |= encode_format(request.response_format)
    body["store"] = stored
    if stream:
        body["stream"] = True
    merge_options(body, request, DIALECT, WRITTEN)
    include = [ENCRYPTED] if facts.thinks and not stored and body.get("include") != [] else []
    include += [LOGPROBS] if "top_logprobs" in body else []
    if include:
        body["include"] = _joined(body.get("include"), include)
    return Encoded(PATH, _ENCODER.encode(body), warnings=notes.warnings)


def stream_decoder() -> StreamDecoder:
    """A decoder for one streamed answer."""
    return ResponsesStreamDecoder()


def _stores(request: GenerateRequest) -> bool:
    """Whether the caller wants the provider to keep the answer."""
    options = request.provider_options
    store = options[DIALECT].fields.get("store") if DIALECT in options else None
    return store is not None and store.bool_value


def _joined(asked: Any, include: list[str]) -> Any:
    """What the caller asked for, and ours. What is no list is left for the provider to refuse."""
    if asked is None:
        return include
    return [*asked, *(each for each in include if each not in asked)] if isinstance(asked, list) else asked
