"""HealthCheck of a whole gateway: what calls and probes of real sockets leave in it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from gateway import gateway, settings_of
from grpc import aio
from grpc_health.v1 import health_pb2
from make import snapshot
from upstreams import answer, hold, upstream

from trunkline.v1 import call_pb2
from trunkline.v1 import gateway_service_pb2 as pb
from trunkline_server.rpc.health import SERVICES, Health, Probed, Serving, health_of
from trunkline_server.state.provider_health import ProviderStates
from trunkline_server.state.statistics import Statistics

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gateway import Gateway

    from trunkline_server.settings import Settings

VALID = pb.EndpointHealth.CREDENTIAL_STATE_VALID
REFUSED = pb.EndpointHealth.CREDENTIAL_STATE_REFUSED
UNKNOWN = pb.EndpointHealth.CREDENTIAL_STATE_UNKNOWN
MISSING = pb.EndpointHealth.CREDENTIAL_STATE_MISSING
State = pb.HealthCheckResponse

# Seconds after which a test that waits has failed.
PATIENCE = 20.0
KEY = "sk-canary-0123456789abcdef"
WHOLE = answer(
    b'{"choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}]}',
    content_type="application/json",
    x_ratelimit_limit_requests="100",
    x_ratelimit_remaining_requests="99",
    x_ratelimit_reset_requests="30s",
)
LIST = answer(b'{"data": []}')
BAD_KEY = answer(b'{"error": {"code": "invalid_api_key", "message": "Bad key"}}', 401, x_request_id="req-1")


def settings_with(tmp_path: Path, base_url: str, **provider: Any) -> Settings:
    """One provider over HTTP beside the built-in ones, with a key unless told otherwise."""
    key = {"api_key": "env:UP_KEY"}
    up = {"kind": "openai_compatible", "base_url": base_url, "models": ["m"], **key, **provider}
    up = {name: value for name, value in up.items() if value is not None}
    return settings_of(tmp_path, {"providers": {"up": up, "embedded": {"enabled": False}}}, {"UP_KEY": KEY})


async def told(running: Gateway, **request: bool) -> pb.ProviderHealth:
    health = await running.stub.HealthCheck(pb.HealthCheckRequest(**(request or {"include_providers": True})))
    return {provider.provider: provider for provider in health.providers}["up"]


async def told_when(running: Gateway, fits: Callable[[pb.EndpointHealth], bool]) -> pb.EndpointHealth:
    """The endpoint's health once it is as it should be. Fails after PATIENCE seconds."""
    async with asyncio.timeout(PATIENCE):
        while not fits(endpoint := (await told(running)).endpoints[0]):
            pass
    return endpoint


async def generate(running: Gateway, max_attempts: int | None = None) -> None:
    routing = call_pb2.Routing(max_attempts=max_attempts)
    await running.stub.Generate(pb.GenerateRequest(model="up", prompt="x", routing=routing))


async def test_a_call_leaves_the_credential_valid_and_the_limits_known(tmp_path: Path) -> None:
    async with upstream([WHOLE]) as server, gateway(settings_with(tmp_path, server.base_url)) as running:
        await generate(running)
        up = await told(running)
        (endpoint,) = up.endpoints
        assert (up.state, up.reason) == (State.STATE_SERVING, "")
        assert (endpoint.endpoint, endpoint.credential) == (server.base_url, "env:UP_KEY ...cdef")
        assert (endpoint.credential_state, endpoint.concurrency_limit) == (VALID, 1000)
        assert abs(endpoint.credential_check_time.ToSeconds() - time.time()) < 60
        (limit,) = endpoint.rate_limits
        assert (limit.dimension, limit.limit, limit.remaining) == ("requests", 100, 99)
        assert 0 < limit.reset_time.ToSeconds() - time.time() < 31
        assert up.HasField("last_success_time")
        assert not up.probes
        assert KEY not in str(up)


