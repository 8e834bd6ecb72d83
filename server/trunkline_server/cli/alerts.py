"""`trunkline alerts` and `trunkline insights`: what goes wrong, and what would be better."""

from typing import Annotated

from typer import Option

from trunkline.v1.alerts_pb2 import Alert, ListAlertsResponse, WatchAlertsResponse
from trunkline.v1.insights_pb2 import Insight
from trunkline_client import AdminClient
from trunkline_server.cli.connection import DEFAULT_ADMIN_ADDRESS, PATIENCE, AdminAddress, ApiKey
from trunkline_server.cli.figures import about
from trunkline_server.cli.options import AsJson
from trunkline_server.cli.terminal import harmless, print_json, print_line, print_table

_COLUMNS = ("severity", "what", "with what", "since", "until", "summary", "what to do")


def alerts(
    *,
    as_json: AsJson = False,
    watch: Annotated[bool, Option("--watch", help="Go on and tell of each change, until Ctrl-C.")] = False,
    open_only: Annotated[bool, Option("--open", help="Only those that are open.")] = False,
    limit: Annotated[int, Option("--limit", "-n", metavar="N", min=1, max=1000, help="At most so many.")] = 50,
    address: AdminAddress = DEFAULT_ADMIN_ADDRESS,
    api_key: ApiKey = "",
) -> None:
    """Tell what goes wrong, or went wrong of late, and what to do about it; the latest first.

    A gateway key of a caller shows the budgets of its workspace, others all.
    """
    if watch:
        _watch(address, api_key, as_json=as_json)
        return
    with AdminClient(address, api_key=api_key or None, timeout=PATIENCE) as client:
        told = client.alerts(open_only=open_only, page_size=limit)
    if as_json:
        print_json(ListAlertsResponse(alerts=told.alerts))
    else:
        print_table(_COLUMNS, map(_row, told.alerts))


def _watch(address: str, api_key: str, *, as_json: bool) -> None:
    with AdminClient(address, api_key=api_key or None) as client:
        for change in client.watch_alerts():
            if as_json:
                print_json(change)
            else:
                what = WatchAlertsResponse.Change.Name(change.change).removeprefix("CHANGE_").lower()
                print_line(
                    f"{what}: {_severity(change.alert)}: {harmless(change.alert.summary)}; {change.alert.remedy}"
                )


def _severity(alert: Alert) -> str:
    return Alert.Severity.Name(alert.severity).removeprefix("SEVERITY_").lower()


def _row(alert: Alert) -> tuple[str, ...]:
    return (
        _severity(alert),
        Alert.Kind.Name(alert.kind).removeprefix("KIND_").lower(),
        harmless(alert.subject),
        f"{alert.open_time.ToDatetime():%Y-%m-%d %H:%M}Z",
        f"{alert.resolve_time.ToDatetime():%Y-%m-%d %H:%M}Z" if alert.HasField("resolve_time") else "open",
        harmless(alert.summary),
        alert.remedy,
    )


def insights(
    *,
    as_json: AsJson = False,
    days: Annotated[int, Option(metavar="N", min=1, max=366, help="Of so many days of UTC, today included.")] = 30,
    workspace: Annotated[str, Option(metavar="W", help="Only of calls of this workspace.")] = "",
    address: AdminAddress = DEFAULT_ADMIN_ADDRESS,
    api_key: ApiKey = "",
) -> None:
    """Tell what would be cheaper, faster or safer, by what calls used and cost; what saves most comes first."""
    with AdminClient(address, api_key=api_key or None, timeout=PATIENCE) as client:
        told = client.insights(days=days, workspace=workspace)
    if as_json:
        print_json(told)
    else:
        print_table(("saves", "what", "model", "task", "alternative", "why"), map(_insight_row, told.insights))


def _insight_row(insight: Insight) -> tuple[str, ...]:
    return (
        _saves(insight),
        Insight.Kind.Name(insight.kind).removeprefix("KIND_").lower(),
        insight.model,
        insight.task or "-",
        insight.alternative or "-",
        insight.recommendation,
    )


def _saves(insight: Insight) -> str:
    """Money, else the time of all answers together, else the calls that failed."""
    figures = {each.name: each.value for each in insight.evidence}
    if insight.HasField("saving_nano_usd"):
        return f"{'at most ' if insight.saving_at_most else ''}{about(insight.saving_nano_usd)} USD"
    if "saved_time" in figures:
        return f"{figures['saved_time']:.0f} s"
    return f"{figures['lost']:.0f} calls" if "lost" in figures else "-"
