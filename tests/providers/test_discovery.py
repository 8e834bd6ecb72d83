"""Discovery: what is asked, over real sockets; when, in virtual time."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest
from credentials import fixed, sent_by
from upstreams import answer, hold, nobody_listens, upstream
from virtual_time import run_virtual

from trunkline.v1 import call_pb2
from trunkline_server.errors import UpstreamError
from trunkline_server.formats import DIALECTS, LISTS
from trunkline_server.listed import Listed
from trunkline_server.providers.discovery import AT_ONCE, MAX_PAGES, RETRY, WITHIN, Discoverer, Lister, build_lister
from trunkline_server.providers.http import HttpClient
from trunkline_server.providers.probe import Asked
from trunkline_server.providers.table import ROWS
from trunkline_server.providers.upstream import Endpoint
from trunkline_server.settings import ProviderSettings, Secret

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from upstreams import Script

KEY = Secret("sk-0123456789abcdefghij", "env:SOME_KEY")


@dataclass
class Learnt:
    """What discovery told."""

    told_of: list[tuple[str, list[str]]] = field(default_factory=list)
    failures: list[tuple[str, UpstreamError]] = field(default_factory=list)

    def told(self, provider: str, models: Sequence[Listed]) -> None:
        self.told_of.append((provider, [model.id for model in models]))

    def failed(self, provider: str, error: UpstreamError) -> None:
        self.failures.append((provider, error))


def lister_of(client: HttpClient, kind: str, base_url: str, key: Secret | None = KEY) -> Lister | None:
    row, provider = ROWS[kind], ProviderSettings(kind=kind, api_key=key, base_url=base_url)
    endpoint = Endpoint(base_url, sent_by(row, provider), row.quirks)
    asked = Asked(client, DIALECTS[row.dialect or "openai_chat"])
    return build_lister("p", row, endpoint, fixed(row, provider).look().hint, asked, LISTS.get(row.dialect))


@asynccontextmanager
async def discovering(kind: str, base_url: str) -> AsyncIterator[tuple[Discoverer, Learnt]]:
    client, learnt = HttpClient(max_connections=2, connect_timeout=5), Learnt()
    lister = lister_of(client, kind, base_url)
    assert lister is not None
    yield Discoverer(learnt, {"p": lister}), learnt
    await client.aclose()


# --- what is asked ----------------------------------------------------------------------------------------------------

PATHS = {
    "openai": ("/models", "authorization", f"Bearer {KEY.reveal()}"),
    "openai_responses": ("/models", "authorization", f"Bearer {KEY.reveal()}"),
    "huggingface": ("/models", "authorization", f"Bearer {KEY.reveal()}"),
    "anthropic": ("/v1/models?limit=1000", "x-api-key", KEY.reveal()),
    "gemini": ("/models?pageSize=1000", "x-goog-api-key", KEY.reveal()),
    "cohere": ("/v1/models?page_size=1000", "authorization", f"Bearer {KEY.reveal()}"),
    "ollama": ("/api/tags", "authorization", f"Bearer {KEY.reveal()}"),
}


@pytest.mark.parametrize("kind", PATHS)
async def test_the_list_is_asked_for_with_the_credential(kind: str) -> None:
    path, header, value = PATHS[kind]
    entries = [{"id": "m", "name": "m"}]
    async with upstream([answer(json.dumps({"data": entries, "models": entries}).encode())]) as server:
        async with discovering(kind, server.base_url + "/base") as (discoverer, learnt):
            assert await discoverer.ask("p")
        (request,) = server.requests
        assert (request.head.split()[0], request.target, request.body) == (b"GET", "/base" + path, b"")
        assert request.headers[header] == value
        assert (request.headers.get("anthropic-version") is not None) is (kind == "anthropic")
    assert learnt.told_of == [("p", ["m"])]


@pytest.mark.parametrize("kind", ["vertex", "bedrock", "azure_openai", "perplexity", "github_models", "embedded"])
def test_who_has_no_list_is_not_asked(kind: str) -> None:
    client = HttpClient(max_connections=1, connect_timeout=1)
    assert lister_of(client, kind, "http://localhost:1") is None


def test_who_wants_a_credential_is_not_asked_without_one() -> None:
    client = HttpClient(max_connections=1, connect_timeout=1)
    assert lister_of(client, "openai", "http://localhost:1", None) is None
    assert lister_of(client, "vllm", "http://localhost:1", None) is not None


async def test_all_pages_are_one_list() -> None:
    pages = [
        {"models": [{"name": "models/a"}], "nextPageToken": "two"},
        {"models": [{"name": "models/b"}], "nextPageToken": "three"},
        {"models": [{"name": "models/c"}]},
    ]
    scripts = [[answer(json.dumps(page).encode())] for page in pages]
    async with upstream(*scripts) as server:
        async with discovering("gemini", server.base_url) as (discoverer, learnt):
            assert await discoverer.ask("p")
        assert [request.target.partition("&")[2] for request in server.requests] == [
            "",
            "pageToken=two",
            "pageToken=three",
        ]
    assert learnt.told_of == [("p", ["a", "b", "c"])]


async def test_a_page_that_fails_tells_nothing_of_the_list() -> None:
    first = answer(b'{"models": [{"name": "a"}], "next_page_token": "t"}')
    async with upstream([first], [answer(b"", 503)]) as server:
        async with discovering("cohere", server.base_url) as (discoverer, learnt):
            assert not await discoverer.ask("p")
    assert not learnt.told_of
    assert [error.outcome for _, error in learnt.failures] == [call_pb2.OUTCOME_OVERLOADED]


async def test_a_list_without_end_is_none() -> None:
    scripts = [
        [answer(json.dumps({"models": [{"name": "a"}], "next_page_token": str(page)}).encode())]
        for page in range(MAX_PAGES + 1)
    ]
    async with upstream(*scripts) as server:
        async with discovering("cohere", server.base_url) as (discoverer, learnt):
            assert not await discoverer.ask("p")
        assert len(server.requests) == MAX_PAGES
    assert learnt.failures[0][1].code == "endless_list"


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        ([answer(b'{"error": {"code": "invalid_api_key"}}', 401)], call_pb2.OUTCOME_AUTH),
        ([answer(b"no such page", 404)], call_pb2.OUTCOME_INVALID),
        ([answer(b"", 429, retry_after="7")], call_pb2.OUTCOME_RATE_LIMITED),
        ([answer(b"<html>")], call_pb2.OUTCOME_PROTOCOL_ERROR),
        ([answer(b"", 302, location="http://elsewhere.test/")], call_pb2.OUTCOME_PROTOCOL_ERROR),
        ([b"what is this?\r\n\r\n"], call_pb2.OUTCOME_PROTOCOL_ERROR),
    ],
    ids=["auth", "no such path", "rate", "no list", "elsewhere", "no http"],
)
async def test_how_it_fails(script: Script, outcome: call_pb2.Outcome.ValueType) -> None:
    async with upstream(script) as server, discovering("openai", server.base_url) as (discoverer, learnt):
        assert not await discoverer.ask("p")
    assert [error.outcome for _, error in learnt.failures] == [outcome]


async def test_who_cannot_be_reached_and_who_hangs() -> None:
    async with nobody_listens() as base_url, discovering("openai", base_url) as (discoverer, learnt):
        await discoverer.refresh(["p"])
    assert learnt.failures[0][1].outcome == call_pb2.OUTCOME_NOT_CONNECTED
    async with upstream([hold]) as server, discovering("openai", server.base_url) as (discoverer, learnt):
        await discoverer.refresh(["p"], within=0.2)
        await server.connections[0].closed_by_peer
    assert learnt.failures[0][1].outcome == call_pb2.OUTCOME_TIMEOUT


# --- when -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Playing(Lister):
    """Takes a while to tell; fails the first so many times."""

    takes: float
    fails: int
    asked_at: list[float]
    running: list[int]

    async def ask(self) -> list[Listed]:
        self.asked_at.append(asyncio.get_running_loop().time() - 1000.0)
        self.running.append(self.running[-1] + 1)
        try:
            await asyncio.sleep(self.takes)
        finally:
            self.running.append(self.running[-1] - 1)
        if len(self.asked_at) <= self.fails:
            raise UpstreamError(call_pb2.OUTCOME_NOT_CONNECTED)
        return [Listed("m")]


def playing(running: list[int], *, takes: float = 0.0, fails: int = 0) -> Playing:
    template = lister_of(HttpClient(max_connections=1, connect_timeout=1), "openai", "http://localhost:1")
    assert template is not None
    return Playing("p", template.endpoint, template.asked, template.how, takes, fails, [], running)


def schedule(listers: dict[str, Playing], *, every: float, until: float) -> Learnt:
    async def main() -> Learnt:
        learnt = Learnt()
        task = asyncio.ensure_future(Discoverer(learnt, listers).follow(every, spread=lambda _, most: most))
        await asyncio.sleep(until)
        task.cancel()
        await asyncio.wait([task])
        return learnt

    return run_virtual(main())


def test_each_is_asked_at_once_and_every_so_often() -> None:
    well = playing([0])
    schedule({"well": well}, every=3600.0, until=3.5 * 3960.0)
    assert well.asked_at == pytest.approx([0.0, 3960.0, 7920.0, 11880.0])


def test_one_that_does_not_tell_is_asked_again_soon_and_ever_more_rarely() -> None:
    late = playing([0], fails=4)
    schedule({"late": late}, every=400.0, until=2000.0)
    pauses = [b - a for a, b in zip(late.asked_at, late.asked_at[1:], strict=False)]
    assert pauses[:5] == pytest.approx([1.1 * pause for pause in (RETRY, 2 * RETRY, 4 * RETRY, 400.0, 400.0)])


def test_one_that_hangs_delays_nobody() -> None:
    running = [0]
    hanging, well = playing(running, takes=1e9), playing(running)
    learnt = schedule({"hanging": hanging, "well": well}, every=3600.0, until=WITHIN + 1)
    assert learnt.told_of == [("well", ["m"])]
    assert [(name, error.outcome) for name, error in learnt.failures] == [("hanging", call_pb2.OUTCOME_TIMEOUT)]


def test_only_so_many_are_asked_at_once() -> None:
    running = [0]
    listers = {f"p{index}": playing(running, takes=1.0) for index in range(3 * AT_ONCE)}

    async def main() -> None:
        discoverer = Discoverer(Learnt(), listers)
        await asyncio.gather(*(discoverer.refresh(listers) for _ in range(2)))

    run_virtual(main())
    assert max(running) == AT_ONCE
    assert all(len(lister.asked_at) == 2 and lister.asked_at[1] > lister.asked_at[0] for lister in listers.values())


def test_one_is_not_asked_twice_at_once() -> None:
    running = [0]
    slow = playing(running, takes=1.0)

    async def main() -> None:
        discoverer = Discoverer(Learnt(), {"p": slow})
        await asyncio.gather(discoverer.refresh(["p"]), discoverer.refresh(["p"]))

    run_virtual(main())
    assert (len(slow.asked_at), max(running)) == (2, 1), "else an older list could be the last to arrive"


def test_a_round_takes_no_longer_than_it_is_told() -> None:
    running = [0]
    listers = {f"p{index}": playing(running, takes=1e9) for index in range(2 * AT_ONCE)}

    async def main() -> tuple[float, Learnt]:
        learnt = Learnt()
        await Discoverer(learnt, listers).refresh(listers, within=3.0)
        return asyncio.get_running_loop().time() - 1000.0, learnt

    took, learnt = run_virtual(main())
    assert took == pytest.approx(3.0)
    outcomes = [error.outcome for _, error in learnt.failures]
    assert outcomes.count(call_pb2.OUTCOME_TIMEOUT) == AT_ONCE
    assert outcomes.count(call_pb2.OUTCOME_NOT_SENT) == AT_ONCE


def test_a_bug_in_one_list_is_its_own() -> None:
    broken = replace(playing([0]), running=[])

    async def main() -> Learnt:
        learnt = Learnt()
        await Discoverer(learnt, {"p": broken}).refresh(["p"])
        return learnt

    assert [error.outcome for _, error in run_virtual(main()).failures] == [call_pb2.OUTCOME_PROTOCOL_ERROR]
