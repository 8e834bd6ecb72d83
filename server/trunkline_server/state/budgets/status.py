"""How budgets are now, as the contract tells it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from trunkline.v1.gateway_service_pb2 import BudgetStatus
from trunkline_server.settings.budgets import EACH
from trunkline_server.state.ledger.database import Query
from trunkline_server.state.ledger.reading import read_all

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trunkline_server.core import Identity
    from trunkline_server.state.budgets.accounts import Rule, Rules
    from trunkline_server.state.ledger.database import Database, Row

# Of one budget.
_MOST = 1000
_FOUND = f"""
SELECT account, posted, overage, (
    SELECT CAST(COALESCE(SUM(amount), 0) AS BIGINT) FROM budget_holds AS held
    WHERE held.account = budget_accounts.account AND held.state = 0
) FROM budget_accounts WHERE substr(account, 1, CAST(? AS INTEGER)) = ? ORDER BY posted DESC, account LIMIT {_MOST}
"""


async def status_of(database: Database, rules: Rules, identity: Identity, now: int) -> list[BudgetStatus]:
    """The accounts of the present periods that `identity` may see; see UsageStatsResponse. Raises LedgerUnreadable."""
    seen = [(rule, first) for rule in rules.all if (first := _seen(rule, identity)) is not None]
    seen.sort(key=lambda pair: pair[0].name)
    prefixes = [rule.prefix(now, first) for rule, first in seen]
    found = await read_all(database, [Query(_FOUND, (len(prefix), prefix)) for prefix in prefixes])
    return [
        status for (rule, first), rows in zip(seen, found, strict=True) for status in _statuses(rule, first, rows, now)
    ]


def _seen(rule: Rule, identity: Identity) -> tuple[str, ...] | None:
    """The first of those whom a "*" stands for whose accounts `identity` may see; () = all. None: there is none."""
    workspace, key = rule.settings.workspace, rule.settings.key
    if identity.role != "caller" or workspace == identity.workspace:
        return ()
    if workspace == EACH:
        return (identity.workspace,)
    if workspace or not identity.key:
        return None
    # A key is of one workspace, and so are the calls that such a budget is about.
    return {EACH: (identity.key,), identity.key: ()}.get(key)


def _statuses(rule: Rule, first: Sequence[str], rows: list[Row], now: int) -> Iterator[BudgetStatus]:
    if not rows and rule.kinds == len(first):
        # There can be one account only, of which nothing is spent yet.
        rows = [(rule.account_of(first, now).id, 0, 0, 0)]
    for account_id, posted, overage, held in rows:
        account = rule.account_of(json.loads(account_id)[2:], now)
        status = BudgetStatus(
            budget=rule.name,
            scope=account.whose,
            hard=rule.hard,
            limit_nano_usd=account.limit,
            spent_nano_usd=posted,
            held_nano_usd=held,
            overage_nano_usd=overage,
        )
        if (rate := account.burn_rate(posted, now)) is not None:
            status.burn_rate_nano_usd = rate
        if (projected := account.projected(posted, now)) is not None:
            status.projected_nano_usd = projected
        if account.renews is not None:
            status.renew_time.FromMicroseconds(account.renews)
        yield status
