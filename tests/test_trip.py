"""A call's whole trip: caller, gateway, a provider's socket, and back."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from gateway import gateway, settings_of
from grpc import aio
from make import kinds, text_of
from serving import details, reason, rest
from upstreams import answer, chunk, close, head, hold, upstream

from trunkline.v1 import call_pb2, content_pb2, model_service_pb2
from trunkline.v1 import gateway_service_pb2 as pb
from trunkline_server.rpc.service import time_of
from trunkline_server.sections import Seconds
from trunkline_server.settings import TimeLimits

if TYPE_CHECKING:
    from pathlib import Path

    from upstreams import Script

KEY = "sk-canary-4f9a1c7e2b8d"
PROMPT = "prompt-canary-77"
SAID = "answer-canary-88"
WHOLE = {
    "id": "chatcmpl-1",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": SAID}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 4},
}
STREAM = (
    b'data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
    b'data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{"content":"Gr\xc3\xbc\xc3\x9fe"}}]}\n\n'
    b'data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{"content":", Welt"},"finish_reason":"stop"}]}\n\n'
    b'data: {"id":"chatcmpl-1","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4}}\n\n'
    b"data: [DONE]\n\n"
)
SSE = {"content-type": "text/event-stream", "transfer-encoding": "chunked"}


def told(body: bytes | dict[str, Any], status: int = 200, **headers: str) -> bytes:
    """A whole answer of JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return answer(data, status, content_type="application/json", **headers)


def document(base_url: str, **more: Any) -> dict[str, Any]:
    provider = {"kind": "openai_compatible", "base_url": base_url, "models": ["m"], "api_key": "env:KEY", **more}
    return {"providers": {"up": provider}, "default_model": "up", "aliases": {"quick": "up/m"}}


# Each call fails here on purpose: the next is a probe at once.
NEVER_FOR_LONG = {"recovery": 1e-9}


def request(**fields: Any) -> pb.GenerateRequest:
    return pb.GenerateRequest(**{"model": "up/m", "prompt": PROMPT, **fields})


async def streamed(stub: Any, message: pb.GenerateRequest) -> list[pb.StreamGenerateResponse]:
    return [event async for event in stub.StreamGenerate(message, timeout=20)]


async def failing(call: Any) -> aio.AioRpcError:
    with pytest.raises(aio.AioRpcError) as raised:
        await call
    return raised.value


async def test_a_unary_call_there_and_back(tmp_path: Path) -> None:
    async with upstream([told(WHOLE)]) as server:
        async with gateway(settings_of(tmp_path, document(server.base_url + "/v1"), {"KEY": KEY})) as running:
            response = await running.stub.Generate(request(system_instruction="Be brief."))
    sent = server.requests[0]
    assert sent.target == "/v1/chat/completions"
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    assert [message["role"] for message in json.loads(sent.body)["messages"]] == ["system", "user"]
    assert response.message.parts[0].text == SAID
    assert response.finish_reason == content_pb2.FINISH_REASON_STOP
    assert (response.usage.input_tokens, response.usage.output_tokens) == (9, 4)
    assert response.served.provider_response_id == "chatcmpl-1"
    assert response.served.target == call_pb2.Target(provider="up", model="m")


async def test_a_streamed_call_there_and_back(tmp_path: Path) -> None:
    async with upstream([head(200, SSE), chunk(STREAM), chunk()]) as server:
        async with gateway(settings_of(tmp_path, document(server.base_url), {"KEY": KEY})) as running:
            events = await streamed(running.stub, request(model="quick"))
    assert kinds(events)[0] == "started"
    assert kinds(events)[-1] == "completed"
    assert text_of(events) == "Grüße, Welt"
    assert events[-1].completed.response.usage.output_tokens == 4
    assert json.loads(server.requests[0].body)["stream"] is True


