"""The log of attempts: one line for each that failed, and with `monitoring_level` above basic for each that did not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline.v1 import call_pb2
from trunkline_server.spans import seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from trunkline_server.core import Call
    from trunkline_server.logs import Log

# Not the provider's doing.
_OURS = (call_pb2.OUTCOME_SUCCESS, call_pb2.OUTCOME_CANCELLED)


def attempt_log(log: Log) -> Callable[[Call, call_pb2.Attempt], None]:
    """What `attempt` reports to. The provider's own message is left out, scrubbed or not: it may quote a prompt."""

    def report(call: Call, record: call_pb2.Attempt) -> None:
        if record.outcome not in _OURS:
            log.warning("attempt failed", **_fields(call, record))
        elif is_detailed(call):
            log.info("attempt", **_fields(call, record))

    return report


def is_detailed(call: Call) -> bool:
    """Whether this call's attempts are logged with their timelines."""
    settings = call.snapshot.settings
    return settings.logs.monitoring_level != "basic" or settings.providers[call.target.provider].debug


def _fields(call: Call, record: call_pb2.Attempt) -> dict[str, object]:
    first = call.story.time_to_first_token
    return {
        "id": call.id,
        "target": f"{record.target.provider}/{record.target.model}"[:300],
        "outcome": call_pb2.Outcome.Name(record.outcome).removeprefix("OUTCOME_"),
        "status": record.provider_status,
        "code": record.provider_code[:100],
        "provider_request_id": record.provider_request_id[:200],
        "after_start": call.story.committed,
        "first_token_ms": None if first is None else round(first * 1000, 2),
        "attempt_ms": round(seconds(record.duration) * 1000, 2),
    }
