"""When an alert is opened, and when it is resolved. Pure: what was read, what is open and the time are given.

Three things keep an alert from flapping: what opens it and what resolves it are different figures (Is.BETWEEN); it has
to be bad for OPEN_AFTER, and well without a break for RESOLVE_AFTER, unless it cannot change to and fro (at_once); and
of what nothing is known any more it is not said that it is well, until GONE_AFTER has passed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from trunkline_server.state.alerts.reading import Is, Key, Reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from trunkline.v1.alerts_pb2 import Alert

# Seconds.
OPEN_AFTER, RESOLVE_AFTER, GONE_AFTER = 30.0, 300.0, 3600.0
# Seconds. Another gateway on the same database saw it no longer ago than this: it is not resolved.
SEEN_ELSEWHERE = 60.0


class Open(NamedTuple):
    """An alert that is open. Times are seconds since 1970."""

    id: str
    severity: Alert.Severity.ValueType
    seen: float


class Streak(NamedTuple):
    """Since when something has been bad, or well."""

    state: Is
    since: float


class Verdict(NamedTuple):
    """What is to be done."""

    opens: tuple[Reading, ...] = ()
    # Alerts that are open and got worse; that are still there as they were; that are over.
    worsens: tuple[Reading, ...] = ()
    remains: tuple[Key, ...] = ()
    resolves: tuple[Key, ...] = ()


Streaks = dict[Key, Streak]


def judge(
    streaks: Mapping[Key, Streak], readings: Iterable[Reading], there: Mapping[Key, Open], now: float
) -> tuple[Streaks, Verdict]:
    """What follows from what is read now, and what to remember of it. `there`: the alerts that are open."""
    read = {reading.key: reading for reading in readings}
    kept = {key: _streak(streaks.get(key), reading, now, is_open=key in there) for key, reading in read.items()}
    known: Streaks = {key: streak for key, streak in kept.items() if streak is not None}
    bad = [reading for reading in read.values() if reading.state is Is.BAD]
    ours = {reading.key for reading in read.values() if reading.state is not Is.WELL}
    return known, Verdict(
        tuple(each for each in bad if each.key not in there and _lasts(each, known, now, OPEN_AFTER)),
        tuple(each for each in bad if each.key in there and each.severity > there[each.key].severity),
        tuple(key for key in there if key in ours),
        tuple(_over(read, known, there, now)),
    )


def _lasts(reading: Reading, known: Mapping[Key, Streak], now: float, least: float) -> bool:
    return reading.at_once or now - known[reading.key].since >= least


def _streak(before: Streak | None, reading: Reading, now: float, *, is_open: bool) -> Streak | None:
    """Between the two figures what was bad goes on to be so, and what was well does not."""
    if reading.state is Is.BETWEEN:
        return before if before is not None and before.state is Is.BAD and not is_open else None
    return before if before is not None and before.state is reading.state else Streak(reading.state, now)


def _over(
    read: Mapping[Key, Reading], known: Mapping[Key, Streak], there: Mapping[Key, Open], now: float
) -> Iterator[Key]:
    for key, alert in there.items():
        unseen = now - alert.seen
        if key not in read:
            is_over = unseen >= GONE_AFTER
        else:
            is_well = read[key].state is Is.WELL and _lasts(read[key], known, now, RESOLVE_AFTER)
            is_over = is_well and unseen >= SEEN_ELSEWHERE
        if is_over:
            yield key
