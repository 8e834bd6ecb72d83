"""Rows of the ledger for tests."""

from __future__ import annotations

from typing import Any

from trunkline_server.state.ledger.rows import AttemptRow, CallRow, Subject

# 1 January 2026.
BEGIN = 1767225600 * 10**6
HOUR, DAY = 3600 * 10**6, 86400 * 10**6

SUBJECT = Subject(
    workspace="default",
    api_key="k1",
    end_user="ann",
    task="review",
    agent="lint",
    operation="Generate",
    requested_model="gpt-4o",
    labels={"team": "search", "a.b-c": "d"},
)


def begun(call_id: str = "c1", number: int = 1, **fields: Any) -> AttemptRow:
    """An attempt that runs."""
    given = {"subject": SUBJECT, "started": BEGIN, "provider": "openai", "model": "gpt-4o", **fields}
    return AttemptRow(call_id=call_id, attempt=number, **given)


def finished(call_id: str = "c1", number: int = 1, **fields: Any) -> AttemptRow:
    """An attempt that went well."""
    given = {
        "duration": 500_000,
        "outcome": 1,
        "certainty": 1,
        "input_tokens": 10,
        "output_tokens": 20,
        "cost": 3000,
        "input_cost": 1000,
        "output_cost": 2000,
        **fields,
    }
    return begun(call_id, number, **given)


def ended(call_id: str = "c1", **fields: Any) -> CallRow:
    """A call that went well."""
    given: dict[str, Any] = {
        "subject": SUBJECT,
        "started": BEGIN,
        "duration": 600_000,
        "provider": "openai",
        "model": "gpt-4o",
        "outcome": 1,
        "result": "success",
        "finish_reason": 1,
        "attempts": 1,
        "time_to_first_token": 200_000,
        "output_rate": 50.0,
        **fields,
    }
    return CallRow(call_id=call_id, **given)
