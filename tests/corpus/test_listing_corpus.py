"""Recorded lists of models, against a naive reading of the same bytes.

The recordings are not part of the repository.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trunkline_server.dialects.anthropic_messages import listing as anthropic
from trunkline_server.dialects.dialect import ModelList
from trunkline_server.dialects.ollama_chat import listing as ollama
from trunkline_server.dialects.openai_chat import listing as openai

CORPUS = Path(__file__).resolve().parents[2].parent / "shared" / "corpus"

pytestmark = [
    pytest.mark.corpus,
    pytest.mark.skipif(not CORPUS.is_dir(), reason="the recordings are not there: ../shared/corpus"),
]

# Which dialect lists so, what the list and the ids are called, and what in them answers with no text.
LISTS: dict[str, tuple[ModelList, str, str, set[str]]] = {
    "anthropic": (anthropic, "data", "id", set()),
    "mistral": (openai, "data", "id", {"embed", "moderation", "ocr"}),
    "ollama": (ollama, "models", "name", {"minilm"}),
}


@pytest.mark.parametrize("provider", LISTS)
def test_a_recorded_list(provider: str) -> None:
    how, listed, id_, others = LISTS[provider]
    (path,) = (CORPUS / provider).glob(f"{provider}-models-*.json")
    body = json.loads(path.read_text())["response"]["body"]
    ids = [entry[id_] for entry in body[listed]]
    models = how.decode_list(json.dumps(body).encode()).models
    assert [model.id for model in models] == ids
    told = {model.id: model.generates for model in models}
    naive = {name: not any(word in name for word in others) for name in ids}
    # Of some, only the list itself says that they do not chat.
    assert {name for name in told if told[name] and not naive[name]} == set()
    assert sum(told.values()) >= len(ids) // 2
