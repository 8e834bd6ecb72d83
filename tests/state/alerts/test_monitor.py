"""Alerts in a database: opened once by whichever gateway, over restarts; watched, logged and posted."""

from __future__ import annotations

import asyncio
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from databases import Failing
from ledger_rows import BEGIN, ended

from trunkline.v1 import call_pb2
from trunkline.v1.alerts_pb2 import Alert
from trunkline.v1.gateway_service_pb2 import EndpointHealth, ProviderHealth
from trunkline_server.errors import CallError, LedgerUnreadable
from trunkline_server.logs import build_log
from trunkline_server.state.alerts.monitor import EVERY, MOST_WAITING, Monitor, Watcher
from trunkline_server.state.alerts.store import KEPT, OPENED, RESOLVED, WORSENED, AlertStore, Change
from trunkline_server.state.alerts.tally import Tally
from trunkline_server.state.ledger.commit import take
from trunkline_server.state.ledger.database import Statement, StoreFailed, script

if TYPE_CHECKING:
    from trunkline_server.state.ledger.database import Database

FAILED, SUCCESS = call_pb2.OUTCOME_SERVER_ERROR, call_pb2.OUTCOME_SUCCESS
DAY = 86400.0
CANARY = "abcd"


class Gateway:
    """The part of a gateway that looks."""

    def __init__(self, database: Database, now: float = BEGIN / 1e6, **more: Any) -> None:
        self.now = now
        self.log = io.BytesIO()
        self.posted: list[Change] = []
        self.tally = Tally()
        self.providers: list[ProviderHealth] = []
        self.monitor = Monitor(
            database,
            self.tally,
            lambda: self.providers,
            build_log(self.log),
            wall=lambda: self.now,
            steady=lambda: self.now,
            post=self.posted.append,
            **more,
        )

    async def look(self, seconds: float = 0.0, *, failing: float | None = None) -> None:
        """Look for so long; of 100 attempts in each step the share `failing` fails."""
        for _ in range(int(seconds / EVERY) + 1):
            self.now += EVERY
            if failing is not None:
                for number in range(100):
                    self.tally.attempted("up", FAILED if number < 100 * failing else SUCCESS, self.now)
            await self.monitor.look()

    def logged(self) -> list[tuple[str, str]]:
        lines = [json.loads(line) for line in self.log.getvalue().splitlines()]
        return [(line["change"], line["kind"]) for line in lines if line["event"] == "alert"]

    def told(self) -> list[int]:
        return [change.change for change in self.posted]


CLOSED, OPEN = EndpointHealth.CIRCUIT_CLOSED, EndpointHealth.CIRCUIT_OPEN


def provider(credential: str, circuit: EndpointHealth.Circuit.ValueType = CLOSED) -> ProviderHealth:
    return ProviderHealth(provider="up", endpoints=[EndpointHealth(credential=credential, circuit=circuit)])


async def test_an_alert_is_opened_worsened_and_resolved_once(database: Database) -> None:
    gateway = Gateway(database)
    await gateway.look(300, failing=0.2)
    await gateway.look(600, failing=0.9)
    await gateway.look(1200, failing=0.0)
    assert gateway.logged()[0] == ("opened", "error_rate")
    assert gateway.told() == [OPENED, WORSENED, WORSENED, RESOLVED]
    (alert,) = await gateway.monitor.page(open_only=False, before="", limit=10)
    assert alert == gateway.posted[-1].alert
    assert (alert.subject, alert.severity) == ("up", Alert.SEVERITY_CRITICAL)
    assert alert.HasField("resolve_time")
    assert alert.evidence[0].name == "error_rate"
    assert alert.evidence[0].value >= 0.5
    assert await gateway.monitor.page(open_only=True, before="", limit=10) == []


async def test_a_restart_does_not_open_it_again(database: Database) -> None:
    before = Gateway(database)
    await before.look(300, failing=0.2)
    after = Gateway(database, before.now)
    await after.look(300, failing=0.2)
    assert (before.told(), after.told()) == ([OPENED], [])
    await after.look(1200, failing=0.0)
    assert after.told() == [RESOLVED]


async def test_of_two_gateways_one_tells_and_both_are_watched(database: Database) -> None:
    one, other = Gateway(database), Gateway(database)
    watched = other.monitor.watch()
    first = asyncio.ensure_future(anext(watched))
    for _ in range(10):
        await asyncio.gather(one.look(failing=0.2), other.look(failing=0.2))
    assert sorted([*one.told(), *other.told()]) == [OPENED]
    assert (await first).change == OPENED
    await asyncio.gather(*(each.look(300, failing=0.2) for each in (one, other)))
    # One of them does not see it any more: it is there as long as the other does.
    for _ in range(60):
        await asyncio.gather(one.look(failing=0.0), other.look(failing=0.2))
    assert RESOLVED not in [*one.told(), *other.told()]
    await watched.aclose()