async def test_a_refused_key_is_told_with_the_error_and_degrades_the_gateway(tmp_path: Path) -> None:
    async with upstream([BAD_KEY]) as server, gateway(settings_with(tmp_path, server.base_url)) as running:
        with pytest.raises(aio.AioRpcError) as raised:
            await generate(running)
        up = await told(running)
        assert up.state == State.STATE_NOT_SERVING
        assert "set another one" in up.reason
        assert up.endpoints[0].credential_state == REFUSED
        assert "401" in up.endpoints[0].credential_reason
        (error,) = up.recent_errors
        assert (error.outcome, error.provider_status, error.provider_request_id) == (
            call_pb2.OUTCOME_AUTH,
            401,
            "req-1",
        )
        assert error.call_id == dict(raised.value.trailing_metadata() or ())["trunkline-call-id"]
        whole = await running.stub.HealthCheck(pb.HealthCheckRequest())
        assert whole.state == State.STATE_DEGRADED
        assert not whole.providers


async def test_a_rate_limit_blocks_until_the_time_that_the_provider_says(tmp_path: Path) -> None:
    limited = answer(b"{}", 429, retry_after="50")
    async with upstream([limited]) as server:
        async with gateway(settings_with(tmp_path, server.base_url, api_key=None)) as running:
            with pytest.raises(aio.AioRpcError):
                await generate(running, max_attempts=1)  # it would wait and ask again
            up = await told(running)
        assert up.state == State.STATE_NOT_SERVING
        assert "asked us to wait" in up.reason
        # And a little longer, so that not all come back at once.
        assert 40 < up.endpoints[0].blocked_until_time.ToSeconds() - time.time() <= 53


async def test_calls_that_run_and_wait_are_counted(tmp_path: Path) -> None:
    async with upstream([hold]) as server:
        settings = settings_with(tmp_path, server.base_url, api_key=None, max_connections=1)
        async with gateway(settings) as running:
            calls = [running.stub.Generate(pb.GenerateRequest(model="up", prompt="x")) for _ in range(3)]
            endpoint = await told_when(running, lambda it: it.in_flight + it.queue_depth == 3)
            assert (endpoint.in_flight, endpoint.queue_depth, endpoint.concurrency_limit) == (1, 2, 1)
            for call in calls:
                call.cancel()
            await told_when(running, lambda it: it.in_flight == it.queue_depth == 0)


async def test_validation_at_the_start_finds_a_refused_key_before_any_call(tmp_path: Path) -> None:
    async with (
        asyncio.timeout(PATIENCE),
        upstream([BAD_KEY]) as server,
        gateway(settings_with(tmp_path, server.base_url), validates=True) as running,
    ):
        endpoint = await told_when(running, lambda it: it.credential_state != UNKNOWN)
        assert endpoint.credential_state == REFUSED
        assert [request.target for request in server.requests] == ["/models"]
        assert not (await told(running)).recent_errors


async def test_neither_the_start_nor_the_drain_waits_for_a_provider_that_is_silent(tmp_path: Path) -> None:
    async with asyncio.timeout(PATIENCE), upstream([hold]) as server:
        async with gateway(settings_with(tmp_path, server.base_url), validates=True) as running:
            await server.wait_requests(1)
            assert (await told(running)).endpoints[0].credential_state == UNKNOWN
        await server.connections[0].closed_by_peer


async def test_a_probe_asks_each_provider_for_nothing_and_tells_how_it_went(tmp_path: Path) -> None:
    async with upstream([BAD_KEY]) as server, gateway(settings_with(tmp_path, server.base_url)) as running:
        up = await told(running, probe=True)
        (probe,) = up.probes
        assert probe.target == call_pb2.Target(provider="up")
        assert (probe.credential, probe.outcome) == ("env:UP_KEY ...cdef", call_pb2.OUTCOME_AUTH)
        assert probe.HasField("duration")
        assert up.endpoints[0].credential_state == REFUSED
        assert {request.target for request in server.requests} == {"/models"}


async def test_a_server_without_a_key_is_asked_but_its_credential_stays_unknown(tmp_path: Path) -> None:
    async with upstream([LIST]) as server:
        async with gateway(settings_with(tmp_path, server.base_url, api_key=None)) as running:
            up = await told(running, probe=True)
    assert len(server.requests) == 1
    assert up.probes[0].outcome == call_pb2.OUTCOME_SUCCESS
    assert (up.endpoints[0].credential, up.endpoints[0].credential_state) == ("", UNKNOWN)


