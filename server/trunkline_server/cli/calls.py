"""`trunkline calls` and `trunkline export`: the ledger's rows, one by one."""

import sys
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

from google.protobuf.duration_pb2 import Duration
from typer import Option

from trunkline.v1.call_pb2 import ErrorReason, Outcome
from trunkline.v1.calls_pb2 import CallRecord, CallResult, ExportUsageRequest, ListCallsRequest, ListCallsResponse
from trunkline_client import AdminClient
from trunkline_client.usage import filters_of, timestamp_of
from trunkline_server.cli.connection import DEFAULT_ADMIN_ADDRESS, PATIENCE, AdminAddress, ApiKey
from trunkline_server.cli.figures import usd
from trunkline_server.cli.options import AsJson, Filters, From, Since, To, Zone
from trunkline_server.cli.period import period_of
from trunkline_server.cli.question import chosen
from trunkline_server.cli.terminal import harmless, is_terminal, print_json, print_table
from trunkline_server.spans import seconds, set_seconds

# Calls that are asked for in one go.
_PAGE = 1000
_COLUMNS = ("began", "call", "workspace", "asked for", "target", "result", "why", "seconds", "attempts", "USD")


class Result(StrEnum):
    """How a call ended."""

    SUCCESS = "success"
    ERROR = "error"
    CANCELLED = "cancelled"


class Record(StrEnum):
    """What a line of an export tells of."""

    ATTEMPTS = "attempts"
    CALLS = "calls"


def list_calls(  # noqa: PLR0913 - a parameter for each option
    *,
    as_json: AsJson = False,
    since: Since = "",
    start: From = "",
    to: To = "",
    zone: Zone = "",
    filters: Filters = None,
    results: Annotated[
        list[Result] | None, Option("--result", help="Only calls that ended so; again for another one.")
    ] = None,
    slower_than: Annotated[float, Option(metavar="S", min=0, help="Only calls that took longer, in seconds.")] = 0,
    limit: Annotated[int, Option(metavar="N", min=1, help="At most so many.")] = 50,
    address: AdminAddress = DEFAULT_ADMIN_ADDRESS,
    api_key: ApiKey = "",
) -> None:
    """List calls of the ledger, the newest first.

    --filter knows outcome, error_reason, provider, model, task, label:NAME and all else that `usage` groups by.
    """
    period = period_of(since, start, to, zone)
    request = ListCallsRequest(
        start_time=timestamp_of(period.start),
        end_time=timestamp_of(period.end),
        filters=filters_of(chosen(filters)),
        results=[CallResult.Value(f"CALL_RESULT_{each.upper()}") for each in results or ()],
        slower_than=_duration(slower_than) if slower_than else None,
    )
    with AdminClient(address, api_key=api_key or None, timeout=PATIENCE) as client:
        found = [*_found(client, request, limit)]
    if as_json:
        print_json(ListCallsResponse(calls=found))
    else:
        print_table(_COLUMNS, (_row(call) for call in found))


def _duration(span: float) -> Duration:
    duration = Duration()
    set_seconds(duration, span)
    return duration


def _found(client: AdminClient, request: ListCallsRequest, limit: int) -> Iterator[CallRecord]:
    while limit > 0:
        request.page_size = min(limit, _PAGE)
        page = client.calls(request)
        yield from page.calls
        limit -= len(page.calls)
        request.page_token = page.next_page_token
        if not page.next_page_token:
            return


def _row(call: CallRecord) -> tuple[str, ...]:
    target = f"{call.target.provider}/{call.target.model}" if call.HasField("target") else "-"
    return (
        call.start_time.ToJsonString(),
        call.id,
        call.workspace,
        call.requested_model or "-",
        target,
        CallResult.Name(call.result).removeprefix("CALL_RESULT_").lower(),
        _why(call),
        f"{seconds(call.total_time):.3f}",
        str(len(call.attempts)),
        usd(call.cost.total_nano_usd) if call.cost.HasField("total_nano_usd") else "unpriced",
    )


def _why(call: CallRecord) -> str:
    if not call.reason:
        return "-"
    outcome = f" ({Outcome.Name(call.outcome).removeprefix('OUTCOME_')})" if call.outcome else ""
    return ErrorReason.Name(call.reason).removeprefix("ERROR_REASON_") + outcome


def export(  # noqa: PLR0913 - a parameter for each option
    *,
    record: Annotated[Record, Option("--of", help="What a line tells of.")] = Record.ATTEMPTS,
    as_csv: Annotated[bool, Option("--csv", help="Write CSV in place of JSON lines.")] = False,
    since: Since = "",
    start: From = "",
    to: To = "",
    zone: Zone = "",
    filters: Filters = None,
    address: AdminAddress = DEFAULT_ADMIN_ADDRESS,
    api_key: ApiKey = "",
) -> None:
    """Write the ledger's rows to standard output, the oldest first: all of them, unless a time is given.

    For operators. What was written is whole only if the exit code is 0.
    """
    period = period_of(since, start, to, zone)
    request = ExportUsageRequest(
        start_time=timestamp_of(period.start),
        end_time=timestamp_of(period.end),
        filters=filters_of(chosen(filters)),
        record=ExportUsageRequest.Record.Value(f"RECORD_{record.upper()}"),
        format=ExportUsageRequest.FORMAT_CSV if as_csv else ExportUsageRequest.FORMAT_JSON_LINES,
    )
    with AdminClient(address, api_key=api_key or None) as client:
        for piece in client.export_usage(request):
            text = piece.decode()
            sys.stdout.write(harmless(text) if is_terminal() else text)
