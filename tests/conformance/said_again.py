"""Recorded requests read into the contract and encoded again."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

import chat_requests
import gemini_requests
from conformance.inexpressible import Inexpressible

from trunkline_server.dialects.dialect import Quirks
from trunkline_server.errors import CallError

if TYPE_CHECKING:
    from conformance.exchanges import Exchange

    from trunkline.v1.gateway_service_pb2 import GenerateRequest
    from trunkline_server.dialects.dialect import Dialect

# Of each dialect the module that reads its requests, with what it calls a request and the one form of a body.
READERS = {
    "openai_chat": ("chat_requests", "request_of", "plain"),
    "gemini_generate_content": ("gemini_requests", "request_of", "meaning_of"),
    "openai_responses": ("conformance.requests_openai_responses", "request_of", "meaning"),
    "anthropic_messages": ("conformance.requests_anthropic_messages", "request_of", "meaning"),
    "cohere_chat": ("conformance.requests_cohere_chat", "request_of", "meaning"),
    "ollama_chat": ("conformance.requests_ollama_chat", "request_of", "meaning"),
    "bedrock_converse": ("conformance.requests_bedrock_converse", "request_of", "meaning"),
}
INEXPRESSIBLE = (Inexpressible, chat_requests.Inexpressible, gemini_requests.NotExpressible)
# What a body calls the model; one API says it in the address only.
_MODEL = {"gemini_generate_content": "", "bedrock_converse": "modelId"}


@dataclass(frozen=True, slots=True)
class Again:
    """A request, said once more: `skipped` says why it cannot be, else `body` is what would be sent."""

    request: GenerateRequest | None = None
    body: Any = None
    skipped: str = ""
    # The fields that the gateway warns of.
    warned: tuple[str, ...] = ()
    # What it means otherwise than the recorded one: paths into the body.
    differs: tuple[str, ...] = ()


def say_again(exchange: Exchange, dialect: Dialect) -> Again:
    """Read the recorded request, encode it, and compare. Never raises."""
    said = exchange.request.get("body")
    if not exchange.asks_for_answer:
        return Again(skipped="the request is of another API")
    if not isinstance(said, dict):
        return Again(skipped="the recording has no request")
    module, read, mean = READERS[exchange.dialect]
    reader = import_module(module)
    try:
        request = getattr(reader, read)(_copy(said) | _model(exchange))
    except INEXPRESSIBLE as reason:
        return Again(skipped=f"the contract does not say: {reason}")
    except (KeyError, ValueError, TypeError, AttributeError, IndexError, AssertionError) as error:
        return Again(skipped=f"no reader for it: {type(error).__name__} {error}"[:200])
    try:
        return _encode(exchange, dialect, request, getattr(reader, mean))
    except Exception as error:  # noqa: BLE001 - only typed errors may leave an encoder: anything else is its fault
        return Again(request=request, skipped=f"raised {type(error).__name__}", differs=("(raised)",))


def _encode(exchange: Exchange, dialect: Dialect, request: GenerateRequest, mean: Any) -> Again:
    said = exchange.request["body"]
    try:
        encoded = dialect.encode_request(
            request, exchange.model, stream=exchange.asks_for_stream, quirks=quirks_of(exchange)
        )
    except CallError as error:
        # What the reader found no word for is not for provider_options either: that is the reader's doing.
        is_readers = all(violation.field.startswith("provider_options") for violation in error.violations)
        why = f"{'no reader for it' if is_readers else 'refused'}: {error}"[:200]
        return Again(request=request, skipped=why, differs=() if is_readers else ("(refused)",))
    body = json.loads(encoded.body)
    paths = tuple(differences(mean(_without_nulls(body)), mean(_model(exchange) | _without_nulls(said))))
    return Again(request=request, body=body, warned=tuple(w.field for w in encoded.warnings), differs=paths)


def quirks_of(exchange: Exchange) -> Quirks:
    """Those of the provider's row, but for what it would not take: the recorded request has tried."""
    if exchange.dialect != "openai_chat":
        return Quirks(max_stop_sequences=5)
    quirks = chat_requests.as_tried(chat_requests.chat_row(exchange.provider).quirks, exchange.request["body"])
    return replace(quirks, reasoning_field=quirks.reasoning_field or _reasoning_field(exchange))


def _reasoning_field(exchange: Exchange) -> Literal["", "reasoning_content", "reasoning"]:
    """Where the request sends back what the model thought."""
    names = {name for message in exchange.request["body"].get("messages", ()) for name in message}
    if "reasoning_content" in names:
        return "reasoning_content"
    return "reasoning" if "reasoning" in names else ""


def differences(one: Any, other: Any, path: str = "") -> list[str]:
    """Where two JSON values differ. Numbers are equal whatever their type; no values are told, only places."""
    if isinstance(one, dict) and isinstance(other, dict):
        found = [path + "." + key for key in sorted(one.keys() ^ other.keys())]
        for key in sorted(one.keys() & other.keys()):
            found += differences(one[key], other[key], f"{path}.{key}")
        return found
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [
            each for i, pair in enumerate(zip(one, other, strict=True)) for each in differences(*pair, f"{path}[{i}]")
        ]
    return [] if one == other else [path or "."]


def _model(exchange: Exchange) -> dict[str, str]:
    name = _MODEL.get(exchange.dialect, "model")
    return {name: exchange.model} if name else {}


def _copy(body: Any) -> Any:
    return json.loads(json.dumps(body))


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value
