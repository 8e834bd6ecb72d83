"""Purses: what accounts have spent, as this gateway knows it; what calls are to know of that, and who looks for alerts.

What is settled here is known at once, with what others spent until then; what only others spend, at the next look.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, NamedTuple

from trunkline_server.state.budgets.accounts import Rules
from trunkline_server.state.ledger.database import Query

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trunkline_server.settings.budgets import BudgetSettings
    from trunkline_server.state.budgets.accounts import Account, Rule
    from trunkline_server.state.budgets.holds import Totals
    from trunkline_server.state.ledger.database import Database

# The shares of a budget that are told as they are reached; from the second on it is near its end.
STEPS = (0.5, 0.8, 1.0)
NEAR = STEPS[1]
# Nothing is told of an account of which less than this share is spent.
LEAST = 0.1
# Accounts of one budget that are told of at once, the most spent first; and accounts that are remembered.
_MOST, _KNOWN = 10_000, 10_000
_FOUND = (
    "SELECT account, posted FROM budget_accounts WHERE substr(account, 1, CAST(? AS INTEGER)) = ? AND posted > ? "
    "ORDER BY posted DESC, account LIMIT ?"
)
_FOUND_ONE = "SELECT account, posted FROM budget_accounts WHERE account = ? AND posted > ?"


class Spending(NamedTuple):
    """An account of a running period."""

    account: Account
    # Nano-USD.
    spent: int
    # It did not pay for an attempt, as far as this gateway saw.
    refuses: bool
    # Whose callers are told; both empty = it is about more than one workspace.
    workspace: str
    key: str
    # Where its days begin.
    time_zone: str

    @property
    def share(self) -> float:
        """1 = all of it is spent."""
        return share_of(self.spent, self.account.limit)

    @property
    def subject(self) -> str:
        """What tells it from all others."""
        return " ".join(filter(None, (self.account.budget, *self.account.whose, self.account.period)))


def share_of(spent: int, limit: int) -> float:
    """1 = all; of nothing, all is spent."""
    return spent / limit if limit else 1.0


class Purses:
    """The budgets of a configuration that may change, and what is heard of their accounts. For one event loop."""

    def __init__(self, budgets: Callable[[], Mapping[str, BudgetSettings]]) -> None:
        """`budgets` tells what is configured now, by name."""
        self._budgets = budgets
        self._rules: tuple[Mapping[str, BudgetSettings], dict[str, Rule]] = ({}, {})
        # By account: how many of the steps it has come to. And those that refused something.
        self._steps: dict[str, int] = {}
        self._refusing: set[str] = set()
        # How much is spent of soft budgets that are near their end, by Rule.for_any of their accounts.
        self.near: dict[str, float] = {}
        # Set when there is something to tell before the next look.
        self.news = asyncio.Event()

    def spent(self, totals: Totals) -> None:
        """So much is spent of these. Waits for nothing."""
        rules = self._configured()
        for account, total in totals:
            rule = rules.get(json.loads(account)[0])
            if rule is not None:
                share = share_of(total, rule.settings.limit)
                self._step(account, share)
                if share >= NEAR and not rule.hard:
                    self.near[rule.for_any(account)] = share

    def _step(self, account: str, share: float) -> None:
        step = sum(share >= each for each in STEPS)
        if step > self._steps.get(account, 0):
            if len(self._steps) >= _KNOWN:
                self._steps.clear()
            self._steps[account] = step
            self.news.set()

    def refused(self, account: str) -> None:
        """It did not pay for an attempt. Waits for nothing."""
        if account not in self._refusing:
            if len(self._refusing) >= _KNOWN:
                self._refusing.clear()
            self._refusing.add(account)
            self.news.set()

    async def look(self, database: Database, now: int) -> list[Spending]:
        """What is worth telling of, at a time in microseconds since 1970. Raises StoreFailed."""
        rules, refused = [*self._configured().values()], {*self._refusing}
        found = await database.fetch_all([_query(rule, now) for rule in rules]) if rules else []
        pairs = [
            (rule, self._spending(rule, account, spent, now))
            for rule, rows in zip(rules, found, strict=True)
            for account, spent in rows
        ]
        # With so much left a call was too large, and whoever refused it pays for others.
        self._refusing -= refused - {each.account.id for _, each in pairs if each.share >= STEPS[0]}
        # What passed a step meanwhile is news, and looked at next.
        self.near = {
            rule.for_any(each.account.id): each.share
            for rule, each in sorted(pairs, key=_share)
            if each.share >= NEAR and not rule.hard
        }
        return [each for _, each in pairs]

    def _configured(self) -> dict[str, Rule]:
        budgets = self._budgets()
        if budgets is not self._rules[0]:
            self._rules = budgets, {rule.name: rule for rule in Rules(budgets).all}
        return self._rules[1]

    def _spending(self, rule: Rule, account_id: str, spent: int, now: int) -> Spending:
        account = rule.account_of(json.loads(account_id)[2:], now)
        refuses, zone = account.id in self._refusing, rule.settings.time_zone or "UTC"
        return Spending(account, spent, refuses, rule.workspace_of(account), rule.key_of(account), zone)


def _share(pair: tuple[Rule, Spending]) -> float:
    return pair[1].share


def _query(rule: Rule, now: int) -> Query:
    prefix, least = rule.prefix(now), int(rule.settings.limit * LEAST)
    if rule.is_for_each:
        return Query(_FOUND, (len(prefix), prefix, least, _MOST))
    return Query(_FOUND_ONE, (prefix, least))
