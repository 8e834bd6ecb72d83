"""The tables of alerts in the ledger's database. Times are microseconds since 1970."""

ALERTS = (
    """
CREATE TABLE alerts (
    id TEXT NOT NULL PRIMARY KEY,
    -- Values of the contract's Alert.Kind and Alert.Severity.
    kind BIGINT NOT NULL,
    subject TEXT NOT NULL,
    severity BIGINT NOT NULL,
    summary TEXT NOT NULL,
    remedy TEXT NOT NULL,
    -- A list of name, value and unit.
    evidence JSONB NOT NULL,
    opened BIGINT NOT NULL,
    -- When a gateway last saw it.
    seen BIGINT NOT NULL,
    resolved BIGINT
)""",
    "CREATE UNIQUE INDEX alerts_open ON alerts (kind, subject) WHERE resolved IS NULL",
    "CREATE INDEX alerts_resolved ON alerts (resolved) WHERE resolved IS NOT NULL",
    """
CREATE TABLE credential_ages (
    provider TEXT NOT NULL,
    -- Its name and last four characters.
    credential TEXT NOT NULL,
    since BIGINT NOT NULL,
    PRIMARY KEY (provider, credential)
)""",
)

# A later migration: whose budget an alert is about; empty = it is not about one workspace.
WORKSPACES = ("ALTER TABLE alerts ADD COLUMN workspace TEXT NOT NULL DEFAULT ''",)
# And of which key.
KEYS = ("ALTER TABLE alerts ADD COLUMN api_key TEXT NOT NULL DEFAULT ''",)
