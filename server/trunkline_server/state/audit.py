"""The audit trail: who did what, and whether it was done. Rows are added and read; nothing changes or removes one."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trunkline.v1.identity_pb2 import AuditEvent
from trunkline_server.core import now
from trunkline_server.state.ledger.database import Statement, StoreFailed, script

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from trunkline.v1.identity_pb2 import ListAuditEventsRequest
    from trunkline_server.logs import Log
    from trunkline_server.state.ledger.database import Database

# Of calls without a valid key: so many events at once, and one more in each so many seconds. Who tries keys all day
# long adds 1,440 rows.
REFUSALS_AT_ONCE = 20
SECONDS_A_REFUSAL = 60.0

_COLUMNS = "id, time, kind, api_key, workspace, peer, subject, outcome, detail"
_INSERT = f"INSERT INTO audit_events ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - a constant
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does something. Without anything: the gateway itself."""

    key: str = ""
    workspace: str = ""
    peer: str = ""


GATEWAY = Actor()
COMMAND_LINE = Actor(peer="command line")


def event_of(
    kind: AuditEvent.Kind.ValueType,
    actor: Actor = GATEWAY,
    subject: str = "",
    *,
    outcome: AuditEvent.Outcome.ValueType = AuditEvent.OUTCOME_DONE,
    detail: str = "",
) -> AuditEvent:
    """An event of this moment. Its texts are cut to 200 characters, and must hold no secret."""
    moment = time.time_ns()
    event = AuditEvent(
        id=f"{moment:016x}{secrets.token_hex(4)}",
        kind=kind,
        api_key_id=actor.key,
        workspace=actor.workspace,
        peer=actor.peer[:_LONGEST],
        subject=subject[:_LONGEST],
        outcome=outcome,
        detail=detail[:_LONGEST],
    )
    event.time.FromMicroseconds(moment // 1000)
    return event


def insertion(*events: AuditEvent) -> Statement:
    """Writes events down, alone or in the transaction that does what they tell of."""
    return Statement(_INSERT, [_row(event) for event in events])


class Audit:
    """Writes events down in the order they come, beside the calls: nobody waits for it."""

    def __init__(self, database: Database, spawn: Callable[[Coroutine[Any, Any, None]], object], log: Log) -> None:
        """`spawn` runs what must come to its end before the gateway does."""
        self.database = database
        self._spawn = spawn
        self._log = log
        self._waiting: list[AuditEvent] = []
        self._writing = False
        # Calls without a valid key, in all and since the last event about them; and how many events may come now.
        self.refusals = 0
        self._untold = 0
        self._room, self._room_at = float(REFUSALS_AT_ONCE), 0.0

    def record(
        self,
        kind: AuditEvent.Kind.ValueType,
        actor: Actor = GATEWAY,
        subject: str = "",
        *,
        outcome: AuditEvent.Outcome.ValueType = AuditEvent.OUTCOME_DONE,
        detail: str = "",
    ) -> None:
        """Write an event down soon. One that cannot be is told to the log in its place."""
        self._waiting.append(event_of(kind, actor, subject, outcome=outcome, detail=detail))
        if not self._writing:
            self._writing = True
            self._spawn(self._write())

    def refused(self, actor: Actor, method: str) -> None:
        """A call came without a valid key, or its key's role does not go so far. Not each has an event of its own.

        `actor.key` is the id that it named.
        """
        self.refusals += 1
        self._untold += 1
        moment = now()
        self._room = min(REFUSALS_AT_ONCE, self._room + (moment - self._room_at) / SECONDS_A_REFUSAL)
        self._room_at = moment
        if self._room < 1:
            return
        self._room -= 1
        told, self._untold = self._untold, 0
        detail = f"{told} calls were refused since the last event" if told > 1 else ""
        self._log.warning("call_refused", peer=actor.peer, method=method, key=actor.key, count=told)
        self.record(AuditEvent.KIND_CALL_REFUSED, actor, method, outcome=AuditEvent.OUTCOME_REFUSED, detail=detail)

    async def _write(self) -> None:
        try:
            while self._waiting:
                events, self._waiting = self._waiting, []
                await self._write_down(events)
        finally:
            self._writing = False

    async def _write_down(self, events: Sequence[AuditEvent]) -> None:
        try:
            await self.database.transact(script(insertion(*events)))
        except StoreFailed as failed:
            for event in events:
                self._log.error("audit_not_written", why=failed.kind, **_told(event))


async def list_events(database: Database, request: ListAuditEventsRequest, before: str, limit: int) -> list[AuditEvent]:
    """The newest events that the request asks for and whose ids come before `before`, if that is not empty.

    Raises StoreFailed.
    """
    conditions: list[tuple[str, Sequence[Any]]] = []
    if before:
        conditions.append(("id < ?", [before]))
    if request.HasField("start_time"):
        conditions.append(("time >= ?", [request.start_time.ToMicroseconds()]))
    if request.HasField("end_time"):
        conditions.append(("time < ?", [request.end_time.ToMicroseconds()]))
    if request.kinds:
        conditions.append((f"kind IN ({', '.join('?' * len(request.kinds))})", request.kinds))
    if request.api_key_id:
        conditions.append(("api_key = ?", [request.api_key_id]))
    if request.workspace:
        conditions.append(("workspace = ?", [request.workspace]))
    where = " AND ".join(condition for condition, _ in conditions) or "1 = 1"
    sql = f"SELECT {_COLUMNS} FROM audit_events WHERE {where} ORDER BY id DESC LIMIT ?"  # noqa: S608 - constants
    rows = await database.fetch(sql, [value for _, values in conditions for value in values] + [limit])
    return [_event(row) for row in rows]


def _row(event: AuditEvent) -> tuple[Any, ...]:
    who = (event.api_key_id, event.workspace, event.peer)
    return event.id, event.time.ToMicroseconds(), event.kind, *who, event.subject, event.outcome, event.detail


def _event(row: Sequence[Any]) -> AuditEvent:
    key, moment, kind, api_key, workspace, peer, subject, outcome, detail = row
    event = AuditEvent(
        id=key,
        kind=kind,
        api_key_id=api_key,
        workspace=workspace,
        peer=peer,
        subject=subject,
        outcome=outcome,
        detail=detail,
    )
    event.time.FromMicroseconds(moment)
    return event


def _told(event: AuditEvent) -> dict[str, str]:
    kind = AuditEvent.Kind.Name(event.kind).removeprefix("KIND_")
    who = {"key": event.api_key_id, "workspace": event.workspace, "peer": event.peer}
    return {"kind": kind, **who, "subject": event.subject, "detail": event.detail}
