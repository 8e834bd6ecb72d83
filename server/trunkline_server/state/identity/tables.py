"""The tables of gateway keys and audit events; what they are for stands in state/ledger/schema.py."""

IDENTITY = (
    """
CREATE TABLE api_keys (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    workspace TEXT NOT NULL,
    role TEXT NOT NULL,
    -- JSON lists. Empty = all.
    models TEXT NOT NULL,
    providers TEXT NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT,
    revoked BIGINT,
    -- Of the secret, and of the one before until previous_ends.
    digest TEXT NOT NULL,
    previous TEXT,
    previous_ends BIGINT
)""",
    """
CREATE TABLE audit_events (
    id TEXT NOT NULL PRIMARY KEY,
    time BIGINT NOT NULL,
    -- A value of the contract's AuditEvent.Kind.
    kind BIGINT NOT NULL,
    api_key TEXT NOT NULL,
    workspace TEXT NOT NULL,
    peer TEXT NOT NULL,
    subject TEXT NOT NULL,
    -- A value of the contract's AuditEvent.Outcome.
    outcome BIGINT NOT NULL,
    detail TEXT NOT NULL
)""",
    "{append_only:audit_events}",
)

STRATEGIES = (
    # A JSON list. Empty = all.
    "ALTER TABLE api_keys ADD COLUMN strategies TEXT NOT NULL DEFAULT '[]'",
)
