"""Everything that can happen to holds, in any order, on both databases: what is held, spent and left stays exact."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING, Any

import databases
import pytest
from budget_books import WRONG
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from ledger_rows import BEGIN, DAY, begun, finished

from trunkline_server.settings.budgets import BudgetSettings, Money
from trunkline_server.state.budgets import holds
from trunkline_server.state.budgets.accounts import Account, Payer, Rules
from trunkline_server.state.budgets.holds import LEASE, Denied, Owner, Wanted
from trunkline_server.state.ledger.commit import Wish, Withdrawn, begin, take
from trunkline_server.state.ledger.open import open_database
from trunkline_server.state.ledger.recovery import endings

if TYPE_CHECKING:
    from pathlib import Path

    from trunkline_server.state.ledger.database import Database

_NUMBERS = count(1)
LIMIT = 10_000
AMOUNTS = st.integers(0, 1500)
COST = 700


class Machine(RuleBasedStateMachine):
    """One gateway's attempts against a budget of each day and one for ever."""

    loop: asyncio.AbstractEventLoop
    database: Database

    def __init__(self) -> None:
        super().__init__()
        name = f"b{next(_NUMBERS)}"
        self.instance = f"gateway-{name}"
        self.budgets = Rules({
            f"{name}-day": BudgetSettings(limit=Money(LIMIT), period="daily", time_zone="Europe/Vienna"),
            f"{name}-ever": BudgetSettings(limit=Money(2 * LIMIT), period="total"),
        })  # fmt: skip
        self.name = name
        self.now = BEGIN
        self.numbers = count(1)
        # Pending: what each holds, where, and whether it is in the ledger.
        self.held: dict[tuple[str, int], int] = {}
        self.accounts: dict[tuple[str, int], tuple[Account, ...]] = {}
        self.sent: set[tuple[str, int]] = set()
        self.resolved: dict[tuple[str, int], int] = {}
        self.posted: dict[str, int] = {}
        self.overage: dict[str, int] = {}
        self.price = 1

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def transact(self, script: Any) -> Any:
        return self.run(self.database.transact(lambda: script))

    def now_accounts(self) -> tuple[Account, ...]:
        return self.budgets.payment(Payer("default", "", "", {}, "p", "m"), self.now).accounts

    def left(self, account: Account) -> int:
        holds_ = sum(held for key, held in self.held.items() if account in self.accounts[key])
        return account.limit - self.posted.get(account.id, 0) - holds_

    def resolve(self, key: tuple[str, int], cost: int | None) -> None:
        held = self.held.pop(key)
        assert key not in self.resolved
        self.resolved[key] = spent = held if cost is None else cost
        for account in self.accounts[key]:
            self.posted[account.id] = self.posted.get(account.id, 0) + spent
            self.overage[account.id] = self.overage.get(account.id, 0) + max(0, spent - held)

    def pick(self, data: Any, keys: Any) -> tuple[str, int]:
        key: tuple[str, int] = data.draw(st.sampled_from(sorted(keys)))
        return key

    # --- what happens -------------------------------------------------------------------------------------------------

    @rule(least=AMOUNTS, more=AMOUNTS)
    def reserve(self, least: int, more: int) -> None:
        """Without its row, as gateways of earlier versions did."""
        wish = self.wish(least, more)
        key = (wish.row.call_id, 1)
        wanted = Wanted(key, wish.accounts, wish.least, wish.most)
        granted = self.transact(holds.reserve([wanted], Owner(self.instance, self.now + LEASE)))
        self.granted(wish, granted[0])

    @rule(wanted=st.lists(st.tuples(AMOUNTS, AMOUNTS), min_size=1, max_size=12), whole=st.booleans())
    def begin_some(self, wanted: list[tuple[int, int]], whole: bool) -> None:
        """With their rows, in one transaction: one after the other."""
        wishes = [self.wish(*each) for each in wanted]
        for wish, granted in zip(wishes, self.begin(wishes, whole=whole), strict=True):
            if granted is None:
                assert whole
                assert min(map(self.left, wish.accounts)) < wish.most
            elif self.granted(wish, granted):
                assert granted == wish.most or not whole
                self.sent.add((wish.row.call_id, 1))

    def begin(self, wishes: list[Wish], *, whole: bool = False) -> Any:
        return self.transact(begin(wishes, Owner(self.instance, self.now + LEASE), whole=whole))

    @precondition(lambda self: self.held.keys() & self.sent)
    @rule(data=st.data())
    def settle_some(self, data: Any) -> None:
        """In one transaction."""
        ready = sorted(self.held.keys() & self.sent)
        ending = data.draw(st.lists(st.sampled_from(ready), unique=True))
        rows = [finished(*key, reserved=True, started=self.now, cost=COST) for key in ending]
        self.transact(take(rows, self.database.dialect, self.instance))
        for key in ending:
            self.resolve(key, COST)

    def wish(self, least: int, more: int) -> Wish:
        row = begun(f"{self.name}-{next(self.numbers)}", 1, reserved=True, started=self.now)
        return Wish(row, self.now_accounts(), least * self.price, (least + more) * self.price)

    def granted(self, wish: Wish, granted: int | Denied) -> bool:
        lefts = {account.id: self.left(account) for account in wish.accounts}
        if min(lefts.values()) < wish.least:
            assert isinstance(granted, Denied)
            assert granted.left == lefts[granted.account.id] < wish.least
            return False
        assert granted == min(wish.most, *lefts.values())
        self.held[wish.row.call_id, 1], self.accounts[wish.row.call_id, 1] = granted, tuple(wish.accounts)
        return True

    @precondition(lambda self: self.held)
    @rule(data=st.data(), more=AMOUNTS)
    def extend(self, data: Any, more: int) -> None:
        key = self.pick(data, self.held)
        lefts = [self.left(account) for account in self.accounts[key]]
        granted = self.transact(holds.extend(Wanted(key, self.accounts[key], 1, 1 + more)))
        if min(lefts) < 1:
            assert isinstance(granted, Denied)
        else:
            assert granted == min(1 + more, *lefts)
            self.held[key] += granted

    @precondition(lambda self: self.held.keys() - self.sent)
    @rule(data=st.data())
    def dispatch(self, data: Any) -> None:
        self.send(self.pick(data, self.held.keys() - self.sent))

    def send(self, key: tuple[str, int]) -> None:
        self.transact(take([begun(*key, reserved=True, started=self.now)], self.database.dialect, self.instance))
        self.sent.add(key)

    @precondition(lambda self: self.held.keys() & self.sent)
    @rule(data=st.data(), cost=st.none() | AMOUNTS)
    def settle(self, data: Any, cost: int | None) -> None:
        key = self.pick(data, self.held.keys() & self.sent)
        cost = None if cost is None else cost * self.price
        self.transact(take([finished(*key, reserved=True, started=self.now, cost=cost)], self.database.dialect))
        self.resolve(key, cost)

    @precondition(lambda self: self.resolved)
    @rule(data=st.data(), cost=AMOUNTS)
    def settle_again(self, data: Any, cost: int) -> None:
        key = self.pick(data, self.resolved)
        self.transact(take([finished(*key, reserved=True, started=self.now, cost=cost)], self.database.dialect))
        self.transact(holds.spend([holds.Settlement(*key, cost)]))
        self.transact(holds.void([key]))
        assert self.transact(holds.extend(Wanted(key, (), 1, 1))) in (0, 1)

    @precondition(lambda self: self.held.keys() - self.sent)
    @rule(data=st.data())
    def void(self, data: Any) -> None:
        key = self.pick(data, self.held.keys() - self.sent)
        self.transact(holds.void([key]))
        self.held.pop(key)

    @precondition(lambda self: self.held)
    @rule(begun=st.booleans())
    def cancel(self, begun: bool) -> None:
        """Whoever is cancelled while he reserves holds nothing, whether that was done by then or not."""
        wish = self.wish(0, 100)
        if begun:
            self.begin([wish])
        self.transact(take([Withdrawn(wish.row.call_id, 1)], self.database.dialect, self.instance))
        for table in ("attempts", "open_attempts"):
            assert not self.run(self.database.fetch(f"SELECT 1 FROM {table} WHERE call_id = ?", (wish.row.call_id,)))

    @precondition(lambda self: len(self.held) > 1)
    @rule()
    def lease_expires(self) -> None:
        """Nobody gave a sign of life: what was not sent is free; what was is ended with its row."""
        self.now += LEASE + 1
        self.transact(holds.sweep(self.now))
        for key in self.held.keys() - self.sent:
            self.held.pop(key)

    @precondition(lambda self: len(self.held) > 2)
    @rule()
    def crash_and_recover(self) -> None:
        rows = [begun(*key, started=self.now) for key in self.held.keys() & self.sent]
        if rows:
            self.transact(take(endings(rows, self.now), self.database.dialect))
        self.transact(holds.abandon(self.instance))
        self.transact(holds.sweep(self.now))
        for key in list(self.held):
            if key in self.sent:
                self.resolve(key, None)
            else:
                self.held.pop(key)

    @precondition(lambda self: self.held)
    @rule()
    def lives_on(self) -> None:
        """A sign of life: then the lease of none of them is over."""
        self.now += LEASE - 1
        self.transact(holds.renew(self.held, Owner(self.instance, self.now + LEASE)))
        self.transact(holds.sweep(self.now))

    @precondition(lambda self: self.posted)
    @rule()
    def a_new_day(self) -> None:
        self.now += DAY
        if self.held:
            self.transact(holds.renew(self.held, Owner(self.instance, self.now + LEASE)))

    @precondition(lambda self: self.held)
    @rule(price=st.integers(1, 3))
    def prices_change(self, price: int) -> None:
        self.price = price

    # --- what holds always --------------------------------------------------------------------------------------------

    @invariant()
    def what_is_kept_is_what_happened(self) -> None:
        like = [f'["{self.name}-%']
        posted = self.run(
            self.database.fetch("SELECT account, posted, overage FROM budget_accounts WHERE account LIKE ?", like)
        )
        pending = self.run(self.database.fetch(
            "SELECT account, CAST(SUM(amount) AS BIGINT) FROM budget_holds WHERE account LIKE ? AND state = 0 "
            "GROUP BY account", like,
        ))  # fmt: skip
        replayed = self.run(self.database.fetch(
            "SELECT account, CAST(SUM(posted) AS BIGINT) FROM budget_holds WHERE account LIKE ? AND state = 1 "
            "GROUP BY account", like,
        ))  # fmt: skip
        assert all(isinstance(number, int) for row in (*posted, *pending) for number in row[1:])
        held = dict(pending)
        expected: dict[str, int] = {}
        for key, amount in self.held.items():
            for account in self.accounts[key]:
                expected[account.id] = expected.get(account.id, 0) + amount
        assert held == expected, "what is held is the sum of the live rows"
        spent = {account: sum_ for account, sum_, _ in posted if sum_}
        assert spent == {account: sum_ for account, sum_ in self.posted.items() if sum_}
        assert spent == {account: sum_ for account, sum_ in replayed if sum_}, "the holds replayed give the balances"
        for what, query in WRONG.items():
            assert not self.run(self.database.fetch(query)), what
        for account, sum_, overage in posted:
            limit = LIMIT if "-day" in account else 2 * LIMIT
            assert overage == self.overage.get(account, 0)
            assert sum_ + held.get(account, 0) <= limit + overage


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_holds_are_exact_whatever_happens(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    loop = asyncio.new_event_loop()
    try:
        url = f"sqlite:///{tmp_path}/ledger.sqlite3"
        if kind == "postgresql":
            url = loop.run_until_complete(databases.new_database(request.getfixturevalue("postgres")))
        database = loop.run_until_complete(databases.migrated(open_database(url)))
        bound = type("Bound", (Machine,), {"loop": loop, "database": database})
        run_state_machine_as_test(
            bound,
            settings=settings(
                max_examples=60, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
            ),
        )
        loop.run_until_complete(database.aclose())
    finally:
        loop.close()
