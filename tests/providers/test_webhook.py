"""Posts to a real server: what is in them, how they are signed, and when they are tried again."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import io
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from upstreams import answer, hold, nobody_listens, reset, upstream
from virtual_time import run_skipping

from trunkline_server.logs import build_log
from trunkline_server.providers.http import HttpClient
from trunkline_server.providers.webhook import MOST_WAITING, PATIENCE, PAUSES, Webhook
from trunkline_server.settings import Secret, WebhookSettings, WebhookUrl

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from virtual_time import SkippingLoop

SECRET = "canary-0123456789"
WHEN = 1_800_000_000
TAKEN, BUSY = [answer(status=204)], [answer(status=503)]


@asynccontextmanager
async def posting(url: str, secret: str = "") -> AsyncIterator[tuple[Webhook, io.BytesIO]]:
    written = io.BytesIO()
    client = HttpClient(max_connections=1, connect_timeout=PATIENCE)
    settings = WebhookSettings(url=WebhookUrl(url), secret=Secret(secret) if secret else None)
    webhook = Webhook(settings, client, build_log(written), lambda: WHEN, [0.0] * len(PAUSES))
    following = asyncio.ensure_future(webhook.follow())
    try:
        yield webhook, written
    finally:
        following.cancel()
        await asyncio.wait([following])
        await client.aclose()


def told(written: io.BytesIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written.getvalue().splitlines()]


async def test_a_post_is_signed_and_shows_no_secret() -> None:
    async with upstream(TAKEN) as server, posting(f"{server.base_url}/hook", SECRET) as (webhook, written):
        webhook.post("a-opened", {"change": "CHANGE_OPENED"})
        await server.wait_requests(1)
        (request,) = server.requests
        moment, _, digest = request.headers["x-trunkline-signature"].removeprefix("t=").partition(",v1=")
        assert digest == hmac.new(SECRET.encode(), f"{moment}.".encode() + request.body, hashlib.sha256).hexdigest()
        assert (int(moment), request.headers["x-trunkline-id"]) == (WHEN, "a-opened")
        assert json.loads(request.body) == {"change": "CHANGE_OPENED"}
        assert request.target == "/hook"
        assert SECRET.encode() not in request.head + request.body
    assert told(written) == []


async def test_without_a_secret_there_is_no_signature() -> None:
    async with upstream(TAKEN) as server, posting(server.base_url) as (webhook, _):
        webhook.post("a", {})
        await server.wait_requests(1)
        assert "x-trunkline-signature" not in server.requests[0].headers


async def until_told(written: io.BytesIO) -> dict[str, Any]:
    """The one line, once it was given up."""
    async with asyncio.timeout(20):
        while not written.getvalue():
            await asyncio.sleep(0)
    (line,) = told(written)
    return line


async def test_it_is_tried_again_until_it_is_taken_and_posts_stay_in_order() -> None:
    scripts = BUSY, [reset], [answer(status=429)], TAKEN, TAKEN
    async with upstream(*scripts) as server, posting(server.base_url) as (webhook, written):
        for post_id in ("first", "second"):
            webhook.post(post_id, {})
        await server.wait_requests(5)
        ids = [request.headers["x-trunkline-id"] for request in server.requests]
        assert ids == ["first"] * 4 + ["second"]
        assert told(written) == []


async def test_it_is_given_up_after_five_tries() -> None:
    async with upstream(BUSY) as server, posting(f"{server.base_url}/{SECRET}") as (webhook, written):
        webhook.post("a", {})
        line = await until_told(written)
        assert len(server.requests) == 5 == 1 + len(PAUSES)
        assert (line["event"], line["id"], line["why"]) == ("webhook_not_posted", "a", "status 503")
        assert SECRET not in str(line), "an address is a secret, too"


def test_a_receiver_that_does_not_answer_is_waited_for_ten_seconds() -> None:
    async def main(loop: SkippingLoop) -> None:
        async with upstream([hold]) as server, posting(server.base_url) as (webhook, written):
            webhook.post("a", {})
            for count in range(1, 6):
                await server.wait_requests(count)
                await loop.skip(PATIENCE)
            assert (await until_told(written))["why"] == "no answer within 10 s"

    run_skipping(main)


async def test_a_receiver_that_does_not_want_it_is_not_asked_again() -> None:
    async with upstream([answer(status=410)], TAKEN) as server, posting(server.base_url) as (webhook, written):
        webhook.post("a", {})
        assert (await until_told(written))["why"] == "status 410"
        webhook.post("b", {})
        await server.wait_requests(2)
        assert [request.headers["x-trunkline-id"] for request in server.requests] == ["a", "b"]


async def test_nobody_there_is_told() -> None:
    async with nobody_listens() as url, posting(url) as (webhook, written):
        webhook.post("a", {})
        assert (await until_told(written))["why"] == "the provider could not be reached"


async def test_what_is_too_much_is_told_to_the_log() -> None:
    async with upstream([hold]) as server, posting(server.base_url) as (webhook, written):
        webhook.post("a", {})
        await server.wait_requests(1)
        for number in range(MOST_WAITING + 1):
            webhook.post(str(number), {})
        assert [line["id"] for line in told(written)] == [str(MOST_WAITING)]
