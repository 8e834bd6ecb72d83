"""Alerts of what really happens at a gateway: providers fail, slow down and go away, keys grow old, scores fall."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from gateway import gateway, settings_of
from grpc import aio
from test_routing_served import SAID
from upstreams import answer, upstream

from trunkline.v1.alerts_pb2 import Alert
from trunkline.v1.feedback_service_pb2 import SubmitFeedbackRequest
from trunkline.v1.feedback_service_pb2_grpc import FeedbackServiceStub
from trunkline.v1.gateway_service_pb2 import GenerateRequest
from trunkline_client import AsyncAdminClient
from trunkline_server import app as app_module
from trunkline_server import core
from trunkline_server.state.alerts.conditions import ENOUGH
from trunkline_server.state.alerts.judgement import OPEN_AFTER, RESOLVE_AFTER
from trunkline_server.state.alerts.monitor import SLOWLY
from trunkline_server.state.ledger.database import Statement, script

if TYPE_CHECKING:
    from pathlib import Path

    from gateway import Gateway
    from upstreams import Connection, Script

    from trunkline_server.settings import Settings

DOWN, REFUSED = answer(b'{"error": {"message": "down"}}', 500), answer(b'{"error": {"message": "who?"}}', 401)
DAY = 86400.0
MEDIUM, HIGH, CRITICAL, LOW = Alert.SEVERITY_MEDIUM, Alert.SEVERITY_HIGH, Alert.SEVERITY_CRITICAL, Alert.SEVERITY_LOW


async def late(_: Connection) -> None:
    """Step: a provider that takes its time."""
    await asyncio.sleep(0.4)


def one_provider(tmp_path: Path, base_url: str, breaker: Any = None, **more: Any) -> Settings:
    up = {"kind": "openai_compatible", "base_url": base_url, "models": ["a"], "api_key": "env:UP_KEY"}
    up |= {"breaker": breaker} if breaker else {}
    document = {"server": {"admin_listen": "127.0.0.1:0"}, "providers": {"up": up}, "max_attempts": 1, **more}
    return settings_of(tmp_path, document, {"UP_KEY": "sk-canary-0123456789abcdef"})


class Clocks:
    """The clocks of a gateway's alerts, which tests turn on."""

    def __init__(self, running: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
        monitor, self._ahead = running.app._monitor, 0.0
        began = monitor._wall()
        monkeypatch.setattr(monitor, "_wall", lambda: began + self._ahead)
        monkeypatch.setattr(monitor, "_steady", lambda: core.now() + self._ahead)
        monkeypatch.setattr(app_module, "now", lambda: core.now() + self._ahead)
        self._running = running

    async def look(self, later: float = 0.0) -> list[Alert]:
        """What is open after another look, and what is lasting by then."""
        self._ahead += later
        await self._running.app._monitor.look()
        async with AsyncAdminClient(self._running.admin_address, timeout=20.0) as client:
            return list((await client.alerts(open_only=True)).alerts)


async def ask(running: Gateway, count: int) -> list[str]:
    """So many calls, a few at a time: the ids of the answers."""
    few, asked = asyncio.Semaphore(5), GenerateRequest(model="up/a", prompt="hi")

    async def one() -> str:
        async with few:
            try:
                return (await running.stub.Generate(asked)).id
            except aio.AioRpcError:
                return ""

    return [call_id for call_id in await asyncio.gather(*(one() for _ in range(count))) if call_id]


def told(alerts: list[Alert]) -> list[tuple[int, str, int]]:
    for alert in alerts:
        assert alert.summary
        assert alert.remedy
        assert alert.evidence
        assert not alert.workspace
    return [(alert.kind, alert.subject, alert.severity) for alert in alerts]


async def test_error_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripts = [[DOWN if number % 5 == 0 else SAID] for number in range(2 * ENOUGH)]
    async with upstream(*scripts) as up, gateway(one_provider(tmp_path, up.base_url)) as running:
        clocks = Clocks(running, monkeypatch)
        await ask(running, len(scripts))
        assert await clocks.look() == []
        assert told(await clocks.look(OPEN_AFTER)) == [(Alert.KIND_ERROR_RATE, "up", MEDIUM)]


async def test_an_outage_and_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    breaker = {"failures": 3, "recovery": 1}
    async with (
        upstream(*[[DOWN]] * 3, [SAID]) as up,
        gateway(one_provider(tmp_path, up.base_url, breaker=breaker)) as running,
    ):
        clocks = Clocks(running, monkeypatch)
        await ask(running, 3)
        assert await clocks.look() == []
        assert told(await clocks.look(OPEN_AFTER)) == [(Alert.KIND_PROVIDER_OUTAGE, "up", CRITICAL)]
        while len(await ask(running, 1)) == 0 or len(await ask(running, 10)) < 10:
            await asyncio.sleep(0)
        await clocks.look()
        assert await clocks.look(RESOLVE_AFTER) == []


async def test_latency(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripts: list[Script] = [*[[SAID]] * ENOUGH, [late, SAID]]
    async with upstream(*scripts) as up, gateway(one_provider(tmp_path, up.base_url)) as running:
        clocks = Clocks(running, monkeypatch)
        await ask(running, ENOUGH)
        assert await clocks.look(3000.0) == []
        await ask(running, ENOUGH)
        await clocks.look()
        ((kind, subject, severity),) = told(await clocks.look(OPEN_AFTER))
        assert (kind, subject) == (Alert.KIND_LATENCY, "up/a")
        assert severity >= HIGH


async def test_a_refused_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with upstream([REFUSED]) as up, gateway(one_provider(tmp_path, up.base_url)) as running:
        clocks = Clocks(running, monkeypatch)
        await ask(running, 1)
        await clocks.look()
        assert told(await clocks.look(OPEN_AFTER)) == [(Alert.KIND_CREDENTIAL, "up", HIGH)]


async def test_a_credential_grows_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = one_provider(tmp_path, "http://127.0.0.1:1", alerts={"key_rotation": "90d"})
    async with gateway(settings) as running:
        clocks = Clocks(running, monkeypatch)
        await clocks.look()
        assert await clocks.look(89 * DAY) == []
        await clocks.look(2 * DAY)
        assert told(await clocks.look(OPEN_AFTER)) == [(Alert.KIND_CREDENTIAL_AGE, "up", LOW)]


async def test_scores_fall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with upstream([SAID]) as up, gateway(one_provider(tmp_path, up.base_url)) as running:
        clocks, feedback = Clocks(running, monkeypatch), FeedbackServiceStub(running.channel)
        for score in (0.9, 0.6):
            for call_id in await ask(running, ENOUGH):
                await feedback.SubmitFeedback(SubmitFeedbackRequest(call_id=call_id, metric="relevance", score=score))
            if score == 0.9:
                await _age(running, days=3)
        await clocks.look(SLOWLY)
        assert told(await clocks.look(OPEN_AFTER)) == [(Alert.KIND_QUALITY, "up/a relevance", HIGH)]


async def _age(running: Gateway, days: int) -> None:
    """What was scored so far was scored so many days ago."""
    sql = "UPDATE feedback SET submitted = submitted - ?"
    await running.app._ledger.database.transact(script(Statement(sql, [(days * int(DAY) * 10**6,)])))
