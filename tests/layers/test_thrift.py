"""Thrift: what is chosen saves money near the end of a soft budget."""

from __future__ import annotations

from dataclasses import replace

import pytest
from make import answer, call, playing
from virtual_time import run_virtual

from trunkline_server.core import Call, Events
from trunkline_server.layers.thrift import thrift
from trunkline_server.routing.policy import Policy
from trunkline_server.settings_budgets import BudgetSettings, Money
from trunkline_server.state.budgets.accounts import Account, Rules


class Spent:
    def __init__(self, **shares: float) -> None:
        self._shares = shares

    def share(self, account: Account) -> float:
        return self._shares[account.budget]


def soft(**said: str) -> BudgetSettings:
    return BudgetSettings(limit=Money(1), **{"period": "total", "kind": "soft", **said})  # type: ignore[arg-type]


def emphasis(budgets: dict[str, BudgetSettings], policy: Policy | None = None, **shares: float) -> float | None:
    seen: list[Call] = []

    def below(asked: Call) -> Events:
        seen.append(asked)
        return playing(answer("a"))(asked)

    async def main() -> None:
        async for _ in thrift(Rules(budgets), Spent(**shares))(below)(replace(call(), policy=policy)):
            pass

    run_virtual(main())
    return seen[0].policy.cost_emphasis if seen[0].policy else None


@pytest.mark.parametrize(("share", "weighs"), [(0.0, None), (0.8, None), (0.9, 3.0), (1.0, 5.0), (7.0, 5.0)])
def test_cost_weighs_more_the_less_is_left(share: float, weighs: float | None) -> None:
    found = emphasis({"b": soft()}, b=share)
    assert found == (weighs if weighs is None else pytest.approx(weighs))


def test_the_budget_nearest_to_its_end_decides_on_top_of_what_was_asked() -> None:
    budgets = {"a": soft(), "p": soft(provider="p"), "hard": BudgetSettings(limit=Money(1), period="total")}
    assert emphasis(budgets, Policy(cost_emphasis=2.0), a=0.1, p=1.0) == pytest.approx(10.0)


def test_budgets_of_others_do_not_matter() -> None:
    assert emphasis({"b": soft(workspace="elsewhere")}, b=1.0) is None
