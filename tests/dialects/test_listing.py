"""Lists of models, as the providers document them: what is read of each entry, and what is left alone."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import DecodeError, json

from trunkline.v1.model_pb2 import (
    CAPABILITY_JSON_MODE,
    CAPABILITY_JSON_SCHEMA,
    CAPABILITY_LOGPROBS,
    CAPABILITY_REASONING,
    CAPABILITY_TOOLS,
    CAPABILITY_VISION,
)
from trunkline_server.dialects.anthropic_messages import listing as anthropic
from trunkline_server.dialects.cohere_chat import listing as cohere
from trunkline_server.dialects.gemini_generate_content import listing as gemini
from trunkline_server.dialects.ollama_chat import listing as ollama
from trunkline_server.dialects.openai_chat import listing as openai
from trunkline_server.listed import Listed

if TYPE_CHECKING:
    from trunkline_server.dialects.dialect import ModelList

ALL: dict[str, ModelList] = {
    "openai": openai,
    "anthropic": anthropic,
    "gemini": gemini,
    "cohere": cohere,
    "ollama": ollama,
}


def only(how: ModelList, body: object) -> Listed:
    (listed,) = how.decode_list(json.encode(body)).models
    return listed


# One entry of each host of the chat API, and what it tells.
HOSTS: dict[str, tuple[dict[str, Any], Listed]] = {
    "openai": (
        {"id": "gpt-4o", "object": "model", "created": 1715367049, "owned_by": "system"},
        Listed("gpt-4o"),
    ),
    "openrouter": (
        {
            "id": "google/gemini-2.5-pro",
            "context_length": 1048576,
            "architecture": {"input_modalities": ["image", "text"], "output_modalities": ["text"]},
            "supported_parameters": ["tools", "structured_outputs", "max_tokens", "reasoning"],
        },
        Listed(
            "google/gemini-2.5-pro",
            context_window=1048576,
            can=frozenset({CAPABILITY_TOOLS, CAPABILITY_JSON_SCHEMA, CAPABILITY_REASONING, CAPABILITY_VISION}),
            cannot=frozenset({CAPABILITY_JSON_MODE, CAPABILITY_LOGPROBS}),
        ),
    ),
    "openrouter's image models": (
        {"id": "x/painter", "architecture": {"output_modalities": ["image"]}},
        Listed("x/painter", generates=False),
    ),
    "groq": ({"id": "llama-3.3-70b", "active": True, "context_window": 131072}, Listed("llama-3.3-70b", (), 131072)),
    "mistral": (
        {
            "id": "mistral-small-2506",
            "type": "base",
            "capabilities": {"completion_chat": True, "function_calling": True, "vision": False},
            "max_context_length": 131072,
            "aliases": ["mistral-small-latest", 7, ""],
        },
        Listed(
            "mistral-small-2506",
            ("mistral-small-latest",),
            131072,
            frozenset({CAPABILITY_TOOLS}),
            frozenset({CAPABILITY_VISION}),
        ),
    ),
    "mistral's other models": (
        {"id": "codestral-x", "type": "base", "capabilities": {"completion_chat": False}},
        Listed("codestral-x", generates=False),
    ),
    "together": ({"id": "a/b", "type": "chat", "context_length": 0}, Listed("a/b")),
    "together's embeddings": ({"id": "a/b", "type": "embedding"}, Listed("a/b", generates=False)),
    "vllm": ({"id": "Qwen/Qwen3-8B", "max_model_len": 40960}, Listed("Qwen/Qwen3-8B", context_window=40960)),
    "fireworks": (
        {
            "id": "accounts/fireworks/models/x",
            "supports_chat": True,
            "supports_tools": False,
            "supports_image_input": True,
            "context_length": 8192.0,
        },
        Listed(
            "accounts/fireworks/models/x",
            (),
            8192,
            frozenset({CAPABILITY_VISION}),
            frozenset({CAPABILITY_TOOLS}),
        ),
    ),
    "another who says nothing that we know": (
        {"id": "m", "type": ["chat"], "aliases": "m", "context_length": "much", "capabilities": ["chat"]},
        Listed("m"),
    ),
}


@pytest.mark.parametrize(("entry", "listed"), HOSTS.values(), ids=HOSTS)
def test_hosts_of_the_chat_api(entry: dict[str, Any], listed: Listed) -> None:
    assert only(openai, {"object": "list", "data": [entry]}) == listed
    assert only(openai, [entry]) == listed, "Together sends it bare"


@pytest.mark.parametrize(
    "id_",
    [
        "text-embedding-3-small",
        "whisper-1",
        "tts-1-hd",
        "gpt-4o-mini-tts",
        "dall-e-3",
        "gpt-image-1",
        "omni-moderation-latest",
        "gpt-4o-realtime-preview",
        "gpt-4o-transcribe",
        "sora-2",
        "babbage-002",
        "nomic-embed-text",
        "BAAI/bge-m3",
    ],
)
def test_what_does_not_answer_with_text_is_known_by_its_id_where_the_list_does_not_say(id_: str) -> None:
    assert not only(openai, {"data": [{"id": id_}]}).generates


@pytest.mark.parametrize("id_", ["gpt-4o", "o3", "chatgpt-4o-latest", "llama-guard-4", "imagine-7b", "gpt-oss:20b"])
def test_what_answers_with_text_is_not_taken_for_something_else(id_: str) -> None:
    assert only(openai, {"data": [{"id": id_}]}).generates


def test_what_is_switched_off_or_put_away_is_not_there() -> None:
    assert not openai.decode_list(b'{"data": [{"id": "a", "active": false}, {"id": "b", "archived": true}]}').models


def test_anthropic_page_by_page() -> None:
    body = {
        "data": [
            {"type": "model", "id": "claude-sonnet-4-5-20250929", "display_name": "Claude Sonnet 4.5"},
            {
                "type": "model",
                "id": "claude-x",
                "max_input_tokens": 200000,
                "capabilities": {
                    "image_input": {"supported": True},
                    "thinking": {"supported": False, "types": {}},
                    "batch": {"supported": True},
                },
            },
        ],
        "has_more": True,
        "first_id": "claude-sonnet-4-5-20250929",
        "last_id": "claude-x",
    }
    page = anthropic.decode_list(json.encode(body))
    told = Listed("claude-x", (), 200000, frozenset({CAPABILITY_VISION}), frozenset({CAPABILITY_REASONING}))
    assert page.models == [Listed("claude-sonnet-4-5-20250929"), told]
    assert anthropic.list_path("") == "/v1/models?limit=1000"
    assert anthropic.list_path(page.token) == "/v1/models?limit=1000&after_id=claude-x"
    assert anthropic.decode_list(json.encode(body | {"has_more": False})).token == ""


def test_gemini_page_by_page() -> None:
    body = {
        "models": [
            {
                "name": "models/gemini-2.5-flash",
                "inputTokenLimit": 1048576,
                "outputTokenLimit": 65536,
                "supportedGenerationMethods": ["generateContent", "countTokens"],
                "thinking": True,
            },
            {"name": "models/gemini-embedding-001", "supportedGenerationMethods": ["embedContent"]},
            {"name": "models/gemini-2.5-flash-image", "supportedGenerationMethods": ["generateContent"]},
        ],
        "nextPageToken": "a/b=",
    }
    page = gemini.decode_list(json.encode(body))
    assert page.models[0] == Listed("gemini-2.5-flash", (), 1114112, frozenset({CAPABILITY_REASONING}))
    assert [model.generates for model in page.models] == [True, False, False]
    assert gemini.list_path(page.token) == "/models?pageSize=1000&pageToken=a%2Fb%3D"


def test_cohere_page_by_page() -> None:
    body = {
        "models": [
            {
                "name": "command-a-03-2025",
                "endpoints": ["chat", "generate"],
                "context_length": 288000.0,
                "features": ["json_mode", "tools", "strict_tools"],
            },
            {"name": "embed-v4.0", "endpoints": ["embed"], "features": None},
        ],
        "next_page_token": "t",
    }
    page = cohere.decode_list(json.encode(body))
    can = frozenset({CAPABILITY_JSON_MODE, CAPABILITY_TOOLS})
    assert page.models == [Listed("command-a-03-2025", (), 288000, can), Listed("embed-v4.0", generates=False)]
    assert cohere.list_path(page.token) == "/v1/models?page_size=1000&page_token=t"


def test_ollama_has_what_is_pulled() -> None:
    body = {
        "models": [
            {"name": "llama3.2:latest", "model": "llama3.2:latest", "details": {"family": "llama"}},
            {"name": "all-minilm:latest", "details": {"family": "bert"}},
            {"name": "qwen3:4b", "details": None, "capabilities": ["completion", "tools", "thinking"]},
            {"name": "x", "capabilities": ["embedding"]},
        ]
    }
    can = frozenset({CAPABILITY_TOOLS, CAPABILITY_REASONING})
    assert ollama.decode_list(json.encode(body)).models == [
        Listed("llama3.2:latest", ("llama3.2",)),
        Listed("all-minilm:latest", ("all-minilm",), generates=False),
        Listed("qwen3:4b", (), None, can, frozenset({CAPABILITY_VISION})),
        Listed("x", (), None, frozenset(), frozenset(can | {CAPABILITY_VISION}), generates=False),
    ]
    assert not ollama.decode_list(b'{"models": null}').models


KEYS = {"openai": ("data", "id"), "anthropic": ("data", "id")}


@pytest.mark.parametrize("name", ALL)
def test_entries_that_are_not_understood_do_not_spoil_the_list(name: str) -> None:
    listed, id_ = KEYS.get(name, ("models", "name"))
    odd = [7, None, {}, {id_: 7}, {id_: ""}, {id_: " a"}, {id_: "a\n"}, {id_: "x" * 300}, {id_: "good", "more": [{}]}]
    assert only(ALL[name], {listed: odd}).id == "good"


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("body", [b"", b"<html>", b"7", b'{"data": 7, "models": 7}'])
def test_what_is_no_list_is_an_error(name: str, body: bytes) -> None:
    with pytest.raises(DecodeError):
        ALL[name].decode_list(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ["id", "name", "aliases", "type", "capabilities", "architecture", "context_length", "inputTokenLimit"]
FIELDS += ["supported_parameters", "supportedGenerationMethods", "features", "endpoints", "details", "max_input_tokens"]
ENTRIES = st.lists(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=6), max_size=3)


@pytest.mark.parametrize("name", ALL)
@given(entries=ENTRIES | JSON, token=JSON)
def test_any_list_is_read_or_refused(name: str, entries: Any, token: Any) -> None:
    body = {"data": entries, "models": entries, "nextPageToken": token, "next_page_token": token, "last_id": token}
    with suppress(DecodeError):
        page = ALL[name].decode_list(json.encode(body | {"has_more": True}))
        assert isinstance(page.token, str)
        for listed in page.models:
            assert listed.id.isprintable()
            assert listed.context_window is None or 0 < listed.context_window < 1 << 63
            assert not listed.can & listed.cannot
