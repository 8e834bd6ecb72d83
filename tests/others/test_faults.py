"""How servers of others fail, in each wire format: what the gateway makes of it, and that it never looks whole."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from make import kinds
from others.proofs import PATHS, WEATHER, arguments_of, asking, calls_of, failure, request, streamed, whole
from others.servers import tell

from trunkline.v1 import call_pb2, content_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gateway import Gateway
    from others.conftest import Addresses

    from trunkline.v1.call_pb2 import Attempt

EVERY = [(server, kind) for server, paths in PATHS.items() for kind in paths]
EACH_OF_LLMOCK = pytest.mark.parametrize("kind", PATHS["llmock"])
EACH_OF_AIMOCK = pytest.mark.parametrize("kind", PATHS["aimock"])
# What a status means where the body says nothing else.
STATUSES = {
    400: call_pb2.OUTCOME_INVALID,
    401: call_pb2.OUTCOME_AUTH,
    403: call_pb2.OUTCOME_AUTH,
    404: call_pb2.OUTCOME_MODEL_NOT_FOUND,
    422: call_pb2.OUTCOME_INVALID,
    429: call_pb2.OUTCOME_RATE_LIMITED,
    500: call_pb2.OUTCOME_SERVER_ERROR,
    502: call_pb2.OUTCOME_SERVER_ERROR,
    503: call_pb2.OUTCOME_OVERLOADED,
    504: call_pb2.OUTCOME_TIMEOUT,
    529: call_pb2.OUTCOME_OVERLOADED,
}


async def attempt_of(asked: Any) -> Attempt:
    """The only attempt of a call that fails."""
    (attempt,) = (await failure(asked))["trunkline.v1.CallFailure"].served.attempts
    assert isinstance(attempt, call_pb2.Attempt)
    return attempt


@pytest.fixture
def llmock(address_of: Addresses) -> Iterator[Callable[..., str]]:
    """Tells llmock what comes next, and gives its address. What a test left over is forgotten."""
    address = address_of("llmock")

    def told(**behaviour: Any) -> str:
        tell(address, "/_llmock/scenario", {"behaviors": [behaviour]})
        return address

    yield told
    tell(address, "/_llmock/reset", {})


@pytest.fixture
def aimock(address_of: Addresses) -> Iterator[Callable[..., str]]:
    """Tells aimock how to fail from now on, and gives its address. Afterwards it is well again."""
    address = address_of("aimock")

    def told(**chaos: float) -> str:
        tell(address, "/__aimock/chaos", chaos)
        return address

    yield told
    tell(address, "/__aimock/chaos", {})


@pytest.mark.parametrize(("server", "kind"), [each for each in EVERY if each[0] != "llmock"])
async def test_a_wrong_key(tmp_path: Path, address_of: Addresses, server: str, kind: str) -> None:
    """Also: what the server says of our key, which one of them does, reaches nobody."""
    base_url = address_of(server) + PATHS[server][kind]
    async with asking(tmp_path, kind, base_url, api_key="env:WRONG") as running:
        for ask in (whole, streamed):
            attempt = await attempt_of(ask(running, request("Hi")))
            assert (attempt.provider_status, attempt.outcome) == (401, call_pb2.OUTCOME_AUTH)
            assert "wrong-key" not in str(attempt)


async def test_a_request_signed_with_keys_of_aws(tmp_path: Path, address_of: Addresses) -> None:
    """llm-katan looks at the scope, the date and the access key; nobody but AWS can look at the signature."""
    keys = {"access_key_id": "env:KEY", "secret_access_key": "env:SECRET", "region": "eu-west-1"}
    async with asking(tmp_path, "bedrock", address_of("katan"), api_key=None, **keys) as running:
        assert "Say hello" in (await whole(running, request("Say hello"))).message.parts[0].text


@EACH_OF_LLMOCK
async def test_each_status(tmp_path: Path, llmock: Callable[..., str], kind: str) -> None:
    """Each with the body that the provider has for it."""
    base_url = llmock(type="fail", status=400) + PATHS["llmock"][kind]
    async with asking(tmp_path, kind, base_url) as running:
        for status, outcome in STATUSES.items():
            if status != 400:
                llmock(type="fail", status=status)
            attempt = await attempt_of(whole(running, request("Hi")))
            assert (attempt.provider_status, attempt.outcome) == (status, outcome)


@EACH_OF_LLMOCK
@pytest.mark.parametrize(
    ("fault", "outcomes"),
    [
        ("disconnect", {call_pb2.OUTCOME_INTERRUPTED}),
        ("truncate", {call_pb2.OUTCOME_INTERRUPTED}),
        ("malformed", {call_pb2.OUTCOME_PROTOCOL_ERROR}),
    ],
)
async def test_a_stream_that_breaks(
    tmp_path: Path, llmock: Callable[..., str], kind: str, fault: str, outcomes: set[int]
) -> None:
    """At every event of it, up to the last but its terminal marker."""
    base_url = llmock(type="stream_fault", kind=fault, after_chunks=0) + PATHS["llmock"][kind]
    async with asking(tmp_path, kind, base_url) as running:
        for after in range(4):
            if after:
                llmock(type="stream_fault", kind=fault, after_chunks=after)
            attempt = await attempt_of(streamed(running, request("Say a few words to me")))
            assert attempt.outcome in outcomes


@EACH_OF_LLMOCK
async def test_a_stream_that_stalls(tmp_path: Path, llmock: Callable[..., str], kind: str) -> None:
    base_url = llmock(type="stream_fault", kind="stall", after_chunks=3, stall_seconds=20) + PATHS["llmock"][kind]
    async with asking(tmp_path, kind, base_url, first_token="300ms", between_tokens="300ms") as running:
        attempt = await attempt_of(streamed(running, request("Say a few words to me")))
        assert attempt.outcome == call_pb2.OUTCOME_TIMEOUT


@EACH_OF_LLMOCK
async def test_arguments_that_are_not_json(tmp_path: Path, llmock: Callable[..., str], kind: str) -> None:
    """They are the model's own words: they reach the caller as they are, whole and streamed alike."""
    base_url = llmock(type="tool_fault", kind="malformed_arguments", times=2) + PATHS["llmock"][kind]
    asked = request("What is the weather like?", tools=[content_pb2.Tool(function=WEATHER)])
    async with asking(tmp_path, kind, base_url) as running:
        (call,) = calls_of((await whole(running, asked)).message)
        (told,) = arguments_of(await streamed(running, asked))
    assert call.name == "get_weather"
    if kind in {"anthropic", "gemini"}:  # whose arguments are an object: the server cannot break it
        assert isinstance(json.loads(call.arguments_json), dict)
    else:
        with pytest.raises(ValueError, match=r"."):
            json.loads(call.arguments_json)
        assert told == call.arguments_json


