"""Probes: what is sent, over real sockets; what is learnt of the answer; and how long it takes, in virtual time."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
from credentials import fixed, sent_by
from make import completed, playing, snapshot
from upstreams import answer, hold, nobody_listens, upstream
from virtual_time import run_virtual

from trunkline.v1 import call_pb2
from trunkline_server.core import Call, Chain, Events, Identity
from trunkline_server.dialects import openai_chat
from trunkline_server.errors import CallError, UpstreamError
from trunkline_server.formats import DIALECTS
from trunkline_server.providers.http import HttpClient
from trunkline_server.providers.probe import (
    AT_ONCE,
    MODELS_ROUND,
    ROUND,
    VALIDATE_EVERY,
    Asked,
    CredentialProbe,
    Prober,
    build_probe,
)
from trunkline_server.providers.row import NO_PROBE
from trunkline_server.providers.table import ROWS, Row, configured
from trunkline_server.providers.upstream import Endpoint
from trunkline_server.settings import Header, ProviderSettings, Secret

if TYPE_CHECKING:
    from collections.abc import Sequence

    from upstreams import Script

    from trunkline_server.dialects.limits import Limit

KEY = Secret("sk-0123456789abcdefghij", "env:SOME_KEY")
ROW = Row(name="some", dialect="openai_chat", auth="bearer", key_required=True)


@dataclass
class Learnt:
    """What a probe told."""

    credential: str = "env:SOME_KEY ...ghij"
    told: list[object] = field(default_factory=list)

    def limited(self, limits: Sequence[Limit]) -> None:
        self.told.append([limit.dimension for limit in limits])

    def succeeded(self) -> None:
        self.told.append("succeeded")

    def failed(self, error: UpstreamError) -> None:
        self.told.append(error.outcome)


def probe_of(client: HttpClient, base_url: str, learnt: Learnt, row: Row = ROW) -> CredentialProbe:
    endpoint = Endpoint(base_url, sent_by(row, ProviderSettings(api_key=KEY)), row.quirks)
    probe = build_probe("p", row, endpoint, learnt, Asked(client, openai_chat))
    assert probe is not None
    return probe


async def ask(base_url: str, learnt: Learnt) -> call_pb2.Outcome.ValueType:
    client = HttpClient(max_connections=2, connect_timeout=5)
    try:
        return await probe_of(client, base_url, learnt).ask()
    finally:
        await client.aclose()


async def test_the_models_are_asked_for_with_the_credential() -> None:
    learnt = Learnt()
    async with upstream([answer(b'{"data": []}', x_ratelimit_remaining_requests="7")]) as server:
        assert await ask(server.base_url + "/v1", learnt) == call_pb2.OUTCOME_SUCCESS
        request = server.requests[0]
        assert (request.head.split()[0], request.target, request.body) == (b"GET", "/v1/models", b"")
        assert request.headers["authorization"] == f"Bearer {KEY.reveal()}"
    assert learnt.told == [["requests"], "succeeded"]


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        ([answer(b'{"error": {"code": "invalid_api_key"}}', 401)], call_pb2.OUTCOME_AUTH),
        ([answer(b"", 402)], call_pb2.OUTCOME_QUOTA),
        ([answer(b"", 429, retry_after="7")], call_pb2.OUTCOME_RATE_LIMITED),
        ([answer(b"no such page", 404)], call_pb2.OUTCOME_INVALID),
        ([answer(b"", 503)], call_pb2.OUTCOME_OVERLOADED),
        ([b"what is this?\r\n\r\n"], call_pb2.OUTCOME_PROTOCOL_ERROR),
    ],
    ids=["auth", "quota", "rate", "no such path", "overloaded", "no http"],
)
async def test_what_the_provider_says_is_told_and_learnt(script: Script, outcome: call_pb2.Outcome.ValueType) -> None:
    learnt = Learnt()
    async with upstream(script) as server:
        assert await ask(server.base_url, learnt) == outcome
    assert learnt.told[-1] == outcome
    assert "succeeded" not in learnt.told


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ([answer(b"{}", x_ratelimit_remaining_requests="0")], ["succeeded"]),
        ([answer(b"", 401)], [call_pb2.OUTCOME_AUTH]),
        ([answer(b"", 429, retry_after="600")], []),
        ([answer(b"", 503)], []),
    ],
    ids=["taken", "refused", "limited there", "down there"],
)
async def test_another_address_tells_of_the_credential_and_of_nothing_else(script: Script, told: list[object]) -> None:
    learnt, client = Learnt(), HttpClient(max_connections=2, connect_timeout=5)
    async with upstream(script) as server:
        asked = replace(probe_of(client, server.base_url, learnt), elsewhere=True)
        await asked.ask()
    await client.aclose()
    assert learnt.told == told


def test_another_address_is_asked_by_who_asks_the_vendor_itself() -> None:
    row = ROWS["huggingface"]
    asked = Asked(HttpClient(max_connections=1, connect_timeout=1), openai_chat)

    def built(provider: ProviderSettings) -> CredentialProbe | None:
        its = configured(row, provider)
        return build_probe("p", its, Endpoint(its.base_url, {}, its.quirks), Learnt(), asked)

    own = built(ProviderSettings())
    assert own is not None
    assert (own.request.url, own.elsewhere) == ("https://huggingface.co/api/whoami-v2", True)
    # Its key may be no key of the vendor's.
    assert built(ProviderSettings(base_url="https://proxy.example/v1")) is None


# --- rows whose probe is not a list of models -------------------------------------------------------------------------

BEDROCK = "https://bedrock-runtime.us-east-1.amazonaws.com"
ACCESS_KEY: dict[str, Any] = {
    "access_key_id": Secret("AKIDEXAMPLE", "env:ID"),
    "secret_access_key": Secret("s3cr3t", "env:SECRET"),
}
TAKEN = b"<GetCallerIdentityResponse/>"
NO_TOKEN = b'{"Error": {"Code": "InvalidClientTokenId", "Message": "The security token is invalid."}}'


def built(row: Row, provider: ProviderSettings, learnt: Learnt, http: HttpClient) -> CredentialProbe | None:
    its, credential = configured(row, provider), fixed(row, provider)
    endpoint = Endpoint(its.base_url, credential.headers, its.quirks)
    return build_probe("p", its, endpoint, learnt, Asked(http, DIALECTS[its.dialect], credential.sign))


@pytest.mark.parametrize(
    ("name", "base_url", "target", "refusal"),
    [
        ("perplexity", "", "/async/chat/completions", b'{"error": {"message": "Invalid API key", "code": 401}}'),
        ("vertex", "/v1/publishers/google", "/v1/publishers/google/models/gemini-x:countTokens", b"{}"),
    ],
)
async def test_a_credential_is_looked_at_where_calls_go(name: str, base_url: str, target: str, refusal: bytes) -> None:
    learnt, http = Learnt(), HttpClient(max_connections=2, connect_timeout=5)
    async with upstream([answer(b'{"totalTokens": 1}')], [answer(refusal, 401)]) as server:
        settings = ProviderSettings(api_key=KEY, base_url=server.base_url + base_url, default_model="gemini-x")
        probe = built(ROWS[name], settings, learnt, http)
        assert probe is not None
        assert await probe.ask() == call_pb2.OUTCOME_SUCCESS
        assert await probe.ask() == call_pb2.OUTCOME_AUTH
        request = server.requests[0]
    await http.aclose()
    assert request.target == target
    assert request.head.startswith(b"POST" if request.body else b"GET")
    assert request.body == ROWS[name].probe_body
    assert request.headers["authorization"] == f"Bearer {KEY.reveal()}"
    assert [told for told in learnt.told if told != []] == ["succeeded", call_pb2.OUTCOME_AUTH]


def test_a_token_of_github_is_looked_at_by_github_itself() -> None:
    http = HttpClient(max_connections=1, connect_timeout=1)
    probe = built(ROWS["github_models"], ProviderSettings(api_key=KEY), Learnt(), http)
    assert probe is not None
    assert (probe.request.url, probe.elsewhere) == ("https://api.github.com/rate_limit", True)
    elsewhere = ProviderSettings(api_key=KEY, base_url="https://proxy.example/v1")
    assert built(ROWS["github_models"], elsewhere, Learnt(), http) is None


@pytest.mark.parametrize(
    ("script", "outcome", "told"),
    [
        ([answer(TAKEN)], call_pb2.OUTCOME_SUCCESS, ["succeeded"]),
        ([answer(NO_TOKEN, 403)], call_pb2.OUTCOME_AUTH, [call_pb2.OUTCOME_AUTH]),
        ([answer(b"", 503)], call_pb2.OUTCOME_OVERLOADED, []),
    ],
    ids=["taken", "refused", "down"],
)
async def test_an_access_key_is_looked_at_by_sts_and_signed_for_it(
    script: Script, outcome: call_pb2.Outcome.ValueType, told: list[object]
) -> None:
    learnt, http = Learnt(), HttpClient(max_connections=2, connect_timeout=5)
    provider = ProviderSettings(base_url=BEDROCK, region="us-east-1", **ACCESS_KEY)
    probe = built(ROWS["bedrock"], provider, learnt, http)
    assert probe is not None
    assert probe.request.url == "https://sts.us-east-1.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15"
    assert probe.asked.sign is not None
    signed = await probe.asked.sign(probe.request)
    assert "/us-east-1/sts/aws4_request" in signed.headers["authorization"]
    called = await probe.asked.sign(replace(probe.request, url=f"{BEDROCK}/model/m/converse"))
    assert "/us-east-1/bedrock/aws4_request" in called.headers["authorization"]
    async with upstream(script) as server:
        assert await replace(probe, request=replace(probe.request, url=server.base_url)).ask() == outcome
    await http.aclose()
    assert learnt.told == told


@pytest.mark.parametrize(
    "settings",
    [
        {"api_key": KEY, "base_url": BEDROCK, "region": "us-east-1"},
        {"base_url": "https://proxy.example", "region": "us-east-1", **ACCESS_KEY},
    ],
    ids=["a key of Bedrock's own", "a proxy"],
)
def test_sts_is_not_asked_about_what_is_no_access_key_of_aws(settings: dict[str, Any]) -> None:
    http = HttpClient(max_connections=1, connect_timeout=1)
    assert built(ROWS["bedrock"], ProviderSettings(**settings), Learnt(), http) is None


async def test_a_provider_that_cannot_be_reached_is_told_so() -> None:
    learnt = Learnt()
    async with nobody_listens() as base_url:
        assert await ask(base_url, learnt) == call_pb2.OUTCOME_NOT_CONNECTED
    assert learnt.told == [call_pb2.OUTCOME_NOT_CONNECTED]


async def test_one_that_hangs_costs_the_others_nothing() -> None:
    client = HttpClient(max_connections=2, connect_timeout=5)
    prober = Prober(lambda: "id")
    async with upstream([hold]) as silent, upstream([answer(b"{}")]) as well:
        prober.add("silent", [probe_of(client, silent.base_url, Learnt())])
        prober.add("well", [probe_of(client, well.base_url, Learnt())])
        results = await prober.credentials(within=0.3)
        await silent.connections[0].closed_by_peer
    await client.aclose()
    assert [result.outcome for result in results] == [call_pb2.OUTCOME_TIMEOUT, call_pb2.OUTCOME_SUCCESS]


# --- which call, which credential -------------------------------------------------------------------------------------


def test_a_provider_without_a_free_call_or_a_credential_is_not_asked() -> None:
    asked = Asked(HttpClient(max_connections=1, connect_timeout=1), openai_chat)
    endpoint = Endpoint("http://up", {}, ROW.quirks)

    def built(learnt: Learnt, **row: object) -> CredentialProbe | None:
        fields = {"name": "some", "dialect": "openai_chat", "key_required": True, **row}
        return build_probe("p", Row(**fields), endpoint, learnt, asked)  # type: ignore[arg-type]

    assert built(Learnt()) is not None
    assert built(Learnt(""), key_required=False) is not None
    assert built(Learnt("")) is None
    assert built(Learnt(), probe_path=NO_PROBE) is None
    assert built(Learnt(), dialect="bedrock_converse") is None
    assert build_probe("p", ROW, Endpoint("", {}, ROW.quirks), Learnt(), asked) is None
    own = built(Learnt(), dialect="anthropic_messages", probe_path="/v1/models?limit=1")
    assert own is not None
    assert own.request.url == "http://up/v1/models?limit=1"
    assert own.request.headers["anthropic-version"]


@pytest.mark.parametrize("row", [row for row in ROWS.values() if row.dialect], ids=lambda row: row.name)
def test_the_paths_of_the_table_are_paths(row: Row) -> None:
    assert row.probe_path in ("", NO_PROBE) or row.probe_path.startswith(("/", "https://"))
    assert not row.status_url or row.status_url.startswith("https://")


def shown(row: Row, provider: ProviderSettings) -> str:
    return fixed(row, provider).look().hint


def test_a_credential_is_shown_by_its_origin_and_its_end() -> None:
    assert shown(ROW, ProviderSettings(api_key=KEY)) == "env:SOME_KEY ...ghij"
    assert shown(ROW, ProviderSettings(api_key=Secret("short-key", "env:SHORT"))) == "env:SHORT ..."
    assert shown(ROW, ProviderSettings(headers={"Authorization": Header("x")})) == "header Authorization"
    assert shown(ROW, ProviderSettings()) == ""
    assert shown(Row(name="open"), ProviderSettings(api_key=KEY)) == ""


# --- rounds, in virtual time ------------------------------------------------------------------------------------------


@dataclass
class Fake:
    """A probe that takes so many seconds, and counts how many are under way."""

    name: str
    takes: float
    running: list[int]
    credential: str = "c"
    asked: list[float] = field(default_factory=list)

    @property
    def target(self) -> call_pb2.Target:
        return call_pb2.Target(provider=self.name)

    async def ask(self) -> call_pb2.Outcome.ValueType:
        self.asked.append(asyncio.get_running_loop().time())
        self.running.append(self.running[-1] + 1)
        try:
            if self.takes < 0:
                raise KeyError("a bug")
            await asyncio.sleep(self.takes)
        finally:
            self.running.append(self.running[-1] - 1)
        return call_pb2.OUTCOME_SUCCESS


def test_a_round_is_bounded_in_time_and_number_and_each_gets_its_turn() -> None:
    async def main() -> None:
        running = [0]
        hanging = [Fake(f"p{number}", 1e6, running) for number in range(2 * AT_ONCE)]
        fakes = [*hanging, Fake("quick", 1.0, running), Fake("broken", -1, running)]
        begin = asyncio.get_running_loop().time()
        results = await Prober(lambda: "id").round(fakes)
        assert asyncio.get_running_loop().time() - begin <= ROUND
        assert max(running) == AT_ONCE
        told = {result.target.provider: result for result in results}
        assert [result.target.provider for result in results] == [fake.name for fake in fakes]
        assert {told[fake.name].outcome for fake in hanging} == {call_pb2.OUTCOME_TIMEOUT}
        assert told["quick"].outcome == call_pb2.OUTCOME_SUCCESS
        assert told["quick"].duration.ToMilliseconds() == pytest.approx(1000, abs=1)
        assert told["broken"].outcome == call_pb2.OUTCOME_PROTOCOL_ERROR

    run_virtual(main())


def test_two_rounds_together_ask_no_more_at_once() -> None:
    async def main() -> None:
        running = [0]
        prober = Prober(lambda: "id")
        rounds = [[Fake(f"p{n}", 1e6, running) for n in range(AT_ONCE)] for _ in range(2)]
        first, second = await asyncio.gather(*(prober.round(fakes, 1.0) for fakes in rounds))
        assert max(running) == AT_ONCE
        assert {result.outcome for result in first} == {call_pb2.OUTCOME_TIMEOUT}
        assert {result.outcome for result in second} <= {call_pb2.OUTCOME_NOT_SENT, call_pb2.OUTCOME_TIMEOUT}

    run_virtual(main())


def test_validation_begins_at_once_comes_back_with_jitter_and_leaves_out_what_has_no_credential() -> None:
    async def main() -> None:
        running = [0]
        keyed, keyless = Fake("keyed", 2.0, running), Fake("keyless", 2.0, running, credential="")
        prober = Prober(lambda: "id")
        prober.probes = {"keyed": [keyed], "keyless": [keyless]}
        spans: list[tuple[float, float]] = []

        def spread(low: float, high: float) -> float:
            spans.append((low, high))
            return high

        task = asyncio.get_running_loop().create_task(prober.validate(spread))
        await asyncio.sleep(2 * VALIDATE_EVERY)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert keyed.asked == pytest.approx([1000.0, 1002.0 + 1.1 * VALIDATE_EVERY])
        assert keyless.asked == []
        assert spans[0] == (0.9, 1.1)

    run_virtual(main())


# --- models -----------------------------------------------------------------------------------------------------------


OPERATOR = Identity(workspace="ops", key="key-1", role="operator")
M = call_pb2.Target(provider="p", model="m")


def failing(error: Exception) -> Chain:
    return Chain(snapshot(), playing([error]))


async def test_a_model_is_asked_for_one_token_as_a_caller_would() -> None:
    seen: list[Call] = []

    async def handle(call: Call) -> Events:
        seen.append(call)
        yield completed()

    prober = Prober(lambda: "id-1")
    (result,) = await prober.models(Chain(snapshot(), handle), OPERATOR, [M], lambda _: "shown")
    assert (result.target.provider, result.target.model, result.credential) == ("p", "m", "shown")
    assert result.outcome == call_pb2.OUTCOME_SUCCESS
    (call,) = seen
    assert (call.id, call.request.model, call.request.config.max_output_tokens) == ("id-1", "p/m", 1)
    assert 0 < call.deadline - call.arrival <= ROUND
    assert call.identity is OPERATOR


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (CallError(call_pb2.ERROR_REASON_DEADLINE_EXCEEDED, ""), call_pb2.OUTCOME_TIMEOUT),
        (CallError(call_pb2.ERROR_REASON_NO_CANDIDATE, ""), call_pb2.OUTCOME_NOT_SENT),
        (
            CallError(
                call_pb2.ERROR_REASON_PROVIDER_AUTH,
                "",
                failure=call_pb2.CallFailure(
                    served=call_pb2.Served(attempts=[call_pb2.Attempt(outcome=call_pb2.OUTCOME_AUTH)])
                ),
            ),
            call_pb2.OUTCOME_AUTH,
        ),
    ],
    ids=["deadline", "no attempt", "refused"],
)
async def test_a_model_that_fails_is_told_as_its_last_attempt(
    error: Exception, outcome: call_pb2.Outcome.ValueType
) -> None:
    (result,) = await Prober(lambda: "id").models(failing(error), OPERATOR, [M], lambda _: "")
    assert result.outcome == outcome


def test_models_that_hang_take_a_minute_together_at_most_and_no_place_of_a_credential() -> None:
    async def main() -> None:
        times: list[tuple[float, float]] = []

        async def hang(call: Call) -> Events:
            times.append((call.arrival, call.deadline))
            await asyncio.sleep(1e6)
            yield completed()

        prober, loop = Prober(lambda: "id"), asyncio.get_running_loop()
        prober.add("free", [Fake("free", 1.0, [0])])
        targets = [call_pb2.Target(provider="p", model=f"m{number}") for number in range(8 * AT_ONCE)]
        begin = loop.time()
        asking = loop.create_task(prober.models(Chain(snapshot(), hang), OPERATOR, targets, lambda _: ""))
        await asyncio.sleep(0.1)
        (free,) = await prober.credentials()
        assert free.outcome == call_pb2.OUTCOME_SUCCESS
        assert loop.time() - begin == pytest.approx(1.1)
        results = await asking
        assert loop.time() - begin == pytest.approx(MODELS_ROUND)
        assert [result.target for result in results] == targets
        assert {result.outcome for result in results} == {call_pb2.OUTCOME_TIMEOUT}
        assert all(deadline - arrival < MODELS_ROUND / 8 for arrival, deadline in times)

    run_virtual(main())


def test_one_model_that_hangs_takes_ten_seconds() -> None:
    async def main() -> None:
        async def hang(_: Call) -> Events:
            await asyncio.sleep(1e6)
            yield completed()

        begin = asyncio.get_running_loop().time()
        await Prober(lambda: "id").models(Chain(snapshot(), hang), OPERATOR, [M], lambda _: "")
        assert asyncio.get_running_loop().time() - begin <= ROUND

    run_virtual(main())
