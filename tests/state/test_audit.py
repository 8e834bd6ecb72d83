"""Audit events beside the calls: how many there are of refusals, and what becomes of one that cannot be written."""

from __future__ import annotations

import asyncio
import io
import json
from typing import TYPE_CHECKING, Any

from virtual_time import run_virtual

from trunkline.v1.identity_pb2 import AuditEvent
from trunkline_server.logs import build_log
from trunkline_server.registry import TaskRegistry
from trunkline_server.state.audit import REFUSALS_AT_ONCE, SECONDS_A_REFUSAL, Actor, Audit
from trunkline_server.state.ledger.database import StoreFailed

if TYPE_CHECKING:
    from collections.abc import Callable

WHO = Actor(key="abc", workspace="w", peer="ipv4:1.2.3.4:5")


class Rows:
    """A database that keeps what is inserted, in memory, slowly; or fails."""

    def __init__(self, *, fails: bool = False) -> None:
        self.rows: list[Any] = []
        self.transactions = 0
        self._fails = fails

    async def transact(self, script: Callable[[], Any]) -> None:
        self.transactions += 1
        await asyncio.sleep(1)
        if self._fails:
            raise StoreFailed("disk full")
        for statement in script():
            self.rows += statement.rows


def audit_on(rows: Rows, log: io.BytesIO) -> tuple[Audit, TaskRegistry]:
    registry = TaskRegistry()
    return Audit(rows, registry.spawn, build_log(log)), registry  # type: ignore[arg-type]


def test_events_are_written_in_order_and_together() -> None:
    async def main() -> None:
        rows = Rows()
        audit, registry = audit_on(rows, io.BytesIO())
        for number in range(5):
            audit.record(AuditEvent.KIND_PROVIDER_DISABLED, WHO, f"p{number}")
            await asyncio.sleep(0)
        await registry.wait_idle()
        assert [row[6] for row in rows.rows] == ["p0", "p1", "p2", "p3", "p4"]
        assert rows.transactions == 2
        assert [row[0] for row in rows.rows] == sorted(row[0] for row in rows.rows)
        audit.record(AuditEvent.KIND_PROVIDER_ENABLED, WHO, "p5")
        await registry.wait_idle()
        assert len(rows.rows) == 6

    run_virtual(main())


def test_refusals_have_a_bounded_number_of_events_and_none_is_uncounted() -> None:
    async def main() -> None:
        rows, log = Rows(), io.BytesIO()
        audit, registry = audit_on(rows, log)
        for _ in range(1000):
            audit.refused(WHO, "/m")
        await registry.wait_idle()
        assert (audit.refusals, len(rows.rows)) == (1000, REFUSALS_AT_ONCE)
        await asyncio.sleep(SECONDS_A_REFUSAL)
        for _ in range(1000):
            audit.refused(WHO, "/m")
        await registry.wait_idle()
        assert len(rows.rows) == REFUSALS_AT_ONCE + 1
        assert rows.rows[-1][8] == f"{1000 - REFUSALS_AT_ONCE + 1} calls were refused since the last event"
        lines = [json.loads(line) for line in log.getvalue().splitlines()]
        assert sum(line["count"] for line in lines) == 1000 + 1

    run_virtual(main())


def test_an_event_that_cannot_be_written_is_told_to_the_log() -> None:
    async def main() -> None:
        log = io.BytesIO()
        audit, registry = audit_on(Rows(fails=True), log)
        audit.record(AuditEvent.KIND_CREDENTIAL_REFUSED, WHO, "openai", detail="x" * 1000)
        await registry.wait_idle()
        (line,) = [json.loads(line) for line in log.getvalue().splitlines()]
        assert (line["event"], line["kind"], line["why"]) == ("audit_not_written", "CREDENTIAL_REFUSED", "disk full")
        assert (line["subject"], line["key"], len(line["detail"])) == ("openai", "abc", 200)

    run_virtual(main())
