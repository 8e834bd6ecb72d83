"""A ledger's database that fails or stalls, as callers of a whole gateway see it: nothing is lost or silent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest
from databases import Failing
from gateway import gateway, settings_of
from grpc import aio
from keyed import bearing, keyed
from serving import details, reason

from trunkline.v1 import gateway_service_pb2 as pb
from trunkline_server.state.ledger import ledger as ledger_module

if TYPE_CHECKING:
    from pathlib import Path

    from gateway import Gateway

    from trunkline_server.settings import Settings
    from trunkline_server.state.ledger.database import Failure

HI = pb.GenerateRequest(model="mock", prompt="hi")
DEGRADED = pb.HealthCheckResponse.STATE_DEGRADED


def with_mode(tmp_path: Path, mode: str) -> Settings:
    return settings_of(tmp_path, {"ledger": {"mode": mode}})


def failing(running: Gateway) -> Failing:
    """Have its database fail when it is told to."""
    ledger = running.app._ledger
    ledger.database = Failing(ledger.database)
    return ledger.database


async def refused(running: Gateway, *, streaming: bool) -> aio.AioRpcError:
    """What a call is told that is refused for the ledger, and when to come again."""
    with pytest.raises(aio.AioRpcError) as raised:
        if streaming:
            async for _ in running.stub.StreamGenerate(HI):
                pass
        else:
            await running.stub.Generate(HI)
    assert (raised.value.code(), reason(raised.value)) == (grpc.StatusCode.UNAVAILABLE, "LEDGER_UNAVAILABLE")
    assert details(raised.value)["google.rpc.RetryInfo"].retry_delay.seconds >= 1
    return raised.value


async def health(running: Gateway) -> pb.HealthCheckResponse:
    return await running.stub.HealthCheck(pb.HealthCheckRequest())


async def recovered(running: Gateway) -> None:
    """It tries again of its own accord; each question is a round of the loop."""
    while (await health(running)).ledger.failing_reason:
        pass


async def results(running: Gateway) -> tuple[int, int, int]:
    totals = (await running.stub.UsageStats(pb.UsageStatsRequest())).totals
    return totals.successes, totals.errors, totals.attempts


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    ("failure", "words"),
    [("disk full", "the disk is full"), ("connection lost", "the connection to its database is lost")],
)
async def test_strict_refuses_by_name_and_recovers(
    tmp_path: Path, failure: Failure, words: str, *, streaming: bool
) -> None:
    async with gateway(with_mode(tmp_path, "strict")) as running:
        database = failing(running)
        await running.stub.Generate(HI)
        database.failure = failure
        with pytest.MonkeyPatch.context() as impatient:
            impatient.setattr(ledger_module, "PATIENCE", 0.05)
            error = await refused(running, streaming=streaming)
        assert words in str(error.details())
        told = await health(running)
        assert (told.state, told.ledger.failing_reason) == (DEGRADED, words)
        assert told.ledger.queued_rows > 0
        assert told.ledger.HasField("failing_since_time")
        database.failure = None
        await recovered(running)
        await running.stub.Generate(HI)
        assert await results(running) == (2, 1, 2)  # no provider was asked for the one that was refused
        told = await health(running)
        assert told.state != DEGRADED
        assert told.ledger == pb.LedgerHealth()


async def test_relaxed_goes_on_and_loses_nothing(tmp_path: Path) -> None:
    async with gateway(with_mode(tmp_path, "relaxed")) as running:
        database = failing(running)
        database.failure = "disk full"
        for _ in range(3):
            await running.stub.Generate(HI)
        while not (await health(running)).ledger.failing_reason:
            pass
        told = await health(running)
        assert told.state == DEGRADED
        assert (told.ledger.queued_rows, told.ledger.failing_reason) == (6, "the disk is full")
        database.failure = None
        await recovered(running)
        assert await results(running) == (3, 0, 3)


async def test_relaxed_refuses_by_name_once_the_queue_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "LIMIT", 4)
    monkeypatch.setattr(ledger_module, "PATIENCE", 0.05)
    async with gateway(with_mode(tmp_path, "relaxed")) as running:
        database = failing(running)
        database.runs.clear()
        for _ in range(2):
            await running.stub.Generate(HI)
        error = await refused(running, streaming=False)
        assert "does not keep up" in str(error.details())
        told = await health(running)
        assert (told.ledger.queued_rows, told.ledger.unrecorded_calls) == (5, 0)
        database.runs.set()
        while (await health(running)).ledger.queued_rows:
            pass
        await running.stub.Generate(HI)
        assert await results(running) == (3, 1, 3)


async def test_callers_are_not_told_of_the_ledger(tmp_path: Path) -> None:
    async with keyed(tmp_path) as world:
        key = await world.key()
        told = await world.running.stub.HealthCheck(pb.HealthCheckRequest(), metadata=bearing(key))
        assert not told.HasField("ledger")
