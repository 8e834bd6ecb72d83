"""When statistics began anew. The ledger itself is never changed by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline.v1.calls_pb2 import ResetStatisticsResponse
from trunkline_server.errors import InvalidRequest, RoleNotAllowed, Violation
from trunkline_server.state.ledger.database import Statement, script
from trunkline_server.state.ledger.reading import read, write

if TYPE_CHECKING:
    from trunkline.v1.calls_pb2 import ResetStatisticsRequest
    from trunkline_server.core import Identity
    from trunkline_server.state.ledger.database import Database

MAX_NAME = 200

_LAST = "SELECT max(time) FROM resets WHERE workspace IN ('', ?)"
_RESET = "INSERT INTO resets (workspace, time, by_workspace, by_key) VALUES (?, ?, ?, ?)"


async def last_reset(database: Database, workspace: str) -> int | None:
    """When the statistics of a workspace, or of all if it is empty, last began anew. None: never."""
    ((time,),) = await read(database, _LAST, (workspace,))
    return None if time is None else int(time)


async def reset_statistics(
    database: Database, request: ResetStatisticsRequest, identity: Identity, now: int
) -> ResetStatisticsResponse:
    """Begin anew at `now`, in microseconds since 1970. Raises RoleNotAllowed, InvalidRequest and LedgerUnreadable."""
    if identity.role == "caller":
        raise RoleNotAllowed("ResetStatistics", "operator")
    if len(request.workspace) > MAX_NAME:
        raise InvalidRequest([Violation("workspace", f"is longer than {MAX_NAME} characters")])
    row = (request.workspace, now, identity.workspace, identity.key)
    await write(database, script(Statement(_RESET, [row])))
    response = ResetStatisticsResponse()
    response.reset_time.FromMicroseconds(now)
    return response