@EACH_OF_LLMOCK
async def test_usage_is_what_the_provider_counted(tmp_path: Path, llmock: Callable[..., str], kind: str) -> None:
    base_url = llmock(type="reply", text="one two three four", times=2) + PATHS["llmock"][kind]
    async with asking(tmp_path, kind, base_url) as running:
        usage = (await whole(running, request("a question of ours"))).usage
        events = await streamed(running, request("a question of ours"))
    assert (usage.input_tokens, usage.output_tokens) == (4, 4)
    streams = events[-1].completed.response.usage
    if kind in {"mistral", "perplexity"}:  # who count unasked, which llmock does not know
        assert not streams.HasField("output_tokens")
    else:
        assert (streams.input_tokens, streams.output_tokens) == (4, 4)


@EACH_OF_AIMOCK
@pytest.mark.parametrize(
    ("chaos", "outcome", "status"),
    [
        ("dropRate", call_pb2.OUTCOME_SERVER_ERROR, 500),
        ("rateLimitRate", call_pb2.OUTCOME_RATE_LIMITED, 429),
        ("disconnectRate", call_pb2.OUTCOME_INTERRUPTED, 0),
        ("malformedRate", call_pb2.OUTCOME_PROTOCOL_ERROR, 200),
    ],
)
async def test_chaos(
    tmp_path: Path, aimock: Callable[..., str], kind: str, chaos: str, outcome: int, status: int
) -> None:
    async with asking(tmp_path, kind, aimock(**{chaos: 1}) + PATHS["aimock"][kind]) as running:
        for ask in (whole, streamed):
            attempt = await attempt_of(ask(running, request("Hi")))
            assert attempt.outcome == outcome
            assert attempt.provider_status in (status, 0)


@EACH_OF_AIMOCK
async def test_latency(tmp_path: Path, aimock: Callable[..., str], kind: str) -> None:
    base_url = aimock(latencyMs=20_000) + PATHS["aimock"][kind]
    async with asking(tmp_path, kind, base_url, first_token="200ms") as running:
        attempt = await attempt_of(streamed(running, request("Hi")))
        assert attempt.outcome == call_pb2.OUTCOME_TIMEOUT


async def events_until_it_fails(running: Gateway) -> list[str]:
    """The kinds of the events that a stream has before it fails."""
    seen = []
    stream = running.stub.StreamGenerate(request("Say a few words to me"), timeout=30)

    async def read() -> None:
        async for event in stream:
            seen.append(event)

    await failure(read())
    return kinds(seen)


@EACH_OF_LLMOCK
async def test_a_cut_stream_never_looks_whole(tmp_path: Path, llmock: Callable[..., str], kind: str) -> None:
    base_url = (
        llmock(type="stream_fault", kind="truncate", after_chunks=5 if kind == "openai_responses" else 4)
        + PATHS["llmock"][kind]
    )
    async with asking(tmp_path, kind, base_url) as running:
        seen = await events_until_it_fails(running)
    assert "part_started" in seen
    assert "completed" not in seen
