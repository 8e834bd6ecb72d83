"""The part of AdminService that sets strategies while the gateway runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trunkline.v1 import admin_service_pb2 as pb
from trunkline.v1.admin_service_pb2_grpc import AdminServiceServicer
from trunkline.v1.identity_pb2 import AuditEvent
from trunkline_server.errors import InvalidRequest, Violation
from trunkline_server.routing.strategies import DEFAULT, find_strategy
from trunkline_server.routing.tables import own_strategies
from trunkline_server.routing.tasks import check_task
from trunkline_server.rpc.keys import actor_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from grpc import aio

    from trunkline_server.core import Current
    from trunkline_server.settings import Settings
    from trunkline_server.state.audit import Audit
    from trunkline_server.state.strategies import Strategies

    Context = aio.ServicerContext[Any, Any]

_LASTS = "until the gateway starts again; then the configuration decides"
_AS_CONFIGURED = "as the configuration has it"
# Characters.
_LONGEST = 64


class StrategyMethods(AdminServiceServicer):
    """Errors are raised as CallError; rpc/edge makes statuses of them."""

    def __init__(self, current: Current, strategies: Strategies, audit: Audit) -> None:
        self._current = current
        self._strategies = strategies
        self._audit = audit

    async def SetStrategy(self, request: pb.SetStrategyRequest, context: Context) -> pb.SetStrategyResponse:
        """From the next call on."""
        settings = self._current.chain.snapshot.settings
        if bad := [*_violations(request)]:
            raise InvalidRequest(bad)
        wanted = request.strategy
        if wanted:
            wanted = find_strategy(wanted, own_strategies(settings), "strategy").name
            check_task(settings, request.task, "task")
        before = self._holding(settings, request)
        changed = self._strategies.set(wanted, request.workspace, request.task)
        self._audit.record(AuditEvent.KIND_STRATEGY_CHANGED, actor_of(context), _scope(request), detail=wanted)
        return pb.SetStrategyResponse(
            strategy=self._holding(settings, request),
            previous=before,
            changed=changed,
            lasts=_LASTS if wanted else _AS_CONFIGURED,
        )

    def _holding(self, settings: Settings, request: pb.SetStrategyRequest) -> str:
        """What holds for this scope. Empty: nothing of its own."""
        if request.task:
            task = settings.tasks.get(request.task)
            return self._strategies.of_task(request.task) or (task.strategy if task is not None else "")
        if request.workspace:
            workspace = settings.routing.workspaces.get(request.workspace)
            own = workspace.strategy if workspace is not None else ""
            return self._strategies.of_workspace(request.workspace) or own
        return self._strategies.of_gateway() or settings.routing.strategy or DEFAULT.name


def _violations(request: pb.SetStrategyRequest) -> Iterator[Violation]:
    if request.workspace and request.task:
        yield Violation("task", "is set together with workspace: set one of them")
    for name in ("workspace", "task"):
        said = getattr(request, name)
        if len(said) > _LONGEST or not said.isprintable():
            yield Violation(name, f"must be at most {_LONGEST} printable characters")


def _scope(request: pb.SetStrategyRequest) -> str:
    """Whose strategy it is, for whoever reads the audit events."""
    if request.task:
        return f"task {request.task}"
    return f"workspace {request.workspace}" if request.workspace else "gateway"
