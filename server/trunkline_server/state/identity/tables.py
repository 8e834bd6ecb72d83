"""What became of the table of gateway keys since it was first made."""

STRATEGIES = (
    # A JSON list. Empty = all.
    "ALTER TABLE api_keys ADD COLUMN strategies TEXT NOT NULL DEFAULT '[]'",
)
