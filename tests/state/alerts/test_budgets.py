"""Alerts of budgets: told when half, most and all of the money is spent, and when it will not last; once each."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from state.alerts.test_monitor import Gateway

from trunkline.v1.alerts_pb2 import Alert
from trunkline_server.settings.budgets import BudgetSettings, Money
from trunkline_server.state.alerts import conditions
from trunkline_server.state.alerts.judgement import OPEN_AFTER, SEEN_ELSEWHERE, Open, judge
from trunkline_server.state.alerts.monitor import EVERY
from trunkline_server.state.alerts.reading import Is, Reading
from trunkline_server.state.alerts.store import OPENED, RESOLVED, WORSENED
from trunkline_server.state.budgets import holds
from trunkline_server.state.budgets.accounts import Payer, Rules
from trunkline_server.state.budgets.purses import LEAST, STEPS, Purses, Spending

if TYPE_CHECKING:
    from trunkline_server.state.alerts.judgement import Streaks
    from trunkline_server.state.budgets.accounts import Account
    from trunkline_server.state.ledger.database import Database

LOW, MEDIUM, HIGH, CRITICAL = Alert.SEVERITY_LOW, Alert.SEVERITY_MEDIUM, Alert.SEVERITY_HIGH, Alert.SEVERITY_CRITICAL
BUDGET, OVERRUN = Alert.KIND_BUDGET, Alert.KIND_BUDGET_OVERRUN
USD = 10**9
HOUR = 3600 * 10**6
VIENNA = ZoneInfo("Europe/Vienna")
PAYER = Payer("acme", "", "ann", {}, "p", "m")


def at(*when: int) -> int:
    return int(datetime(*when, tzinfo=VIENNA).timestamp() * 1e6)  # type: ignore[arg-type, misc]


def budget(limit: int = 10, **said: Any) -> BudgetSettings:
    period = {"period": "daily", "time_zone": "Europe/Vienna"} | said
    return BudgetSettings(limit=Money(limit * USD), **period)


def account_of(settings: BudgetSettings, now: int) -> Account:
    (account,) = Rules({"b": settings}).payment(PAYER, now).accounts
    return account


def read(settings: BudgetSettings, usd: float, now: int, *, refuses: bool = False) -> dict[int, Reading]:
    spending = Spending(account_of(settings, now), int(usd * USD), refuses, "acme", "", "Europe/Vienna")
    return {reading.key.kind: reading for reading in conditions.budgets([spending], now)}


@pytest.mark.parametrize(
    ("usd", "refuses", "hard", "soft"),
    [
        (4.99, False, (Is.WELL, LOW), (Is.WELL, LOW)),
        (4.99, True, (Is.WELL, LOW), (Is.WELL, LOW)),  # one call was too large
        (5, False, (Is.BAD, LOW), (Is.BAD, LOW)),
        (5, True, (Is.BAD, CRITICAL), (Is.BAD, LOW)),
        (8, False, (Is.BAD, MEDIUM), (Is.BAD, MEDIUM)),
        (10, False, (Is.BAD, CRITICAL), (Is.BAD, HIGH)),
    ],
)
def test_how_bad_it_is(usd: float, refuses: bool, hard: Any, soft: Any) -> None:
    for kind, expected in (("hard", hard), ("soft", soft)):
        reading = read(budget(kind=kind, period="total", time_zone=""), usd, at(2026, 3, 10), refuses=refuses)[BUDGET]
        assert (reading.state, reading.severity) == expected
        assert reading.workspace == "acme"


def test_what_it_tells() -> None:
    told = read(budget(), 8.5, at(2026, 3, 10, 18))
    assert told[BUDGET].key.subject == "b 2026-03-10"
    assert told[BUDGET].summary == "85% of budget b 2026-03-10 is spent: 8.50 of 10.00 USD"
    assert told[BUDGET].remedy.startswith("at its end calls are refused until 2026-03-11 00:00 Europe/Vienna; what it")
    assert {each.name: each.value for each in told[BUDGET].evidence} == {
        "spent": 8_500_000_000,
        "limit": 10 * USD,
        "share": 0.85,
        "spent_an_hour": 8_500_000_000 // 18,
        "projected": pytest.approx(11_333_333_333, abs=9),
    }
    assert told[OVERRUN].summary == (
        "11.33 USD of budget b 2026-03-10 will be spent by 2026-03-11 00:00 Europe/Vienna, at 0.472222 USD an hour; "
        "it has 10.00"
    )


@pytest.mark.parametrize(
    ("usd", "expected"),
    [
        (4.4, (Is.WELL, LOW)),
        (4.6, (Is.BETWEEN, LOW)),
        (5, (Is.BAD, LOW)),
        (6.25, (Is.BAD, MEDIUM)),
        (9.99, (Is.BAD, MEDIUM)),
        (10, (Is.BETWEEN, HIGH)),
    ],
)
def test_where_it_leads_to(usd: float, expected: tuple[Is, int]) -> None:
    """At noon, twice as much by midnight."""
    reading = read(budget(), usd, at(2026, 3, 10, 12))[OVERRUN]
    assert (reading.state, reading.severity) == expected


def test_a_day_is_as_long_as_its_time_zone_has_it() -> None:
    """On 29 March clocks go forward in Vienna: at noon 11 of 23 hours are over."""
    projected = account_of(budget(), now := at(2026, 3, 29, 12)).projected(11 * USD, now)
    assert projected == 23 * USD


def test_the_first_hour_counts_as_one_and_what_never_ends_leads_nowhere() -> None:
    now = at(2026, 3, 10, 0, 1)
    assert account_of(budget(), now).burn_rate(USD, now) == USD
    assert OVERRUN not in read(budget(period="total", time_zone=""), 9, now)


# --- over time --------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 3 * USD), max_size=40), st.sampled_from(["hard", "soft"]))
def test_spending_opens_it_once_and_only_makes_it_worse(costs: list[int], kind: str) -> None:
    settings, spent, open_, history, streaks = budget(kind=kind), 0, {}, [], {}  # type: ignore[var-annotated]
    for number, cost in enumerate(costs):
        now = at(2026, 3, 10, 6) + number * 15 * 10**6
        spent += cost
        reading = read(settings, spent / USD, now)[BUDGET]
        _streaks: Streaks = streaks
        streaks, verdict = judge(_streaks, [reading], open_, now / 1e6)
        history += ["opened"] * len(verdict.opens) + ["worsened"] * len(verdict.worsens)
        history += ["resolved"] * len(verdict.resolves)
        for each in (*verdict.opens, *verdict.worsens):
            open_[each.key] = Open("a", each.severity, now / 1e6)
    share = spent / (10 * USD)
    assert "resolved" not in history
    assert history.count("opened") == (share >= STEPS[0])
    assert len(history) <= sum(share >= step for step in STEPS)


class Payers(Gateway):
    """The part of a gateway that looks, and what its callers spend."""

    def __init__(self, database: Database, now: int, **budgets: BudgetSettings) -> None:
        self.budgets = budgets
        self.purses = Purses(lambda: self.budgets)
        self.database = database
        super().__init__(database, now / 1e6, purses=self.purses)

    async def spend(self, usd: float, payer: Payer = PAYER) -> None:
        accounts = Rules(self.budgets).payment(payer, int(self.now * 1e6)).accounts
        script = partial(holds.spend, [], [(account.id, int(usd * USD)) for account in accounts])
        self.purses.spent(await self.database.transact(script))

    def opened(self) -> list[tuple[int, str, int]]:
        return [(each.alert.kind, each.alert.subject, each.change) for each in self.posted]


async def test_it_is_told_at_once_and_resolved_when_the_next_period_begins(database: Database) -> None:
    gateway = Payers(database, at(2026, 3, 10, 23), b=budget(kind="soft"))
    await gateway.spend(4)
    await gateway.look()
    assert gateway.posted == []
    for usd, changes in ((2, [OPENED]), (1, []), (2, [WORSENED]), (5, [WORSENED]), (50, [])):
        before = len(gateway.posted)
        await gateway.spend(usd)
        await gateway.look()
        assert [change.change for change in gateway.posted[before:]] == changes
    await gateway.look(3600 + SEEN_ELSEWHERE)
    assert gateway.opened()[-1] == (BUDGET, "b 2026-03-10", RESOLVED)
    await gateway.spend(6)
    await gateway.look()
    assert gateway.opened()[-1] == (BUDGET, "b 2026-03-11", OPENED)
    assert gateway.posted[-1].alert.severity == LOW


async def test_a_restart_tells_nothing_again(database: Database) -> None:
    before = Payers(database, at(2026, 3, 10, 23), b=budget(kind="soft"))
    await before.spend(9)
    await before.look()
    after = Payers(database, int(before.now * 1e6), b=budget(kind="soft"))
    await after.look(600)
    assert (before.told(), after.told()) == ([OPENED], [])


async def test_a_budget_that_will_not_last_is_told_of_before_half_of_it_is_spent(database: Database) -> None:
    gateway = Payers(database, at(2026, 3, 10, 2), b=budget())
    await gateway.spend(3)
    await gateway.look(OPEN_AFTER + EVERY)
    assert gateway.opened() == [(OVERRUN, "b 2026-03-10", OPENED)]
    assert gateway.posted[0].alert.severity == HIGH
    await gateway.look(12 * 3600)
    assert gateway.told() == [OPENED, RESOLVED]


async def test_each_has_its_own_and_it_says_whose_it_is(database: Database) -> None:
    each = budget(workspace="*", user="*", period="total", time_zone="")
    gateway = Payers(database, at(2026, 3, 10), each=each, of_all=budget(period="total", time_zone=""))
    await gateway.spend(4)
    await gateway.spend(5, structs.replace(PAYER, workspace="zeta"))
    await gateway.look()
    found = {alert.subject.split()[:2][-1]: alert.workspace for _, alert in gateway.posted}
    assert found == {"zeta": "zeta", "of_all": ""}
    assert not any("ann" in str(alert) for _, alert in gateway.posted)
    page = await gateway.monitor.page(open_only=True, before="", limit=9, workspace="zeta")
    assert [alert.workspace for alert in page] == ["zeta"]


async def test_a_higher_limit_resolves_it(database: Database) -> None:
    gateway = Payers(database, at(2026, 3, 10, 23), b=budget(10))
    await gateway.spend(9)
    await gateway.look()
    gateway.budgets = {"b": budget(100)}
    await gateway.look(SEEN_ELSEWHERE)
    assert gateway.told() == [OPENED, RESOLVED]


def test_only_what_changes_anything_wakes_whoever_looks() -> None:
    settings = budget(period="total", time_zone="")
    purses, account = Purses(lambda: {"b": settings}), account_of(settings, 0).id
    woken = []
    for usd in (1, 5, 6, 8, 9, 10, 11):
        purses.news.clear()
        purses.spent(((account, usd * USD),))
        woken.append(purses.news.is_set())
    assert woken == [False, True, False, True, False, True, False]
    purses.news.clear()
    purses.spent((('["gone",""]', 9 * USD),))
    assert not purses.news.is_set()
    for expected in (True, False):
        purses.news.clear()
        purses.refused(account)
        assert purses.news.is_set() is expected


@pytest.mark.parametrize(("before", "severity"), [(0, LOW), (4, LOW), (5, CRITICAL)])
async def test_a_call_that_was_too_large_for_what_was_left_is_forgotten(
    database: Database, before: int, severity: Alert.Severity.ValueType
) -> None:
    """With less than half of the money spent a refusal tells of the call, and nothing of the budget."""
    gateway = Payers(database, now := at(2026, 3, 10), b=(settings := budget(period="total", time_zone="")))
    if before:
        await gateway.spend(before)
    gateway.purses.refused(account_of(settings, now).id)
    await gateway.look()
    await gateway.spend(6 - before)
    await gateway.look()
    alert = gateway.posted[-1].alert
    assert alert.severity == severity
    assert ("calls are refused" in alert.summary) is (severity == CRITICAL)


async def test_of_what_is_hardly_spent_nothing_is_read(database: Database) -> None:
    gateway = Payers(database, at(2026, 3, 10), b=budget(), each=budget(user="*"))
    await gateway.spend(10 * LEAST)
    assert await gateway.purses.look(database, int(gateway.now * 1e6)) == []
    await gateway.spend(0.1)
    found = await gateway.purses.look(database, int(gateway.now * 1e6))
    assert [(each.account.budget, each.spent) for each in found] == [("b", 1_100_000_000), ("each", 1_100_000_000)]
