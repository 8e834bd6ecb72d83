"""`trunkline audit`: who did what. Reads the database itself, whether a gateway runs or not."""

import asyncio
from typing import Annotated

from typer import BadParameter, Option

from trunkline.v1 import identity_pb2 as pb
from trunkline_server import config
from trunkline_server.cli.failures import ExitCode, Failed
from trunkline_server.cli.keeping import keeping
from trunkline_server.cli.options import AsJson, ConfigFile
from trunkline_server.cli.terminal import print_json, print_table
from trunkline_server.settings import Settings
from trunkline_server.state.audit import list_events
from trunkline_server.state.ledger.database import StoreFailed

_KINDS = pb.AuditEvent.Kind
_NAMES = ", ".join(name.removeprefix("KIND_").lower() for name in _KINDS.keys()[1:])


def _kind(name: str) -> pb.AuditEvent.Kind.ValueType:
    try:
        return _KINDS.Value(f"KIND_{name.upper()}")
    except ValueError:
        raise BadParameter(f"say one of {_NAMES}", param_hint="--kind") from None


def audit(
    *,
    kinds: Annotated[list[str] | None, Option("--kind", metavar="K", help=f"Only of this kind: {_NAMES}.")] = None,
    key: Annotated[str, Option(metavar="ID", help="Only by this key.")] = "",
    workspace: Annotated[str, Option(metavar="W", help="Only by this workspace.")] = "",
    limit: Annotated[int, Option("--limit", "-n", metavar="N", min=1, max=100_000, help="At most so many.")] = 50,
    as_json: AsJson = False,
    config_file: ConfigFile = None,
) -> None:
    """Tell who did what: keys, credentials, providers, exports, and calls that no key or role allows. Newest first."""
    request = pb.ListAuditEventsRequest(kinds=map(_kind, kinds or ()), api_key_id=key, workspace=workspace)
    events = asyncio.run(_events(config.load(config.find_path(explicit=config_file)), request, limit))
    if as_json:
        print_json(pb.ListAuditEventsResponse(events=events))
    else:
        print_table(("when", "what", "outcome", "subject", "key", "workspace", "from", "more"), map(_event_row, events))


async def _events(settings: Settings, request: pb.ListAuditEventsRequest, limit: int) -> list[pb.AuditEvent]:
    async with keeping(settings) as kept:
        try:
            return await list_events(kept.database, request, "", limit)
        except StoreFailed as failed:
            raise Failed(ExitCode.FAILED, f"the audit events cannot be read: {failed.kind}") from None


def _event_row(event: pb.AuditEvent) -> tuple[str, ...]:
    kind = _KINDS.Name(event.kind).removeprefix("KIND_")
    outcome = pb.AuditEvent.Outcome.Name(event.outcome).removeprefix("OUTCOME_").lower()
    who = (event.api_key_id or "-", event.workspace or "-", event.peer or "-")
    return f"{event.time.ToDatetime():%Y-%m-%d %H:%M:%S}Z", kind, outcome, event.subject or "-", *who, event.detail
