"""The tables of budgets, as a migration of the ledger's schema. Released: never changed."""

BUDGETS: tuple[str, ...] = (
    """
CREATE TABLE budget_accounts (
    account TEXT NOT NULL PRIMARY KEY,
    -- What was spent, and how much of it went beyond what was held for it.
    posted BIGINT NOT NULL,
    overage BIGINT NOT NULL
)""",
    """
CREATE TABLE budget_holds (
    call_id TEXT NOT NULL,
    attempt BIGINT NOT NULL,
    account TEXT NOT NULL,
    -- The gateway, and when the hold is nobody's unless it gives a sign of life.
    owner TEXT NOT NULL,
    expires BIGINT NOT NULL,
    amount BIGINT NOT NULL,
    -- Pending, settled or void; and what it was settled at.
    state BIGINT NOT NULL,
    posted BIGINT,
    PRIMARY KEY (call_id, attempt, account)
)""",
    "CREATE INDEX budget_holds_live ON budget_holds (account, expires, amount) WHERE state = 0",
)
