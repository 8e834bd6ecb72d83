"""Recorded exchanges: one JSON file each, in a folder of each provider's."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from trunkline_server.providers.by_model import dialects_of
from trunkline_server.providers.table import ROWS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DIALECTS = {
    "chat": "openai_chat",
    "openai_compat": "openai_chat",
    "responses": "openai_responses",
    "messages": "anthropic_messages",
    "gemini": "gemini_generate_content",
    "vertex": "gemini_generate_content",
    "cohere2": "cohere_chat",
    "ollama": "ollama_chat",
    "converse": "bedrock_converse",
}
_ANY_SERVER = {"openai_chat": "openai_compatible", "openai_responses": "openai_responses"}
_MODEL_IN_URL = {
    "gemini_generate_content": re.compile(r"/(?:models|tunedModels)/([^:?]+):"),
    "bedrock_converse": re.compile(r"/model/([^?]+)/converse"),
}


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request, as far as it was recorded, and what came back."""

    id: str
    provider: str
    api: str
    kind: str
    features: frozenset[str]
    request: dict[str, Any]
    response: dict[str, Any]
    listed_model: str

    @property
    def dialect(self) -> str:
        """The dialect's name. Empty = the answer is of an API that the gateway does not speak.

        Errors of such an API are read as the provider's own.
        """
        row = ROWS.get(self.provider)
        return DIALECTS.get(self.api) or (row.dialect if row and self.failed else "")

    @property
    def row(self) -> str:
        """The kind of provider that it proves something of: who is asked in this API.

        What a provider answers in an API in which we do not ask it is of the kind for any server that has that API.
        """
        if self.api == "vertex":
            return "vertex"
        row = ROWS.get(self.provider)
        if row is None or not self.asks_for_answer or self.dialect in dialects_of(row):
            return self.provider
        return _ANY_SERVER.get(self.dialect, self.provider)

    @property
    def asks_for_answer(self) -> bool:
        """Whether the request is of an API that the gateway speaks."""
        return self.api in DIALECTS

    @property
    def failed(self) -> bool:
        """Whether the answer has an error status."""
        return int(self.response["status"]) >= 300

    @property
    def model(self) -> str:
        """Which model was asked, where the dialect's requests say it."""
        found = (pattern := _MODEL_IN_URL.get(self.dialect)) and pattern.search(self.request.get("url") or "")
        named = (self.request.get("body") or {}).get("model") if isinstance(self.request.get("body"), dict) else None
        return unquote(found[1]) if found else named or self.listed_model or "m"

    @property
    def asks_for_stream(self) -> bool:
        """Whether a stream was asked for, in whatever way the API has."""
        url, body = self.request.get("url") or "", self.request["body"]
        if self.dialect in _MODEL_IN_URL:
            return ":streamGenerateContent" in url or "/converse-stream" in url
        return bool(body.get("stream", self.dialect == "ollama_chat"))

    def answer(self) -> bytes:
        """The answer's bytes; of one that was recorded parsed, bytes that mean the same."""
        body = self.response["body"]
        match self.response["body_encoding"]:
            case "text":
                return str(body).encode()
            case "base64":
                return b64decode(body)
        return json.dumps(body).encode()

    def reads(self) -> list[bytes]:
        """The answer as the recorder read it. Whole where that is not known."""
        rest, pieces = self.answer(), []
        for length in self.response.get("read_lengths") or []:
            pieces.append(rest[:length])
            rest = rest[length:]
        return [piece for piece in [*pieces, rest] if piece]


class NotAnExchange(Exception):
    """A file is not of the corpus's schema: which, and why."""


def exchanges(folder: Path) -> Iterator[Exchange]:
    """Every exchange in the folder, by the names of their files. Raises NotAnExchange."""
    for path in sorted(folder.glob("*/*.json")):
        try:
            yield _exchange(json.loads(path.read_text()))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise NotAnExchange(f"{path.parent.name}/{path.name}: {type(error).__name__} {error}") from None


def _exchange(said: Any) -> Exchange:
    return Exchange(
        id=said["id"],
        provider=said["provider"],
        api=said["api"],
        kind=said["kind"],
        features=frozenset(said.get("features") or ()),
        request=said.get("request") or {},
        response=said["response"],
        listed_model=said.get("model") or "",
    )
