"""Whose money it is, and from when until when."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from trunkline_server.settings.budgets import BudgetSettings, Money
from trunkline_server.state.budgets.accounts import MOST_KNOWN, Account, Payer, Rules

PAYER = Payer("acme", "k1", "ann", {"team": "search"}, "openai", "gpt-4o")
NOON = round(datetime(2026, 3, 28, 12, tzinfo=UTC).timestamp()) * 10**6


def accounts(now: int = NOON, payer: Payer = PAYER, **said: Any) -> tuple[Account, ...]:
    given = {"limit": Money(5), "period": "total", **said}
    return Rules({"b": BudgetSettings(**given)}).accounts(payer, now)


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"workspace": "acme"},
        {"key": "k1", "user": "ann"},
        {"labels": {"team": "search"}},
        {"provider": "openai", "model": "gpt-4o"},
        {"model": "openai/gpt-4o"},
        {"workspace": "*", "key": "*", "user": "*", "labels": {"team": "*"}, "provider": "*", "model": "*"},
    ],
)
def test_a_budget_is_about_what_fits_all_that_it_says(said: dict[str, Any]) -> None:
    assert len(accounts(**said)) == 1


@pytest.mark.parametrize(
    "said",
    [
        {"workspace": "other"},
        {"workspace": "acme", "key": "k2"},
        {"labels": {"team": "search", "stage": "*"}},
        {"provider": "anthropic"},
        {"model": "azure_openai/gpt-4o"},
        {"labels": {"model": "openai/gpt-4o"}},
    ],
)
def test_and_not_about_what_does_not(said: dict[str, Any]) -> None:
    assert accounts(**said) == ()


def test_a_soft_budget_of_a_model_is_looked_at_before_one_is_chosen() -> None:
    for model in ("gpt-4o", "openai/gpt-4o"):
        rules = Rules({"b": BudgetSettings(limit=Money(5), period="total", kind="soft", model=model)})
        assert rules.soft(PAYER._replace(provider="", model=""), NOON) == rules.accounts(PAYER, NOON)


def test_an_asterisk_gives_each_its_own_and_names_no_person() -> None:
    ann, bob = accounts(user="*"), accounts(user="*", payer=PAYER._replace(user="bob"))
    assert ann[0].id != bob[0].id
    assert "ann" not in ann[0].id
    assert accounts(user="*", payer=PAYER._replace(user="")) == ()
    assert "acme" in accounts(workspace="*")[0].id


@pytest.mark.parametrize(
    ("period", "zone", "begins"),
    [
        ("daily", "UTC", datetime(2026, 3, 29, tzinfo=UTC)),
        # The clocks of Vienna go forward on the 29th.
        ("daily", "Europe/Vienna", datetime(2026, 3, 28, 23, tzinfo=UTC)),
        ("monthly", "Europe/Vienna", datetime(2026, 3, 31, 22, tzinfo=UTC)),
        ("daily", "Pacific/Kiritimati", datetime(2026, 3, 29, 10, tzinfo=UTC)),
    ],
)
def test_a_period_ends_where_its_clocks_say_so(period: str, zone: str, begins: datetime) -> None:
    end = round(begins.timestamp()) * 10**6
    said: dict[str, Any] = {"period": period, "time_zone": zone}
    (now,), (last,), (then,) = accounts(**said), accounts(end - 1, **said), accounts(end, **said)
    assert now.renews == end
    assert now.id == last.id != then.id


def test_a_total_never_renews() -> None:
    (account,) = accounts()
    assert account.renews is None
    assert account == accounts(NOON * 2)[0]


def test_one_and_the_same_rule_pays_from_a_new_account_on_a_new_day_and_forgets_old_ones() -> None:
    settings = BudgetSettings(limit=Money(5), period="daily", time_zone="UTC", user="*")
    rules = Rules({"b": settings})
    days = [rules.accounts(PAYER, NOON + day * 86_400 * 10**6)[0].period for day in (0, 0, 1, 0)]
    assert days == ["2026-03-28", "2026-03-28", "2026-03-29", "2026-03-28"]
    for number in range(2 * MOST_KNOWN):
        rules.accounts(PAYER._replace(user=f"user-{number}"), NOON)
    assert len(rules.all[0]._known) <= MOST_KNOWN