async def test_a_stream_cut_at_every_byte_has_exactly_one_outcome(tmp_path: Path) -> None:
    finish = STREAM.index(b'"finish_reason":"stop"}]}') + len(b'"finish_reason":"stop"}]}')
    begun = head(200, {"content-type": "text/event-stream"})
    scripts: list[Script] = [[begun, STREAM[:cut], close] for cut in range(len(STREAM) + 1)]
    async with upstream(*scripts) as server:
        async with gateway(
            settings_of(tmp_path, document(server.base_url, breaker=NEVER_FOR_LONG), {"KEY": KEY})
        ) as running:
            for cut in range(len(STREAM) + 1):
                seen: list[pb.StreamGenerateResponse] = []
                error: aio.AioRpcError | None = None
                try:
                    async for event in running.stub.StreamGenerate(request()):
                        seen.append(event)
                except aio.AioRpcError as raised:
                    error = raised
                assert (error is None) == ("completed" in kinds(seen)) == (cut >= finish), cut
                if error is not None:
                    committed = "started" in kinds(seen)
                    assert reason(error) == ("STREAM_INTERRUPTED" if committed else "ALL_PROVIDERS_FAILED"), cut


async def test_a_unary_answer_cut_at_every_byte_is_never_an_answer(tmp_path: Path) -> None:
    whole = told(WHOLE)
    scripts: list[Script] = [[whole[:cut], close] for cut in range(0, len(whole), 7)]
    async with upstream(*scripts) as server:
        async with gateway(
            settings_of(tmp_path, document(server.base_url, breaker=NEVER_FOR_LONG), {"KEY": KEY})
        ) as running:
            for _ in range(0, len(whole), 7):
                error = await failing(running.stub.Generate(request()))
                assert (error.code(), reason(error)) == (grpc.StatusCode.UNAVAILABLE, "ALL_PROVIDERS_FAILED")


@pytest.mark.parametrize("begun", [[], [head(200, SSE)], [head(200, SSE), chunk(STREAM[:150])]])
@pytest.mark.parametrize("method", ["Generate", "StreamGenerate"])
async def test_a_silent_upstream_ends_at_the_callers_deadline(tmp_path: Path, method: str, begun: list[bytes]) -> None:
    async with upstream([*begun, hold]) as server:
        async with gateway(settings_of(tmp_path, document(server.base_url), {"KEY": KEY})) as running:
            call = getattr(running.stub, method)(request(), timeout=1)
            with pytest.raises(aio.AioRpcError) as raised:
                await call if method == "Generate" else [event async for event in call]
            assert raised.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
            await asyncio.wait_for(server.connections[0].closed_by_peer, 5)


def test_a_call_is_over_a_moment_before_its_callers_deadline() -> None:
    """The gateway's error comes first, which tells why and what it cost; gRPC's own says nothing."""
    limits = TimeLimits(default_deadline=Seconds(600), max_deadline=Seconds(3600))
    found = [time_of(each, limits) for each in (None, 0.2, 1.0, 60.0, 4000.0)]
    assert found == pytest.approx([600, 0.19, 0.95, 59.95, 3600])


async def test_the_gateways_own_maximum_is_a_deadline_with_a_reason(tmp_path: Path) -> None:
    limits = {"default_deadline": "200ms", "max_deadline": "200ms"}
    async with upstream([hold]) as server:
        settings = settings_of(tmp_path, {**document(server.base_url), "limits": limits}, {"KEY": KEY})
        async with gateway(settings) as running:
            error = await failing(running.stub.Generate(request(), timeout=60))
    assert (error.code(), reason(error)) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")
    assert details(error)["trunkline.v1.CallFailure"].served.target.provider == "up"


async def test_invalid_utf8_from_upstream_harms_nobody(tmp_path: Path) -> None:
    body = json.dumps(WHOLE).encode().replace(SAID.encode(), b"caf\xe9 \\ud800 ok")
    async with upstream([told(body)]) as server:
        async with gateway(settings_of(tmp_path, document(server.base_url), {"KEY": KEY})) as running:
            response = await running.stub.Generate(request())
    assert response.message.parts[0].text == "caf� � ok"


UPSTREAM_ERRORS = [
    (401, {"error": {"message": f"bad key {KEY}", "code": "invalid_api_key"}}, "INTERNAL", "PROVIDER_AUTH"),
    (400, {"error": {"message": "no", "type": "invalid_request_error"}}, "INVALID_ARGUMENT", "PROVIDER_REJECTED"),
    (400, {"error": {"code": "context_length_exceeded"}}, "INVALID_ARGUMENT", "CONTEXT_LENGTH_EXCEEDED"),
    (404, {"error": {"code": "model_not_found"}}, "NOT_FOUND", "MODEL_NOT_FOUND"),
    (429, {"error": {"message": "slow down"}}, "UNAVAILABLE", "ALL_PROVIDERS_FAILED"),
    (429, {"error": {"code": "insufficient_quota"}}, "UNAVAILABLE", "ALL_PROVIDERS_FAILED"),
    (500, {"error": {"message": "oops"}}, "UNAVAILABLE", "ALL_PROVIDERS_FAILED"),
]


