"""Whose money it is, and from when until when."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from trunkline_server.settings.budgets import BudgetSettings, Money
from trunkline_server.state.budgets.accounts import MOST_KNOWN, Account, Payer, Rules

PAYER = Payer("acme", "k1", "ann", {"team": "search"}, "openai", "gpt-4o")
NOON = round(datetime(2026, 3, 28, 12, tzinfo=UTC).timestamp()) * 10**6


def accounts(now: int = NOON, payer: Payer = PAYER, **said: Any) -> tuple[Account, ...]:
    given = {"limit": Money(5), "period": "total", **said}
    return Rules({"b": BudgetSettings(**given)}).payment(payer, now).accounts


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
        assert rules.soft(structs.replace(PAYER, provider="", model=""), NOON) == rules.payment(PAYER, NOON).accounts


def test_an_asterisk_gives_each_its_own_and_names_no_person() -> None:
    ann, bob = accounts(user="*"), accounts(user="*", payer=structs.replace(PAYER, user="bob"))
    assert ann[0].id != bob[0].id
    assert "ann" not in ann[0].id
    assert accounts(user="*", payer=structs.replace(PAYER, user="")) == ()
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
    days = [rules.payment(PAYER, NOON + day * 86_400 * 10**6).accounts[0].period for day in (0, 0, 1, 0)]
    assert days == ["2026-03-28", "2026-03-28", "2026-03-29", "2026-03-28"]
    for number in range(2 * MOST_KNOWN):
        rules.payment(structs.replace(PAYER, user=f"user-{number}"), NOON)
    assert len(rules.all[0]._known) <= MOST_KNOWN
    assert len(rules._known) <= MOST_KNOWN


SOME = st.sampled_from(("a", "b"))
CHANGES = st.one_of(
    st.tuples(st.sampled_from(("workspace", "key", "user", "provider", "model")), st.sampled_from(("", "a", "b"))),
    st.tuples(st.just("labels"), st.dictionaries(st.sampled_from(("team", "stage")), SOME, min_size=1)),
)
SETTINGS = st.builds(
    BudgetSettings,
    limit=st.just(Money(5)),
    period=st.sampled_from(("daily", "monthly", "total")),
    kind=st.sampled_from(("hard", "soft")),
    time_zone=st.sampled_from(("UTC", "Pacific/Kiritimati")),
    workspace=st.sampled_from(("", "a", "*")),
    key=st.sampled_from(("", "a", "*")),
    user=st.sampled_from(("", "a", "*")),
    labels=st.dictionaries(st.sampled_from(("team", "stage")), st.sampled_from(("a", "*")), max_size=1),
    provider=st.sampled_from(("", "a", "*")),
    model=st.sampled_from(("", "a", "*", "a/b")),
)


@given(
    st.dictionaries(st.sampled_from(("one", "two", "three")), SETTINGS, min_size=1),
    st.lists(st.tuples(CHANGES, st.integers(-(10**6), 10**6)), min_size=5, max_size=20),
)
def test_who_paid_before_pays_from_what_he_would_pay_from(
    budgets: dict[str, BudgetSettings], asked: list[tuple[tuple[str, Any], int]]
) -> None:
    """Whoever asked before, and whenever; of all that budgets go by, and around the end of a day."""
    rules = Rules(budgets)
    midnight = NOON + 12 * 3600 * 10**6
    for (name, value), moment in asked:
        payer = structs.replace(Payer("a", "a", "a", {"team": "a"}, "a", "b"), **{name: value})
        payment = rules.payment(payer, midnight + moment)
        fresh = Rules(budgets)
        accounts = tuple(each for rule in fresh.all if (each := rule.account(payer, midnight + moment)) is not None)
        assert payment.accounts == accounts
        assert payment.hard == tuple(each for each in accounts if each.hard)
        assert payment.counted == tuple(each.id for each in accounts if not each.hard)


@pytest.mark.parametrize(
    ("said", "changed"),
    [({"model": "openai/gpt-4o"}, {"provider": "azure_openai"}), ({"labels": {"team": "*"}}, {"labels": {}})],
)
def test_nobody_pays_from_what_another_paid_from_before(said: dict[str, Any], changed: dict[str, Any]) -> None:
    rules = Rules({"b": BudgetSettings(limit=Money(5), period="total", **said)})
    assert len(rules.payment(PAYER, NOON).accounts) == 1
    assert rules.payment(structs.replace(PAYER, **changed), NOON).accounts == ()
