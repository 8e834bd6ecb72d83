"""Thrift: what is chosen saves money near the end of a soft budget."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from make import answer, call, playing
from msgspec import structs
from virtual_time import run_virtual

from trunkline.v1.call_pb2 import CallContext
from trunkline.v1.gateway_service_pb2 import GenerateRequest
from trunkline_server.core import Call, Events, Identity
from trunkline_server.layers.thrift import saving, thrift
from trunkline_server.routing.policy import Policy
from trunkline_server.settings.budgets import BudgetSettings, Money
from trunkline_server.state.budgets.accounts import Rules

if TYPE_CHECKING:
    from collections.abc import Callable


class Purses:
    def __init__(self, **near: float) -> None:
        """By the names of budgets that are for all, or by ids."""
        self.near = {name if name.startswith("[") else f'["{name}",""]': share for name, share in near.items()}


def soft(**said: str) -> BudgetSettings:
    return BudgetSettings(limit=Money(1), **{"period": "total", "kind": "soft", **said})  # type: ignore[arg-type]


def emphasis(
    budgets: dict[str, BudgetSettings], policy: Policy | None = None, asked: Callable[[], Call] = call, **near: float
) -> float | None:
    seen: list[Call] = []

    def below(asked: Call) -> Events:
        seen.append(asked)
        return playing(answer("a"))(asked)

    async def main() -> None:
        async for _ in thrift(Rules(budgets), Purses(**near))(below)(structs.replace(asked(), policy=policy)):
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


@pytest.mark.parametrize(
    ("said", "account"),
    [
        ({"workspace": "*"}, '["each","","default"]'),
        ({"key": "*"}, '["each","","k1"]'),
        ({"user": "*"}, '["each","","8b5a8b1c6c4c6e8f"]'),
        ({"labels": {"team": "*"}}, '["each","","red"]'),
        # Whom it asks is not known yet: one of them is near its end.
        ({"provider": "*"}, '["each","","*"]'),
        ({"workspace": "*", "model": "*"}, '["each","","default","*"]'),
    ],
)
def test_each_has_its_own_budget_that_wants_to_be_saved(said: dict[str, Any], account: str) -> None:
    request = GenerateRequest(context=CallContext(end_user_id="ann", labels={"team": "red"}))
    asked = lambda: structs.replace(call(request), identity=Identity(key="k1"))  # noqa: E731
    if "user" in said:
        account = f'["each","","{sha256(b"ann").hexdigest()[:16]}"]'
    budgets = {"each": soft(**said)}
    assert emphasis(budgets, None, asked, **{account: 1.0}) == pytest.approx(5.0)
    assert emphasis(budgets, None, asked, **{account.replace("]", 'x"]').replace('"x', "x"): 1.0}) is None


def test_a_call_without_a_soft_budget_pays_nothing() -> None:
    handler = playing(answer("a"))
    hard = BudgetSettings(limit=Money(1), period="total")
    assert thrift(Rules({}), Purses())(handler) is handler
    assert thrift(Rules({"b": hard}), Purses(b=1.0))(handler) is handler


async def test_while_nothing_is_near_its_end_nothing_is_looked_up() -> None:
    asked = call()
    assert saving(Rules({"b": soft()}), Purses())(asked) is asked
