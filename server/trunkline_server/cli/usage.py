"""`trunkline usage`: where the calls, the tokens and the money went."""

import csv
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from typer import Context, Option, Typer

from trunkline.v1.gateway_service_pb2 import UsageRow, UsageStatsRequest, UsageStatsResponse, UsageTotals
from trunkline_client import AdminClient, Client
from trunkline_client.usage import UsageQuery
from trunkline_server.cli.compare import compare
from trunkline_server.cli.connection import DEFAULT_ADMIN_ADDRESS, PATIENCE, AdminAddress, ApiKey, Connection, calling
from trunkline_server.cli.figures import flat, percent, sparkline, usd
from trunkline_server.cli.options import (
    AsCsv,
    AsJson,
    By,
    Filters,
    From,
    Since,
    To,
    Zone,
    only_one,
)
from trunkline_server.cli.period import period_of
from trunkline_server.cli.question import names, query_of
from trunkline_server.cli.terminal import harmless_cell, print_json, print_line, print_table
from trunkline_server.state.ledger.calendar import starts

commands = Typer(name="usage", invoke_without_command=True)
commands.command("compare")(compare)

_COLUMNS = (
    "calls", "ok", "errors", "cancelled", "success", "tokens in", "tokens out", "USD", "unpriced", "total p50",
    "total p95", "first token p50", "first token p95", "tokens/s p50",
)  # fmt: skip
# Of those who are asked: a call that one of them failed may have been answered by another.
_OF_TARGETS = ("attempts", "uptime")
# Spans of sparklines: the shortest of which at most this many fit.
_MOST_BARS = 62
_BUCKETS: Mapping[str, timedelta] = {
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(weeks=1),
    "month": timedelta(days=31),
}


@commands.callback()
@calling
def usage(  # noqa: PLR0913 - options
    connection: Connection,
    context: Context,
    *,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    by: By = "",
    since: Since = "",
    start: From = "",
    to: To = "",
    bucket: Annotated[str, Option(metavar="SPAN", help="A line for each minute, hour, day, week or month, too.")] = "",
    zone: Zone = "",
    filters: Filters = None,
    order: Annotated[
        str, Option(metavar="NUMBER", help='By a number of UsageTotals: "cost_nano_usd desc", total_time.p95, ...')
    ] = "",
) -> None:
    """Tell what was called and what it cost, from the gateway's ledger.

    Times are those of whole answers, in seconds; of the first token, of streamed ones. USD is what is known: attempts
    without a price are told as unpriced. Without --bucket each line draws its calls over the time.
    """
    if context.invoked_subcommand is not None:
        return
    only_one(as_json=as_json, as_csv=as_csv)
    by_names, period = names(by), period_of(since, start, to, zone)
    query = query_of(by_names, period, filters, bucket=bucket, order=order)
    with connection.client(PATIENCE) as client:
        told = client.usage(**query)
        if as_json:
            print_json(told)
        elif as_csv:
            _write_csv(told, by_names, period.zone)
        elif bucket:
            _print_spans(told, by_names, period.zone)
        else:
            _print_groups(told, by_names, _drawn(client, query, told))


@commands.command()
def reset(
    *,
    workspace: Annotated[str, Option(metavar="W", help="Only the statistics of this workspace.")] = "",
    address: AdminAddress = DEFAULT_ADMIN_ADDRESS,
    api_key: ApiKey = "",
) -> None:
    """Begin statistics anew: usage counts from now on, unless it is told from when. No row of the ledger is changed."""
    with AdminClient(address, api_key=api_key or None, timeout=PATIENCE) as client:
        since = client.reset_statistics(workspace)
    whose = f"workspace {workspace}" if workspace else "every workspace"
    print_line(f"{whose}: statistics begin at {since.ToDatetime(UTC):%Y-%m-%d %H:%M:%SZ}")


def _print_groups(told: UsageStatsResponse, by: Sequence[str], drawn: Mapping[tuple[str, ...], str]) -> None:
    rows = [(tuple(row.group), row.totals) for row in told.rows] if by else []
    lines = [(*(name or "-" for name in group), *_cells(totals, by), drawn.get(group, "")) for group, totals in rows]
    everything = (*("all",) * len(by), *_cells(told.totals, by), drawn[()])
    print_table((*by, *_columns(by), "calls over time"), [*lines, everything])


