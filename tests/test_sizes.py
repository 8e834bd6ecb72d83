"""What a gateway makes of the size of requests and answers."""

from __future__ import annotations

import io
from pathlib import Path

import grpc
import pytest
from gateway import gateway, settings_of
from serving import reason

from trunkline.v1.call_pb2 import Routing
from trunkline.v1.gateway_service_pb2 import GenerateRequest, StreamGenerateResponse
from trunkline_server.core import Call, Events
from trunkline_server.layers.observe import observe
from trunkline_server.logs import build_log
from trunkline_server.providers.table import ROWS
from trunkline_server.routing.catalogue import build_offers
from trunkline_server.routing.tokens import Count
from trunkline_server.snapshot import Snapshot
from trunkline_server.state.lengths import LEAST
from trunkline_server.state.statistics import Finished

WINDOWS = {"model_data": {"mock/mock-fast": {"context_window": 500}}}


async def test_a_named_model_that_does_not_hold_the_prompt_is_not_asked(tmp_path: Path) -> None:
    async with gateway(settings_of(tmp_path, WINDOWS)) as served:
        assert (await served.stub.Generate(GenerateRequest(model="mock/mock-fast", prompt="Hello"))).id
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await served.stub.Generate(GenerateRequest(model="mock/mock-fast", prompt="many words " * 1000))
        assert reason(caught.value) == "CONTEXT_LENGTH_EXCEEDED"
        assert "mock/mock-fast" in (caught.value.details() or "")
        assert served.lines("call")[-1]["attempts"] == 0


async def test_it_goes_to_a_fallback_that_holds_it(tmp_path: Path) -> None:
    async with gateway(settings_of(tmp_path, WINDOWS)) as served:
        request = GenerateRequest(model="mock/mock-fast", prompt="many words " * 1000)
        request.routing.fallback_models.append("mock/mock-slow")
        answer = await served.stub.Generate(request)
        assert (answer.served.target.model, len(answer.served.attempts)) == ("mock-slow", 1)


async def test_a_decision_counts_the_request_and_what_was_counted_is_compared(tmp_path: Path) -> None:
    async with gateway(settings_of(tmp_path, {})) as served:
        plain = GenerateRequest(model="mock", prompt="Hello")
        await served.stub.Generate(plain)
        assert served.app._lengths.correction("mock/mock-fast") == 1.0
        assert not served.app._lengths._prompts
        plain.routing.denied_providers.append("nobody")
        await served.stub.Generate(plain)
        assert served.app._lengths.correction("mock/mock-fast")
        assert list(served.app._lengths._prompts) == ["mock/mock-fast"]


def snapshot_of(tmp_path: Path) -> Snapshot:
    settings = settings_of(tmp_path, {}, {"ANTHROPIC_API_KEY": "k"})
    return Snapshot("v", settings, build_offers(settings, ROWS, {}))


async def test_a_gateway_learns_from_the_calls_that_it_serves(tmp_path: Path) -> None:
    async with gateway(settings_of(tmp_path, {"tasks": {"greeting": {}}})) as served:
        request = GenerateRequest(model="mock", prompt="Hello", routing=Routing(task="greeting"))
        answers = [await served.stub.Generate(request) for _ in range(LEAST)]
        target, tokens = answers[0].served.target, answers[0].usage.output_tokens
    model = f"{target.provider}/{target.model}"
    assert tokens > 0
    assert served.app._lengths.output(model, "greeting") == served.app._lengths.output(model) == tokens
    assert served.app._lengths.output("mock/another") is None


async def test_a_count_that_a_decision_made_is_held_to_what_the_provider_counted(tmp_path: Path) -> None:
    """The route layer leaves it in the call's story."""
    call = Call("id", GenerateRequest(prompt="Hello"), 0.0, 10.0, streaming=False, snapshot=snapshot_of(tmp_path))
    call.story.target.provider, call.story.target.model = "anthropic", "claude-haiku-5-5"
    call.story.count = Count(1000)
    seen: list[Finished] = []

    async def below(_: Call) -> Events:
        yield StreamGenerateResponse()

    layer = observe(build_log(io.BytesIO()), lambda finished, _: seen.append(finished), lambda _: None)
    assert [event async for event in layer(below)(call)]
    assert seen[0].estimated == Count(1000).at("claude")
    call.story.count = Count(1000, media=5)
    assert [event async for event in layer(below)(call)]
    assert seen[1].estimated is None