@pytest.mark.parametrize("method", ["Generate", "StreamGenerate"])
@pytest.mark.parametrize(("status", "body", "code", "name"), UPSTREAM_ERRORS)
async def test_a_providers_error_is_told_in_our_words_with_theirs_scrubbed_beside(
    tmp_path: Path, method: str, status: int, body: dict[str, Any], code: str, name: str
) -> None:
    said = told(body, status, x_request_id="req-9", retry_after="7")
    async with upstream([said]) as server:
        async with gateway(settings_of(tmp_path, document(server.base_url), {"KEY": KEY})) as running:
            call = getattr(running.stub, method)(request(routing=call_pb2.Routing(max_attempts=1)))
            with pytest.raises(aio.AioRpcError) as raised:
                await call if method == "Generate" else [event async for event in call]
            log = running.lines("attempt failed")
    error = raised.value
    assert (error.code().name, reason(error)) == (code, name)
    attempt = details(error)["trunkline.v1.CallFailure"].served.attempts[0]
    assert (attempt.provider_status, attempt.provider_request_id) == (status, "req-9")
    assert KEY not in repr(error.trailing_metadata()) + repr(attempt)
    assert len(log) == 1
    assert (log[0]["status"], log[0]["provider_request_id"]) == (status, "req-9")
    if name == "ALL_PROVIDERS_FAILED":
        assert details(error)["google.rpc.RetryInfo"].retry_delay.seconds == 7


async def test_a_filtered_prompt_is_an_answer_that_says_so(tmp_path: Path) -> None:
    body = json.dumps({"error": {"code": "content_filter", "message": "filtered"}}).encode()
    async with upstream([told(body, 400)]) as server:
        async with gateway(settings_of(tmp_path, document(server.base_url), {"KEY": KEY})) as running:
            response = await running.stub.Generate(request())
            events = await streamed(running.stub, request())
    assert response.finish_reason == content_pb2.FINISH_REASON_CONTENT_FILTER
    assert kinds(events) == ["started", "completed"]


async def test_what_a_target_cannot_honour_is_a_warning_or_refused(tmp_path: Path) -> None:
    config = pb.GenerationConfig(top_k=40)
    async with upstream([told(WHOLE)]) as server:
        async with gateway(settings_of(tmp_path, document(server.base_url, kind="openai"), {"KEY": KEY})) as running:
            response = await running.stub.Generate(request(config=config))
            strict = request(config=config, routing=call_pb2.Routing(strict_params=True))
            error = await failing(running.stub.Generate(strict))
    assert [warning.field for warning in response.warnings] == ["config.top_k"]
    assert response.warnings[0].target.provider == "up"
    assert (error.code(), reason(error)) == (grpc.StatusCode.INVALID_ARGUMENT, "UNSUPPORTED_CAPABILITY")
    assert details(error)["google.rpc.BadRequest"].field_violations[0].field == "config.top_k"


