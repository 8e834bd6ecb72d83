"""provider_options through the whole gateway: whose they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest
from gateway import gateway, settings_of
from google.protobuf.json_format import ParseDict
from serving import details

from trunkline.v1 import call_pb2
from trunkline.v1 import gateway_service_pb2 as pb

if TYPE_CHECKING:
    from pathlib import Path

MINE = {"providers": {"my-vllm": {"kind": "openai_compatible", "base_url": "http://127.0.0.1:9/v1", "models": ["m"]}}}


def asking(name: str, **routing: Any) -> pb.GenerateRequest:
    said = {"model": "mock", "prompt": "Hi", "provider_options": {name: {"top": 1}}, "routing": routing}
    return ParseDict(said, pb.GenerateRequest())


@pytest.mark.parametrize("name", ["openai_chat", "anthropic", "my-vllm", "mock", "openai_compatible"])
async def test_options_of_others_are_theirs(tmp_path: Path, name: str) -> None:
    async with gateway(settings_of(tmp_path, MINE, {})) as running:
        response = await running.stub.Generate(asking(name, strict_params=True))
    assert not response.warnings


async def test_options_that_are_nobodys_are_warned_of(tmp_path: Path) -> None:
    async with gateway(settings_of(tmp_path, MINE, {})) as running:
        response = await running.stub.Generate(asking("openai_caht"))
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await running.stub.Generate(asking("openai_caht", strict_params=True))
    (warning,) = response.warnings
    assert (warning.kind, warning.field) == (call_pb2.Warning.KIND_NAME_UNKNOWN, "provider_options.openai_caht")
    assert warning.message == "sent to nobody: no dialect and no provider has this name; is openai_chat meant?"
    assert failed.value.code() == grpc.StatusCode.NOT_FOUND
    assert "openai_chat" in str(failed.value.details())
    assert details(failed.value)["google.rpc.ErrorInfo"].reason == "NAME_NOT_FOUND"


async def test_another_gateway_may_know_the_name(tmp_path: Path) -> None:
    far = {"far": {"kind": "trunkline", "base_url": "http://127.0.0.1:9", "models": ["m"]}}
    async with gateway(settings_of(tmp_path, {"providers": far}, {})) as running:
        response = await running.stub.Generate(asking("their-vllm", strict_params=True))
    assert not response.warnings
