"""`trunkline usage compare`: success, latency, cost and score side by side, and how far chance may have moved them."""

from collections.abc import Callable, Sequence
from math import isinf
from typing import Annotated

from typer import BadParameter, Option

from trunkline.v1.gateway_service_pb2 import Percentiles, Score, UsageStatsResponse, UsageTotals
from trunkline_server.cli.connection import PATIENCE, Connection, calling
from trunkline_server.cli.figures import percent, usd
from trunkline_server.cli.intervals import Interval, rate_interval, ratio_interval
from trunkline_server.cli.options import Filters, From, Since, To, Zone
from trunkline_server.cli.period import period_of
from trunkline_server.cli.question import query_of
from trunkline_server.cli.terminal import print_table

# Spans of time that means are taken over, for their intervals; see intervals.ratio_interval.
_SPANS = "hour"


@calling
def compare(
    connection: Connection,
    *,
    by: Annotated[str, Option(metavar="NAME", help="What to set side by side: model, provider, arm, label:x, ...")],
    since: Since = "",
    start: From = "",
    to: To = "",
    zone: Zone = "",
    filters: Filters = None,
) -> None:
    """Set success, latency, cost and scores side by side, each with the interval it lies in with 95% confidence.

    Success: Wilson's interval. Times: the median in seconds, between order statistics. USD for a success, and scores:
    the mean over hours, normal; without an interval where fewer than ten hours had any. Where intervals overlap, the
    difference may be chance.
    """
    if "," in by:
        raise BadParameter("name one", param_hint="--by")
    period = period_of(since, start, to, zone)
    with connection.client(PATIENCE) as client:
        told = client.usage(**query_of([by], period, filters))
        fixed = period._replace(
            start=told.start_time.ToDatetime(period.zone), end=told.end_time.ToDatetime(period.zone)
        )
        spans = client.usage(**query_of([by], fixed, filters, bucket=_SPANS))
    print_comparison(by, told, spans)


def print_comparison(by: str, told: UsageStatsResponse, spans: UsageStatsResponse) -> None:
    """The table. `spans` has the same in short spans of time."""
    metrics = sorted({metric for row in told.rows for metric in row.totals.scores})
    over_time: dict[str, list[UsageTotals]] = {}
    for row in spans.rows:
        over_time.setdefault(row.group[0], []).append(row.totals)
    columns = (by, "calls", "success", "total p50", "first token p50", "USD a success", *metrics)
    print_table(
        columns,
        (
            (row.group[0] or "-", *_cells(row.totals), *_means(over_time.get(row.group[0], ()), metrics))
            for row in told.rows
        ),
    )


def _cells(totals: UsageTotals) -> tuple[str, ...]:
    success = rate_interval(totals.successes, totals.successes + totals.errors)
    return (
        str(totals.requests),
        f"{percent(success.value)} ({percent(success.low)} to {percent(success.high)})" if success else "-",
        *(_median(each) for each in (totals.total_time, totals.time_to_first_token)),
    )


def _median(times: Percentiles) -> str:
    if not times.HasField("p50_low"):
        return f"{times.p50:.3f}" if times.count else "-"
    return _said(Interval(times.p50, times.p50_low, times.p50_high), "{:.3f}".format)


def _means(spans: Sequence[UsageTotals], metrics: Sequence[str]) -> tuple[str, ...]:
    cost = ratio_interval([(each.cost_nano_usd, each.successes) for each in spans])
    scores = [
        ratio_interval([_summed(each.scores[metric]) for each in spans if metric in each.scores]) for metric in metrics
    ]
    return (_said(cost, lambda nano: usd(round(nano))), *(_said(score, "{:.3f}".format) for score in scores))


def _summed(score: Score) -> tuple[float, int]:
    return score.mean * score.count, score.count


def _said(interval: Interval | None, written: Callable[[float], str]) -> str:
    if interval is None:
        return "-"
    value, low, high = interval
    return written(value) if isinf(high) else f"{written(value)} ({written(low)} to {written(high)})"
