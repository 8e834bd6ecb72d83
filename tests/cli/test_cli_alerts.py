"""`trunkline alerts` and `trunkline insights` against a whole gateway."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gateway import gateway, settings_of
from ledger_rows import SUBJECT, ended, finished

from trunkline.v1.alerts_pb2 import Alert
from trunkline.v1.call_pb2 import ERROR_REASON_DRAINING, OUTCOME_SERVER_ERROR
from trunkline_server.errors import CallError
from trunkline_server.state.alerts.judgement import Verdict
from trunkline_server.state.alerts.reading import Is, Key, Reading
from trunkline_server.state.alerts.store import AlertStore
from trunkline_server.state.ledger.commit import take

if TYPE_CHECKING:
    from pathlib import Path

    from cli.conftest import Command

READING = Reading(Key(Alert.KIND_LATENCY, "up/m"), Is.BAD, Alert.SEVERITY_HIGH, "it is slow", "ask another")


def _minute(when: int) -> str:
    return f"{datetime.fromtimestamp(when // 10**6, UTC):%Y-%m-%d %H:%M}Z"


async def test_alerts_are_listed_and_watched(command: Command, tmp_path: Path) -> None:
    async with gateway(settings_of(tmp_path, {"server": {"admin_listen": "127.0.0.1:0"}})) as running:
        at = ("--address", running.admin_address)
        nothing = await command.later("alerts", *at)
        store = AlertStore(running.app._ledger.database)
        when = int(running.app._monitor._wall() * 1e6)
        await store.apply(Verdict(opens=(READING,)), when)
        listed = await command.later("alerts", *at)
        await running.app._monitor.look()
        watching = asyncio.ensure_future(command.later("alerts", "--watch", *at))
        while not running.app._monitor._watchers:
            await asyncio.sleep(0)
        running.app._monitor.interrupt(lambda: CallError(ERROR_REASON_DRAINING, "bye"))
        watched = await watching
        as_json = await command.later("alerts", "--open", "--json", *at)
        await store.apply(Verdict(resolves=(READING.key,)), when + 60 * 10**6)
        resolved = await command.later("alerts", *at)
        none_open = await command.later("alerts", "--open", *at)
    assert nothing.out.splitlines()[1:] == []
    assert listed.out.splitlines()[1].split("\t") == [
        "high", "latency", "up/m", _minute(when), "open", "it is slow", "ask another",
    ]  # fmt: skip
    (alert,) = json.loads(as_json.out)["alerts"]
    assert (alert["kind"], alert["severity"]) == ("KIND_LATENCY", "SEVERITY_HIGH")
    assert (watched.code, watched.out) == (3, "opened: high: it is slow; ask another\n")
    assert resolved.out.splitlines()[1].split("\t")[4] == _minute(when + 60 * 10**6)
    assert none_open.out.splitlines()[1:] == []


async def test_insights_are_told(command: Command, tmp_path: Path) -> None:
    up = {"kind": "openai_compatible", "base_url": "http://127.0.0.1:1", "models": ["m"]}
    document = {"server": {"admin_listen": "127.0.0.1:0"}, "providers": {"up": up}}
    async with gateway(settings_of(tmp_path, document)) as running:
        at = ("--address", running.admin_address)
        database = running.app._ledger.database
        now = int(running.app._monitor._wall() * 1e6)
        failed = {"result": "error", "outcome": OUTCOME_SERVER_ERROR, "reason": "ALL_PROVIDERS_FAILED"}
        given: dict[str, Any] = {"subject": SUBJECT, "provider": "up", "model": "m", "started": now}
        rows = [ended(f"c{number}", **given, **failed) for number in range(5)]
        await database.transact(lambda: take([*rows, finished("c9", **given)], database.dialect))
        told = await command.later("insights", *at)
        as_json = await command.later("insights", "--days", "2", "--json", *at)
        other = await command.later("insights", "--workspace", "other", *at)
        bad = await command.later("insights", "--days", "0", *at)
    row = told.out.splitlines()[1].split("\t")
    assert row[:5] == ["5 calls", "missing_fallback", "up/m", "-", "-"]
    assert "5 of 5 calls failed at up/m" in row[5]
    assert json.loads(as_json.out)["insights"][0]["kind"] == "KIND_MISSING_FALLBACK"
    assert other.out.splitlines()[1:] == []
    assert bad.code == 2
