"""Whatever gateways do and wherever they die: each attempt is in the ledger once, and as it had ended if it had."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import databases
import hypothesis.strategies as st
import pytest
import uvloop
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from ledger_house import House, failing
from ledger_rows import begun, ended, finished

from trunkline_server.errors import LedgerUnavailable
from trunkline_server.state.ledger import ledger
from trunkline_server.state.ledger.database import Query

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from ledger_house import Mode

    from trunkline_server.state.ledger.ledger import Ledger
    from trunkline_server.state.ledger.rows import AttemptRow, CallRow

NAMES = [f"c{number}" for number in range(5)]
CALLS, NUMBERS, PICK = st.sampled_from(NAMES), st.integers(1, 2), st.integers(0, 1)


class Gateways(RuleBasedStateMachine):
    """Up to two gateways on one machine and database. The n-th finish of all costs n nano-USD."""

    def __init__(self, mode: Mode, server: str = "") -> None:
        super().__init__()
        self.loop = uvloop.new_event_loop()
        self.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        path = Path(self.folder.name)
        url = self.run(databases.new_database(server)) if server else f"sqlite:///{path}/ledger.sqlite3"
        self.house = House(url, path / "journal", mode)
        # Who runs an attempt; None: it is dead.
        self.begun: dict[tuple[str, int], Ledger | None] = {}
        self.finished: dict[tuple[str, int], int] = {}
        self.ended: dict[str, int] = {}
        self.refused: set[tuple[str, int]] = set()
        self.count = 0
        self.run(self.house.start())

    def run(self, work: Awaitable[Any]) -> Any:
        return self.loop.run_until_complete(asyncio.wait_for(work, 30))

    def gateway(self, pick: int) -> Ledger:
        return self.house.running[pick % len(self.house.running)]

    @rule(call=CALLS, number=NUMBERS, pick=PICK)
    def begin(self, call: str, number: int, pick: int) -> None:
        key = (call, number)
        if key in self.begun or key in self.refused or call in self.ended:
            return
        others = [gateway for (name, _), gateway in self.begun.items() if name == call]
        gateway = others[0] if others else self.gateway(pick)
        if gateway is None:
            return
        try:
            self.run(gateway.begin(begun(call, number)))
        except LedgerUnavailable:
            self.refused.add(key)
            return
        self.begun[key] = gateway

    @rule(call=CALLS, number=NUMBERS, waits=st.booleans())
    def finish(self, call: str, number: int, waits: bool) -> None:
        """Also a second time, which changes nothing."""
        gateway = self.begun.get((call, number))
        if gateway is None:
            return
        self.count += 1
        wait = waits and not failing(gateway).failure
        self.run(_finish(gateway, finished(call, number, cost=self.count), wait=wait))
        self.finished.setdefault((call, number), self.count)

    @rule(call=CALLS)
    def end(self, call: str) -> None:
        gateways = [gateway for (name, _), gateway in self.begun.items() if name == call]
        if not gateways or gateways[-1] is None:
            return
        self.count += 1
        self.run(_end(gateways[-1], ended(call, duration=self.count)))
        self.ended.setdefault(call, self.count)

    @rule(pick=PICK)
    def kill(self, pick: int) -> None:
        victim = self.gateway(pick)
        self.run(self.house.kill(victim))
        self.begun = {key: None if gateway is victim else gateway for key, gateway in self.begun.items()}
        if not self.house.running:
            self.run(self.house.start())

    @rule()
    def start_another(self) -> None:
        if len(self.house.running) < 2:
            self.run(self.house.start())

    @rule(pick=PICK, kind=st.sampled_from(["disk full", "locked", None]))
    def fail(self, pick: int, kind: Any) -> None:
        failing(self.gateway(pick)).failure = kind

    @rule(pick=PICK)
    def look_after(self, pick: int) -> None:
        gateway = self.gateway(pick)
        failing(gateway).failure = None
        self.run(gateway.tidy())
        self.run(gateway.flush())

    @rule(pick=PICK)
    def wait(self, pick: int) -> None:
        if not failing(self.gateway(pick)).failure:
            self.run(self.gateway(pick).flush())

    @invariant()
    def the_rollups_count_what_is_there(self) -> None:
        queries = [
            "SELECT COUNT(*), COALESCE(SUM(cost), 0) FROM attempts WHERE duration IS NOT NULL",
            "SELECT COALESCE(SUM(attempts), 0), COALESCE(SUM(cost), 0) FROM attempt_sums WHERE grain = 'detail'",
            "SELECT COUNT(*), 0 FROM calls",
            "SELECT COALESCE(SUM(calls), 0), 0 FROM call_sums WHERE grain = 'hour'",
        ]
        rows, sums, calls, call_sums = self.run(self.house.reader.fetch_all([Query(sql) for sql in queries]))
        assert [tuple(map(int, row)) for row in rows] == [tuple(map(int, row)) for row in sums]
        assert [tuple(map(int, row)) for row in calls] == [tuple(map(int, row)) for row in call_sums]

    def teardown(self) -> None:
        try:
            while self.house.running:
                self.kill_last()
            self.run(self.house.start())
            self.run(self.house.stop())
            self.check(self.run(self.house.attempts()), self.run(self.house.calls()))
        finally:
            self.run(self.house.aclose())
            self.loop.close()
            self.folder.cleanup()

    def kill_last(self) -> None:
        self.run(self.house.kill(self.house.running[-1]))

    def check(self, attempts: list[Any], calls: list[Any]) -> None:
        """After everybody is dead and one has started again."""
        known = {(row.call_id, row.attempt): row for row in attempts}
        assert len(known) == len(attempts)
        assert set(known) == set(self.begun) | set(self.finished), "each attempt that was begun, and no other"
        for key, row in known.items():
            assert row.duration is not None
            assert row.outcome == (1 if key in self.finished else 7)
            if key in self.finished:
                assert row.cost == self.finished[key], "as it had ended first"
        assert {row.call_id for row in calls} == {call for call, _ in known}
        for call in calls:
            assert call.reason == ("" if call.call_id in self.ended else "INTERNAL")
            assert call.duration == self.ended.get(call.call_id, call.duration)


async def _finish(gateway: Ledger, row: AttemptRow, *, wait: bool) -> None:
    kept = gateway.finish(row)
    if wait:
        with suppress(LedgerUnavailable):
            await kept


async def _end(gateway: Ledger, row: CallRow) -> None:
    gateway.end_call(row)


def _machines(mode: Mode, server: str = "") -> type[RuleBasedStateMachine]:
    class OfThisKind(Gateways):
        def __init__(self) -> None:
            super().__init__(mode, server)

    return OfThisKind


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls are refused soon where the database fails."""
    monkeypatch.setattr(ledger, "PATIENCE", 0.3)


@pytest.mark.parametrize("mode", ["relaxed", "strict"])
def test_any_order_of_deaths_on_sqlite(mode: Mode) -> None:
    run_state_machine_as_test(_machines(mode), settings=settings(max_examples=30, stateful_step_count=25))


@pytest.mark.parametrize("mode", ["relaxed", "strict"])
def test_any_order_of_deaths_on_postgresql(mode: Mode, postgres: str) -> None:
    run_state_machine_as_test(_machines(mode, postgres), settings=settings(max_examples=8, stateful_step_count=20))
