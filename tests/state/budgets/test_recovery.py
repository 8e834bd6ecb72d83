"""Gateways that die: nothing stays held, nothing is spent twice, and the balances are what the ledger has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from ledger_house import House
from ledger_rows import begun, finished

from trunkline.v1.call_pb2 import OUTCOME_NOT_SENT
from trunkline_server.state.budgets.accounts import Account
from trunkline_server.state.budgets.holds import LEASE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from trunkline_server.state.ledger.ledger import Ledger

ACCOUNT = Account('["b",""]', "b", 10**9, hard=True, renews=None)
HELD, COST = 5000, 3000


@pytest.fixture
async def house(url: str, tmp_path: Path) -> AsyncIterator[House]:
    made = House(url, tmp_path / "journal", "relaxed")
    yield made
    await made.stop()
    await made.reader.aclose()


async def hold(ledger: Ledger, call: str) -> None:
    assert await ledger.budgets.reserve((call, 1), [ACCOUNT], HELD, HELD) == HELD


async def balances(house: House) -> tuple[int, int]:
    """What is held, and what was spent: the account's own number, which the holds that were settled come to as well."""
    ((held,),) = await house.reader.fetch(
        "SELECT CAST(COALESCE(SUM(amount), 0) AS BIGINT) FROM budget_holds WHERE state = 0"
    )
    ((settled,),) = await house.reader.fetch(
        "SELECT CAST(COALESCE(SUM(posted), 0) AS BIGINT) FROM budget_holds WHERE state = 1"
    )
    ((posted,),) = await house.reader.fetch("SELECT posted FROM budget_accounts")
    assert posted == settled
    return held, posted


@pytest.mark.parametrize("when", ["held", "sent", "finished", "committed"])
async def test_a_gateway_is_killed(house: House, when: str) -> None:
    ledger = await house.start()
    await hold(ledger, "c1")
    if when != "held":
        await ledger.begin(begun("c1", reserved=True))
    if when in ("finished", "committed"):
        ended = ledger.finish(finished("c1", reserved=True, cost=COST))
        if when == "committed":
            await ended
    await house.kill(ledger)
    again = await house.start()
    await again.tidy()
    assert await balances(house) == (0, {"held": 0, "sent": HELD}.get(when, COST))


async def test_the_holds_of_one_that_lives_are_left_alone(house: House) -> None:
    first, second = await house.start(), await house.start()
    await hold(first, "c1")
    await hold(second, "c2")
    await house.kill(first)
    await second.tidy()
    assert await balances(house) == (HELD, 0)


async def test_what_is_not_sent_costs_nothing_and_a_lease_that_ran_out_is_swept(house: House) -> None:
    ledger = await house.start()
    await hold(ledger, "c1")
    await ledger.begin(begun("c1", reserved=True))
    await ledger.finish(finished("c1", reserved=True, cost=0, outcome=OUTCOME_NOT_SENT))
    await hold(ledger, "c2")
    budgets = ledger.budgets
    budgets.ended(("c2", 1))
    now = budgets._clock()
    budgets._clock = lambda: now + LEASE + 10
    await ledger.tidy()
    assert await balances(house) == (0, 0)
