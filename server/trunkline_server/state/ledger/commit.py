"""What happens in the transaction that takes rows into the ledger."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, ClassVar

from msgspec import Struct

from trunkline_server.state.budgets.holds import Denied, Owner, Settlement, Wanted, reserve, spend, void
from trunkline_server.state.ledger.columns import (
    ATTEMPT,
    ATTEMPT_BEGUN,
    ATTEMPT_ENDED,
    CALL,
    attempt_values,
    begun_values,
    buckets_of,
    call_values,
)
from trunkline_server.state.ledger.database import Statement, portions
from trunkline_server.state.ledger.held import HELD, can_hold, held_values, hold_earlier, let_go
from trunkline_server.state.ledger.rows import AttemptRow, CallRow
from trunkline_server.state.ledger.sums import Sums

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trunkline_server.state.budgets.accounts import Account
    from trunkline_server.state.budgets.holds import Attempt, Totals
    from trunkline_server.state.ledger.database import Dialect, Script


class Withdrawn(Struct, frozen=True):
    """An attempt that was begun and never sent: its open row goes away."""

    call_id: str
    attempt: int
    # It has no end.
    duration: ClassVar[None] = None


class Wish(Struct, frozen=True):
    """An attempt that is begun if budgets pay for it: its open row, and what is wanted of them, in nano-USD."""

    row: AttemptRow
    accounts: Sequence[Account]
    least: int
    most: int


Entry = AttemptRow | CallRow | Withdrawn


class Taken(Struct, frozen=True):
    """How much of what was given was new, and what it made of the accounts that paid for it."""

    attempts: int
    calls: int
    spent: Totals = ()


def begin(wishes: Sequence[Wish], owner: Owner, *, whole: bool) -> Script[list[int | Denied | None]]:
    """Put money aside for attempts, and take in those for which there is enough; see holds.reserve."""
    wanted = [Wanted((w.row.call_id, w.row.attempt), w.accounts, w.least, w.most) for w in wishes]
    granted = yield from reserve(wanted, owner, whole=whole)
    rows = [wish.row for wish, amount in zip(wishes, granted, strict=True) if isinstance(amount, int)]
    if rows:
        yield _begin(rows, owner.instance)
    return granted


def take(entries: Sequence[Entry], dialect: Dialect, instance: str = "") -> Script[Taken]:
    """Take the rows in, and count those that are new in the rollups.

    A row that is there stays as it is. An attempt that has ended is open no more, whoever saw its end. `instance` is
    who makes those that begin.
    """
    attempts = [entry for entry in entries if isinstance(entry, AttemptRow)]
    ended = {(row.call_id, row.attempt): row for row in reversed(attempts) if row.duration is not None}
    begun = [row for row in attempts if row.duration is None and (row.call_id, row.attempt) not in ended]
    calls = {entry.call_id: entry for entry in reversed(entries) if isinstance(entry, CallRow)}
    withdrawn = [(entry.call_id, entry.attempt) for entry in entries if isinstance(entry, Withdrawn)]
    if begun:
        yield _begin(begun, instance)
    if withdrawn:
        yield from _closed(withdrawn)
        yield Statement(_WITHDRAW, withdrawn)
        yield from void(withdrawn)
    sums, new_attempts, new_calls = Sums(), [], []
    buckets = {call_id: buckets_of(row) for call_id, row in calls.items()}
    held = {call_id: ended[call_id, 1] for call_id, call in calls.items() if can_hold(call, ended.get((call_id, 1)))}
    if ended:
        rows = [(*attempt_values(row), int(row.attempt == 1 and row.call_id in held)) for row in ended.values()]
        new_attempts = yield Statement(_FINISH, rows, returns=True, key=2)
        yield from _closed([*ended])
    if calls:
        together = {call_id for call_id, attempt in new_attempts if attempt == 1}
        held = {call_id: row for call_id, row in held.items() if call_id in together}
        held |= yield from hold_earlier(calls.values(), together)
        rows = [(*call_values(row, buckets[id_]), *held_values(held.get(id_))) for id_, row in calls.items()]
        new_calls = yield Statement(_END, rows, returns=True, key=1)
        yield from let_go(held, {call_id for (call_id,) in new_calls})
    for key in new_attempts:
        sums.add_attempt(ended[key])
    for (call_id,) in new_calls:
        sums.add_call(calls[call_id], buckets[call_id])
    yield from sums.statements(dialect.pack)
    spent = yield from _spend([ended[key] for key in new_attempts])
    return Taken(len(new_attempts), len(new_calls), spent)


def _spend(ended: Sequence[AttemptRow]) -> Script[Totals]:
    """Budgets pay for the attempts, in the transaction that takes their ends in: each once, as it is taken once."""
    settled = [Settlement(row.call_id, row.attempt, row.cost) for row in ended if row.reserved]
    return (yield from spend(settled, ((account, row.cost or 0) for row in ended for account in row.counted)))


def _begin(rows: Sequence[AttemptRow], instance: str) -> Statement:
    return Statement(_BEGIN, [begun_values(row, instance) for row in rows], together=True)


def _closed(ended: Sequence[Attempt]) -> Iterator[Statement]:
    for some in portions(ended):
        its_key = " OR ".join([_ITS_KEY] * len(some))
        yield Statement(f"DELETE FROM open_attempts WHERE {its_key}", [[*chain.from_iterable(some)]])


def _insert(table: str, columns: Sequence[str]) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"


_BEGIN = f"{_insert('open_attempts', ATTEMPT_BEGUN)} ON CONFLICT (call_id, attempt) DO NOTHING"
# SQLite looks each up so. For an IN with pairs it would read all that are open.
_ITS_KEY = "call_id = ? AND attempt = ?"
# Earlier versions had open attempts among the others.
_WITHDRAW = "DELETE FROM attempts WHERE call_id = ? AND attempt = ? AND duration IS NULL"
_FINISH = (
    f"{_insert('attempts', (*ATTEMPT, 'held'))} ON CONFLICT (call_id, attempt) DO UPDATE SET "
    f"{', '.join(f'{name} = excluded.{name}' for name in ('instance', *ATTEMPT_ENDED, 'held'))} "
    "WHERE attempts.duration IS NULL RETURNING call_id, attempt"
)
_END = f"{_insert('calls', (*CALL, *HELD))} ON CONFLICT (call_id) DO NOTHING RETURNING call_id"
