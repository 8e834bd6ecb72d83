"""Each wire format through the whole gateway: configuration, credentials, path, both RPCs, a real socket."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from apis import APIS, CHAT, Api
from gateway import gateway, settings_of
from google.protobuf.json_format import ParseDict
from grpc import aio
from make import kinds, text_of
from serving import details
from upstreams import answer, chunk, close, head, upstream

from trunkline.v1 import call_pb2
from trunkline.v1 import gateway_service_pb2 as pb
from trunkline_server.providers.table import ROWS

if TYPE_CHECKING:
    from pathlib import Path

    from upstreams import Script

EACH = pytest.mark.parametrize("api", APIS, ids=lambda api: api.kind)
REQUEST = pb.GenerateRequest(model="up/m", prompt="Hello", config=pb.GenerationConfig(max_output_tokens=50))


def document(api: Api, base_url: str) -> dict[str, Any]:
    return {"providers": {"up": {"kind": api.kind, "base_url": base_url, "api_key": "env:KEY", **api.settings}}}


@EACH
async def test_a_unary_call(tmp_path: Path, api: Api) -> None:
    whole = answer(json.dumps(api.whole).encode(), content_type="application/json")
    async with (
        upstream([whole]) as server,
        gateway(settings_of(tmp_path, document(api, server.base_url), {"KEY": "k-1"})) as running,
    ):
        response = await running.stub.Generate(REQUEST)
        sent = next(request for request in server.requests if request.body)
    assert response.message.parts[0].text == "Hi there"
    assert (response.usage.input_tokens, response.usage.output_tokens) == (5, 2)
    assert sent.target == api.path
    name, value = api.key_header
    assert sent.headers[name] == value


@EACH
async def test_a_streamed_call(tmp_path: Path, api: Api) -> None:
    begun = head(200, {"content-type": api.content_type, "transfer-encoding": "chunked"})
    async with (
        upstream([begun, chunk(api.stream), chunk()]) as server,
        gateway(settings_of(tmp_path, document(api, server.base_url), {"KEY": "k-1"})) as running,
    ):
        events = [event async for event in running.stub.StreamGenerate(REQUEST)]
        sent = next(request for request in server.requests if request.body)
    assert kinds(events)[0] == "started"
    assert kinds(events)[-1] == "completed"
    assert text_of(events) == "Hi there"
    usage = events[-1].completed.response.usage
    assert (usage.input_tokens, usage.output_tokens) == (5, 2)
    assert sent.target == api.stream_path


@EACH
async def test_a_cut_stream_begins_again_elsewhere_and_both_are_accounted_for(tmp_path: Path, api: Api) -> None:
    """A fixed sample of cuts; tests/layers/test_cut_streams.py cuts at every byte."""
    begun = head(200, {"content-type": api.content_type, "content-length": str(len(api.stream))})
    cuts = [*range(1, len(api.stream), len(api.stream) // 6), len(api.stream) - 1]
    routing = call_pb2.Routing(fallback_models=["other/m"], on_interruption=call_pb2.ON_INTERRUPTION_RESTART)
    request = pb.GenerateRequest(model="up/m", prompt="Hello", routing=routing)
    request.stream_options.include_final_message = True
    scripts: list[Script] = [[begun, api.stream[:cut], close] for cut in cuts]
    async with (
        upstream(*scripts) as broken,
        upstream([begun, api.stream]) as whole,
    ):
        made = document(api, broken.base_url)["providers"]["up"]
        patient = {**made, "retry": {"max_attempts": 1}, "breaker": {"failures": 1000}}
        providers = {"up": patient, "other": {**patient, "base_url": whole.base_url}}
        async with gateway(settings_of(tmp_path, {"providers": providers}, {"KEY": "k-1"})) as running:
            for _ in cuts:
                events = [event async for event in running.stub.StreamGenerate(request)]
                assert kinds(events).count("completed") == 1
                last = events[-1].completed.response
                assert last.message.parts[0].text == "Hi there"
                assert last.served.attempts[-1].outcome == call_pb2.OUTCOME_SUCCESS
                assert [each.target.provider for each in last.served.attempts][-2:] in (
                    ["up", "other"],
                    ["up"],
                    ["other"],
                )
            totals = (await running.stub.UsageStats(pb.UsageStatsRequest())).totals
    asked = sum(bool(sent.body) for server in (broken, whole) for sent in server.requests)
    assert (totals.requests, totals.successes, totals.attempts) == (len(cuts), len(cuts), asked)


@EACH
async def test_every_cut_of_a_stream_has_one_outcome(tmp_path: Path, api: Api) -> None:
    """A sample through the gateway; each dialect's own tests cut at every byte."""
    begun = head(200, {"content-type": api.content_type, "content-length": str(len(api.stream))})
    cuts = range(0, len(api.stream), max(1, len(api.stream) // 25))
    scripts: list[Script] = [[begun, api.stream[:cut], close] for cut in cuts]
    async with upstream(*scripts) as server:
        async with gateway(settings_of(tmp_path, document(api, server.base_url), {"KEY": "k-1"})) as running:
            for cut in cuts:
                seen: list[pb.StreamGenerateResponse] = []
                with pytest.raises(Exception, match=r"ABORTED|UNAVAILABLE"):
                    async for event in running.stub.StreamGenerate(REQUEST):
                        seen.append(event)
                assert "completed" not in kinds(seen), cut


EVERY = pytest.mark.parametrize("api", [*APIS, CHAT], ids=lambda api: api.kind)


def with_options(**options: Any) -> pb.GenerateRequest:
    return ParseDict({"model": "up/m", "prompt": "Hello", "provider_options": options}, pb.GenerateRequest())


@EVERY
@pytest.mark.parametrize("stream", [False, True])
async def test_options_under_the_providers_own_name_are_said_to_it(tmp_path: Path, api: Api, stream: bool) -> None:
    whole = answer(json.dumps(api.whole).encode(), content_type="application/json")
    options: dict[str, Any] = {"up": {"own": 1, "both": {"a": 1}}, "elsewhere": {"x": 3}}
    request = with_options(**options, **{ROWS[api.kind].dialect: {"other": 2, "both": 2}})
    async with upstream([whole]) as server:
        settings = settings_of(tmp_path, document(api, server.base_url), {"KEY": "k-1"})
        async with gateway(settings) as running:
            if stream:
                assert [event async for event in running.stub.StreamGenerate(request)]
            else:
                await running.stub.Generate(request)
        sent = json.loads(next(request for request in server.requests if request.body).body)
    assert (sent["own"], sent["other"], sent["both"]) == (1, 2, {"a": 1})
    assert "x" not in sent


async def test_options_that_are_refused_are_named_as_the_caller_has_them(tmp_path: Path) -> None:
    request = with_options(up={"n": 2}, openai_chat={"model": "x"})
    settings = settings_of(tmp_path, document(CHAT, "http://127.0.0.1:9"), {"KEY": "k-1"})
    async with gateway(settings) as running:
        with pytest.raises(aio.AioRpcError) as caught:
            await running.stub.Generate(request)
    refused = details(caught.value)["google.rpc.BadRequest"].field_violations
    assert sorted(each.field for each in refused) == ["provider_options.openai_chat.model", "provider_options.up.n"]


KEY_OF_ANY_SHAPE = "hunter2-of-ours"


@pytest.mark.parametrize("cut", [0, 5])
async def test_what_a_provider_says_of_our_key_reaches_nobody(tmp_path: Path, cut: int) -> None:
    """Not even where it looks like no key, or where the message ends in the midst of it."""
    api, padding = APIS[0], ("so it goes " * 100)[-1024 + len(KEY_OF_ANY_SHAPE) - cut :]
    said = {"error": {"type": "authentication_error", "message": f"{padding}{KEY_OF_ANY_SHAPE}".strip()}}
    body = json.dumps(said).encode()
    scripts: list[Script] = [[answer(body, 401)], [answer(body, content_type="application/json")]]
    async with (
        upstream(*scripts) as server,
        gateway(settings_of(tmp_path, document(api, server.base_url), {"KEY": KEY_OF_ANY_SHAPE})) as running,
    ):
        for _ in scripts:
            with pytest.raises(aio.AioRpcError) as caught:
                await running.stub.Generate(REQUEST)
            (attempt,) = details(caught.value)["trunkline.v1.CallFailure"].served.attempts
            assert attempt.provider_message == f"{padding}***".strip()
            assert KEY_OF_ANY_SHAPE[:4] not in str(caught.value) + str(dict(caught.value.trailing_metadata() or ()))
        assert KEY_OF_ANY_SHAPE[:4].encode() not in running.log.getvalue()


async def test_aws_keys_sign_what_is_sent(tmp_path: Path) -> None:
    api = APIS[-1]
    environ = {
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_SESSION_TOKEN": "session",
        "AWS_REGION": "eu-west-1",
    }
    whole = answer(json.dumps(api.whole).encode(), content_type="application/json")
    async with upstream([whole]) as server:
        up = {"providers": {"up": {"kind": "bedrock", "base_url": server.base_url}}}
        async with gateway(settings_of(tmp_path, up, environ)) as running:
            await running.stub.Generate(REQUEST)
        sent = next(request for request in server.requests if request.body)
    assert sent.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/")
    assert "/eu-west-1/bedrock/aws4_request" in sent.headers["authorization"]
    assert sent.headers["x-amz-security-token"] == "session"


async def test_long_unary_calls_are_streamed_upstream_and_folded(tmp_path: Path) -> None:
    api = APIS[0]
    begun = head(200, {"content-type": api.content_type, "transfer-encoding": "chunked"})
    async with (
        upstream([begun, chunk(api.stream), chunk()]) as server,
        gateway(settings_of(tmp_path, document(api, server.base_url), {"KEY": "k-1"})) as running,
    ):
        response = await running.stub.Generate(pb.GenerateRequest(model="up/m", prompt="Hello"))
        sent = next(request for request in server.requests if request.body)
    assert json.loads(sent.body)["stream"] is True
    assert response.message.parts[0].text == "Hi there"
    assert response.usage.output_tokens == 2


@pytest.mark.parametrize(
    ("name", "provider", "model"),
    [
        ("claude", "anthropic", "claude-sonnet-5-5"),
        ("claude-sonnet-4.5", "anthropic", "claude-sonnet-4-5"),
        ("Claude-Sonnet-4-5-20250929", "anthropic", "claude-sonnet-4-5"),
        ("anthropic/claude-sonnet-4.5", "anthropic", "claude-sonnet-4-5"),
        ("claude/claude-opus-4-5", "anthropic", "claude-opus-4-5"),
        ("gemini", "gemini", "gemini-3.8-flash"),
        ("gemini-2-5-pro", "gemini", "gemini-2.5-pro"),
        ("openai/gpt-4o", "openai", "gpt-4o"),
        ("gpt-4o-2024-08-06", "openai", "gpt-4o"),
        ("openai/ft:gpt-4o:me::1", "openai", "ft:gpt-4o:me::1"),
        ("fireworks", "fireworks", "accounts/fireworks/models/llama-v3p3-70b-instruct"),
    ],
)
def test_names_that_people_type(tmp_path: Path, name: str, provider: str, model: str) -> None:
    from asked import resolve_model

    from trunkline_server.providers.table import ROWS
    from trunkline_server.routing.catalogue import build_offers
    from trunkline_server.snapshot import Snapshot

    keys = ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GOOGLE_API_KEY", "FIREWORKS_API_KEY"]
    settings = settings_of(tmp_path, {}, dict.fromkeys(keys, "k"))
    [target, *_] = resolve_model(Snapshot("", settings, build_offers(settings, ROWS, {})), name)
    assert (target.provider, target.model) == (provider, model)