def _print_spans(told: UsageStatsResponse, by: Sequence[str], zone: ZoneInfo) -> None:
    lines = [(_when(row, zone), *(name or "-" for name in row.group), *_cells(row.totals, by)) for row in told.rows]
    everything = ("all", *("all",) * len(by), *_cells(told.totals, by))
    print_table(("from", *by, *_columns(by)), [*lines, everything])


def _columns(by: Sequence[str]) -> tuple[str, ...]:
    return (*_COLUMNS, *(_OF_TARGETS if _is_of_targets(by) else ()))


def _is_of_targets(by: Sequence[str]) -> bool:
    return "provider" in by or "model" in by


def _cells(totals: UsageTotals, by: Sequence[str]) -> tuple[str, ...]:
    counts = (totals.requests, totals.successes, totals.errors, totals.cancelled)
    total, first, rate = totals.total_time, totals.time_to_first_token, totals.output_rate
    return (
        *map(str, counts),
        _share(totals, "success_rate"),
        str(totals.usage.input_tokens),
        str(totals.usage.output_tokens),
        usd(totals.cost_nano_usd),
        str(totals.unpriced_attempts),
        *(f"{seconds:.3f}" if total.count else "-" for seconds in (total.p50, total.p95)),
        *(f"{seconds:.3f}" if first.count else "-" for seconds in (first.p50, first.p95)),
        f"{rate.p50:.1f}" if rate.count else "-",
        *((str(totals.attempts), _share(totals, "uptime")) if _is_of_targets(by) else ()),
    )


def _share(totals: UsageTotals, name: Literal["success_rate", "uptime"]) -> str:
    return percent(getattr(totals, name)) if totals.HasField(name) else "-"


def _drawn(client: Client, query: UsageQuery, told: UsageStatsResponse) -> dict[tuple[str, ...], str]:
    """A sparkline of the calls of each group, and of all together."""
    start, end = told.start_time.ToDatetime(UTC), told.end_time.ToDatetime(UTC)
    bucket = next((name for name, span in _BUCKETS.items() if (end - start) / span <= _MOST_BARS), "month")
    query = {**query, "start_time": start, "end_time": end, "bucket": bucket, "order_by": ""}
    spans = client.usage(**query)
    heights: dict[tuple[str, ...], dict[int, int]] = {(): {}}
    for row in spans.rows:
        at = row.bucket_start_time.ToMicroseconds()
        for group in {tuple(row.group), ()}:
            drawn = heights.setdefault(group, {})
            drawn[at] = drawn.get(at, 0) + row.totals.requests
    times = _starts(start, end, bucket, ZoneInfo(query["time_zone"]))
    return {group: sparkline([drawn.get(time, 0) for time in times]) for group, drawn in heights.items()}


def _starts(start: datetime, end: datetime, bucket: str, zone: ZoneInfo) -> list[int]:
    kind = UsageStatsRequest.Bucket.Value(f"BUCKET_{bucket.upper()}")
    first, last = (round(time.timestamp() * 1e6) for time in (start, end))
    return [*starts(first, last, kind, zone)]


def _write_csv(told: UsageStatsResponse, by: Sequence[str], zone: ZoneInfo) -> None:
    """All figures of each row. What is absent is empty."""
    spans = any(row.HasField("bucket_start_time") for row in told.rows)
    figures = [flat(row.totals) for row in told.rows]
    columns = [*dict.fromkeys(name for row in figures for name in row)]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([*(["from"] if spans else []), *by, *columns])
    for row, values in zip(told.rows, figures, strict=True):
        when = [_when(row, zone)] if spans else []
        writer.writerow(
            [*when, *(harmless_cell(name) for name in row.group), *(values.get(name, "") for name in columns)]
        )


def _when(row: UsageRow, zone: ZoneInfo) -> str:
    return row.bucket_start_time.ToDatetime(UTC).astimezone(zone).isoformat(timespec="minutes")
