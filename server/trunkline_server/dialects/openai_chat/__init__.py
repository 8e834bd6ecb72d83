"""The chat completions API of OpenAI and of the many hosts that copy it. This module is a Dialect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from msgspec.json import Encoder

from trunkline_server.dialects.classify import answered_error as decode_error
from trunkline_server.dialects.dialect import Encoded
from trunkline_server.dialects.openai_chat.messages import DIALECT, encode_messages
from trunkline_server.dialects.openai_chat.notes import Notes
from trunkline_server.dialects.openai_chat.settings import encode_format, encode_settings
from trunkline_server.dialects.openai_chat.stream import ChatStreamDecoder, decode_response
from trunkline_server.dialects.openai_chat.tools import encode_tools
from trunkline_server.dialects.options import merge_options

if TYPE_CHECKING:
    from trunkline.v1.gateway_service_pb2 import GenerateRequest
    from trunkline_server.dialects.dialect import Quirks, StreamDecoder

__all__ = ["decode_error", "decode_response", "encode_request", "stream_decoder"]

# What provider_options may not carry, at whatever host.
WRITTEN = frozenset(
    {
        "model",
        "messages",
        "max_completion_tokens",
        "max_tokens",
        "temperature",
        "top_p",
        "top_k",
        "presence_penalty",
        "frequency_penalty",
        "seed",
        "random_seed",
        "stop",
        "logprobs",
        "top_logprobs",
        # Only the first answer is passed on; the others would be paid for.
        "n",
        "reasoning_effort",
        "reasoning.effort",
        "reasoning.max_tokens",
        "reasoning.exclude",
        "thinking.type",
        "enable_thinking",
        "thinking_budget",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "stream",
        "stream_options.include_usage",
    }
)
_ENCODER = Encoder()


def encode_request(request: GenerateRequest, model: str, *, stream: bool, quirks: Quirks) -> Encoded:
    """The request for `model`, its fields always in the same order.

    The request is valid: its JSON schemas are JSON, and are sent byte for byte as they stand. Raises InvalidRequest
    where provider_options say what is written here.
    """
    notes = Notes(quirks, model)
    messages = [*encode_messages(request, notes)]
    body: dict[str, Any] = {"model": _model_id(model, quirks), "messages": messages}
    body |= encode_settings(request, notes)
    body |= encode_tools(request, notes)
    body |= encode_format(request.response_format, messages, notes)
    if stream:
        body["stream"] = True
        if quirks.stream_options:
            body["stream_options"] = {"include_usage": True}
    merge_options(body, request, DIALECT, WRITTEN)
    return Encoded(_path(model, quirks), _ENCODER.encode(body), warnings=notes.warnings)


def stream_decoder() -> StreamDecoder:
    """A decoder for one streamed answer."""
    return ChatStreamDecoder()


def _model_id(model: str, quirks: Quirks) -> str:
    return model if "/" in model else quirks.model_prefix + model


def _path(model: str, quirks: Quirks) -> str:
    path = quirks.path.replace("{model}", quote(model, safe=""))
    return f"{path}?api-version={quote(quirks.api_version)}" if quirks.api_version else path
