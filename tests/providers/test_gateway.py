"""Another Trunkline as a provider: two gateways in one process, with real sockets between them."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from apis import ANTHROPIC, APIS
from certificates import Authority
from gateway import Gateway, gateway, settings_of
from grpc import StatusCode, aio
from keyed import bearing, id_of, keyed
from make import kinds, text_of
from serving import details, reason
from upstreams import answer, upstream

from trunkline.v1 import call_pb2, content_pb2
from trunkline.v1 import gateway_service_pb2 as pb
from trunkline_server.errors import STATUS_CODES
from trunkline_server.providers.gateway_errors import BY_CODE, OUTCOMES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

# Seconds after which a test that waits has failed.
PATIENCE = 20.0
SCRIPTS: dict[str, Any] = {
    "fast": {"text": "Hello from afar"},
    "busy": {"failure": {"kind": "status", "status": 503}},
    "broke": {"failure": {"kind": "status", "status": 402}},
    "locked": {"failure": {"kind": "status", "status": 401}},
    "long": {"failure": {"kind": "status", "status": 413}},
    "cut": {"text": "a b c d e f g h", "failure": {"kind": "cut", "after": 500}},
    "silent": {"failure": {"kind": "stall"}},
}
FAR: dict[str, Any] = {"providers": {"mock": {"scripts": SCRIPTS, "retry": {"max_attempts": 1}}}}


def near(base_url: str, **more: Any) -> dict[str, Any]:
    far = {"kind": "trunkline", "base_url": base_url, "models": ["mock/fast"], "retry": {"max_attempts": 1}, **more}
    return {"providers": {"far": far}, "tasks": {"writing": {}}}


@asynccontextmanager
async def two(
    tmp_path: Path, far: Mapping[str, Any] = FAR, environ: Mapping[str, str] | None = None, **more: Any
) -> AsyncIterator[tuple[Gateway, Gateway]]:
    """This gateway, and the one that it asks."""
    async with (
        gateway(settings_of(tmp_path, far, environ)) as there,
        gateway(settings_of(tmp_path, near(f"http://{there.address}", **more), environ)) as here,
    ):
        yield here, there


def asked(model: str = "far/mock/fast", **routing: Any) -> pb.GenerateRequest:
    return pb.GenerateRequest(model=model, prompt="hello you", routing=call_pb2.Routing(**routing))


def failure_of(failed: aio.AioRpcError) -> call_pb2.CallFailure:
    failure: call_pb2.CallFailure = details(failed)["trunkline.v1.CallFailure"]
    return failure


async def test_both_rpcs(tmp_path: Path) -> None:
    async with two(tmp_path) as (here, there):
        whole = await here.stub.Generate(asked())
        events = [event async for event in here.stub.StreamGenerate(asked())]
        direct = await there.stub.Generate(asked("mock/fast"))
    assert [part.text for part in whole.message.parts] == ["Hello from afar"]
    assert (kinds(events)[0], kinds(events)[-1], text_of(events)) == ("started", "completed", "Hello from afar")
    for response in (whole, events[-1].completed.response):
        assert response.usage == direct.usage
        assert response.finish_reason == direct.finish_reason
        # What it cost there is no price of ours.
        assert not response.cost.HasField("total_nano_usd")
        assert response.served.target == call_pb2.Target(provider="far", model="mock/fast")
        assert [attempt.target.provider for attempt in response.served.attempts] == ["far"]
        assert response.served.provider_response_id not in ("", response.id)


async def test_prices_of_ones_own_are_what_it_costs(tmp_path: Path) -> None:
    async with gateway(settings_of(tmp_path, FAR)) as there:
        prices = [{"model": "far/mock/fast", "input": 1, "output": 2}]
        document = {**near(f"http://{there.address}"), "prices": prices}
        async with gateway(settings_of(tmp_path, document)) as here:
            response = await here.stub.Generate(asked())
    usage = response.usage
    assert response.cost.total_nano_usd == usage.input_tokens * 1000 + usage.output_tokens * 2000


async def test_what_is_decided_here_is_not_passed_on(tmp_path: Path) -> None:
    """Neither the chain nor the task has to be known there; labels and options are."""
    async with two(tmp_path) as (here, there):
        request = asked(task="writing", fallback_models=["mock/mock-fast"])
        request.context.labels["team"] = "words"
        await here.stub.Generate(request)
        question = pb.UsageStatsRequest(group_by=[pb.UsageDimension(kind=pb.UsageDimension.KIND_LABEL, label="team")])
        groups = (await there.stub.UsageStats(question)).rows
        (line,) = there.lines("call")
    assert line["target"] == "mock/fast"
    assert [list(row.group) for row in groups] == [["words"]]


# --- failures ---------------------------------------------------------------------------------------------------------


def test_every_reason_and_every_code_has_an_outcome() -> None:
    assert OUTCOMES.keys() == STATUS_CODES.keys()
    assert call_pb2.OUTCOME_SUCCESS not in {*OUTCOMES.values(), *BY_CODE.values()}


@pytest.mark.parametrize(
    ("model", "said", "outcome", "code"),
    [
        ("mock/busy", "ALL_PROVIDERS_FAILED", call_pb2.OUTCOME_SERVER_ERROR, "ALL_PROVIDERS_FAILED"),
        ("mock/broke", "ALL_PROVIDERS_FAILED", call_pb2.OUTCOME_SERVER_ERROR, "ALL_PROVIDERS_FAILED"),
        # The key of that gateway is refused, not ours.
        ("mock/locked", "ALL_PROVIDERS_FAILED", call_pb2.OUTCOME_SERVER_ERROR, "PROVIDER_AUTH"),
        ("mock/nothing", "MODEL_NOT_FOUND", call_pb2.OUTCOME_MODEL_NOT_FOUND, "MODEL_NOT_FOUND"),
        ("nobody/nothing", "MODEL_NOT_FOUND", call_pb2.OUTCOME_MODEL_NOT_FOUND, "MODEL_NOT_FOUND"),
    ],
)
async def test_its_errors_are_told_in_our_words(
    tmp_path: Path, model: str, said: str, outcome: call_pb2.Outcome.ValueType, code: str
) -> None:
    async with two(tmp_path) as (here, there):
        with pytest.raises(aio.AioRpcError) as failed:
            await here.stub.Generate(asked(f"far/{model}"))
        (line,) = there.lines("call")
    assert reason(failed.value) == said
    (attempt,) = failure_of(failed.value).served.attempts
    assert (attempt.outcome, attempt.provider_code) == (outcome, code)
    assert attempt.provider_request_id == line["id"]


async def test_an_answer_that_breaks_off_there_breaks_off_here(tmp_path: Path) -> None:
    async with two(tmp_path) as (here, _):
        seen: list[pb.StreamGenerateResponse] = []
        with pytest.raises(aio.AioRpcError) as failed:
            async for event in here.stub.StreamGenerate(asked("far/mock/cut")):
                seen.append(event)
    assert text_of(seen).startswith("a")
    assert (failed.value.code(), reason(failed.value)) == (StatusCode.ABORTED, "STREAM_INTERRUPTED")


async def test_where_nobody_listens_nothing_was_sent_and_a_fallback_answers(tmp_path: Path) -> None:
    async with two(tmp_path) as (here, there):
        await there.app.stop()
        response = await here.stub.Generate(asked(fallback_models=["mock/mock-fast"]))
    assert [attempt.outcome for attempt in response.served.attempts] == [
        call_pb2.OUTCOME_NOT_CONNECTED,
        call_pb2.OUTCOME_SUCCESS,
    ]


async def test_it_has_the_calls_deadline(tmp_path: Path) -> None:
    async with two(tmp_path) as (here, there):
        with pytest.raises(aio.AioRpcError) as failed:
            await here.stub.Generate(asked("far/mock/silent"), timeout=1.0)
        async with asyncio.timeout(PATIENCE):
            while not there.lines("call"):
                await asyncio.sleep(0)
        (line,) = there.lines("call")
    assert failed.value.code() == StatusCode.DEADLINE_EXCEEDED
    assert line["reason"] == "DEADLINE_EXCEEDED"


async def test_who_goes_away_here_goes_away_there(tmp_path: Path) -> None:
    async with two(tmp_path) as (here, there):
        idle = len(there.app._registry)
        stream = here.stub.StreamGenerate(asked("far/mock/silent"), timeout=300.0)
        reading = asyncio.ensure_future(stream.read())
        async with asyncio.timeout(PATIENCE):
            while len(there.app._registry) == idle:
                await asyncio.sleep(0)
            stream.cancel()
            await asyncio.wait([reading])
            while not there.lines("call"):
                await asyncio.sleep(0)
        (line,) = there.lines("call")
    assert "CANCELLED" in (line["result"], line["reason"])


# --- keys, TLS, state -------------------------------------------------------------------------------------------------


async def test_it_is_asked_with_a_key_of_its_own(tmp_path: Path) -> None:
    async with keyed(tmp_path, FAR) as there:
        good, bad = await there.key("caller", workspace="theirs"), "tl_wrong"
        address = f"http://{there.running.address}"
        for key in (good, bad):
            settings = settings_of(tmp_path, near(address, api_key="env:FAR"), {"FAR": key})
            async with gateway(settings) as here:
                if key == good:
                    await here.stub.Generate(asked())
                    continue
                with pytest.raises(aio.AioRpcError) as failed:
                    await here.stub.Generate(asked())
                health = await here.stub.HealthCheck(pb.HealthCheckRequest(include_providers=True))
        usage = await there.running.stub.UsageStats(pb.UsageStatsRequest(), metadata=bearing(good))
    assert usage.totals.successes == 1
    assert id_of(good)
    assert reason(failed.value) == "PROVIDER_AUTH"
    (far,) = [provider for provider in health.providers if provider.provider == "far"]
    assert far.endpoints[0].credential_state == pb.EndpointHealth.CREDENTIAL_STATE_REFUSED


async def test_over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority.new(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    async with gateway(settings_of(tmp_path, {**FAR, "server": {"tls": authority.server()}})) as there:
        port = there.app.port
        async with gateway(settings_of(tmp_path, near(f"https://localhost:{port}"))) as here:
            response = await here.stub.Generate(asked())
            assert response.message.parts[0].text == "Hello from afar"
        monkeypatch.setenv("SSL_CERT_FILE", str(_strangers(tmp_path)))
        async with gateway(settings_of(tmp_path, near(f"https://localhost:{port}"))) as here:
            with pytest.raises(aio.AioRpcError) as failed:
                await here.stub.Generate(asked())
    (attempt,) = failure_of(failed.value).served.attempts
    assert attempt.outcome == call_pb2.OUTCOME_NOT_CONNECTED


def _strangers(tmp_path: Path) -> Path:
    folder = tmp_path / "strangers"
    folder.mkdir()
    Authority.new(folder)
    return folder / "ca.pem"


async def test_state_of_a_provider_behind_it_finds_its_way_back(tmp_path: Path) -> None:
    content = [{"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}, {"type": "text", "text": "Hi"}]
    signed = {**ANTHROPIC, "content": content, "usage": {"input_tokens": 5, "output_tokens": 2}}
    whole = answer(json.dumps(signed).encode(), content_type="application/json")
    async with upstream([whole]) as server:
        one = {"kind": "anthropic", "base_url": server.base_url, "api_key": "env:KEY"}
        async with two(tmp_path, {"providers": {"one": one}}, {"KEY": "k-1"}) as (here, _):
            first = await here.stub.Generate(asked("far/one/m"))
            assert first.message.parts[0].provider_state.provider == "far/one"
            following = asked("far/one/m")
            following.ClearField("prompt")
            following.messages.add(role="ROLE_USER").parts.add(text="Hello")
            following.messages.append(first.message)
            following.messages.add(role="ROLE_USER").parts.add(text="And?")
            again = await here.stub.Generate(following)
        bodies = [request.body for request in server.requests if request.body]
    assert b"c2ln" in bodies[1]
    assert list(again.warnings) == []


MEDIA = {
    "an image's bytes": content_pb2.Media(
        mime_type="image/png", data=bytes(range(256)) * 40, detail=content_pb2.Media.DETAIL_LOW
    ),
    "an image's address": content_pb2.Media(mime_type="image/png", uri="https://img.example/a.png"),
    "a document's bytes": content_pb2.Media(mime_type="application/pdf", data=b"%PDF-1.7 \xff\x00", name="a.pdf"),
    "a document's address": content_pb2.Media(mime_type="application/pdf", uri="https://doc.example/a.pdf"),
    "a sound's bytes": content_pb2.Media(mime_type="audio/wav", data=b"RIFF\x00\xff"),
    "a sound's address": content_pb2.Media(mime_type="audio/wav", uri="https://sound.example/a.wav"),
    "a film's address": content_pb2.Media(mime_type="video/mp4", uri="https://film.example/a.mp4"),
    "a file": content_pb2.Media(mime_type="application/pdf", provider_file_id="https://files.example/f-1"),
}
GEMINI = next(api for api in APIS if api.kind == "gemini")


@pytest.mark.parametrize("media", MEDIA.values(), ids=[*MEDIA])
async def test_media_reach_the_provider_behind_it_as_if_it_were_asked_itself(
    tmp_path: Path, media: content_pb2.Media
) -> None:
    """What the provider is sent is the same to the byte, and so is what the caller is warned of."""
    whole = answer(json.dumps(GEMINI.whole).encode(), content_type="application/json")
    streamed = answer(GEMINI.stream, content_type="text/event-stream")
    parts = [content_pb2.Part(media=media), content_pb2.Part(text="What is it?")]
    message = content_pb2.Message(role=content_pb2.ROLE_USER, parts=parts)
    through, direct = (pb.GenerateRequest(model=name, messages=[message]) for name in ("far/one/m", "one/m"))
    async with upstream([whole], [streamed], [whole], [streamed]) as server:
        one = {"kind": "gemini", "base_url": server.base_url, "api_key": "env:KEY", "models": ["m"]}
        async with two(tmp_path, {"providers": {"one": one}}, {"KEY": "k-1"}, models=["one/m"]) as (here, there):
            answers = []
            for running, request in ((here, through), (there, direct)):
                response = await running.stub.Generate(request)
                events = [event async for event in running.stub.StreamGenerate(request)]
                assert (response.message.parts[0].text, text_of(events)) == ("Hi there", "Hi there")
                last = events[-1].completed.response
                answers.append([[(each.kind, each.field) for each in told.warnings] for told in (response, last)])
        bodies = [request.body for request in server.requests]
    # The gateway in between streams whatever it is asked.
    assert len(bodies) == 4
    assert len(set(bodies)) == 1
    assert answers[0] == answers[1]


async def test_media_that_a_provider_makes_come_back_through_it(tmp_path: Path) -> None:
    picture = {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}
    made = {"candidates": [{"content": {"role": "model", "parts": [picture]}, "finishReason": "STOP"}]}
    streamed = answer(f"data: {json.dumps(made)}\n\n".encode(), content_type="text/event-stream")
    async with upstream([streamed]) as server:
        one = {"kind": "gemini", "base_url": server.base_url, "api_key": "env:KEY", "models": ["m"]}
        async with two(tmp_path, {"providers": {"one": one}}, {"KEY": "k-1"}, models=["one/m"]) as (here, _):
            response = await here.stub.Generate(asked("far/one/m"))
            events = [event async for event in here.stub.StreamGenerate(asked("far/one/m"))]
    begun = [event.part_started.part.media for event in events if event.WhichOneof("event") == "part_started"]
    for media in (response.message.parts[0].media, *begun):
        assert (media.mime_type, media.data) == ("image/png", b"\x89PNG\r\n\x1a\n")
    assert len(begun) == 1


@pytest.mark.parametrize(
    ("base_url", "problem"),
    [("", "an http or https URL"), ("https://far.example/v1", "no path"), ("http://far.example:50051", "https")],
)
def test_where_it_is_has_to_be_right(tmp_path: Path, base_url: str, problem: str) -> None:
    with pytest.raises(Exception, match=problem):
        settings_of(tmp_path, near(base_url))
