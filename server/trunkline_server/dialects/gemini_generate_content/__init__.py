"""Gemini's generateContent API, of Google AI Studio and of Vertex AI. This module is a Dialect."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from msgspec.json import Encoder

from trunkline_server.dialects.classify import answered_error as decode_error
from trunkline_server.dialects.dialect import Encoded
from trunkline_server.dialects.gemini_generate_content.contents import Conversation
from trunkline_server.dialects.gemini_generate_content.models import thinking_config
from trunkline_server.dialects.gemini_generate_content.parts import DIALECT
from trunkline_server.dialects.gemini_generate_content.stream import GeminiStreamDecoder, decode_response
from trunkline_server.dialects.gemini_generate_content.tools import encode_tools, response_format
from trunkline_server.dialects.notes import Notes
from trunkline_server.dialects.options import merge_options
from trunkline_server.errors import InvalidRequest, Violation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trunkline.v1.gateway_service_pb2 import GenerateRequest, GenerationConfig
    from trunkline_server.dialects.dialect import Quirks, StreamDecoder

__all__ = ["decode_error", "decode_response", "encode_request", "stream_decoder"]

# Settings that are said by one number, and their names in the API.
NUMBERS: tuple[
    tuple[Literal["max_output_tokens", "temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty"], str],
    ...,
] = (
    ("max_output_tokens", "maxOutputTokens"),
    ("temperature", "temperature"),
    ("top_p", "topP"),
    ("top_k", "topK"),
    ("presence_penalty", "presencePenalty"),
    ("frequency_penalty", "frequencyPenalty"),
)
# What is written here, and candidateCount: one answer is asked for. The API knows every name in snake case, too.
_CAMEL = (
    "model",
    "contents",
    "systemInstruction",
    "tools",
    "toolConfig.functionCallingConfig",
    "generationConfig.candidateCount",
    "generationConfig.frequencyPenalty",
    "generationConfig.logprobs",
    "generationConfig.maxOutputTokens",
    "generationConfig.presencePenalty",
    "generationConfig.responseJsonSchema",
    "generationConfig.responseLogprobs",
    "generationConfig.responseMimeType",
    "generationConfig.responseSchema",
    "generationConfig.seed",
    "generationConfig.stopSequences",
    "generationConfig.temperature",
    "generationConfig.thinkingConfig",
    "generationConfig.topK",
    "generationConfig.topP",
)
_SNAKE = re.compile(r"(?<=[a-z])([A-Z])")
_MAX_SEED = (1 << 31) - 1
_ENCODER = Encoder()

JsonObject = dict[str, Any]


def encode_request(request: GenerateRequest, model: str, *, stream: bool, quirks: Quirks) -> Encoded:
    """The request for `model`, its fields always in the same order.

    An id with a slash is a resource's name and stands as it is: tunedModels/ID. JSON schemas are sent byte for byte.
    Raises InvalidRequest: for a model id that is no name, for JSON that is none, for provider_options that say again
    what is said here.
    """
    notes = Notes()
    conversation = Conversation(model, notes)
    conversation.add(request.messages)
    body: JsonObject = {"contents": conversation.contents}
    instruction = [{"text": request.system_instruction}] if request.system_instruction else []
    if instruction or conversation.system:
        body["systemInstruction"] = {"parts": instruction + conversation.system}
    body |= encode_tools(request, notes)
    config = _settings(request.config, model, quirks, notes) | response_format(request.response_format, notes)
    if config:
        body["generationConfig"] = config
    merge_options(body, request, DIALECT, WRITTEN)
    return Encoded(_path(model, stream=stream), _ENCODER.encode(body), warnings=notes.warnings)


def stream_decoder() -> StreamDecoder:
    """A decoder for one streamed answer."""
    return GeminiStreamDecoder()


def _written() -> Iterator[str]:
    for name in _CAMEL:
        outer, dot, inner = name.partition(".")
        yield from (name, f"{outer}{dot}{_snake(inner)}", _snake(outer))


def _snake(name: str) -> str:
    return _SNAKE.sub(r"_\1", name).lower()


WRITTEN = frozenset(_written())


def _path(model: str, *, stream: bool) -> str:
    name = model if "/" in model else f"models/{model}"
    if not {"", ".", ".."}.isdisjoint(name.split("/")):
        raise InvalidRequest(
            [Violation("model", "is no model's name: send an id, or a resource such as tunedModels/ID")]
        )
    method = "streamGenerateContent?alt=sse" if stream else "generateContent"
    return f"/{quote(name, safe='/@')}:{method}"


def _settings(config: GenerationConfig, model: str, quirks: Quirks, notes: Notes) -> JsonObject:
    said: JsonObject = {}
    for name, fields in _said(config, model, quirks, notes):
        if name in quirks.unsupported:
            notes.dropped(f"config.{name}", f"the provider does not know {name}: unset it, or choose another one")
        else:
            said |= fields
    return said


def _said(config: GenerationConfig, model: str, quirks: Quirks, notes: Notes) -> Iterator[tuple[str, JsonObject]]:
    """Each setting of the request: its name in the contract, and what says it in the API."""
    for name, key in NUMBERS:
        if config.HasField(name):
            yield name, {key: getattr(config, name)}
    if config.HasField("seed"):
        yield "seed", {"seed": _seed(config.seed, quirks, notes)}
    if config.stop_sequences:
        yield "stop_sequences", {"stopSequences": _stop_sequences(config, quirks, notes)}
    if config.HasField("top_logprobs"):
        likeliest = {"logprobs": config.top_logprobs} if config.top_logprobs else {}
        yield "top_logprobs", {"responseLogprobs": True, **likeliest}
    if "thinking" in quirks.unsupported and config.HasField("thinking"):
        yield "thinking", {}
    elif thinking := thinking_config(config.thinking, model, notes):
        yield "thinking", {"thinkingConfig": thinking}


def _seed(seed: int, quirks: Quirks, notes: Notes) -> int:
    if seed > _MAX_SEED and "seed" not in quirks.unsupported:
        notes.changed("config.seed", f"the provider takes at most {_MAX_SEED}: its lowest 31 bits are sent")
    return seed & _MAX_SEED


def _stop_sequences(config: GenerationConfig, quirks: Quirks, notes: Notes) -> list[str]:
    count, most = len(config.stop_sequences), quirks.max_stop_sequences
    if count > most and "stop_sequences" not in quirks.unsupported:
        what = f"the provider takes {most} stop sequences: the first {most} of {count} are sent"
        notes.changed("config.stop_sequences", what)
    return [*config.stop_sequences[:most]]
