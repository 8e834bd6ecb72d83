"""Credentials of a whole gateway: several keys, keys that change, tokens that renew themselves, slow stores."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from credentials import json_answer
from gateway import gateway, settings_of
from grpc import aio
from serving import details, reason
from upstreams import answer, hold, upstream

from trunkline.v1 import call_pb2, model_service_pb2
from trunkline.v1 import gateway_service_pb2 as pb
from trunkline.v1.identity_pb2 import AuditEvent, ListAuditEventsRequest
from trunkline.v1.model_service_pb2 import GetModelRequest, ListModelsRequest
from trunkline_server.state.audit import list_events

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from gateway import Gateway
    from upstreams import Connection

    from trunkline_server.settings import Settings

VALID = pb.EndpointHealth.CREDENTIAL_STATE_VALID
REFUSED = pb.EndpointHealth.CREDENTIAL_STATE_REFUSED
QUOTA = pb.EndpointHealth.CREDENTIAL_STATE_QUOTA
UNKNOWN = pb.EndpointHealth.CREDENTIAL_STATE_UNKNOWN
State = pb.HealthCheckResponse
PATIENCE = 20.0
KEYS = {name: f"sk-canary-0123456789-{name.lower()}" for name in ("A", "B", "C")}
WHOLE = answer(b'{"choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}]}', content_type="application/json")
# One attempt a call: which key it gets is what is looked at.
ONCE = call_pb2.Routing(max_attempts=1)
REFUSAL = answer(b'{"error": {"code": "invalid_api_key"}}', 401)
EMPTY = answer(b'{"error": {"code": "insufficient_quota"}}', 429)
LATER = answer(b"{}", 429, retry_after="50")
LIST = answer(b'{"data": [{"id": "m"}]}')
# What a Vertex provider answers.
GEMINI = answer(
    b'{"candidates":[{"content":{"parts":[{"text":"Hi"}]},"finishReason":"STOP"}]}', content_type="application/json"
)


class Vendor:
    """Answers each request by the key that it carries."""

    def __init__(self, replies: Mapping[str, bytes] = {}, default: bytes = WHOLE) -> None:
        self.replies = dict(replies)
        self.default = default
        self.seen: list[str] = []
        self.server: Any = None

    async def __call__(self, connection: Connection) -> None:
        request = self.server.requests[-1]
        key = request.headers["authorization"].removeprefix("Bearer ")
        name = next((name for name, value in KEYS.items() if value == key), key)
        self.seen.append(name)
        reply = self.replies.get(name, self.default)
        await connection.send(LIST if request.target.endswith("/models") and reply == WHOLE else reply)


def settings_with(tmp_path: Path, base_url: str, **provider: Any) -> Settings:
    up = {"kind": "openai_compatible", "base_url": base_url, "models": ["m"], **provider}
    up = {name: value for name, value in up.items() if value is not None}
    return settings_of(tmp_path, {"providers": {"up": up, "embedded": {"enabled": False}}}, KEYS)


def three(tmp_path: Path, base_url: str) -> Settings:
    return settings_with(tmp_path, base_url, api_key="env:A", api_keys=["env:B", "env:C"])


async def told(running: Gateway, **request: bool) -> pb.ProviderHealth:
    health = await running.stub.HealthCheck(pb.HealthCheckRequest(**(request or {"include_providers": True})))
    return {provider.provider: provider for provider in health.providers}["up"]


async def told_when(running: Gateway, fits: Callable[[pb.ProviderHealth], bool]) -> pb.ProviderHealth:
    async with asyncio.timeout(PATIENCE):
        while not fits(up := await told(running)):
            await asyncio.sleep(0.01)
    return up


async def generate(running: Gateway) -> aio.AioRpcError | None:
    try:
        await running.stub.Generate(pb.GenerateRequest(model="up", prompt="x", routing=ONCE))
    except aio.AioRpcError as error:
        return error
    return None


# --- several keys -----------------------------------------------------------------------------------------------------


async def test_calls_take_turns_with_the_keys(tmp_path: Path) -> None:
    vendor = Vendor()
    async with upstream([vendor]) as vendor.server, gateway(three(tmp_path, vendor.server.base_url)) as running:
        for _ in range(6):
            assert await generate(running) is None
        assert vendor.seen == ["A", "B", "C"] * 2
        endpoints = (await told(running)).endpoints
        assert [each.credential for each in endpoints] == ["env:A ...89-a", "env:B ...89-b", "env:C ...89-c"]
        assert {each.credential_state for each in endpoints} == {VALID}


@pytest.mark.parametrize("reply", ["refused", "no quota", "later"])
async def test_a_call_goes_on_with_the_next_key(tmp_path: Path, reply: str) -> None:
    """The caller sees nothing of it; a key that was refused is left alone afterwards."""
    replies = {
        "refused": REFUSAL,
        "no quota": answer(b"{}", 402, content_type="application/json"),
        "later": answer(b"{}", 429, content_type="application/json", retry_after="60"),
    }
    vendor = Vendor({"A": replies[reply], "B": replies[reply]})
    async with upstream([vendor]) as vendor.server, gateway(three(tmp_path, vendor.server.base_url)) as running:
        request = pb.GenerateRequest(model="up", prompt="x")
        tried = [len((await running.stub.Generate(request)).served.attempts) for _ in range(3)]
        assert vendor.seen == ["A", "C", "B", "C", "C"]
        assert tried == [2, 2, 1]


async def test_each_key_is_validated_and_one_that_is_refused_is_left_out(tmp_path: Path) -> None:
    vendor = Vendor({"B": REFUSAL})
    async with upstream([vendor]) as vendor.server:
        async with gateway(three(tmp_path, vendor.server.base_url), validates=True) as running:
            up = await told_when(running, lambda up: all(each.credential_state != UNKNOWN for each in up.endpoints))
            assert [each.credential_state for each in up.endpoints] == [VALID, REFUSED, VALID]
            assert up.state == State.STATE_DEGRADED
            assert "env:B" in up.reason
            assert up.endpoints[1].HasField("credential_check_time")
            assert sorted(vendor.seen) == ["A", "B", "C"]
            vendor.seen.clear()
            for _ in range(4):
                assert await generate(running) is None
            assert vendor.seen == ["A", "C"] * 2
            probed = await told(running, probe=True)
            assert [(probe.credential.split()[0], probe.outcome) for probe in probed.probes] == [
                ("env:A", call_pb2.OUTCOME_SUCCESS),
                ("env:B", call_pb2.OUTCOME_AUTH),
                ("env:C", call_pb2.OUTCOME_SUCCESS),
            ]


@pytest.mark.parametrize(("reply", "state"), [(EMPTY, QUOTA), (LATER, UNKNOWN)], ids=["quota", "told to wait"])
async def test_a_key_without_quota_or_told_to_wait_is_left_out(tmp_path: Path, reply: bytes, state: Any) -> None:
    vendor = Vendor({"A": reply})
    async with upstream([vendor]) as vendor.server, gateway(three(tmp_path, vendor.server.base_url)) as running:
        assert await generate(running) is not None
        assert (await told(running)).endpoints[0].credential_state == state
        for _ in range(4):
            assert await generate(running) is None
        assert vendor.seen[1:] == ["B", "C"] * 2 or vendor.seen[1:] == ["C", "B"] * 2


@pytest.mark.parametrize("reply", [REFUSAL, EMPTY, LATER], ids=["refused", "no quota", "told to wait"])
async def test_models_are_asked_for_with_a_key_that_may_be_used(tmp_path: Path, reply: bytes) -> None:
    vendor = Vendor({"A": reply})
    async with upstream([vendor]) as vendor.server, gateway(three(tmp_path, vendor.server.base_url)) as running:
        for _ in range(2):
            told = await running.models.RefreshModels(model_service_pb2.RefreshModelsRequest())
            assert [(each.provider, each.outcome) for each in told.providers] == [("up", call_pb2.OUTCOME_SUCCESS)]
        assert vendor.seen == ["A", "B"] * 2
        assert await generate(running) is not None
        vendor.seen.clear()
        await running.models.RefreshModels(model_service_pb2.RefreshModelsRequest())
        assert vendor.seen == ["B"]


async def test_when_every_key_is_refused_the_list_is_too(tmp_path: Path) -> None:
    vendor = Vendor({}, REFUSAL)
    async with upstream([vendor]) as vendor.server, gateway(three(tmp_path, vendor.server.base_url)) as running:
        (told,) = (await running.models.RefreshModels(model_service_pb2.RefreshModelsRequest())).providers
        assert (told.outcome, vendor.seen) == (call_pb2.OUTCOME_AUTH, ["A", "B", "C"])


async def test_when_none_may_be_used_and_the_first_to_be_back_said_to_wait_nobody_is_asked(tmp_path: Path) -> None:
    soon = answer(b"{}", 429, retry_after="20")
    vendor = Vendor({"A": LATER, "B": soon, "C": REFUSAL})
    async with upstream([vendor]) as vendor.server, gateway(three(tmp_path, vendor.server.base_url)) as running:
        for _ in range(3):
            assert await generate(running) is not None
        assert sorted(vendor.seen) == ["A", "B", "C"]
        assert (await told(running)).state == State.STATE_NOT_SERVING
        vendor.replies.clear()
        assert await generate(running) is not None
        assert len(vendor.seen) == 3


async def test_models_probe_names_that_it_was_one_of_several(tmp_path: Path) -> None:
    vendor = Vendor()
    async with upstream([vendor]) as vendor.server, gateway(three(tmp_path, vendor.server.base_url)) as running:
        (probe,) = (await told(running, probe_models=True)).probes
        assert probe.credential == "one of 3"


# --- a key file -------------------------------------------------------------------------------------------------------


async def test_a_key_file_that_changes_is_picked_up_without_a_restart(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEYS["A"])
    vendor = Vendor({"A": REFUSAL})
    async with upstream([vendor]) as vendor.server:
        settings = settings_with(tmp_path, vendor.server.base_url, api_key=f"file:{tmp_path}/key")
        async with gateway(settings) as running:
            assert await generate(running) is not None
            assert (await told(running)).endpoints[0].credential_state == REFUSED
            (tmp_path / "key").write_text(KEYS["B"] + "\n")
            up = await told_when(running, lambda up: up.endpoints[0].credential.endswith("89-b"))
            assert (up.endpoints[0].credential_state, up.state) == (UNKNOWN, State.STATE_DEGRADED)
            assert await generate(running) is None
            assert vendor.seen == ["A", "B"]
            assert (await told(running)).endpoints[0].credential_state == VALID
            (line,) = running.lines("credential")
            assert (line["provider"], line["what"]) == ("up", "there is a new key in its file")
            assert "canary" not in running.log.getvalue().decode()
            refused, changed = await audited(running, 2)
            assert (refused.kind, refused.subject[:9]) == (AuditEvent.KIND_CREDENTIAL_REFUSED, "up: file:")
            assert refused.detail == "AUTH, status 401, invalid_api_key"
            assert (changed.kind, changed.subject[-4:]) == (AuditEvent.KIND_CREDENTIAL_CHANGED, "89-b")
            assert "canary" not in f"{refused} {changed}"


async def audited(running: Gateway, count: int) -> list[AuditEvent]:
    """What was written down of credentials, the oldest first, once there is so much."""
    kinds = [AuditEvent.KIND_CREDENTIAL_REFUSED, AuditEvent.KIND_CREDENTIAL_CHANGED]
    async with asyncio.timeout(PATIENCE):
        while len(events := await list_events(running.app._audit.database, asking(kinds), "", 10)) < count:
            await asyncio.sleep(0.01)
    return events[::-1]


def asking(kinds: list[AuditEvent.Kind.ValueType]) -> ListAuditEventsRequest:
    return ListAuditEventsRequest(kinds=kinds)


async def test_a_key_file_with_bad_content_keeps_the_key_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEYS["A"])
    vendor = Vendor({"A": REFUSAL})
    async with upstream([vendor]) as vendor.server:
        settings = settings_with(tmp_path, vendor.server.base_url, api_key=f"file:{tmp_path}/key")
        async with gateway(settings) as running:
            assert await generate(running) is not None
            (tmp_path / "key").write_text(f"{KEYS['B']}\n{KEYS['C']}\n")
            up = await told_when(running, lambda up: "key before it is used" in up.endpoints[0].credential_reason)
            assert up.endpoints[0].credential_state == REFUSED
            vendor.replies.clear()
            assert await generate(running) is None
            assert vendor.seen == ["A", "A"]
            assert "the key before it is used" in (await told(running)).endpoints[0].credential_reason


async def test_a_key_that_the_provider_says_back_is_masked_though_it_came_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("plain-words-as-key")
    echo = answer(b'{"error": {"message": "no such key: plain-words-as-key"}}', 401)
    async with upstream([echo]) as server:
        settings = settings_with(tmp_path, server.base_url, api_key=f"file:{tmp_path}/key")
        async with gateway(settings) as running:
            error = await generate(running)
            assert error is not None
            (attempt,) = details(error)["trunkline.v1.CallFailure"].served.attempts
            assert attempt.provider_message == "no such key: ***"


# --- tokens and stores ------------------------------------------------------------------------------------------------


def vertex(tmp_path: Path, base_url: str, tokens: str) -> Settings:
    (tmp_path / "google.json").write_text(
        json.dumps(
            {
                "type": "authorized_user",
                "client_id": "c",
                "client_secret": "canary-secret",
                "refresh_token": "canary-refresh",
                "token_uri": tokens,
            }
        )
    )
    up = {"kind": "vertex", "base_url": base_url, "service_account": f"file:{tmp_path}/google.json"}
    return settings_of(tmp_path, {"providers": {"up": up, "embedded": {"enabled": False}}})


async def test_calls_carry_the_token(tmp_path: Path) -> None:
    token = json_answer({"access_token": "ya29.canary", "expires_in": 3600})
    async with upstream([token]) as tokens, upstream([GEMINI]) as server:
        async with gateway(vertex(tmp_path, server.base_url, f"{tokens.base_url}/token")) as running:
            errors = await asyncio.gather(*(generate(running) for _ in range(50)))
            assert errors == [None] * 50
            assert len(tokens.requests) == 1
            assert {request.headers["authorization"] for request in server.requests} == {"Bearer ya29.canary"}
            (endpoint,) = (await told(running)).endpoints
            assert (endpoint.credential, endpoint.credential_state) == (f"file:{tmp_path}/google.json", VALID)
            assert "canary" not in f"{await told(running)}{running.log.getvalue().decode()}"


async def test_without_a_token_nothing_is_sent_and_the_provider_is_not_available_yet(tmp_path: Path) -> None:
    refusal = json_answer({"error": "invalid_grant", "error_description": "canary"}, 400)
    async with upstream([refusal]) as tokens, upstream([GEMINI]) as server:
        async with gateway(vertex(tmp_path, server.base_url, f"{tokens.base_url}/token")) as running:
            error = await generate(running)
            assert error is not None
            assert (error.code(), reason(error)) == (grpc.StatusCode.INTERNAL, "PROVIDER_AUTH")
            (attempt,) = details(error)["trunkline.v1.CallFailure"].served.attempts
            assert (attempt.outcome, attempt.provider_code) == (call_pb2.OUTCOME_AUTH, "no_credential")
            assert server.requests == []
            up = await told(running)
            assert up.state == State.STATE_NOT_SERVING
            assert up.reason.startswith("not available yet: ")
            assert "answered 400 (invalid_grant)" in up.reason
            assert up.endpoints[0].credential_reason.startswith("not available yet: ")
            listed = (await running.models.ListModels(ListModelsRequest(provider="up"))).models
            assert listed
            assert {(each.available, each.unavailable_reason) for each in listed} == {(False, up.reason)}
            callable_ = ListModelsRequest(provider="up", available_only=True)
            assert not (await running.models.ListModels(callable_)).models
            model = await running.models.GetModel(GetModelRequest(id="up"))
            assert (model.available, model.unavailable_reason) == (False, up.reason)
            assert "canary" not in f"{up}{error.details()}{running.log.getvalue().decode()}"


async def test_neither_the_start_nor_the_drain_waits_for_a_store(tmp_path: Path) -> None:
    async with asyncio.timeout(PATIENCE), upstream([hold]) as store:
        document = {
            "providers": {"up": {"kind": "openai", "api_key": "aws-sm:prod/openai"}, "embedded": {"enabled": False}},
            "aws_secrets": {"url": store.base_url, "region": "us-east-1"},
        }
        environ = {"AWS_ACCESS_KEY_ID": "AKIDOWN", "AWS_SECRET_ACCESS_KEY": "s"}
        async with gateway(settings_of(tmp_path, document, environ), validates=True) as running:
            await store.wait_requests(1)
            up = await told(running)
            assert up.state == State.STATE_NOT_SERVING
            assert up.reason == "not available yet: it has not been fetched yet (aws-sm:prod/openai)"
        await store.connections[0].closed_by_peer


async def test_one_key_that_cannot_be_had_leaves_the_others(tmp_path: Path) -> None:
    vendor = Vendor()
    async with upstream([json_answer({"__type": "AccessDeniedException"}, 400)]) as store:
        async with upstream([vendor]) as vendor.server:
            document = {
                "providers": {
                    "up": {
                        "kind": "openai_compatible",
                        "models": ["m"],
                        "base_url": vendor.server.base_url,
                        "api_keys": ["aws-sm:prod/openai", "env:A"],
                    },
                    "embedded": {"enabled": False},
                },
                "aws_secrets": {"url": store.base_url, "region": "us-east-1"},
            }
            environ = {"AWS_ACCESS_KEY_ID": "AKIDOWN", "AWS_SECRET_ACCESS_KEY": "s", **KEYS}
            async with gateway(settings_of(tmp_path, document, environ)) as running:
                await told_when(running, lambda up: "AccessDenied" in up.reason)
                for _ in range(3):
                    assert await generate(running) is None
                assert vendor.seen == ["A"] * 3
                (model,) = (await running.models.ListModels(ListModelsRequest(provider="up"))).models
                assert model.available


# --- no key -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "ways"),
    [
        ("openai", "set OPENAI_API_KEY or providers.up.api_key"),
        ("bedrock", "set AWS_BEARER_TOKEN_BEDROCK or providers.up.api_key, access_key_id, role_arn or ambient"),
        ("vertex", "set VERTEX_ACCESS_TOKEN or providers.up.api_key, service_account or ambient"),
        ("azure_openai", "set AZURE_OPENAI_API_KEY or providers.up.api_key, client_id or ambient"),
    ],
)
async def test_a_provider_without_a_key_is_not_available_and_its_models_say_why(
    tmp_path: Path, kind: str, ways: str
) -> None:
    up = {"kind": kind, "base_url": "https://up.example", "models": ["m"]}
    async with gateway(settings_of(tmp_path, {"providers": {"up": up}})) as running:
        (model,) = (await running.models.ListModels(model_service_pb2.ListModelsRequest(provider="up"))).models
        assert (model.available, model.unavailable_reason) == (False, ways)
