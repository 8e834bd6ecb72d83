"""Alerts of a whole gateway: calls fail, operators are told once, by every way there is."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from gateway import gateway, settings_of
from grpc import StatusCode, aio
from keyed import bearing, keyed
from serving import reason
from upstreams import answer, upstream

from trunkline.v1 import alerts_pb2 as pb
from trunkline.v1.admin_service_pb2_grpc import AdminServiceStub
from trunkline.v1.gateway_service_pb2 import GenerateRequest
from trunkline.v1.insights_pb2 import GetInsightsRequest
from trunkline_client import AdminClient, AsyncAdminClient
from trunkline_server.state.alerts import monitor as monitor_module
from trunkline_server.state.alerts.judgement import OPEN_AFTER, Verdict
from trunkline_server.state.alerts.reading import Is, Key, Reading
from trunkline_server.state.alerts.store import AlertStore

if TYPE_CHECKING:
    from pathlib import Path

    from gateway import Gateway

KEY, PROMPT = "sk-canary-0123456789abcdef", "a prompt that nobody may see"
PATIENCE = 20.0
REFUSED = Key(pb.Alert.KIND_CREDENTIAL, "up")


class Wall:
    """The time on the monitor's wall."""

    def __init__(self, running: Gateway) -> None:
        self._monitor = running.app._monitor
        self._now = self._monitor._wall()
        self._monitor._wall = lambda: self._now

    async def look(self, later: float = 0.0) -> None:
        self._now += later
        await self._monitor.look()


def settings_with(tmp_path: Path, base_url: str, **alerts: Any) -> Any:
    up = {"kind": "openai_compatible", "base_url": base_url, "models": ["a"], "api_key": "env:UP_KEY"}
    document = {"server": {"admin_listen": "127.0.0.1:0"}, "providers": {"up": up}, "alerts": alerts}
    return settings_of(tmp_path, document, {"UP_KEY": KEY, "HOOK_SECRET": "hush-hush-hush"})


async def fail(running: Gateway) -> None:
    with pytest.raises(aio.AioRpcError):
        await running.stub.Generate(GenerateRequest(model="up/a", prompt=PROMPT))


async def test_a_refused_key_is_listed_watched_logged_and_posted(tmp_path: Path) -> None:
    async with upstream([answer(b"{}", 401)]) as refuses, upstream([answer(status=204)]) as hook:
        webhook = {"url": f"{hook.base_url}/{KEY}", "secret": "env:HOOK_SECRET"}
        async with (
            gateway(settings_with(tmp_path, refuses.base_url, webhook=webhook)) as running,
            AsyncAdminClient(running.admin_address, timeout=PATIENCE) as client,
        ):
            wall = Wall(running)
            watching: Any = client.watch_alerts()
            first = asyncio.ensure_future(anext(watching))
            await fail(running)
            await wall.look()
            assert (await client.alerts()).alerts == [], "it may pass"
            await wall.look(OPEN_AFTER)
            await wall.look(OPEN_AFTER)
            (alert,) = (await client.alerts(open_only=True)).alerts
            assert (alert.kind, alert.subject) == (pb.Alert.KIND_CREDENTIAL, "up")
            assert alert.severity == pb.Alert.SEVERITY_HIGH
            assert alert.summary == "of 1 credentials of up, 1 are refused and 0 have no quota left"
            assert "trunkline providers" in alert.remedy
            assert (await first).alert == alert
            await watching.aclose()
            await hook.wait_requests(1)
            (line,) = running.lines("alert")
            assert (line["change"], line["kind"], line["subject"]) == ("opened", "credential", "up")
        (posted,) = hook.requests
        body = json.loads(posted.body)
        assert (body["change"], body["alert"]["id"]) == ("CHANGE_OPENED", alert.id)
        assert posted.headers["x-trunkline-signature"].startswith("t=")
        for secret in (KEY, KEY[-4:], PROMPT, "hush-hush-hush"):
            assert secret not in posted.body.decode()


async def test_who_watches_does_not_keep_a_gateway_from_ending(tmp_path: Path) -> None:
    async with upstream([answer(b"{}", 500)]) as up, gateway(settings_with(tmp_path, up.base_url)) as running:
        async with aio.insecure_channel(running.admin_address) as channel:
            watching = AdminServiceStub(channel).WatchAlerts(pb.WatchAlertsRequest())
            reading = asyncio.ensure_future(watching.read())
            while not running.app._monitor._watchers:
                await asyncio.sleep(0)
            async with asyncio.timeout(10):
                await running.app.stop()
            with pytest.raises(aio.AioRpcError) as caught:
                await reading
            assert reason(caught.value) == "DRAINING"


async def test_alerts_of_the_gateway_and_insights_are_for_operators(tmp_path: Path) -> None:
    async with keyed(tmp_path, {"server": {"admin_listen": "127.0.0.1:0"}}) as world:
        caller, operator = await world.key("caller"), await world.key("operator")
        async with aio.insecure_channel(world.running.admin_address) as channel:
            admin = AdminServiceStub(channel)
            with pytest.raises(aio.AioRpcError) as caught:
                await admin.GetInsights(GetInsightsRequest(), metadata=bearing(caller))
            assert caught.value.code() == StatusCode.PERMISSION_DENIED
            app = world.running.app
            outage = Reading(Key(pb.Alert.KIND_PROVIDER_OUTAGE, "up"), Is.BAD, pb.Alert.SEVERITY_CRITICAL, "it is out")
            await AlertStore(app._ledger.database).apply(Verdict(opens=(outage,)), int(app._monitor._wall() * 1e6))
            assert not (await admin.ListAlerts(pb.ListAlertsRequest(), metadata=bearing(caller))).alerts
            assert len((await admin.ListAlerts(pb.ListAlertsRequest(), metadata=bearing(operator))).alerts) == 1
            assert not (await admin.GetInsights(GetInsightsRequest(), metadata=bearing(operator))).insights


async def test_pages_and_what_is_wrong_with_questions(tmp_path: Path) -> None:
    async with (
        upstream([answer(b"{}", 500)]) as up,
        gateway(settings_with(tmp_path, up.base_url)) as running,
        aio.insecure_channel(running.admin_address) as channel,
    ):
        admin = AdminServiceStub(channel)
        for request in (pb.ListAlertsRequest(page_size=-1), pb.ListAlertsRequest(page_token="x.y")):
            with pytest.raises(aio.AioRpcError) as caught:
                await admin.ListAlerts(request)
            assert caught.value.code() == StatusCode.INVALID_ARGUMENT
        for asked in (GetInsightsRequest(days=367), GetInsightsRequest(days=-1), GetInsightsRequest(workspace="a\n")):
            with pytest.raises(aio.AioRpcError) as caught:
                await admin.GetInsights(asked)
            assert caught.value.code() == StatusCode.INVALID_ARGUMENT


async def test_the_gateway_looks_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor_module, "EVERY", 0.0)
    async with upstream([answer(b"{}", 401)]) as up, gateway(settings_with(tmp_path, up.base_url)) as running:
        await fail(running)
        began = running.app._monitor._wall()
        running.app._monitor._wall = lambda: began
        while REFUSED not in running.app._monitor._streaks:
            await asyncio.sleep(0)
        running.app._monitor._wall = lambda: began + OPEN_AFTER + 1  # clocks round
        async with asyncio.timeout(10):
            while not running.lines("alert"):
                await asyncio.sleep(0)
        with AdminClient(running.admin_address, timeout=PATIENCE) as client:
            told = await asyncio.to_thread(client.alerts)
        assert [alert.subject for alert in told.alerts] == ["up"]