async def test_a_watcher_is_told_what_is_open_and_then_each_change(database: Database) -> None:
    gateway = Gateway(database)
    gateway.providers = [provider("env:K ...abcd", OPEN)]
    await gateway.look(60)
    watched = gateway.monitor.watch()
    assert (await anext(watched)).alert.kind == Alert.KIND_PROVIDER_OUTAGE
    gateway.providers = [provider("env:K ...abcd")]
    await gateway.look(600)
    assert (await anext(watched)).change == RESOLVED
    gateway.monitor.interrupt(lambda: CallError(call_pb2.ERROR_REASON_DRAINING, "bye"))
    with pytest.raises(CallError, match="bye"):
        await anext(watched)


async def test_a_watcher_that_takes_nothing_is_ended() -> None:
    watcher = Watcher()
    for _ in range(MOST_WAITING + 1):
        watcher.add(Change(OPENED, Alert()))
    with pytest.raises(LedgerUnreadable, match="more alerts changed"):
        await watcher.next()


async def test_a_key_that_is_in_use_for_too_long(database: Database) -> None:
    gateway = Gateway(database, key_rotation=90 * DAY)
    gateway.providers = [provider(f"env:OLD ...{CANARY}")]
    await gateway.look()
    later = Gateway(database, gateway.now + 91 * DAY, key_rotation=90 * DAY)
    later.providers = gateway.providers
    await later.look(60)
    (opened,) = later.posted
    assert opened.alert.kind == Alert.KIND_CREDENTIAL_AGE
    assert opened.alert.summary == "env:OLD of up is in use here for 91 days; 90 are allowed"
    assert CANARY not in str(opened)
    later.providers = [provider("env:OLD ...efgh")]
    await later.look(900)
    assert later.told() == [OPENED, RESOLVED]


async def test_keys_that_show_nothing_of_themselves_have_no_age(database: Database) -> None:
    gateway = Gateway(database, key_rotation=1.0)
    gateway.providers = [provider("aws-sm:prod"), provider("env:SHORT ...")]
    await gateway.look(900)
    assert gateway.posted == []


async def test_scores_that_fell(database: Database) -> None:
    gateway = Gateway(database, BEGIN / 1e6 + 10 * DAY)
    now = int(gateway.now * 1e6)
    scores = [(f"c{n}", 0.9 if n < 40 else 0.6, now - int((3 if n < 40 else 0.5) * DAY * 1e6)) for n in range(80)]
    rows = [(call_id, "relevance", score, "default", BEGIN, submitted) for call_id, score, submitted in scores]
    sql = "INSERT INTO feedback (call_id, metric, score, workspace, started, submitted) VALUES (?, ?, ?, ?, ?, ?)"
    calls = [ended(call_id) for call_id, _, _ in scores]
    await database.transact(lambda: take(calls, database.dialect))
    await database.transact(script(Statement(sql, rows)))
    await gateway.look(60)
    (opened,) = gateway.posted
    assert (opened.alert.subject, opened.alert.severity) == ("openai/gpt-4o relevance", Alert.SEVERITY_HIGH)
    figures = {each.name: each.value for each in opened.alert.evidence}
    assert figures == {
        "mean_lately": pytest.approx(0.6),
        "mean_before": pytest.approx(0.9),
        "scores_lately": 40,
        "scores_before": 40,
    }


async def test_a_database_that_fails_is_waited_for(database: Database) -> None:
    failing = Failing(database)
    gateway = Gateway(failing)
    failing.failure = "locked"
    with pytest.raises(StoreFailed):
        await gateway.look(300, failing=0.5)
    failing.failure = None
    await gateway.look(60, failing=0.5)
    assert gateway.told() == [OPENED]


async def test_following_outlives_a_failure(database: Database) -> None:
    failing = Failing(database)
    failing.failure = "locked"
    gateway = Gateway(failing)
    gateway.providers = [provider("env:K ...abcd")]  # whose age is written down
    following = asyncio.ensure_future(gateway.monitor.follow())
    while b"alerts_not_evaluated" not in gateway.log.getvalue():
        await asyncio.sleep(0)
    assert not following.done()
    following.cancel()


async def test_old_alerts_go_and_pages_follow_each_other(database: Database) -> None:
    gateway = Gateway(database)
    for _ in range(3):
        await gateway.look(300, failing=0.2)
        await gateway.look(1200, failing=0.0)
    store = AlertStore(database)
    first = await store.page(open_only=False, before="", limit=2)
    rest = await store.page(open_only=False, before=first[-1].id, limit=2)
    ids = [each.id for each in (*first, *rest)]
    assert len(ids) == 3
    assert ids == sorted(ids, reverse=True)
    gateway.now += KEPT / 1e6
    await gateway.look(300, failing=0.2)
    assert len(await store.page(open_only=False, before="", limit=10)) == 1


async def test_one_look_that_fails_is_not_the_last(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alerts that end because of a slip of ours would never be missed."""
    monkeypatch.setattr("trunkline_server.state.alerts.monitor.EVERY", 0.0)
    gateway = Gateway(database)
    gateway.monitor._providers = lambda: 1 / 0  # type: ignore[assignment, return-value]
    following = asyncio.ensure_future(gateway.monitor.follow())
    while gateway.log.getvalue().count(b"alerts_not_evaluated") < 2:
        await asyncio.sleep(0)
    assert b"division" not in gateway.log.getvalue()
    following.cancel()
