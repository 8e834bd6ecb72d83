"""Holds: what is put aside for an attempt before it is sent. A script for each operation, for one transaction; pure.

A hold is a row for each hard budget that its attempt is paid from. It is pending until it is settled at what the
attempt cost, or void: once, and then never again. What a budget has held is the sum of its pending rows, and kept
nowhere else. Who reserves locks the accounts, in the order of their ids: between reading and writing nobody else does.

    posted + held <= limit, but for what attempts cost beyond their holds, which is the account's overage.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple

from trunkline_server.state.ledger.database import Statement, portions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from trunkline_server.state.budgets.accounts import Account
    from trunkline_server.state.ledger.database import Row, Script

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


class Wanted(NamedTuple):
    """What an attempt wants put aside, in each of its accounts: nano-USD."""

    attempt: Attempt
    accounts: Sequence[Account]
    least: int
    most: int


class Settlement(NamedTuple):
    """How an attempt ended. Nano-USD; None: what it cost is not known, and all that was held counts as spent."""

    call_id: str
    attempt: int
    cost: int | None


class Owner(NamedTuple):
    """Which gateway holds, and until when its holds stand without another sign of life, in microseconds since 1970."""

    instance: str
    expires: int


def reserve(wanted: Sequence[Wanted], owner: Owner, *, whole: bool = False) -> Script[list[int | Denied | None]]:
    """Put aside, for one attempt after the other, as much as there is in all of its accounts, but not more than `most`.

    For each how much it is. Less than `least`: it is denied. With `whole` less than `most` is nothing, and None: there
    may be more once everything is settled. An attempt reserves once: the database refuses a second time.
    """
    taken = yield from _taken({account.id for each in wanted for account in each.accounts})
    granted: list[int | Denied | None] = []
    rows: list[Row] = []
    for each in wanted:
        amount = _available(each, taken)
        if whole and amount != each.most:
            granted.append(None)
            continue
        granted.append(amount)
        if not isinstance(amount, Denied):
            for account in each.accounts:
                taken[account.id] += amount
                rows.append((*each.attempt, account.id, *owner, amount, PENDING))
    if rows:
        yield Statement(_HOLD, rows, together=True)
    return granted


def extend(wanted: Wanted) -> Script[int | Denied]:
    """Put aside more for an attempt that holds: how much. 0: it holds nothing any more, for somebody resolved it."""
    taken = yield from _taken({account.id for account in wanted.accounts})
    granted = _available(wanted, taken)
    if isinstance(granted, Denied):
        return granted
    rows = [(granted, *wanted.attempt, account.id) for account in wanted.accounts]
    grown = yield Statement(_GROW, rows, returns=True)
    return granted if len(grown) == len(wanted.accounts) else 0


def _taken(accounts: Iterable[str]) -> Script[dict[str, int]]:
    """Lock the accounts: what is spent and held of each."""
    ids = sorted(accounts)
    if ids:
        yield Statement(_POST, [(account, 0, 0) for account in ids], together=True, locks=True)
    taken: dict[str, int] = {}
    for some in portions(ids):
        taken |= dict((yield Statement(_TAKEN.format(", ".join("?" * len(some))), [some], returns=True)))
    return taken | (yield from _post((account, 0, 0) for account in ids if account not in taken))


def _available(wanted: Wanted, taken: Mapping[str, int]) -> int | Denied:
    granted = wanted.most
    for account in sorted(wanted.accounts, key=_id):
        left = account.limit - taken[account.id]
        if left < wanted.least:
            return Denied(account, left)
        granted = min(granted, left)
    return granted


def spend(ended: Iterable[Settlement], counted: Iterable[tuple[str, int]] = ()) -> Script[Totals]:
    """What these attempts held is spent, as far as they cost it. What is resolved already stays as it is.

    `counted` are by account the costs of attempts that held nothing there.
    """
    settled = yield from _settle(ended)
    spent = yield from _post([*settled, *((account, cost, 0) for account, cost in counted)])
    return tuple(spent.items())


def _settle(ended: Iterable[Settlement]) -> Script[list[tuple[str, int, int]]]:
    """By account: what is spent, and how much of it goes beyond what was held."""
    found: list[Row] = []
    for some in portions([*ended]):
        rows = ", ".join([_ITS_END] * len(some))
        found += yield Statement(_SETTLE.format(rows), [[*chain.from_iterable(some)]], returns=True)
    return [(account, posted, max(0, posted - amount)) for account, amount, posted in found]


def _post(costs: Iterable[tuple[str, int, int]]) -> Script[dict[str, int]]:
    """Add to accounts, and lock them, in the order of their ids: what is spent of each now."""
    posted: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for account, cost, beyond in costs:
        posted[account][0] += cost
        posted[account][1] += beyond
    if not posted:
        return {}
    rows = [(account, *sums) for account, sums in sorted(posted.items())]
    return dict((yield Statement(_POST, rows, returns=True, together=True)))


def void(attempts: Iterable[Attempt]) -> Script[None]:
    """Nothing was sent: what they held is free."""
    yield Statement(_VOID, [*attempts])


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
    yield from spend(Settlement(*row) for row in ended)
    return len(voided) + len(ended)


def _id(account: Account) -> str:
    return account.id


# Said outright: for a state that it is told later, SQLite would look for a way anew each time.
_PENDING = f"state = {PENDING}"
# Finds a row if there may be something to sweep.
LOST: Final = f"SELECT 1 FROM budget_holds WHERE {_PENDING} AND expires < ? LIMIT 1"
_TAKEN = (
    "SELECT account, posted + COALESCE((SELECT CAST(SUM(amount) AS BIGINT) FROM budget_holds AS held "
    f"WHERE held.account = budget_accounts.account AND held.{_PENDING}), 0) "
    "FROM budget_accounts WHERE account IN ({})"
)
_HOLD = (
    "INSERT INTO budget_holds (call_id, attempt, account, owner, expires, amount, state) VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_ONE = "call_id = ? AND attempt = ?"
_GROW = f"UPDATE budget_holds SET amount = amount + ? WHERE {_ONE} AND account = ? AND {_PENDING} RETURNING account"
_ITS_END = "(CAST(? AS TEXT), CAST(? AS BIGINT), CAST(? AS BIGINT))"
_SETTLE = (
    f"UPDATE budget_holds SET state = {SETTLED}, posted = COALESCE(ended.column3, amount) FROM (VALUES {{}}) AS ended "
    f"WHERE call_id = ended.column1 AND attempt = ended.column2 AND {_PENDING} RETURNING account, amount, posted"
)
_POST = (
    "INSERT INTO budget_accounts (account, posted, overage) VALUES (?, ?, ?) ON CONFLICT (account) DO UPDATE SET "
    "posted = budget_accounts.posted + excluded.posted, overage = budget_accounts.overage + excluded.overage "
    "RETURNING account, posted"
)
_VOID = f"UPDATE budget_holds SET state = {VOID}, posted = 0 WHERE {_ONE} AND {_PENDING}"
_RENEW = f"UPDATE budget_holds SET expires = ? WHERE {_ONE} AND owner = ? AND {_PENDING}"
_ABANDON = f"UPDATE budget_holds SET expires = expires - ? WHERE owner = ? AND {_PENDING}"
_ITS_ATTEMPT = "its.call_id = budget_holds.call_id AND its.attempt = budget_holds.attempt"
_SWEEP = (
    f"UPDATE budget_holds SET state = {VOID}, posted = 0 WHERE {_PENDING} AND expires < ? "
    f"AND NOT EXISTS (SELECT 1 FROM attempts AS its WHERE {_ITS_ATTEMPT}) "
    f"AND NOT EXISTS (SELECT 1 FROM open_attempts AS its WHERE {_ITS_ATTEMPT}) RETURNING 1"
)
_ENDED = (
    "SELECT DISTINCT its.call_id, its.attempt, its.cost FROM budget_holds JOIN attempts AS its "
    f"ON {_ITS_ATTEMPT} WHERE budget_holds.{_PENDING} AND expires < ? AND duration IS NOT NULL"
)
