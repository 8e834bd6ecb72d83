"""What Google's APIs say of an error beside its message: the details of google.rpc, as their JSON has them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

# A google.protobuf.Duration.
_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)s")


@dataclass(frozen=True, slots=True)
class GoogleDetails:
    """The details of one error."""

    # Of ErrorInfo: API_KEY_INVALID, RATE_LIMIT_EXCEEDED, ...
    reasons: tuple[str, ...] = ()
    # Of RetryInfo, in seconds.
    retry_after: float | None = None
    # Of QuotaFailure: a quota of a day, or one of nothing. Waiting for minutes does not help, whatever RetryInfo says.
    is_long_quota: bool = False


def read_google_details(details: Any) -> GoogleDetails:
    """What error.details says. Never raises: what is of another shape says nothing."""
    found = [detail for detail in details if isinstance(detail, dict)] if isinstance(details, list) else []
    reasons = (detail.get("reason") for detail in found)
    violations = [item for detail in found for item in _list(detail.get("violations")) if isinstance(item, dict)]
    waits = (_DURATION.fullmatch(str(detail.get("retryDelay"))) for detail in found)
    return GoogleDetails(
        tuple(reason for reason in reasons if isinstance(reason, str) and reason),
        next((float(wait[1]) for wait in waits if wait), None),
        any(map(_is_long, violations)),
    )


def _is_long(violation: dict[str, Any]) -> bool:
    return "perday" in str(violation.get("quotaId")).lower() or violation.get("quotaValue") == "0"


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
