"""Each row of openai_chat through the real HTTP module: who it says it is, and what it sends."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import make
import pytest
from credentials import sent_by
from google.protobuf.json_format import ParseDict
from msgspec import structs
from upstreams import Request, answer, hold, upstream

from trunkline.v1.call_pb2 import Target
from trunkline.v1.gateway_service_pb2 import GenerateRequest
from trunkline_server.dialects import openai_chat
from trunkline_server.fold import fold
from trunkline_server.providers.defaults import with_defaults
from trunkline_server.providers.http import HttpClient
from trunkline_server.providers.table import ROWS, Row, configured
from trunkline_server.providers.upstream import Endpoint, build_upstream
from trunkline_server.settings import ProviderSettings, Secret

if TYPE_CHECKING:
    from trunkline.v1.gateway_service_pb2 import GenerateResponse

HOSTS = [row for row in ROWS.values() if row.dialect == "openai_chat"]
EACH = pytest.mark.parametrize("row", HOSTS, ids=lambda row: row.name)
ANSWER = answer(
    b'{"id":"c1","choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}]}', content_type="application/json"
)
SETTINGS: dict[str, Any] = {
    "max_output_tokens": 64,
    "temperature": 1.9,
    "top_k": 5,
    "seed": 7,
    "presence_penalty": 0.5,
    "stop_sequences": ["a", "b", "c", "d", "e", "f"],
}


async def ask(
    row: Row, model: str, config: dict[str, Any], *, stream: bool = False, **settings: Any
) -> tuple[Request, GenerateResponse]:
    """What the row sends for a question, and the answer."""
    provider = ProviderSettings(kind=row.name, api_key=Secret("key-1"), **settings)
    client = HttpClient(max_connections=1, connect_timeout=5)
    request = ParseDict({"messages": [{"role": "ROLE_USER", "parts": [{"text": "Hello"}]}]}, GenerateRequest())
    ParseDict(config, request.config)
    try:
        async with upstream([ANSWER]) as server:
            endpoint = Endpoint(server.base_url, sent_by(row, provider), configured(row, provider).quirks)
            handler = with_defaults(build_upstream(endpoint, openai_chat, client), row.defaults)
            call = structs.replace(make.call(request, streaming=stream), target=Target(provider=row.name, model=model))
            async with aclosing(handler(call)) as events:
                response = fold([event async for event in events])
            return server.requests[0], response
    finally:
        await client.aclose()


@EACH
async def test_as_whom_it_asks(row: Row) -> None:
    request, response = await ask(row, row.default_model or "m", {})
    assert response.message.parts[0].text == "Hi"
    assert request.head.startswith(b"POST ")
    credentials = {name: request.headers.get(name) for name in ("authorization", "api-key")}
    if row.auth == "bearer":
        assert credentials == {"authorization": "Bearer key-1", "api-key": None}
    else:
        assert credentials == {"authorization": None, "api-key": "key-1"}


@EACH
async def test_what_it_sends(row: Row) -> None:
    """Each setting as the vendor has it, or a warning. Of a model that does not think, for then DeepSeek heeds them."""
    off = {"thinking": {"effort": "EFFORT_NONE"}} if row.quirks.thinking == "deepseek" else {}
    request, response = await ask(row, "m", SETTINGS | off)
    body, quirks = json.loads(request.body), row.quirks
    warned = {warning.field for warning in response.warnings}
    assert body["model"] == quirks.model_prefix + "m"
    assert body["messages"] == [{"role": "user", "content": "Hello"}]
    assert body[quirks.max_tokens_field] == 64
    assert body["stop"] == SETTINGS["stop_sequences"][: quirks.max_stop_sequences]
    assert ("config.stop_sequences" in warned) == (quirks.max_stop_sequences < 6)
    assert body["temperature"] == min(1.9, quirks.highest.get("temperature", 2.0))
    assert ("config.temperature" in warned) == ("temperature" in quirks.highest)
    for name, sent in (("top_k", "top_k"), ("seed", quirks.seed_field), ("presence_penalty", "presence_penalty")):
        assert body.get(sent) == (None if name in quirks.unsupported else SETTINGS[name])
        assert (f"config.{name}" in warned) == (name in quirks.unsupported)


@EACH
async def test_a_stream_asks_for_usage_where_it_has_to(row: Row) -> None:
    request, _ = await ask(row, "m", {}, stream=True)
    body = json.loads(request.body)
    assert body["stream"] is True
    assert body.get("stream_options") == ({"include_usage": True} if row.quirks.stream_options else None)


async def test_azure_is_asked_for_a_deployment() -> None:
    row = ROWS["azure_openai"]
    request, _ = await ask(row, "my model", {})
    assert request.target == "/openai/deployments/my%20model/chat/completions?api-version=2024-10-21"
    request, _ = await ask(row, "d", {}, api_version="2025-04-01-preview")
    assert request.target == "/openai/deployments/d/chat/completions?api-version=2025-04-01-preview"


@pytest.mark.parametrize("model", ["llama-v3p3-70b-instruct", "accounts/fireworks/models/llama-v3p3-70b-instruct"])
async def test_fireworks_gets_whole_ids_and_its_defaults(model: str) -> None:
    request, response = await ask(ROWS["fireworks"], model, {})
    assert not response.warnings
    assert json.loads(request.body) == {
        "model": "accounts/fireworks/models/llama-v3p3-70b-instruct",
        "messages": [{"role": "user", "content": "Hello"}],
        "max_tokens": 32768,
        "temperature": 0.6,
        "top_p": 1.0,
        "top_k": 40,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
    }


async def test_defaults_give_way_to_the_caller() -> None:
    request, _ = await ask(ROWS["fireworks"], "m", {"temperature": 0, "top_k": 1})
    body = json.loads(request.body)
    assert (body["temperature"], body["top_k"], body["top_p"]) == (0, 1, 1.0)


async def test_a_stream_that_is_wanted_whole_ends_with_its_marker_whatever_becomes_of_the_connection() -> None:
    said = b'data: {"id":"c1","choices":[{"delta":{"content":"Hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
    client = HttpClient(max_connections=1, connect_timeout=5)
    async with upstream([head + said, hold]) as server:
        endpoint = Endpoint(server.base_url, {}, ROWS["openai"].quirks, stream_above=1)
        handler = build_upstream(endpoint, openai_chat, client)
        async with asyncio.timeout(5), aclosing(handler(make.call(streaming=False))) as events:
            assert fold([event async for event in events]).message.parts[0].text == "Hi"
        await server.connections[0].closed_by_peer
    await client.aclose()
