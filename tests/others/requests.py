"""Every request that our tests have, encoded in every wire format: for the types of the providers' libraries."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conformance.exchanges import exchanges
from conformance.table import result_of
from google.protobuf.json_format import ParseDict

from trunkline.v1.gateway_service_pb2 import GenerateRequest
from trunkline_server.dialects.dialect import Quirks
from trunkline_server.errors import CallError
from trunkline_server.providers.table import ROWS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trunkline_server.dialects.dialect import Dialect

GOLDEN = Path(__file__).parents[1] / "golden"
# Whose library has a type for what: one that we know, and a model of it.
_ROWS = {
    "openai_chat": ("openai", "gpt-4.1-mini"),
    "mistral_chat": ("mistral", "mistral-small-latest"),
    "openai_responses": ("openai_responses", "gpt-5-mini"),
    "anthropic_messages": ("anthropic", "claude-sonnet-4-5"),
    "gemini_generate_content": ("gemini", "gemini-2.5-flash"),
    "cohere_chat": ("cohere", "command-a-03-2025"),
    "ollama_chat": ("ollama", "qwen3:4b"),
    "bedrock_converse": ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
}

Asked = dict[str, Any]


def golden() -> Iterator[Asked]:
    """What the golden cases have, each of its own model and host."""
    for path in sorted(GOLDEN.glob("*/*/encoded.json")):
        dialect = path.parents[1].name
        yield {"id": f"golden {dialect}/{path.parent.name}", "sdk": dialect, "body": json.loads(path.read_text())}


def said_otherwise() -> Iterator[Asked]:
    """What the requests of all golden cases become in each of the other wire formats, streamed."""
    for sdk, (row, model) in _ROWS.items():
        dialect: Dialect = import_module(f"trunkline_server.dialects.{ROWS[row].dialect}")
        for path in sorted(GOLDEN.glob("*/*/request.json")):
            request = ParseDict(json.loads(path.read_text()), GenerateRequest())
            # The caller's own words, which no type has.
            request.ClearField("provider_options")
            if (body := _encoded(dialect, request, model, ROWS[row].quirks)) is not None:
                yield {"id": f"{sdk} of {path.parents[1].name}/{path.parent.name}", "sdk": sdk, "body": body}


def recorded(corpus: Path) -> Iterator[Asked]:
    """Recorded requests, read into the contract and said again."""
    for exchange in exchanges(corpus):
        again = result_of(exchange).again if exchange.dialect else None
        if again is not None and again.body is not None:
            sdk = "mistral_chat" if exchange.provider == "mistral" else exchange.dialect
            yield {"id": f"recorded {exchange.id}", "sdk": sdk, "body": again.body}


def _encoded(dialect: Dialect, request: GenerateRequest, model: str, quirks: Quirks) -> Any:
    """None = it cannot be said there, which the caller would be told."""
    try:
        return json.loads(dialect.encode_request(request, model, stream=True, quirks=quirks).body)
    except CallError:
        return None
