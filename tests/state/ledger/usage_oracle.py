"""UsageStats counted the plain way: over a list of rows, in Python. What the ledger's answers are held to."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from trunkline.v1.call_pb2 import Outcome
from trunkline.v1.gateway_service_pb2 import UsageDimension, UsageStatsRequest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trunkline_server.state.ledger.rows import AttemptRow, CallRow

K = UsageDimension.Kind
FAULTS = {"OVERLOADED", "SERVER_ERROR", "TIMEOUT", "NOT_CONNECTED", "INTERRUPTED", "PROTOCOL_ERROR"}
QUARTER = 900


def value_of(row: Any, dimension: UsageDimension, reasons: Mapping[str, str]) -> str:
    kind, subject = dimension.kind, row.subject
    if kind == K.Value("KIND_LABEL"):
        return str(subject.labels.get(dimension.label, ""))
    if kind == K.Value("KIND_MODEL"):
        return f"{row.provider}/{row.model}" if row.provider else ""
    if kind == K.Value("KIND_OUTCOME"):
        return Outcome.Name(row.outcome).removeprefix("OUTCOME_") if row.outcome else ""
    if kind == K.Value("KIND_ERROR_REASON"):
        return reasons.get(row.call_id, "")
    name = K.Name(kind).removeprefix("KIND_").lower()
    return str(getattr(subject if hasattr(subject, name) else row, name))


def bucket_start(time: int, bucket: int, zone: ZoneInfo) -> int:
    """By the zone's own clock, asked anew for each time."""
    seconds = time // 10**6
    local = datetime.fromtimestamp(seconds, zone)
    if bucket == UsageStatsRequest.BUCKET_MINUTE:
        return seconds // 60 * 60 * 10**6
    if bucket == UsageStatsRequest.BUCKET_HOUR:
        at = seconds // QUARTER * QUARTER
        while datetime.fromtimestamp(at, zone).minute:
            at -= QUARTER
        return at * 10**6
    day = local.date()
    if bucket == UsageStatsRequest.BUCKET_WEEK:
        day -= timedelta(days=day.weekday())
    if bucket == UsageStatsRequest.BUCKET_MONTH:
        day = day.replace(day=1)
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) * 10**6


def blank() -> dict[str, Any]:
    return defaultdict(int, total_time=[], time_to_first_token=[], output_rate=[], scores={}, units={})


def expected(  # noqa: C901 - plain on purpose
    request: UsageStatsRequest,
    attempts: Sequence[AttemptRow],
    calls: Sequence[CallRow],
    scores: Mapping[tuple[str, str], float],
    start: int,
    end: int,
) -> dict[tuple[int, tuple[str, ...]], dict[str, Any]]:
    """Sums and lists of values by bucket and group."""
    reasons = {call.call_id: call.reason for call in calls}
    zone = ZoneInfo(request.time_zone or "UTC")
    groups: dict[tuple[int, tuple[str, ...]], dict[str, Any]] = defaultdict(blank)

    def group_of(row: Any) -> dict[str, Any] | None:
        if not start <= row.started < end:
            return None
        for each in request.filters:
            if value_of(row, each.dimension, reasons) not in each.values:
                return None
        bucket = bucket_start(row.started, request.bucket, zone) if request.bucket else start
        return groups[bucket, tuple(value_of(row, each, reasons) for each in request.group_by)]

    for attempt in attempts:
        if attempt.duration is not None and (group := group_of(attempt)) is not None:
            count_attempt(group, attempt)
    for call in calls:
        if (group := group_of(call)) is not None:
            count_call(group, call)
            for (call_id, metric), score in scores.items():
                if call_id == call.call_id:
                    group["scores"].setdefault(metric, []).append(score)
    return groups


def count_attempt(group: dict[str, Any], row: AttemptRow) -> None:
    cost = row.cost or 0
    outcome = Outcome.Name(row.outcome).removeprefix("OUTCOME_")  # type: ignore[arg-type]
    group["attempts"] += 1
    group["retries"] += row.retry
    group["hedges"] += row.hedge
    group["faults"] += outcome in FAULTS
    group["cost_nano_usd"] += cost
    group["unpriced_attempts"] += row.cost is None
    group["saved_nano_usd"] += row.saved
    group["wasted_nano_usd"] += cost if outcome != "SUCCESS" else 0
    group["estimated_nano_usd"] += cost if row.certainty == 2 else 0
    group["estimated_attempts"] += row.certainty == 2
    for name in ("input_tokens", "output_tokens", "reasoning_tokens"):
        group[name] += getattr(row, name) or 0
    for unit, amount in row.other_units.items():
        group["units"][unit] = group["units"].get(unit, 0) + amount


def count_call(group: dict[str, Any], row: CallRow) -> None:
    group["requests"] += 1
    group[{"success": "successes", "error": "errors", "cancelled": "cancelled"}[row.result]] += 1
    group["fallbacks"] += row.fell_back
    group["interrupted_streams"] += row.interrupted
    if row.result == "success":
        group["total_time"].append(row.duration / 1e6)
        if row.time_to_first_token is not None:
            group["time_to_first_token"].append(row.time_to_first_token / 1e6)
        if row.output_rate is not None:
            group["output_rate"].append(row.output_rate)
