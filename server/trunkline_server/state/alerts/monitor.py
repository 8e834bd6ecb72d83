"""Looks every so often at what may go wrong, and tells of what changed: the log, whoever watches, and the webhook."""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from trunkline.v1.alerts_pb2 import Alert, WatchAlertsResponse
from trunkline_server import core
from trunkline_server.errors import CallError, LedgerUnreadable
from trunkline_server.state.alerts import conditions
from trunkline_server.state.alerts.judgement import Streaks, judge
from trunkline_server.state.alerts.reading import Is, Reading
from trunkline_server.state.alerts.scores import read_scores
from trunkline_server.state.alerts.store import OPENED, RESOLVED, WORSENED, AlertStore, Change
from trunkline_server.state.budgets.purses import Purses
from trunkline_server.state.ledger.database import StoreFailed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence

    from trunkline.v1.gateway_service_pb2 import ProviderHealth
    from trunkline_server.logs import Log
    from trunkline_server.state.alerts.reading import Key
    from trunkline_server.state.alerts.tally import Tally
    from trunkline_server.state.ledger.database import Database

# Seconds between two looks; between two at what changes slowly, which is asked of the database; and between two looks
# at least, however much there is to tell.
EVERY, SLOWLY, SOON = 15.0, 300.0, 0.5
_OF_BUDGETS = (Alert.KIND_BUDGET, Alert.KIND_BUDGET_OVERRUN)
# Changes that wait for a watcher.
MOST_WAITING = 1000
# How keys are shown: where they come from, and their last four characters. What shows none of them cannot be told from
# the key before it.
_SHOWN = re.compile(r"\s*\.\.\.[!-~]{4}$")


