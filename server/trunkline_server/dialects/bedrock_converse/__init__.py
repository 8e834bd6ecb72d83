"""AWS Bedrock's Converse and ConverseStream. This module is a Dialect; providers/sigv4 signs what it encodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from msgspec.json import Encoder

from trunkline_server.dialects.anthropic_messages.settings import Situation
from trunkline_server.dialects.bedrock_converse.blocks import DIALECT
from trunkline_server.dialects.bedrock_converse.models import model_of
from trunkline_server.dialects.bedrock_converse.notes import Notes
from trunkline_server.dialects.bedrock_converse.settings import encode_settings
from trunkline_server.dialects.bedrock_converse.stream import ConverseStreamDecoder, decode_response
from trunkline_server.dialects.bedrock_converse.tools import encode_format, encode_tools, forces_tool
from trunkline_server.dialects.bedrock_converse.turns import encode_conversation
from trunkline_server.dialects.classify import answered_error as decode_error
from trunkline_server.dialects.dialect import Encoded
from trunkline_server.dialects.options import merge_options

if TYPE_CHECKING:
    from trunkline.v1.gateway_service_pb2 import GenerateRequest
    from trunkline_server.dialects.bedrock_converse.models import Model
    from trunkline_server.dialects.dialect import Quirks, StreamDecoder

__all__ = ["decode_error", "decode_response", "encode_request", "stream_decoder"]

EVENT_STREAM = "application/vnd.amazon.eventstream"
# What provider_options may not carry, ...
WRITTEN = frozenset(
    {
        "modelId",
        "messages",
        "system",
        "inferenceConfig.maxTokens",
        "inferenceConfig.temperature",
        "inferenceConfig.topP",
        "inferenceConfig.stopSequences",
        "toolConfig",
        "outputConfig.textFormat",
        "outputConfig.effort",
    }
)
# ... and what they may not for Claude; the settings of other vendors' models are said there.
WRITTEN_FOR_CLAUDE = frozenset({"additionalModelRequestFields.top_k", "additionalModelRequestFields.thinking"})
_ENCODER = Encoder()

JsonObject = dict[str, Any]


def encode_request(request: GenerateRequest, model: str, *, stream: bool, quirks: Quirks) -> Encoded:
    """The request for `model`, its fields always in the same order.

    The request is valid: its JSON schemas are JSON, and are sent byte for byte as they stand. Raises InvalidRequest.
    """
    facts, notes = model_of(model), Notes()
    body = _body(request, facts, quirks, notes)
    merge_options(body, request, DIALECT, WRITTEN | WRITTEN_FOR_CLAUDE if facts.claude else WRITTEN)
    path = f"/model/{quote(model, safe='')}/converse"
    if stream:
        return Encoded(f"{path}-stream", _ENCODER.encode(body), {"accept": EVENT_STREAM}, notes.warnings)
    return Encoded(path, _ENCODER.encode(body), warnings=notes.warnings)


def _body(request: GenerateRequest, model: Model, quirks: Quirks, notes: Notes) -> JsonObject:
    # In the order of the prompt, which is the order of its cachePoints.
    tools = encode_tools(request, model, notes)
    talk = encode_conversation(request, model, notes)
    situation = Situation(forced_tool=forces_tool(tools), midway=talk.expects_thinking())
    inference, output, additional = encode_settings(request.config, situation, model, quirks, notes)
    output |= encode_format(request.response_format, talk.system, model, notes)
    notes.limit_cache_points(tools.get("tools", []), talk.system, *(turn["content"] for turn in talk.turns))
    more = {
        "system": talk.system,
        "inferenceConfig": inference,
        "toolConfig": tools,
        "outputConfig": output,
        "additionalModelRequestFields": additional,
    }
    return {"messages": talk.turns} | {name: value for name, value in more.items() if value}


def stream_decoder() -> StreamDecoder:
    """A decoder for one streamed answer."""
    return ConverseStreamDecoder()
