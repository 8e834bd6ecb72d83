"""Anthropic's Messages API and the servers that copy it. This module is a Dialect."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from msgspec.json import Encoder

from trunkline_server.dialects.anthropic_messages.blocks import DIALECT
from trunkline_server.dialects.anthropic_messages.models import facts_of
from trunkline_server.dialects.anthropic_messages.notes import Notes
from trunkline_server.dialects.anthropic_messages.settings import Situation, encode_settings
from trunkline_server.dialects.anthropic_messages.stream import MessagesStreamDecoder, decode_response
from trunkline_server.dialects.anthropic_messages.tools import encode_format, encode_tools, forces_tool
from trunkline_server.dialects.anthropic_messages.turns import encode_conversation
from trunkline_server.dialects.classify import answered_error as decode_error
from trunkline_server.dialects.dialect import Encoded
from trunkline_server.dialects.options import merge_options
from trunkline_server.errors import InvalidRequest, Violation

if TYPE_CHECKING:
    from trunkline.v1.gateway_service_pb2 import GenerateRequest
    from trunkline_server.dialects.dialect import Quirks, StreamDecoder

__all__ = ["decode_error", "decode_response", "encode_request", "stream_decoder"]

PATH = "/v1/messages"
# The last version that has temperature, top_p and top_k.
VERSION = "2023-06-01"
FILES = "files-api-2025-04-14"
# What provider_options may not carry.
WRITTEN = frozenset(
    {
        "model",
        "max_tokens",
        "system",
        "messages",
        "tools",
        "tool_choice",
        "thinking.type",
        "thinking.budget_tokens",
        "thinking.display",
        "output_config.effort",
        "output_config.format",
        "temperature",
        "top_p",
        "top_k",
        "stop_sequences",
        "stream",
    }
)
_BETA = re.compile(r"[A-Za-z0-9._-]+")
_ENCODER = Encoder()

JsonObject = dict[str, Any]


def encode_request(request: GenerateRequest, model: str, *, stream: bool, quirks: Quirks) -> Encoded:
    """The request for `model`, its fields always in the same order.

    The request is valid: its JSON schemas are JSON, and are sent byte for byte as they stand. Of provider_options,
    "anthropic_beta" (a name, or a list of them) becomes a header. Raises InvalidRequest.
    """
    facts, notes = facts_of(model), Notes()
    # In the order of the prompt, which is the order of its cache breakpoints.
    tools = encode_tools(request, facts, notes)
    talk = encode_conversation(request, facts, notes)
    situation = Situation(forced_tool=forces_tool(tools), midway=talk.expects_thinking())
    settings = encode_settings(request.config, situation, facts, quirks, notes)
    output = {"effort": settings.pop("effort")} if "effort" in settings else {}
    output |= encode_format(request.response_format, talk.system, facts, notes)
    notes.limit_breakpoints()
    body: JsonObject = {"model": model} | settings
    if talk.system:
        body["system"] = talk.system
    body |= {"messages": talk.turns} | tools
    if output:
        body["output_config"] = output
    if stream:
        body["stream"] = True
    merge_options(body, request, DIALECT, WRITTEN)
    headers = _headers(body.pop("anthropic_beta", []), uses_files=_uses_files(request))
    return Encoded(PATH, _ENCODER.encode(body), headers, notes.warnings)


def stream_decoder() -> StreamDecoder:
    """A decoder for one streamed answer."""
    return MessagesStreamDecoder()


def _headers(asked: Any, *, uses_files: bool) -> dict[str, str]:
    betas = [asked] if isinstance(asked, str) else asked
    if not isinstance(betas, list) or not all(isinstance(name, str) and _BETA.fullmatch(name) for name in betas):
        raise InvalidRequest([Violation(f"provider_options.{DIALECT}.anthropic_beta", "is not a name, or several")])
    betas = list(dict.fromkeys([*betas, *([FILES] if uses_files else [])]))
    headers = {"anthropic-version": VERSION}
    return headers | {"anthropic-beta": ",".join(betas)} if betas else headers


def _uses_files(request: GenerateRequest) -> bool:
    parts = [part for message in request.messages for part in message.parts]
    parts += [inner for part in parts for inner in part.tool_result.parts]
    return any(part.media.HasField("provider_file_id") for part in parts)
