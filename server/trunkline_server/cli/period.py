"""Which time a report is about: --since, --from, --to and --zone."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from typer import BadParameter

from trunkline_server.state.ledger.calendar import zone_of

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

_SPAN = re.compile(r"(\d{1,6})([mhdw])")
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


class Period(NamedTuple):
    """From `start` until `end`; None: as the gateway has it."""

    start: datetime | None
    end: datetime | None
    zone: ZoneInfo


def period_of(since: str, start: str, end: str, zone: str) -> Period:
    """The period that the options say. Raises BadParameter."""
    if since and start:
        raise BadParameter("say --since or --from, not both", param_hint="--since")
    try:
        where = zone_of(zone)
    except ValueError:
        raise BadParameter(f"no such time zone: {zone!r}; say Europe/Berlin, UTC, ...", param_hint="--zone") from None
    until = _time_of(end, where, "--to") if end else None
    if since:
        return Period((until or datetime.now(UTC)) - _span_of(since), until, where)
    return Period(_time_of(start, where, "--from") if start else None, until, where)


def _span_of(text: str) -> timedelta:
    match = _SPAN.fullmatch(text)
    if not match:
        raise BadParameter(f"no span of time: {text!r}; say 90m, 24h, 7d, 4w", param_hint="--since")
    return int(match[1]) * _UNITS[match[2]]


def _time_of(text: str, zone: ZoneInfo, option: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise BadParameter(
            f"no time: {text!r}; say 2026-11-28, 2026-11-28T13:00, 2026-11-28T13:00+01:00", param_hint=option
        ) from None
    return time if time.tzinfo else time.replace(tzinfo=zone)
