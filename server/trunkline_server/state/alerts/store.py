"""Alerts in the ledger's database. Of gateways that do the same at once, one is told that it did it."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from trunkline.v1.alerts_pb2 import Alert, WatchAlertsResponse
from trunkline_server.state.alerts.judgement import Open
from trunkline_server.state.alerts.reading import Key
from trunkline_server.state.ledger.database import Statement

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from trunkline_server.state.alerts.judgement import Verdict
    from trunkline_server.state.alerts.reading import Reading
    from trunkline_server.state.ledger.database import Database, Row, Script

OPENED = WatchAlertsResponse.CHANGE_OPENED
WORSENED = WatchAlertsResponse.CHANGE_WORSENED
RESOLVED = WatchAlertsResponse.CHANGE_RESOLVED
# Microseconds for which alerts are kept that were resolved.
KEPT = 90 * 86_400_000_000

_COLUMNS = "id, kind, subject, severity, summary, remedy, evidence, workspace, api_key, opened, resolved"
_OPEN = f"SELECT {_COLUMNS}, seen FROM alerts WHERE resolved IS NULL"  # noqa: S608 - here and below: constants
_BY_ID = "SELECT {} FROM alerts WHERE id IN ({})"
_LIST = f"""SELECT {_COLUMNS} FROM alerts WHERE id < ? AND (? = 0 OR resolved IS NULL)
    AND (? = '' OR workspace = ? OR (api_key = ? AND api_key <> '')) ORDER BY id DESC LIMIT ?"""  # noqa: S608
_INSERT = f"""INSERT INTO alerts ({_COLUMNS}, seen) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, ?)
    ON CONFLICT DO NOTHING RETURNING id"""  # noqa: S608
_WORSEN = """UPDATE alerts SET severity = ?, summary = ?, remedy = ?, evidence = ?, workspace = ?, api_key = ?, seen = ?
    WHERE kind = ? AND subject = ? AND resolved IS NULL AND severity < ? RETURNING id"""
_REMAIN = "UPDATE alerts SET seen = ? WHERE kind = ? AND subject = ? AND resolved IS NULL"
_RESOLVE = "UPDATE alerts SET resolved = ? WHERE kind = ? AND subject = ? AND resolved IS NULL RETURNING id"
_FORGET = "DELETE FROM alerts WHERE resolved < ?"
# After every id that there is: ids are hexadecimal.
_LAST = "g"


class Change(NamedTuple):
    """What happened to an alert, which is as it is then."""

    change: WatchAlertsResponse.Change.ValueType
    alert: Alert


class AlertStore:
    """Every method raises StoreFailed. Times are microseconds since 1970."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open_alerts(self) -> Mapping[Key, tuple[Open, Alert]]:
        """Those that are open."""
        rows = await self._database.fetch(_OPEN)
        return {Key(row[1], row[2]): (Open(row[0], row[3], row[-1] / 1e6), _alert(row)) for row in rows}

    async def apply(self, verdict: Verdict, now: int) -> list[Change]:
        """Write down what follows, in one transaction, and tell what of it was done here and not elsewhere before."""
        if not any(verdict):
            return []
        done = await self._database.transact(lambda: _applied(verdict, now))
        alerts = {alert.id: alert for alert in await self.by_ids(alert_id for _, alert_id in done)}
        return [Change(change, alerts[alert_id]) for change, alert_id in done]

    async def by_ids(self, ids: Iterable[str]) -> list[Alert]:
        """Alerts, open or not."""
        wanted = [*ids]
        if not wanted:
            return []
        sql = _BY_ID.format(_COLUMNS, ", ".join("?" * len(wanted)))
        return [_alert(row) for row in await self._database.fetch(sql, wanted)]

    async def page(
        self, *, open_only: bool, before: str, limit: int, workspace: str = "", api_key: str = ""
    ) -> list[Alert]:
        """The latest whose ids come before `before`, if that is not empty, and that these may hear of."""
        whose = workspace, workspace, api_key
        rows = await self._database.fetch(_LIST, (before or _LAST, int(open_only), *whose, limit))
        return [_alert(row) for row in rows]

    async def in_use(self, credentials: Sequence[tuple[str, str]], now: int) -> Mapping[tuple[str, str], int]:
        """Since when each provider's key has been in use here, by how it is shown; those that are new: since now."""
        if not credentials:
            return {}
        rows = await self._database.transact(lambda: _seen(credentials, now))
        return {(provider, credential): since for provider, credential, since in rows}


def _applied(verdict: Verdict, now: int) -> Script[list[tuple[WatchAlertsResponse.Change.ValueType, str]]]:
    """Pure: run again it writes the same, apart from ids."""
    done = []
    for reading in verdict.opens:
        rows = yield Statement(_INSERT, [_new(reading, now)], returns=True)
        done += [(OPENED, row[0]) for row in rows]
    for reading in verdict.worsens:
        rows = yield Statement(_WORSEN, [(*_told(reading), now, *reading.key, reading.severity)], returns=True)
        done += [(WORSENED, row[0]) for row in rows]
    if verdict.remains:
        yield Statement(_REMAIN, [(now, *key) for key in verdict.remains])
    for key in verdict.resolves:
        rows = yield Statement(_RESOLVE, [(now, *key)], returns=True)
        done += [(RESOLVED, row[0]) for row in rows]
    if verdict.opens:
        yield Statement(_FORGET, [(now - KEPT,)])
    return done


def _seen(credentials: Sequence[tuple[str, str]], now: int) -> Script[list[Row]]:
    yield Statement(
        "INSERT INTO credential_ages (provider, credential, since) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        [(*each, now) for each in credentials],
    )
    return (yield Statement("SELECT provider, credential, since FROM credential_ages", returns=True))


def _new(reading: Reading, now: int) -> tuple[Any, ...]:
    alert_id = f"{now:014x}{secrets.token_hex(4)}"
    return (alert_id, *reading.key, *_told(reading), now, now)


def _told(reading: Reading) -> tuple[Any, ...]:
    told = reading.severity, reading.summary, reading.remedy, _evidence(reading)
    return (*told, reading.workspace, reading.api_key)


def _evidence(reading: Reading) -> str:
    # Settings bring numbers of types of their own, which JSON does not know.
    figures = [(name, float(value), unit) for name, value, unit in reading.evidence]
    return msgspec.json.encode(figures).decode()


def _alert(row: Row) -> Alert:
    alert_id, kind, subject, severity, summary, remedy, evidence, workspace, api_key, opened, resolved, *_ = row
    alert = Alert(id=alert_id, kind=kind, subject=subject, severity=severity, summary=summary, remedy=remedy)
    alert.workspace, alert.api_key = workspace, api_key
    for name, value, unit in msgspec.json.decode(evidence):
        alert.evidence.add(name=name, value=value, unit=unit)
    alert.open_time.FromMicroseconds(opened)
    if resolved is not None:
        alert.resolve_time.FromMicroseconds(resolved)
    return alert
