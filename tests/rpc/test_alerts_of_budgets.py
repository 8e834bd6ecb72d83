"""Alerts of budgets through a whole gateway: who pays hears of it as the call that does it is settled."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from grpc import StatusCode, aio
from keyed import bearing, keyed

from trunkline.v1 import alerts_pb2 as pb
from trunkline.v1.admin_service_pb2_grpc import AdminServiceStub
from trunkline.v1.gateway_service_pb2 import GenerateRequest, GenerationConfig
from trunkline_server.state.alerts.monitor import EVERY

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from keyed import Keyed

BUDGET, OPENED, WORSENED = pb.Alert.KIND_BUDGET, pb.WatchAlertsResponse.CHANGE_OPENED, 2
# "A second or so", on a machine that is busy. The monitor's own round is much longer.
SOON = 5.0
assert SOON < EVERY


@asynccontextmanager
async def paying(tmp_path: Path, **budgets: Any) -> AsyncIterator[Keyed]:
    """A gateway whose calls cost 0.1 USD each for ten tokens and next to nothing more."""
    document = {
        "server": {"admin_listen": "127.0.0.1:0"},
        "providers": {"mock": {"scripts": {"mock-fast": {"text": "well ", "repeat": 3000}}}},
        "prices": [{"model": "mock/*", "input": 0, "output": 10_000}],
        "budgets": budgets,
    }
    async with keyed(tmp_path, document) as world:
        yield world


async def spend(world: Keyed, key: str, calls: int = 1) -> None:
    for _ in range(calls):
        config = GenerationConfig(max_output_tokens=10)
        request = GenerateRequest(model="mock/mock-fast", prompt="hi", config=config)
        await world.running.stub.Generate(request, metadata=bearing(key))


class Watching:
    """What somebody with this key is told of alerts."""

    def __init__(self, world: Keyed, key: str) -> None:
        self._channel = aio.insecure_channel(world.running.admin_address)
        self._metadata = bearing(key)
        self.stub = AdminServiceStub(self._channel)
        self._watch: Any = self.stub.WatchAlerts(pb.WatchAlertsRequest(), metadata=self._metadata)
        self._world = world

    async def __aenter__(self) -> Watching:
        before = len(self._world.running.app._monitor._watchers)
        self._reading: asyncio.Future[Any] = asyncio.ensure_future(self._watch.read())
        while len(self._world.running.app._monitor._watchers) == before:
            await asyncio.sleep(0)
        return self

    async def next(self) -> tuple[int, pb.Alert]:
        async with asyncio.timeout(SOON):
            told = await self._reading
        self._reading = asyncio.ensure_future(self._watch.read())
        return told.change, told.alert

    def has_news(self) -> bool:
        return self._reading.done()

    async def listed(self) -> list[pb.Alert]:
        return list((await self.stub.ListAlerts(pb.ListAlertsRequest(), metadata=self._metadata)).alerts)

    async def __aexit__(self, *_: object) -> None:
        self._watch.cancel()
        await asyncio.wait([self._reading])
        await self._channel.close()


@pytest.mark.parametrize(("kind", "worst"), [("hard", pb.Alert.SEVERITY_CRITICAL), ("soft", pb.Alert.SEVERITY_HIGH)])
async def test_who_pays_hears_of_each_step_at_once(tmp_path: Path, kind: str, worst: int) -> None:
    mine = {"limit": 1, "period": "total", "workspace": "acme", "kind": kind}
    async with paying(tmp_path, mine=mine) as world:
        key = await world.key("caller", workspace="acme")
        async with Watching(world, key) as watching:
            for calls, change, severity in ((5, OPENED, 1), (3, WORSENED, 2), (2, WORSENED, worst)):
                await spend(world, key, calls)
                told, alert = await watching.next()
                assert (told, alert.kind, alert.severity) == (change, BUDGET, severity)
            assert (alert.subject, alert.workspace) == ("mine", "acme")
            assert await watching.listed() == [alert]
            lines = world.running.lines("alert")
            assert [line["severity"] for line in lines] == ["low", "medium", {"hard": "critical", "soft": "high"}[kind]]


async def test_a_hard_budget_that_refuses_calls_with_money_left_says_so(tmp_path: Path) -> None:
    mine = {"limit": "0.17", "period": "total", "workspace": "acme"}
    async with paying(tmp_path, mine=mine) as world:
        key = await world.key("caller", workspace="acme")
        async with Watching(world, key) as watching:
            await spend(world, key)
            assert (await watching.next())[1].severity == pb.Alert.SEVERITY_LOW
            with pytest.raises(aio.AioRpcError) as caught:
                await spend(world, key)
            assert caught.value.code() == StatusCode.RESOURCE_EXHAUSTED
            change, alert = await watching.next()
            assert (change, alert.severity) == (WORSENED, pb.Alert.SEVERITY_CRITICAL)
            assert "and calls are refused" in alert.summary


async def test_callers_hear_of_the_budgets_of_their_workspace_only(tmp_path: Path) -> None:
    each = {"limit": 1, "period": "total", "workspace": "*", "kind": "soft"}
    whole = {"limit": 1, "period": "total", "kind": "soft"}
    async with paying(tmp_path, each=each, whole=whole) as world:
        mine, theirs = await world.key("caller", workspace="acme"), await world.key("caller", workspace="zeta")
        operator = await world.key("operator", workspace="zeta")
        async with Watching(world, mine) as mine_told, Watching(world, theirs) as theirs_told:
            await spend(world, mine, 6)
            assert (await mine_told.next())[1].subject == "each acme"
            async with Watching(world, operator) as operator_told:
                assert {(await operator_told.next())[1].subject for _ in range(2)} == {"each acme", "whole"}
                assert len(await operator_told.listed()) == 2
            assert [alert.subject for alert in await mine_told.listed()] == ["each acme"]
            assert await theirs_told.listed() == []
            assert not theirs_told.has_news()


async def test_who_calls_with_a_key_hears_of_its_budget(tmp_path: Path) -> None:
    each = {"limit": 1, "period": "total", "key": "*", "kind": "soft"}
    async with paying(tmp_path, each=each) as world:
        mine, theirs = await world.key("caller", workspace="acme"), await world.key("caller", workspace="acme")
        key_id = mine.split("_")[1]
        async with Watching(world, mine) as mine_told, Watching(world, theirs) as theirs_told:
            await spend(world, mine, 6)
            _, alert = await mine_told.next()
            assert (alert.subject, alert.api_key, alert.workspace) == (f"each {key_id}", key_id, "")
            assert [alert.subject for alert in await mine_told.listed()] == [f"each {key_id}"]
            assert await theirs_told.listed() == []
            assert not theirs_told.has_news()
            async with Watching(world, mine) as late:
                assert (await late.next())[1].api_key == key_id
            async with Watching(world, theirs) as late:
                # What is open comes first: the first to come would be the other key's.
                await spend(world, theirs, 6)
                assert (await late.next())[1].api_key == theirs.split("_")[1]
