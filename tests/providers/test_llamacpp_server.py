"""A server that we did not write: llama.cpp's own, with the embedded model's weights, in three of its wire formats."""

from __future__ import annotations

import importlib
import json
import socket
from typing import TYPE_CHECKING, Any

import pytest
from gateway import gateway, settings_of
from make import kinds, text_of

from trunkline.v1 import content_pb2
from trunkline.v1 import gateway_service_pb2 as pb
from trunkline_server import config
from trunkline_server.providers.weights import SMOLLM2, find

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.embedded
KEY = "key-of-the-test"
# Kind of provider, and what its base URL ends in.
FORMATS = [("llamacpp", "/v1"), ("anthropic", ""), ("openai_responses", "/v1")]
EACH = pytest.mark.parametrize(("kind", "path"), FORMATS)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Its base URL."""
    folder = config.cache_folder()
    if find(folder) is None:
        pytest.skip("the weights are not on this machine: trunkline model pull")
    llama = importlib.import_module("xllamacpp")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    params = llama.CommonParams()
    params.model.path = str(folder / SMOLLM2.file_name)
    params.n_parallel, params.n_ctx, params.n_batch = 1, 2048, 64
    params.verbosity, params.ui = 0, False
    params.hostnames, params.port, params.api_keys = ["127.0.0.1"], port, [KEY]
    running = llama.Server(params)
    yield f"http://127.0.0.1:{port}"
    del running


def asked(tmp_path: Path, kind: str, base_url: str, key: str = KEY) -> Any:
    provider = {"kind": kind, "base_url": base_url, "api_key": "env:KEY", "default_model": "m"}
    return gateway(settings_of(tmp_path, {"providers": {"up": provider}}, {"KEY": key}))


def request(**more: Any) -> pb.GenerateRequest:
    config_ = pb.GenerationConfig(max_output_tokens=16, temperature=0, **more)
    return pb.GenerateRequest(
        model="up", system_instruction="Answer in English.", prompt="The capital of France is", config=config_
    )


@EACH
async def test_it_answers_whole_and_streamed(tmp_path: Path, server: str, kind: str, path: str) -> None:
    async with asked(tmp_path, kind, server + path) as running:
        whole = await running.stub.Generate(request())
        events = [event async for event in running.stub.StreamGenerate(request())]
    assert whole.message.parts[0].text
    assert whole.finish_reason in (content_pb2.FINISH_REASON_STOP, content_pb2.FINISH_REASON_MAX_TOKENS)
    assert whole.usage.input_tokens > 0
    assert 0 < whole.usage.output_tokens <= 16
    assert kinds(events)[0] == "started"
    assert kinds(events)[-1] == "completed"
    assert text_of(events)
    assert events[-1].completed.response.usage.output_tokens > 0


@EACH
async def test_it_refuses_a_wrong_key(tmp_path: Path, server: str, kind: str, path: str) -> None:
    async with asked(tmp_path, kind, server + path, "wrong") as running:
        with pytest.raises(Exception, match="refuses the gateway's key"):
            await running.stub.Generate(request())


async def test_it_holds_to_a_schema(tmp_path: Path, server: str) -> None:
    schema = '{"type":"object","properties":{"city":{"type":"string","maxLength":8}},"required":["city"]}'
    form = content_pb2.ResponseFormat(kind=content_pb2.ResponseFormat.KIND_JSON_SCHEMA, json_schema=schema)
    wanted = pb.GenerateRequest(model="up", prompt="Name a city.", response_format=form)
    wanted.config.max_output_tokens = 40
    async with asked(tmp_path, "llamacpp", server + "/v1") as running:
        answer = await running.stub.Generate(wanted)
    assert json.loads(answer.message.parts[0].text)["city"]
