"""Cohere's chat API, version 2. This module is a Dialect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.json import Encoder

from trunkline_server.dialects.cohere_chat.errors import decode_error
from trunkline_server.dialects.cohere_chat.messages import DIALECT, encode_conversation
from trunkline_server.dialects.cohere_chat.settings import encode_format, encode_settings, encode_tool_settings
from trunkline_server.dialects.cohere_chat.stream import CohereStreamDecoder, decode_response
from trunkline_server.dialects.dialect import Encoded
from trunkline_server.dialects.notes import Notes
from trunkline_server.dialects.options import merge_options

if TYPE_CHECKING:
    from trunkline.v1.gateway_service_pb2 import GenerateRequest
    from trunkline_server.dialects.dialect import Quirks, StreamDecoder

__all__ = ["decode_error", "decode_response", "encode_request", "stream_decoder"]

PATH = "/v2/chat"
# What provider_options may not carry. safety_mode, citation_options and priority are for it.
WRITTEN = frozenset(
    {
        "model",
        "messages",
        "documents",
        "tools",
        "tool_choice",
        "strict_tools",
        "response_format",
        "max_tokens",
        "temperature",
        "p",
        "k",
        "presence_penalty",
        "frequency_penalty",
        "seed",
        "stop_sequences",
        "logprobs",
        "thinking",
        "stream",
    }
)
_ENCODER = Encoder()


def encode_request(request: GenerateRequest, model: str, *, stream: bool, quirks: Quirks) -> Encoded:
    """The request for `model`, its fields always in the same order.

    The request is valid: its JSON schemas are JSON, and are sent byte for byte as they stand. Raises InvalidRequest.
    """
    notes = Notes()
    body: dict[str, Any] = {"model": model} | encode_conversation(request, notes)
    body |= encode_tool_settings(request, notes)
    body |= encode_format(request.response_format, notes)
    body |= encode_settings(request.config, quirks, notes)
    if stream:
        body["stream"] = True
    merge_options(body, request, DIALECT, WRITTEN)
    return Encoded(PATH, _ENCODER.encode(body), warnings=notes.warnings)


def stream_decoder() -> StreamDecoder:
    """A decoder for one streamed answer."""
    return CohereStreamDecoder()
