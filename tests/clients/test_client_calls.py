"""Both clients against a real server: what is sent, what comes back, how a channel is set up."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from grpc import aio, local_channel_credentials

from trunkline.v1.call_pb2 import Usage
from trunkline.v1.content_pb2 import FINISH_REASON_STOP, ROLE_ASSISTANT, Message, Part, ToolCall
from trunkline.v1.gateway_service_pb2 import (
    GenerateRequest,
    GenerateResponse,
    HealthCheckRequest,
    Heartbeat,
    PartDelta,
    PartStarted,
    StreamCompleted,
    StreamGenerateResponse,
    StreamStarted,
    UsageDimension,
    UsageStatsRequest,
)
from trunkline.v1.model_pb2 import CAPABILITY_TOOLS, Model
from trunkline.v1.model_service_pb2 import RecommendModelsRequest, RefreshModelsRequest
from trunkline_client import AsyncClient, Client, DeadlineExceeded, Interrupted, MessageTooLarge, __version__

if TYPE_CHECKING:
    from clients.conftest import Caller, FakeGateway

HELLO = GenerateResponse(
    id="c1",
    message=Message(role=ROLE_ASSISTANT, parts=[Part(text="Hi "), Part(text="there")]),
    finish_reason=FINISH_REASON_STOP,
    usage=Usage(output_tokens=2),
)
HELLO_EVENTS = [
    StreamGenerateResponse(heartbeat=Heartbeat()),
    StreamGenerateResponse(started=StreamStarted(id="c1")),
    StreamGenerateResponse(part_started=PartStarted(part=Part(text="Hi"))),
    StreamGenerateResponse(part_delta=PartDelta(text=" ")),
    StreamGenerateResponse(part_started=PartStarted(part_index=1, part=Part(text=""))),
    StreamGenerateResponse(part_delta=PartDelta(part_index=1, text="there")),
    StreamGenerateResponse(
        completed=StreamCompleted(
            response=GenerateResponse(id="c1", finish_reason=FINISH_REASON_STOP, usage=Usage(output_tokens=2))
        )
    ),
]


async def test_generate_gives_the_whole_answer(gateway: FakeGateway, caller: Caller) -> None:
    gateway.response = HELLO
    answer = await caller.call("generate", "Say hi", model="mock", temperature=0)
    assert (answer.text, answer.usage.output_tokens, answer.finish_reason) == ("Hi there", 2, FINISH_REASON_STOP)
    assert answer.cost == answer.raw.cost
    assert (answer.id, answer.raw, answer.refusal, answer.tool_calls) == ("c1", HELLO, "", [])
    expected = GenerateRequest(prompt="Say hi", model="mock")
    expected.config.temperature = 0
    assert gateway.requests == [expected]


async def test_an_answer_shows_tool_calls_and_refusals(gateway: FakeGateway, caller: Caller) -> None:
    call = ToolCall(id="t1", name="add", arguments_json="{}")
    gateway.response.message.parts.extend([Part(tool_call=call), Part(refusal="No.")])
    answer = await caller.call("generate", "x")
    assert (answer.text, answer.refusal, answer.tool_calls) == ("", "No.", [call])
    assert answer.message == gateway.response.message


async def test_stream_gives_the_events_as_they_are(gateway: FakeGateway, caller: Caller) -> None:
    gateway.events = HELLO_EVENTS
    assert await caller.events("Say hi", model="mock") == HELLO_EVENTS
    assert gateway.requests == [GenerateRequest(prompt="Say hi", model="mock")]
    assert not gateway.cancellations


async def test_text_and_the_answer_of_a_stream(gateway: FakeGateway, caller: Caller) -> None:
    gateway.events = HELLO_EVENTS
    texts, answer = await caller.texts("Say hi")
    assert texts == ["Hi", " ", "there"]
    assert answer.raw == HELLO


@pytest.mark.parametrize("received", range(len(HELLO_EVENTS)))
async def test_a_stream_without_completed_is_interrupted(received: int, gateway: FakeGateway, caller: Caller) -> None:
    gateway.events = HELLO_EVENTS[:received]
    with pytest.raises(Interrupted) as caught:
        await caller.events("x")
    assert caught.value.call_id == ("c1" if received > 1 else "")
    assert not caught.value.is_retryable
    with pytest.raises(Interrupted):
        await caller.texts("x")


async def test_a_stream_has_no_answer_before_its_end_and_is_read_once(gateway: FakeGateway) -> None:
    gateway.events = HELLO_EVENTS
    async with AsyncClient(gateway.address) as client, client.stream("x") as stream:
        async for _ in stream:
            with pytest.raises(ValueError, match="not whole"):
                _ = stream.response
            break
        with pytest.raises(RuntimeError, match="read once"):
            [text async for text in stream.text]


async def test_health_usage_and_one_model(gateway: FakeGateway, caller: Caller) -> None:
    health = await caller.call("health", include_providers=True)
    await caller.call("usage", group_by=["provider", "model"])
    model = await caller.call("model", "mock")
    kinds = [UsageDimension(kind=UsageDimension.KIND_PROVIDER), UsageDimension(kind=UsageDimension.KIND_MODEL)]
    usage = UsageStatsRequest(group_by=kinds, page_size=10_000)
    assert gateway.requests[:2] == [HealthCheckRequest(include_providers=True), usage]
    assert (health.state, model) == (health.STATE_SERVING, Model(id="mock"))


async def test_refresh_asks_for_one_provider_or_all(gateway: FakeGateway, caller: Caller) -> None:
    assert list((await caller.call("refresh_models")).added) == ["p/new"]
    await caller.call("refresh_models", provider="p")
    assert gateway.requests == [RefreshModelsRequest(), RefreshModelsRequest(provider="p")]


async def test_a_recommendation_has_wishes(gateway: FakeGateway, caller: Caller) -> None:
    wishes: dict[str, Any] = {"required_capabilities": [CAPABILITY_TOOLS], "local_only": True, "min_quality": 0.5}
    (best,) = await caller.call("recommend", **wishes)
    assert (best.model.id, best.score) == ("p/best", 1)
    assert gateway.requests == [RecommendModelsRequest(**wishes)]


async def test_health_asks_for_probes(gateway: FakeGateway, caller: Caller) -> None:
    await caller.call("health", probe=True)
    await caller.call("health", probe_models=True)
    assert gateway.requests == [HealthCheckRequest(probe=True), HealthCheckRequest(probe_models=True)]


async def test_models_reads_every_page(gateway: FakeGateway, caller: Caller) -> None:
    gateway.models = [Model(id=f"p/{number}") for number in range(5)]
    models = await caller.call("models", provider="p", required_capabilities=[CAPABILITY_TOOLS])
    assert models == gateway.models
    assert [(request.provider, request.page_token) for request in gateway.requests] == [
        ("p", ""),
        ("p", "2"),
        ("p", "4"),
    ]
    assert gateway.requests[2].required_capabilities == [CAPABILITY_TOOLS]


@pytest.mark.parametrize("method", ["generate", "model"])
async def test_a_timeout_of_the_call(method: str, gateway: FakeGateway, caller: Caller) -> None:
    gateway.hangs = True
    with pytest.raises(DeadlineExceeded) as caught:
        await caller.call(method, "x", timeout=0.05)
    assert not caught.value.is_retryable
    with pytest.raises(DeadlineExceeded):
        await caller.events("x", timeout=0.05)


async def test_a_timeout_of_the_client(client_kind: type[Caller], gateway: FakeGateway) -> None:
    gateway.hangs = True
    caller = client_kind(gateway.address, timeout=0.05)
    with pytest.raises(DeadlineExceeded):
        await caller.call("generate", "x")
    with pytest.raises(DeadlineExceeded):
        await caller.events("x")
    await caller.aclose()


async def test_the_key_goes_with_every_call_and_is_not_shown(client_kind: type[Caller], gateway: FakeGateway) -> None:
    gateway.events = HELLO_EVENTS
    caller = client_kind(gateway.address, api_key="tl_secret")
    for call in (caller.call("generate", "x"), caller.events("x"), caller.call("models")):
        await call
        assert gateway.metadata["authorization"] == "Bearer tl_secret"
    assert gateway.metadata["user-agent"].startswith(f"trunkline-client/{__version__} grpc-python")
    shown = repr(caller._client)
    assert gateway.address in shown
    assert "secret" not in shown
    await caller.aclose()


async def test_without_a_key_none_is_sent(gateway: FakeGateway, caller: Caller) -> None:
    await caller.call("health")
    assert "authorization" not in gateway.metadata


async def test_credentials(client_kind: type[Caller], gateway: FakeGateway) -> None:
    caller = client_kind(gateway.secure_address, credentials=local_channel_credentials())
    await caller.call("health")
    await caller.aclose()


async def test_messages_may_have_32_mib(gateway: FakeGateway, caller: Caller) -> None:
    large = "x" * (31 << 20)
    gateway.response.message.parts.add(text=large)
    assert (await caller.call("generate", large)).text == large
    with pytest.raises(MessageTooLarge) as caught:
        await caller.call("generate", "x" * (32 << 20))
    assert not caught.value.is_retryable
    assert len(gateway.requests) == 1


async def test_a_given_channel_stays_open(gateway: FakeGateway) -> None:
    async with aio.insecure_channel(gateway.address) as channel:
        async with AsyncClient(channel=channel) as client:
            await client.health()
        await AsyncClient(channel=channel).health()
    assert repr(client) == "AsyncClient('the given channel')"


@pytest.mark.parametrize("kind", [AsyncClient, Client])
async def test_a_client_needs_a_target_or_a_channel(kind: type[AsyncClient | Client]) -> None:
    channel = aio.insecure_channel("127.0.0.1:1")
    for options in ({}, {"target": ""}, {"target": "127.0.0.1:1", "channel": channel}):
        with pytest.raises(TypeError, match="target or a channel"):
            kind(**options)
    await channel.close()


async def test_one_sync_client_in_many_threads(gateway: FakeGateway) -> None:
    gateway.events = HELLO_EVENTS

    def work(client: Client, number: int) -> str:
        client.generate(str(number))
        return "".join(client.stream(str(number)).text)

    def run() -> list[str]:
        with Client(gateway.address) as client, ThreadPoolExecutor(8) as pool:
            return list(pool.map(lambda number: work(client, number), range(40)))

    assert await asyncio.to_thread(run) == ["Hi there"] * 40
    assert sorted(request.prompt for request in gateway.requests) == sorted([str(n) for n in range(40)] * 2)
