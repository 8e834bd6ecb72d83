"""Gateways that die: nothing stays held, nothing is spent twice, and the balances are what the ledger has."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from ledger_house import House, failing
from ledger_rows import begun, finished

from trunkline.v1.call_pb2 import OUTCOME_NOT_SENT
from trunkline_server.errors import LedgerUnavailable
from trunkline_server.state.budgets import holds
from trunkline_server.state.budgets.accounts import Account
from trunkline_server.state.budgets.holds import LEASE, Denied, Owner, Wanted
from trunkline_server.state.ledger import ledger as ledger_module
from trunkline_server.state.ledger import reserving
from trunkline_server.state.ledger.columns import ATTEMPT, attempt_values
from trunkline_server.state.ledger.database import Statement, script

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
    assert await ledger.reserve(begun(call, reserved=True), [ACCOUNT], HELD, HELD) == HELD


async def no_housekeeping(ledger: Ledger) -> None:
    """Which has transactions of its own."""
    ledger._housekeeping.cancel()
    await asyncio.wait([ledger._housekeeping])


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


@pytest.mark.parametrize("when", ["begun", "finished", "committed"])
async def test_a_gateway_is_killed(house: House, when: str) -> None:
    ledger = await house.start()
    await hold(ledger, "c1")
    if when != "begun":
        ended = ledger.finish(finished("c1", reserved=True, cost=COST))
        if when == "committed":
            await ended
    await house.kill(ledger)
    again = await house.start()
    await again.tidy()
    assert await balances(house) == (0, HELD if when == "begun" else COST)


async def test_what_another_version_held_before_it_had_a_row_is_free(house: House) -> None:
    ledger = await house.start()
    owner = Owner(ledger._slot.id, ledger.budgets.expires())
    await ledger.database.transact(lambda: holds.reserve([Wanted(("c1", 1), [ACCOUNT], HELD, HELD)], owner))
    assert await balances(house) == (HELD, 0)
    await house.kill(ledger)
    again = await house.start()
    await again.tidy()
    assert await balances(house) == (0, 0)


async def nothing_is_begun(house: House, ledger: Ledger) -> bool:
    await ledger.flush()
    return await house.attempts() == [] and await balances(house) == (0, 0)


async def test_whoever_is_cancelled_before_he_is_begun_has_begun_nothing(house: House) -> None:
    """One waits in a transaction that stalls, one behind him."""
    ledger = await house.start()
    await ledger.tidy()
    failing(ledger).runs.clear()
    amid = asyncio.ensure_future(hold(ledger, "c1"))
    await asyncio.sleep(0)
    while ledger._reserving._queue:
        await asyncio.sleep(0)
    behind = asyncio.ensure_future(hold(ledger, "c2"))
    await asyncio.sleep(0)
    for each in (amid, behind):
        each.cancel()
    await asyncio.wait([amid, behind])
    failing(ledger).runs.set()
    assert await nothing_is_begun(house, ledger)


async def test_whoever_is_cancelled_while_others_may_come_along_asks_nobody(house: House) -> None:
    ledger = await house.start()
    await no_housekeeping(ledger)
    before = failing(ledger).transactions
    task = asyncio.ensure_future(hold(ledger, "c1"))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    await ledger.flush()
    assert failing(ledger).transactions == before
    assert await house.attempts() == []


async def test_whoever_is_cancelled_as_he_is_answered_has_begun_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = await house.start()
    told = ledger._reserving._tell

    def tell(*given: Any) -> None:
        told(*given)
        task.cancel()

    monkeypatch.setattr(ledger._reserving, "_tell", tell)
    task = asyncio.ensure_future(hold(ledger, "c1"))
    await asyncio.wait([task])
    assert task.cancelled()
    assert await nothing_is_begun(house, ledger)


async def test_who_has_his_money_keeps_it_while_others_wait_in_vain(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two there is enough for one, and what the other waits for is not settled in time."""
    monkeypatch.setattr(reserving, "PATIENCE", 0.05)
    ledger = await house.start()
    settled = asyncio.get_running_loop().create_future()
    monkeypatch.setattr(ledger._reserving, "_settled", lambda: settled)
    room = [replace(ACCOUNT, limit=2 * HELD - 1)]
    both = [ledger.reserve(begun(call, reserved=True), room, 1, HELD) for call in ("c1", "c2")]
    got, late = await asyncio.gather(*both, return_exceptions=True)
    assert got == HELD
    assert isinstance(late, LedgerUnavailable)
    settled.set_result(None)
    await ledger.flush()
    assert await balances(house) == (HELD, 0)
    assert [row.call_id for row in await house.attempts()] == ["c1"]