async def test_a_provider_whose_key_is_missing_is_not_asked(tmp_path: Path) -> None:
    async with upstream([LIST]) as server:
        settings = settings_with(tmp_path, server.base_url, kind="openai", api_key=None)
        async with gateway(settings) as running:
            up = await told(running, probe=True, probe_models=True)
    assert server.requests == []
    assert up.endpoints[0].credential_state == MISSING
    assert up.state == State.STATE_NOT_SERVING
    assert "OPENAI_API_KEY" in up.reason
    assert up.status_url == "https://status.openai.com"


async def test_models_are_probed_through_every_layer(tmp_path: Path) -> None:
    async with upstream([WHOLE]) as server:
        async with gateway(settings_with(tmp_path, server.base_url, api_key=None)) as running:
            health = await running.stub.HealthCheck(pb.HealthCheckRequest(probe_models=True))
            lines = {line["target"]: line for line in running.lines("call")}
    assert b'"max_completion_tokens":1' in server.requests[0].body.replace(b"max_tokens", b"max_completion_tokens")
    probes = [probe for provider in health.providers for probe in provider.probes]
    assert {f"{probe.target.provider}/{probe.target.model}": probe.outcome for probe in probes} == dict.fromkeys(
        ("mock/mock-fast", "mock/mock-slow", "up/m"), call_pb2.OUTCOME_SUCCESS
    )
    assert set(lines) == {"up/m", "mock/mock-fast", "mock/mock-slow"}
    assert len({line["id"] for line in lines.values()}) == 3


async def test_a_silent_provider_is_told_within_the_callers_own_time(tmp_path: Path) -> None:
    async with upstream([hold]) as server:
        async with gateway(settings_with(tmp_path, server.base_url, api_key=None)) as running:
            request = pb.HealthCheckRequest(probe=True)
            health = await running.stub.HealthCheck(request, timeout=1.0)
    (up,) = [provider for provider in health.providers if provider.provider == "up"]
    assert up.probes[0].outcome == call_pb2.OUTCOME_TIMEOUT


# What HealthCheck says of the whole gateway, by what is configured.
OFF, KEYLESS = {"enabled": False}, {"kind": "openai"}


@pytest.mark.parametrize(
    ("providers", "state"),
    [
        ({"embedded": OFF}, State.STATE_SERVING),
        # What is there without being configured need not work: here it has no weights.
        ({}, State.STATE_SERVING),
        ({"up": KEYLESS}, State.STATE_DEGRADED),
        ({"up": KEYLESS, "embedded": OFF, "mock": OFF}, State.STATE_NOT_SERVING),
        ({"up": KEYLESS, "mock": OFF}, State.STATE_NOT_SERVING),
        ({"up": OFF, "embedded": OFF}, State.STATE_SERVING),
    ],
)
async def test_the_state_of_the_gateway(tmp_path: Path, providers: dict[str, Any], state: Any) -> None:
    up = {name: {"kind": "openai", **each} if name == "up" else each for name, each in providers.items()}
    async with gateway(settings_of(tmp_path, {"providers": up})) as running:
        health = await running.stub.HealthCheck(pb.HealthCheckRequest())
        assert (health.state, list(health.providers)) == (state, [])


def test_a_gateway_that_drains_says_so_whatever_its_providers() -> None:
    serving = Serving(0.0)
    serving.drain()
    told = health_of(snapshot(), serving, Statistics(), ProviderStates(), pb.HealthCheckRequest(), Probed())
    assert told.state == State.STATE_DRAINING


class SlowWriter:
    """A caller who takes the first status only once the gateway has stopped."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self.written: list[int] = []

    async def write(self, message: Any) -> None:
        if not self.written:
            self._serving.drain()
            self._serving.stop()
        self.written.append(message.status)


async def test_a_watch_that_is_writing_while_the_gateway_stops_tells_of_it() -> None:
    serving = Serving(0.0)
    caller: Any = SlowWriter(serving)
    ready = health_pb2.HealthCheckRequest(service=SERVICES[0])
    await asyncio.wait_for(Health(serving, SERVICES).Watch(ready, caller), PATIENCE)
    assert caller.written == [health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING]