@pytest.mark.parametrize(
    ("name", "code", "why"),
    [
        ("nope", grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND"),
        ("mock/nope", grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND"),
        ("nobody/m", grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND"),
        ("openai/gpt-4o", grpc.StatusCode.FAILED_PRECONDITION, "NO_CANDIDATE"),
    ],
)
async def test_models_that_cannot_be_called_are_named(
    tmp_path: Path, name: str, code: grpc.StatusCode, why: str
) -> None:
    async with gateway(settings_of(tmp_path, {"providers": {"openai": {}}, "default_model": "mock"})) as running:
        error = await failing(running.stub.Generate(request(model=name)))
    assert (error.code(), reason(error)) == (code, why)


@pytest.mark.parametrize("name", ["mock", "mock/mock-fast", "mock-fast", ""])
async def test_the_scripted_provider_answers_to_its_names(tmp_path: Path, name: str) -> None:
    async with gateway(settings_of(tmp_path, {"default_model": "mock"})) as running:
        response = await running.stub.Generate(request(model=name))
        assert response.message.parts[0].text == "Mock response"
        assert response.served.requested_model == name


async def test_usage_and_models_over_the_wire(tmp_path: Path) -> None:
    async with gateway(settings_of(tmp_path, {"default_model": "mock"})) as running:
        for _ in range(3):
            await running.stub.Generate(request(model="mock"))
        await streamed(running.stub, request(model="mock"))
        await failing(running.stub.Generate(request(model="nope")))
        await failing(running.stub.Generate(pb.GenerateRequest()))
        group = [pb.UsageDimension(kind=pb.UsageDimension.KIND_PROVIDER)]
        usage = await running.stub.UsageStats(pb.UsageStatsRequest(group_by=group))
        page = await running.models.ListModels(model_service_pb2.ListModelsRequest(provider="mock"))
        one = await running.models.GetModel(model_service_pb2.GetModelRequest(id="mock"))
    rows = {row.group[0]: row.totals for row in usage.rows}
    assert (rows["mock"].successes, rows[""].errors, usage.totals.requests) == (4, 2, 6)
    assert rows["mock"].usage.output_tokens == 8
    assert (rows["mock"].total_time.count, rows["mock"].time_to_first_token.count) == (4, 1)
    assert "mock/mock-fast" in [model.id for model in page.models]
    assert one.id == "mock/mock-fast"
    for model in (one, page.models[0]):
        assert {price.pico_usd_per_unit for price in model.pricing.prices} == {0}, "free, and not unpriced"
    assert one.pricing.version == page.models[0].pricing.version != ""


@pytest.mark.parametrize("level", ["basic", "detailed", "comprehensive"])
async def test_no_secret_and_no_prompt_gets_out(tmp_path: Path, level: str) -> None:
    """The canary: keys, prompts and answers on every path, then a search of all that was written or said."""
    echo = {"error": {"message": f"key {KEY} may not say {PROMPT}"}}
    scripts: list[Script] = [
        [told(WHOLE, set_cookie=KEY)],
        [head(200, SSE), chunk(STREAM.replace(b", Welt", SAID.encode())), chunk()],
        [told(echo, 500)],
        [head(200, SSE), chunk(STREAM[:200]), close],
        [told(b"not json " + PROMPT.encode())],
    ]
    more = {"headers": {"x-secret": "env:KEY"}}
    async with upstream(*scripts) as server:
        settings = settings_of(
            tmp_path, {**document(server.base_url, **more), "logs": {"monitoring_level": level}}, {"KEY": KEY}
        )
        errors = []
        async with gateway(settings) as running:
            await running.stub.Generate(request())
            await streamed(running.stub, request())
            errors.append(await failing(running.stub.Generate(request())))
            errors.append(await failing(streamed(running.stub, request())))
            errors.append(await failing(running.stub.Generate(request())))
            written = running.log.getvalue().decode()
    assert running.lines("call")
    assert bool(running.lines("exchange")) == (level == "comprehensive")
    assert bool(running.lines("attempt")) == (level != "basic")
    for canary in (KEY, PROMPT, SAID):
        assert canary not in written
        assert canary not in repr(settings)
    assert KEY not in repr([(error.details(), error.trailing_metadata()) for error in errors])


async def test_a_call_keeps_its_configuration_to_its_end(tmp_path: Path) -> None:
    from trunkline_server.core import Chain

    scripts = {"talk": {"text": "word", "repeat": 5, "rate": 20}}
    providers = {"slow": {"kind": "scripted", "scripts": scripts}}
    async with gateway(settings_of(tmp_path, {"providers": providers, "default_model": "mock"})) as running:
        stream = running.stub.StreamGenerate(request(model="slow"))
        await stream.read()
        before = running.app.current.chain
        other = settings_of(tmp_path, {"default_model": "mock"})
        running.app.current.chain = after = running.app.build_chain(other)
        assert isinstance(after, Chain)
        *_, last = await rest(stream)
        assert last.completed.response.served.config_version == before.snapshot.version
        new = await running.stub.Generate(request(model=""))
        assert new.served.config_version == after.snapshot.version != before.snapshot.version
        assert reason(await failing(running.stub.Generate(request(model="slow")))) == "MODEL_NOT_FOUND"
