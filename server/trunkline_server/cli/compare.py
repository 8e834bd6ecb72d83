"""`trunkline usage compare`: success, latency, cost and score side by side, and how far chance may have moved them."""

import csv
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import isinf
from typing import Annotated, NamedTuple

from typer import BadParameter, Option

from trunkline.v1.gateway_service_pb2 import Percentiles, Score, UsageStatsResponse, UsageTotals
from trunkline_server.cli.connection import PATIENCE, Connection, calling
from trunkline_server.cli.figures import percent, usd
from trunkline_server.cli.intervals import ENDLESS, Interval, rate_interval, ratio_interval
from trunkline_server.cli.options import AsCsv, Filters, From, Since, To, Zone, only_one
from trunkline_server.cli.period import period_of
from trunkline_server.cli.question import query_of
from trunkline_server.cli.terminal import harmless_cell, print_table

# Spans of time that means are taken over, for their intervals; see intervals.ratio_interval.
_SPANS = "hour"
_COST = "usd_per_success"
# By figure: what a table calls it. Scores have their metric's name.
_HEADS = {
    "success_rate": "success",
    "total_time.p50": "total p50",
    "time_to_first_token.p50": "first token p50",
    _COST: "USD a success",
}


class Compared(NamedTuple):
    """One of those that are compared."""

    name: str
    calls: int
    unpriced: int
    # None: nothing is known of it.
    figures: Mapping[str, Interval | None]


@calling
def compare(  # noqa: PLR0913 - options
    connection: Connection,
    *,
    by: Annotated[str, Option(metavar="NAME", help="What to set side by side: model, provider, arm, label:x, ...")],
    as_json: Annotated[bool, Option("--json", help="Write JSON: each figure with its interval.")] = False,
    as_csv: AsCsv = False,
    since: Since = "",
    start: From = "",
    to: To = "",
    zone: Zone = "",
    filters: Filters = None,
) -> None:
    """Set success, latency, cost and scores side by side, each with the interval it lies in with 95% confidence.

    Success: Wilson's interval. Times: the median in seconds, between order statistics. USD for a success, and scores:
    the mean over hours, normal; without an interval where fewer than ten hours had any. USD for a success is not known
    where attempts are unpriced. Where intervals overlap, the difference may be chance.
    """
    if "," in by:
        raise BadParameter("name one", param_hint="--by")
    only_one(as_json=as_json, as_csv=as_csv)
    period = period_of(since, start, to, zone)
    with connection.client(PATIENCE) as client:
        told = client.usage(**query_of([by], period, filters))
        fixed = period._replace(
            start=told.start_time.ToDatetime(period.zone), end=told.end_time.ToDatetime(period.zone)
        )
        spans = client.usage(**query_of([by], fixed, filters, bucket=_SPANS))
    write = _write_json if as_json else _write_csv if as_csv else _print
    write(by, [*compared(told, spans)])


def compared(told: UsageStatsResponse, spans: UsageStatsResponse) -> Iterator[Compared]:
    """What is known of each. `spans` has the same in short spans of time."""
    metrics = sorted({metric for row in told.rows for metric in row.totals.scores})
    over_time: dict[str, list[UsageTotals]] = {}
    for row in spans.rows:
        over_time.setdefault(row.group[0], []).append(row.totals)
    for row in told.rows:
        totals, means = row.totals, _means(over_time.get(row.group[0], ()), metrics)
        figures = {
            "success_rate": rate_interval(totals.successes, totals.successes + totals.errors),
            "total_time.p50": _median(totals.total_time),
            "time_to_first_token.p50": _median(totals.time_to_first_token),
            **means,
        }
        if totals.unpriced_attempts:
            figures[_COST] = None
        yield Compared(row.group[0], totals.requests, totals.unpriced_attempts, figures)


def _median(times: Percentiles) -> Interval | None:
    if not times.count:
        return None
    return Interval(times.p50, *((times.p50_low, times.p50_high) if times.HasField("p50_low") else ENDLESS))


def _means(spans: Sequence[UsageTotals], metrics: Sequence[str]) -> Mapping[str, Interval | None]:
    nano = ratio_interval([(each.cost_nano_usd, each.successes) for each in spans])
    scores = {
        f"scores.{metric}": ratio_interval([_summed(each.scores[metric]) for each in spans if metric in each.scores])
        for metric in metrics
    }
    return {_COST: nano and Interval(*(each / 1e9 for each in nano)), **scores}


def _summed(score: Score) -> tuple[float, int]:
    return score.mean * score.count, score.count


def _print(by: str, rows: Sequence[Compared]) -> None:
    names = [*dict.fromkeys(name for row in rows for name in row.figures)]
    heads = [_HEADS.get(name, name.removeprefix("scores.")) for name in names]
    print_table(
        (by, "calls", *heads, "unpriced"),
        (
            (
                row.name or "-",
                str(row.calls),
                *(_said(row.figures[name], _written(name)) for name in names),
                str(row.unpriced),
            )
            for row in rows
        ),
    )


def _written(name: str) -> Callable[[float], str]:
    if name == "success_rate":
        return percent
    return (lambda dollars: usd(round(dollars * 1e9))) if name == _COST else "{:.3f}".format


def _said(interval: Interval | None, written: Callable[[float], str]) -> str:
    if interval is None:
        return "-"
    value, low, high = interval
    return written(value) if isinf(high) else f"{written(value)} ({written(low)} to {written(high)})"


def _write_json(by: str, rows: Sequence[Compared]) -> None:
    told = [
        {
            by: row.name,
            "requests": row.calls,
            "unpriced_attempts": row.unpriced,
            **{name: dict(_finite(each)) if each else None for name, each in row.figures.items()},
        }
        for row in rows
    ]
    sys.stdout.write(json.dumps({"rows": told}) + "\n")


def _write_csv(by: str, rows: Sequence[Compared]) -> None:
    """What is not known is empty."""
    names = [*dict.fromkeys(name for row in rows for name in row.figures)]
    writer = csv.DictWriter(
        sys.stdout,
        [by, "requests", "unpriced_attempts", *(f"{name}{end}" for name in names for end in ("", ".low", ".high"))],
        lineterminator="\n",
    )
    writer.writeheader()
    for row in rows:
        cells = {
            (name if part == "value" else f"{name}.{part}"): number
            for name, each in row.figures.items()
            if each
            for part, number in _finite(each)
        }
        first = {by: harmless_cell(row.name), "requests": row.calls, "unpriced_attempts": row.unpriced}
        writer.writerow({**first, **cells})


def _finite(interval: Interval) -> Iterator[tuple[str, float]]:
    return ((part, number) for part, number in interval._asdict().items() if not isinf(number))