class Monitor:
    """For one event loop."""

    def __init__(  # noqa: PLR0913 - what it looks at, and whom it tells
        self,
        database: Database,
        tally: Tally,
        providers: Callable[[], Sequence[ProviderHealth]],
        log: Log,
        *,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = core.now,
        key_rotation: float | None = None,
        purses: Purses | None = None,
        post: Callable[[Change], None] = lambda _: None,
    ) -> None:
        """`providers` tells how each is, `post` sends a change on its way without waiting for it.

        `purses` are the budgets. `wall` gives seconds since 1970, `steady` seconds that never go back: those of
        `tally`.
        """
        self._database = database
        self._store = AlertStore(database)
        self._tally = tally
        self._providers = providers
        self._log = log
        self._wall, self._steady = wall, steady
        self._key_rotation = key_rotation
        self._purses = purses or Purses(dict)
        self._post = post
        self._streaks: Streaks = {}
        # What changes slowly, as it was read last, and when it is read anew.
        self._slow: tuple[Reading, ...] = ()
        self._slow_until = float("-inf")
        self._watchers: set[Watcher] = set()
        # Those that watchers know to be open.
        self._open: Mapping[Key, Alert] = {}

    async def follow(self) -> None:
        """Look, until it is cancelled. A database that fails is waited for; what goes wrong meanwhile is told then."""
        while True:
            try:
                await self.look()
            except StoreFailed as failed:
                self._log.warning("alerts_not_evaluated", why=failed.kind)
            except Exception:  # noqa: BLE001 - what fails once must not be the last look
                self._log.error("alerts_not_evaluated", why="failed")
            await self._pause()

    async def _pause(self) -> None:
        """Until it is time for the next look, or there is something to tell before."""
        await asyncio.sleep(min(SOON, EVERY))
        with suppress(TimeoutError):
            async with asyncio.timeout(EVERY - SOON):
                await self._purses.news.wait()

    async def look(self) -> None:
        """Look once. Raises StoreFailed."""
        now = self._wall()
        self._purses.news.clear()
        there = await self._store.open_alerts()
        readings = (*self._quick(), *await self._slowly(now), *await self._of_budgets(now, there))
        self._streaks, verdict = judge(self._streaks, readings, {key: alert for key, (alert, _) in there.items()}, now)
        for change in await self._store.apply(verdict, int(now * 1e6)):
            self._tell(change)
        await self._tell_watchers()

    def _quick(self) -> Iterator[Reading]:
        providers, now = self._providers(), self._steady()
        yield from conditions.error_rates(self._tally.failures(now))
        yield from conditions.latencies(self._tally.paces(now))
        yield from conditions.outages(providers)
        yield from conditions.credentials(providers)

    async def _of_budgets(self, now: float, there: Iterable[Key]) -> list[Reading]:
        """Whose period is over, or whom the configuration has no more, is well."""
        when = int(now * 1e6)
        found = [*conditions.budgets(await self._purses.look(self._database, when), when)]
        read = {reading.key for reading in found}
        gone = [key for key in there if key.kind in _OF_BUDGETS and key not in read]
        return [*found, *(Reading(key, Is.WELL, at_once=True) for key in gone)]

    async def _slowly(self, now: float) -> tuple[Reading, ...]:
        if self._steady() >= self._slow_until:
            scores = await read_scores(self._database, int(now * 1e6))
            self._slow = (*conditions.qualities(scores), *await self._ages(now))
            self._slow_until = self._steady() + SLOWLY
        return self._slow

    async def _ages(self, now: float) -> tuple[Reading, ...]:
        shown = [(each.provider, end.credential) for each in self._providers() for end in each.endpoints]
        keys = [each for each in shown if _SHOWN.search(each[1])]
        since = await self._store.in_use(keys, int(now * 1e6))
        if self._key_rotation is None:
            return ()
        found = (conditions.Age(key[0], _SHOWN.sub("", key[1]), now - since[key] / 1e6) for key in keys)
        return tuple(conditions.ages(found, self._key_rotation))

    def _tell(self, change: Change) -> None:
        """Of what was done here, once."""
        alert = change.alert
        write = self._log.info if change.change == RESOLVED else self._log.warning
        write(
            "alert",
            change=WatchAlertsResponse.Change.Name(change.change).removeprefix("CHANGE_").lower(),
            id=alert.id,
            kind=Alert.Kind.Name(alert.kind).removeprefix("KIND_").lower(),
            subject=alert.subject,
            severity=Alert.Severity.Name(alert.severity).removeprefix("SEVERITY_").lower(),
            workspace=alert.workspace,
            summary=alert.summary,
            remedy=alert.remedy,
        )
        self._post(change)

    # --- who asks -----------------------------------------------------------------------------------------------------

    async def page(
        self, *, open_only: bool, before: str, limit: int, workspace: str = "", api_key: str = ""
    ) -> list[Alert]:
        """The latest alerts whose ids come before `before`, if that is not empty, and that these may hear of.

        Raises LedgerUnreadable.
        """
        try:
            return await self._store.page(
                open_only=open_only, before=before, limit=limit, workspace=workspace, api_key=api_key
            )
        except StoreFailed as failed:
            raise LedgerUnreadable(failed.kind) from failed

    async def watch(self, workspace: str = "", api_key: str = "") -> AsyncGenerator[Change, None]:
        """The alerts that are open, then each change: also those that other gateways on this database noticed.

        Only those about a workspace or a key, if that is not empty. Raises LedgerUnreadable when changes come faster
        than they are taken, and what `interrupt` says.
        """
        watcher = Watcher()
        self._watchers.add(watcher)
        try:
            for alert in self._open.values():
                if _is_told(alert, workspace, api_key):
                    yield Change(OPENED, alert)
            while True:
                change = await watcher.next()
                if _is_told(change.alert, workspace, api_key):
                    yield change
        finally:
            self._watchers.discard(watcher)

    def interrupt(self, make_error: Callable[[], CallError]) -> None:
        """End every watch that runs with an error of its own."""
        for watcher in self._watchers:
            watcher.fail(make_error())

    async def _tell_watchers(self) -> None:
        """What is open now, against what watchers know."""
        before, after = self._open, {key: alert for key, (_, alert) in (await self._store.open_alerts()).items()}
        gone = [alert.id for key, alert in before.items() if key not in after or after[key].id != alert.id]
        changes = [Change(RESOLVED, alert) for alert in await self._store.by_ids(gone)]
        for key, alert in after.items():
            known = before.get(key)
            if known is None or known.id != alert.id:
                changes.append(Change(OPENED, alert))
            elif known.severity != alert.severity:
                changes.append(Change(WORSENED, alert))
        self._open = after
        for watcher in self._watchers:
            for change in changes:
                watcher.add(change)


class Watcher:
    """The changes that wait for one watcher, and why there are no more."""

    def __init__(self) -> None:
        self._waiting: deque[Change] = deque()
        self._failure: CallError | None = None
        self._news = asyncio.Event()

    def add(self, change: Change) -> None:
        """A change. Where too many wait, the watch ends."""
        if len(self._waiting) >= MOST_WAITING:
            self.fail(LedgerUnreadable("more alerts changed than were taken"))
            return
        self._waiting.append(change)
        self._news.set()

    def fail(self, error: CallError) -> None:
        """End the watch at once. The first error stands."""
        self._failure = self._failure or error
        self._news.set()

    async def next(self) -> Change:
        """The next change. Raises CallError."""
        await self._news.wait()
        if self._failure is not None:
            raise self._failure
        change = self._waiting.popleft()
        if not self._waiting:
            self._news.clear()
        return change


def _is_told(alert: Alert, workspace: str, api_key: str) -> bool:
    """Whether these may hear of it. No workspace: an operator, of all."""
    return workspace in {"", alert.workspace} or (api_key != "" and api_key == alert.api_key)
