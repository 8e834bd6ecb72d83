"""Holds: what is put aside for an attempt before it is sent. A script for each operation, for one transaction; pure.

A hold is a row for each hard budget that its attempt is paid from. It is pending until it is settled at what the
attempt cost, or void: once, and then never again. What a budget has held is the sum of its pending rows, and kept
nowhere else. Who reserves locks the accounts, in the order of their ids: between reading and writing nobody else does.

    posted + held <= limit, but for what attempts cost beyond their holds, which is the account's overage.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from trunkline_server.state.ledger.database import Statement

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trunkline_server.state.budgets.accounts import Account
    from trunkline_server.state.ledger.database import Script

PENDING, SETTLED, VOID = 0, 1, 2
# Microseconds without a sign of its owner after which a hold is nobody's any more.
LEASE: Final = 10 * 60 * 10**6

Attempt = tuple[str, int]
# What is spent of accounts now, of those that something was spent of: their ids, and nano-USD.
Totals = tuple[tuple[str, int], ...]


class Denied(NamedTuple):
    """There is not enough in this account."""

    account: Account
    # Nano-USD. Below 0: more was spent than there was.
    left: int


class Settlement(NamedTuple):
    """How an attempt ended. Nano-USD; None: what it cost is not known, and all that was held counts as spent."""

    call_id: str
    attempt: int
    cost: int | None


class Owner(NamedTuple):
    """Which gateway holds, and until when its holds stand without another sign of life, in microseconds since 1970."""

    instance: str
    expires: int


def reserve(attempt: Attempt, accounts: Sequence[Account], least: int, most: int, owner: Owner) -> Script[int | Denied]:
    """Put aside as much as there is in all of the accounts, but not more than `most`: how much. Less than `least`: no.

    An attempt reserves once: the database refuses a second time.
    """
    granted = yield from _available(accounts, least, most)
    if isinstance(granted, Denied):
        return granted
    rows = [(*attempt, account.id, *owner, granted, PENDING) for account in accounts]
    yield Statement(_HOLD, rows)
    return granted


def extend(attempt: Attempt, accounts: Sequence[Account], least: int, most: int) -> Script[int | Denied]:
    """Put aside more for an attempt that holds: how much. 0: it holds nothing any more, for somebody resolved it."""
    granted = yield from _available(accounts, least, most)
    if isinstance(granted, Denied):
        return granted
    rows = [(granted, *attempt, account.id) for account in accounts]
    grown = yield Statement(_GROW, rows, returns=True)
    return granted if len(grown) == len(accounts) else 0


def _available(accounts: Sequence[Account], least: int, most: int) -> Script[int | Denied]:
    granted = most
    for account in sorted(accounts, key=_id):
        ((posted,),) = yield Statement(_LOCK, [(account.id,)], returns=True)
        ((held,),) = yield Statement(_HELD, [(account.id,)], returns=True)
        left = account.limit - posted - held
        if left < least:
            return Denied(account, left)
        granted = min(granted, left)
    return granted


def settle(ended: Iterable[Settlement]) -> Script[Totals]:
    """What these attempts held is spent, as far as they cost it. What is resolved already stays as it is."""
    rows = [(each.cost, each.call_id, each.attempt) for each in ended]
    if not rows:
        return ()
    found = yield Statement(_SETTLE, rows, returns=True)
    return (yield from _post((account, posted, max(0, posted - amount)) for account, amount, posted in found))


def count(costs: Iterable[tuple[str, int]]) -> Script[Totals]:
    """By account: what attempts cost that held nothing there."""
    return (yield from _post((account, cost, 0) for account, cost in costs))


def _post(costs: Iterable[tuple[str, int, int]]) -> Script[Totals]:
    posted: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for account, cost, beyond in costs:
        posted[account][0] += cost
        posted[account][1] += beyond
    if not posted:
        return ()
    found = yield Statement(_POST, [(account, *sums) for account, sums in sorted(posted.items())], returns=True)
    return tuple((account, total) for account, total in found)


def void(attempts: Iterable[Attempt]) -> Script[None]:
    """Nothing was sent: what they held is free."""
    yield Statement(_VOID, list(attempts))


def renew(attempts: Iterable[Attempt], owner: Owner) -> Script[None]:
    """Their owner lives."""
    yield Statement(_RENEW, [(owner.expires, *attempt, owner.instance) for attempt in attempts])


def abandon(instance: str) -> Script[None]:
    """Their owner is dead: `sweep` need not wait for the lease."""
    yield Statement(_ABANDON, [(LEASE + 1, instance)])


def sweep(now: int) -> Script[int]:
    """Resolve holds that are nobody's any more: how many.

    An attempt is in the ledger before it is sent: one that is not there was never sent. One that has ended is settled.
    One that is open there is ended by whoever recovers the ledger's rows, and its hold with it.
    """
    voided = yield Statement(_SWEEP, [(now,)], returns=True)
    ended = yield Statement(_ENDED, [(now,)], returns=True)
    yield from settle(Settlement(*row) for row in ended)
    return len(voided) + len(ended)


def _id(account: Account) -> str:
    return account.id


# A literal: a database plans a statement anew whose parameter decides whether a partial index fits.
_PENDING = f"state = {PENDING}"
_ONE = f"call_id = ? AND attempt = ? AND {_PENDING}"
POSTED: Final = "SELECT posted FROM budget_accounts WHERE account = ?"
# Finds a row if there may be something to sweep.
LOST: Final = f"SELECT 1 FROM budget_holds WHERE {_PENDING} AND expires < ? LIMIT 1"
_LOCK = (
    "INSERT INTO budget_accounts (account, posted, overage) VALUES (?, 0, 0) "
    "ON CONFLICT (account) DO UPDATE SET posted = budget_accounts.posted RETURNING posted"
)
_HELD = f"SELECT CAST(COALESCE(SUM(amount), 0) AS BIGINT) FROM budget_holds WHERE account = ? AND {_PENDING}"
_HOLD = (
    "INSERT INTO budget_holds (call_id, attempt, account, owner, expires, amount, state) VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_GROW = f"UPDATE budget_holds SET amount = amount + ? WHERE {_ONE} AND account = ? RETURNING account"
_SETTLE = (
    f"UPDATE budget_holds SET state = {SETTLED}, posted = COALESCE(?, amount) WHERE {_ONE} "
    "RETURNING account, amount, posted"
)
_POST = (
    "INSERT INTO budget_accounts (account, posted, overage) VALUES (?, ?, ?) ON CONFLICT (account) DO UPDATE SET "
    "posted = budget_accounts.posted + excluded.posted, overage = budget_accounts.overage + excluded.overage "
    "RETURNING account, posted"
)
_VOID = f"UPDATE budget_holds SET state = {VOID}, posted = 0 WHERE {_ONE}"
_RENEW = f"UPDATE budget_holds SET expires = ? WHERE {_ONE} AND owner = ?"
_ABANDON = f"UPDATE budget_holds SET expires = expires - ? WHERE owner = ? AND {_PENDING}"
_ITS_ATTEMPT = "attempts.call_id = budget_holds.call_id AND attempts.attempt = budget_holds.attempt"
_SWEEP = (
    f"UPDATE budget_holds SET state = {VOID}, posted = 0 WHERE {_PENDING} AND expires < ? "
    f"AND NOT EXISTS (SELECT 1 FROM attempts WHERE {_ITS_ATTEMPT}) RETURNING 1"
)
_ENDED = (
    "SELECT DISTINCT attempts.call_id, attempts.attempt, attempts.cost FROM budget_holds JOIN attempts "
    f"ON {_ITS_ATTEMPT} WHERE budget_holds.{_PENDING} AND expires < ? AND duration IS NOT NULL"
)
