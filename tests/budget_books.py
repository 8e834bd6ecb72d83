"""The books of budgets, kept twice: what holds and accounts say, and what the attempts say that were paid for.

Each query finds what is wrong with them; in both databases, at any moment, whatever happened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_JOINED = """budget_holds AS h LEFT JOIN attempts AS a ON a.call_id = h.call_id AND a.attempt = h.attempt"""
_REPLAYED = """(
    SELECT account, CAST(SUM(posted) AS BIGINT) AS posted,
        CAST(SUM(CASE WHEN posted > amount THEN posted - amount ELSE 0 END) AS BIGINT) AS overage
    FROM budget_holds WHERE state = 1 GROUP BY account
)"""

WRONG: Mapping[str, str] = {
    "a hold has an end if and only if it is resolved": """
        SELECT call_id, account FROM budget_holds WHERE (state = 0) <> (posted IS NULL)""",
    "nothing is held that is less than nothing": """
        SELECT call_id, account, amount, posted FROM budget_holds WHERE amount < 0 OR posted < 0""",
    "what is void was paid by nobody, and cost nothing": f"""
        SELECT h.call_id, h.account, h.posted, a.cost FROM {_JOINED}
        WHERE h.state = 2 AND (h.posted <> 0 OR a.cost > 0)""",
    "an attempt is held, extended and resolved alike in all of its accounts": """
        SELECT call_id, attempt FROM budget_holds GROUP BY call_id, attempt
        HAVING MIN(state) <> MAX(state) OR MIN(amount) <> MAX(amount) OR MIN(posted) <> MAX(posted)""",
    "each payer's part of an attempt is what its provider got": f"""
        SELECT h.call_id, h.account, h.posted, a.cost FROM {_JOINED} WHERE h.state = 1 AND
        (a.duration IS NULL OR h.posted <> COALESCE(a.cost, h.amount))""",
    "an account is the sum of what was settled": f"""
        SELECT its.account, its.posted, its.overage, found.posted, found.overage FROM budget_accounts AS its
        LEFT JOIN {_REPLAYED} AS found ON found.account = its.account
        WHERE its.posted <> COALESCE(found.posted, 0) OR its.overage <> COALESCE(found.overage, 0)""",
    "what payers paid and what providers got come to nothing": f"""
        SELECT payers.nano, providers.nano
        FROM (SELECT COALESCE(SUM(posted), 0) AS nano FROM budget_accounts) AS payers,
        (SELECT COALESCE(SUM(COALESCE(a.cost, h.amount)), 0) AS nano FROM {_JOINED} WHERE h.state = 1) AS providers
        WHERE payers.nano <> providers.nano""",
    "an attempt that has ended is open no more": """
        SELECT its.call_id, its.attempt FROM open_attempts AS its JOIN attempts AS a
        ON a.call_id = its.call_id AND a.attempt = its.attempt""",
}
LIVE = "SELECT call_id, account FROM budget_holds WHERE state = 0"
