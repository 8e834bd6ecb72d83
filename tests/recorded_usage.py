"""Recorded requests in the contract's words, with what their providers counted of them.

The recordings are not part of the repository.
"""

from __future__ import annotations

import base64
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import chat_requests
import gemini_requests
from conformance import (
    requests_anthropic_messages,
    requests_bedrock_converse,
    requests_cohere_chat,
    requests_ollama_chat,
    requests_openai_responses,
)
from conformance.inexpressible import Inexpressible
from decoding import decoded

from trunkline_server.dialects import (
    anthropic_messages,
    bedrock_converse,
    cohere_chat,
    gemini_generate_content,
    ollama_chat,
    openai_chat,
    openai_responses,
)
from trunkline_server.errors import UpstreamError
from trunkline_server.fold import fold

if TYPE_CHECKING:
    from trunkline.v1.call_pb2 import Usage
    from trunkline.v1.gateway_service_pb2 import GenerateRequest, StreamGenerateResponse

CORPUS = Path(__file__).resolve().parents[1].parent / "shared" / "corpus"
# By API of the recording: who reads requests, and whose words answers are in.
_APIS: dict[str, tuple[Any, Any]] = {
    "chat": (chat_requests.request_of, openai_chat),
    "openai_compat": (chat_requests.request_of, openai_chat),
    "responses": (requests_openai_responses.request_of, openai_responses),
    "messages": (requests_anthropic_messages.request_of, anthropic_messages),
    "converse": (requests_bedrock_converse.request_of, bedrock_converse),
    "cohere2": (requests_cohere_chat.request_of, cohere_chat),
    "ollama": (requests_ollama_chat.request_of, ollama_chat),
    "gemini": (gemini_requests.request_of, gemini_generate_content),
    "vertex": (gemini_requests.request_of, gemini_generate_content),
}


# What a model's id says of whose line it is, the first that fits.
_FAMILIES = {
    "gpt-oss": "gpt-oss",
    "claude": "claude",
    "gemini": "gemini",
    "grok": "grok",
    "stral": "mistral",
    "deepseek": "deepseek",
    "qwen": "qwen",
    "llama": "llama",
    "command": "command",
    "nova": "nova",
    "gpt": "gpt",
    "o1": "gpt",
    "codex": "gpt",
}


class Recorded(NamedTuple):
    """A request, and what its provider counted."""

    id: str
    provider: str
    model: str
    features: frozenset[str]
    request: GenerateRequest
    usage: Usage

    @property
    def family(self) -> str:
        """As Model.family. Empty = another."""
        return next((family for name, family in _FAMILIES.items() if name in self.model.lower()), "")


@cache
def recorded() -> tuple[Recorded, ...]:
    """Every recording whose request can be said and whose answer tells its input tokens."""
    if not CORPUS.is_dir():
        return ()
    rows = [line.split("\t") for line in (CORPUS / "INDEX.tsv").read_text().splitlines()[1:]]
    found = (_recorded(*row[:7]) for row in rows if row[2] in _APIS and row[3] in {"chat", "stream"})
    return tuple(each for each in found if each is not None)


def _recorded(id_: str, provider: str, api: str, kind: str, _: str, model: str, features: str) -> Recorded | None:
    exchange = json.loads((CORPUS / provider / f"{id_}.json").read_text())
    read, dialect = _APIS[api]
    body, response = exchange["request"].get("body"), exchange["response"]
    if body is None:
        return None
    try:
        request = read(body)
    except (chat_requests.Inexpressible, Inexpressible, gemini_requests.NotExpressible):
        return None
    usage = _usage(dialect, response, stream=kind == "stream")
    if usage is None or not usage.HasField("input_tokens"):
        return None
    return Recorded(id_, provider, model, frozenset(features.split(",")), request, usage)


def _usage(dialect: Any, response: Any, *, stream: bool) -> Usage | None:
    body = response["body"]
    if response["body_encoding"] == "base64":
        data = base64.b64decode(body)
    else:
        data = (body if response["body_encoding"] == "text" else json.dumps(body)).encode()
    try:
        events = _streamed(dialect, data) if stream else dialect.decode_response(data)
    except UpstreamError:
        return None
    answer = fold(events)
    return answer.usage if answer.HasField("usage") else None


def _streamed(dialect: Any, data: bytes) -> list[StreamGenerateResponse]:
    events, error = decoded(dialect.stream_decoder(), [data])
    if error is not None:
        raise error
    return events
