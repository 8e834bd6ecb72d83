"""A call that names a model which is gone, from the caller to the provider's socket and back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from gateway import gateway, settings_of
from grpc import aio
from serving import reason
from upstreams import answer, upstream

from trunkline.v1 import gateway_service_pb2 as pb
from trunkline.v1.call_pb2 import Routing
from trunkline.v1.call_pb2 import Warning as CallWarning
from trunkline.v1.model_service_pb2 import GetModelRequest, ListModelsRequest, RefreshModelsRequest

if TYPE_CHECKING:
    from pathlib import Path

WHOLE = answer(
    json.dumps(
        {
            "id": "1",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 9, "completion_tokens": 4},
        }
    ).encode(),
    content_type="application/json",
)
STREAM = answer(
    b'data: {"id":"1","choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n',
    content_type="text/event-stream",
)


def lists(*ids: str) -> bytes:
    data = {"object": "list", "data": [{"id": id_, "object": "model"} for id_ in ids]}
    return answer(json.dumps(data).encode(), content_type="application/json")


def document(base_url: str, **data: Any) -> dict[str, Any]:
    up = {"kind": "openai_compatible", "base_url": base_url, "models": ["old", "new"]}
    return {
        "providers": {"up": up, "embedded": {"enabled": False}},
        "aliases": {"mine": "up/old"},
        "model_data": {"up/old": {"retirement": "2026-01-01", "replacement": "new"}, **data},
    }


@pytest.mark.parametrize("name", ["up/old", "old", "mine", "up/OLD"])
async def test_it_is_answered_by_its_replacement_and_told_so(tmp_path: Path, name: str) -> None:
    async with upstream([WHOLE]) as server, gateway(settings_of(tmp_path, document(server.base_url))) as running:
        response = await running.stub.Generate(pb.GenerateRequest(model=name, prompt="x"))
        assert json.loads(server.requests[0].body)["model"] == "new"
    assert (response.served.target.model, response.served.requested_model) == ("new", name)
    (warning,) = response.warnings
    assert (warning.kind, warning.field) == (CallWarning.KIND_MODEL_REPLACED, "model")
    assert warning.message == "up/old is gone (up retired it on 2026-01-01): up/new answers in its place"
    assert warning.target.model == "new"


async def test_a_stream_is_told_so_at_its_end(tmp_path: Path) -> None:
    async with upstream([STREAM]) as server, gateway(settings_of(tmp_path, document(server.base_url))) as running:
        call = running.stub.StreamGenerate(pb.GenerateRequest(model="old", prompt="x"))
        events = [event async for event in call]
    assert events[0].started.target.model == "new"
    (warning,) = events[-1].completed.response.warnings
    assert warning.kind == CallWarning.KIND_MODEL_REPLACED


async def test_what_is_there_is_answered_without_a_word(tmp_path: Path) -> None:
    async with upstream([WHOLE]) as server, gateway(settings_of(tmp_path, document(server.base_url))) as running:
        response = await running.stub.Generate(pb.GenerateRequest(model="up/new", prompt="x"))
    assert not response.warnings


async def test_strictly_it_fails_and_nothing_is_sent(tmp_path: Path) -> None:
    strict = pb.GenerateRequest(model="old", prompt="x", routing=Routing(strict_params=True))
    async with upstream([WHOLE]) as server, gateway(settings_of(tmp_path, document(server.base_url))) as running:
        with pytest.raises(aio.AioRpcError) as raised:
            await running.stub.Generate(strict)
        assert not server.requests
    assert (raised.value.code(), reason(raised.value)) == (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")
    assert "up/new replaces it" in (raised.value.details() or "")


async def test_what_the_provider_still_lists_it_serves(tmp_path: Path) -> None:
    async with upstream([lists("old", "new")], [WHOLE]) as server:
        async with gateway(settings_of(tmp_path, document(server.base_url))) as running:
            await running.models.RefreshModels(RefreshModelsRequest())
            response = await running.stub.Generate(pb.GenerateRequest(model="old", prompt="x"))
            assert (await running.models.GetModel(GetModelRequest(id="old"))).available
    assert (response.served.target.model, len(response.warnings)) == ("old", 0)


async def test_what_it_no_longer_lists_is_replaced(tmp_path: Path) -> None:
    data = {"up/a": {"replacement": "b"}}
    async with upstream([lists("a", "b")], [lists("b")], [WHOLE]) as server:
        up = {"kind": "openai_compatible", "base_url": server.base_url, "default_model": "b"}
        both = {"providers": {"up": up, "embedded": {"enabled": False}}, "model_data": data}
        async with gateway(settings_of(tmp_path, both)) as running:
            await running.models.RefreshModels(RefreshModelsRequest())
            await running.models.RefreshModels(RefreshModelsRequest())
            response = await running.stub.Generate(pb.GenerateRequest(model="up/a", prompt="x"))
            gone = {model.id: model for model in (await running.models.ListModels(ListModelsRequest())).models}["up/a"]
    assert response.served.target.model == "b"
    assert response.warnings[0].message == "up/a is gone (up no longer lists a): up/b answers in its place"
    assert not gone.available


async def test_the_configuration_adds_models_and_says_what_they_are(tmp_path: Path) -> None:
    more = {"display_name": "Mine", "context_window": 7, "capabilities": ["tools"], "scores": {"quality": 0.5}}
    text = document("http://127.0.0.1:1", **{"up/extra": more})
    async with gateway(settings_of(tmp_path, text)) as running:
        model = await running.models.GetModel(GetModelRequest(id="extra"))
        listed = [each.id for each in (await running.models.ListModels(ListModelsRequest(provider="up"))).models]
    assert (model.id, model.display_name, model.context_window) == ("up/extra", "Mine", 7)
    assert (len(model.capabilities), model.scores[0].source) == (1, "configuration")
    assert listed == ["up/extra", "up/new", "up/old"]