async def test_what_has_ended_is_settled_before_anybody_is_refused(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though settling has time: there is room for one at a time, and what it may cost is far more than what it does."""
    monkeypatch.setattr(ledger_module, "LINGER", 1e6)
    ledger = await house.start()
    room = [replace(ACCOUNT, limit=2 * HELD - 1)]
    for number in range(5):
        assert await ledger.reserve(begun(f"c{number}", reserved=True), room, HELD, HELD) == HELD
        assert await ledger.extend((f"c{number}", 1), room, 1, HELD) == HELD - 1 - number
        await ledger.finish(finished(f"c{number}", reserved=True, cost=1))
    assert await ledger.reserve(begun("last", reserved=True), room, 1, 2 * HELD) == 2 * HELD - 1 - 5
    assert await ledger.extend(("last", 1), room, 0, 5) == 0
    other = [replace(ACCOUNT, id='["other",""]', limit=2 * HELD)]
    for call in ("ends", "goes on"):
        assert await ledger.reserve(begun(call, reserved=True), other, HELD, HELD) == HELD
    await ledger.finish(finished("ends", reserved=True, cost=1))
    assert await ledger.extend(("goes on", 1), other, 1, HELD) == HELD - 1
    refused = await ledger.extend(("last", 1), room, 1, 1)
    assert isinstance(refused, Denied)
    assert refused.left == 0


async def test_as_many_as_want_it_at_once_share_a_transaction(house: House) -> None:
    ledger = await house.start()
    await ledger.tidy()
    before = failing(ledger).transactions
    await asyncio.gather(*(hold(ledger, f"c{number:03}") for number in range(100)))
    # Housekeeping has some, too.
    assert failing(ledger).transactions - before <= 20


async def test_who_comes_a_little_later_shares_it_too(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reserving, "LONGEST", 1e6)
    ledger = await house.start()
    await no_housekeeping(ledger)
    before = failing(ledger).transactions
    tasks = []
    for number in range(reserving.TURNS):
        tasks.append(asyncio.ensure_future(hold(ledger, f"c{number:03}")))
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert failing(ledger).transactions - before == 1


async def test_nobody_waits_long_for_others_to_come_along(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the turns of a busy event loop are, or many."""
    monkeypatch.setattr(reserving, "TURNS", 10**9)
    ledger = await house.start()
    async with asyncio.timeout(5):
        await hold(ledger, "c1")


async def test_a_database_that_stalls_is_not_waited_for_for_ever(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reserving, "PATIENCE", 0.05)
    ledger = await house.start()
    await ledger.tidy()
    failing(ledger).runs.clear()
    both = await asyncio.gather(hold(ledger, "c1"), hold(ledger, "c2"), return_exceptions=True)
    assert [str(each) for each in both] == [str(LedgerUnavailable("its database does not keep up"))] * 2
    failing(ledger).runs.set()
    await ledger.flush()
    assert await balances(house) == (0, 0)
    assert await house.attempts() == []


async def test_one_that_the_database_refuses_does_not_keep_the_others_from_being_begun(house: House) -> None:
    ledger = await house.start()
    await hold(ledger, "c1")
    got = await asyncio.gather(*(hold(ledger, call) for call in ("c0", "c1", "c2")), return_exceptions=True)
    assert [type(each) for each in got] == [type(None), LedgerUnavailable, type(None)]


async def test_a_refusal_leaves_neither_a_hold_nor_a_row(house: House) -> None:
    ledger = await house.start()
    refused = await ledger.reserve(begun("c1", reserved=True), [replace(ACCOUNT, limit=HELD - 1)], HELD, HELD)
    assert isinstance(refused, Denied)
    assert refused.left == HELD - 1
    await ledger.flush()
    assert await house.attempts() == []
    assert await balances(house) == (0, 0)


async def test_what_the_database_refuses_is_not_begun(house: House) -> None:
    """A hold that is there already, as after a commit whose answer was lost: it is free again, and nothing is sent."""
    ledger = await house.start()
    await hold(ledger, "c1")
    with pytest.raises(LedgerUnavailable, match="refuses"):
        await hold(ledger, "c1")
    await ledger.flush()
    assert await balances(house) == (0, 0)
    assert await house.attempts() == []
    assert ledger.health().set_aside == 0


async def test_the_holds_of_one_that_lives_are_left_alone(house: House) -> None:
    first, second = await house.start(), await house.start()
    await hold(first, "c1")
    await hold(second, "c2")
    await house.kill(first)
    await second.tidy()
    assert await balances(house) == (HELD, HELD), "the first one's call counts with all that was held"


async def test_what_is_not_sent_costs_nothing_and_a_lease_that_ran_out_is_swept(house: House) -> None:
    ledger = await house.start()
    await hold(ledger, "c1")
    await ledger.finish(finished("c1", reserved=True, cost=0, outcome=OUTCOME_NOT_SENT))
    budgets = ledger.budgets
    owner = Owner(ledger._slot.id, budgets.expires())
    await ledger.database.transact(lambda: holds.reserve([Wanted(("c2", 1), [ACCOUNT], HELD, HELD)], owner))
    now = budgets._clock()
    budgets._clock = lambda: now + LEASE + 10
    await ledger.tidy()
    await ledger.flush()
    assert await balances(house) == (0, 0)


async def test_money_of_an_attempt_that_an_earlier_version_left_open_waits_for_its_end(house: House) -> None:
    """It stands among those that have ended, and is ended by whoever finds its gateway dead."""
    ledger = await house.start()
    await no_housekeeping(ledger)
    await hold(ledger, "c")
    names = ", ".join(ATTEMPT)
    values = {**dict(zip(ATTEMPT, attempt_values(begun("c")), strict=True)), "instance": "old"}
    move = f"INSERT INTO attempts ({names}) VALUES ({', '.join('?' * len(values))})"
    await ledger.database.transact(
        script(Statement("DELETE FROM open_attempts"), Statement(move, [tuple(values.values())]))
    )
    await ledger.database.transact(partial(holds.sweep, 2**62))
    held, spent = await balances(house)
    assert (held, spent) == (HELD, 0)
