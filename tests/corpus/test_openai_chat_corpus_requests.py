"""Every recorded request of the chat completions API, read into the contract and encoded again, means the same.

The recordings are not part of the repository.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from chat_requests import Inexpressible, as_tried, chat_row, plain, request_of, without_nulls

from trunkline_server.dialects import openai_chat

if TYPE_CHECKING:
    from trunkline_server.dialects.dialect import Quirks

CORPUS = Path(__file__).resolve().parents[2].parent / "shared" / "corpus"

pytestmark = [
    pytest.mark.corpus,
    pytest.mark.skipif(not CORPUS.is_dir(), reason="the recordings are not there: ../shared/corpus"),
]

# What the contract cannot say, by design.
INEXPRESSIBLE = {
    "fireworks-stream-multichoice-b88f58": "several answers",
    "mistral-chat-multichoice-length-03f91c": "several answers",
    "mistral-stream-multichoice-length-629d17": "several answers",
    "openai-chat-multichoice-7e7e36": "several answers",
    "openai-stream-multichoice-d302a8": "several answers",
    "openrouter-chat-multichoice-length-74dd54": "several answers",
    "mistral-chat-jsonschema-multiturn-e32bb3": "a schema's description beside it",
    "ollama-chat-reasoning-vision-toolresult-9f6eb7": "media in a tool's result",
    "vllm-chat-tools-toolresult-multiturn-fcbaf8": "a result without its call",
    "azureopenai-error-http400-vision-1b463d": "data that is damaged",
    "llamacpp-error-http400-vision-92bde6": "data that is damaged",
    "ollama-error-http400-vision-0c2102": "data that is damaged",
    "vllm-error-http400-vision-0f32e1": "data that is damaged",
}


def recordings() -> list[Any]:
    if not CORPUS.is_dir():
        return [pytest.param(Path(), id="none")]
    index = [line.split("\t") for line in (CORPUS / "INDEX.tsv").read_text().splitlines()[1:]]
    paths = [CORPUS / row[1] / f"{row[0]}.json" for row in index if row[2] in {"chat", "openai_compat"}]
    return [pytest.param(path, id=path.stem) for path in paths if _body(path)]


def _body(path: Path) -> Any:
    return json.loads(path.read_text())["request"].get("body")


def quirks_of(provider: str, body: dict[str, Any]) -> Quirks:
    """Those of the provider's row, but for what it would not take: the recorded request has tried."""
    return as_tried(chat_row(provider).quirks, body)


@pytest.mark.parametrize("path", recordings())
def test_a_request_means_the_same_again(path: Path) -> None:
    body = _body(path)
    try:
        request = request_of(body)
    except Inexpressible as reason:
        assert INEXPRESSIBLE[path.stem] == str(reason)  # noqa: PT017 - told apart from a request that can be said
        pytest.skip(f"the contract does not say: {reason}")
    stream, model = bool(body.get("stream")), body.get("model") or "m"
    encoded = openai_chat.encode_request(request, model, stream=stream, quirks=quirks_of(path.parent.name, body))
    again = json.loads(encoded.body)
    assert [warning.field for warning in encoded.warnings] == []
    assert plain(again) == plain({"model": model} | without_nulls(body))


def test_what_cannot_be_said_is_in_the_corpus() -> None:
    assert INEXPRESSIBLE.keys() <= {param.id for param in recordings()}
