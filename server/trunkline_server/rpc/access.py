"""Who may call what: the least role for every method of every service. What is not in the table is an admin's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trunkline_server.errors import RoleNotAllowed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline_server.core import Identity, Role

_RANKS: Mapping[Role, int] = {"caller": 0, "operator": 1, "admin": 2}

# Asked without a key: probes of load balancers have none, and reflection tells the published contract.
PUBLIC = frozenset(
    {
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/List",
        "/grpc.health.v1.Health/Watch",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    }
)

# Answered also while keys cannot be looked up, to whoever was known before: what is wrong is to be told then.
TOLD_ALWAYS = frozenset({"/trunkline.v1.GatewayService/HealthCheck"})

LEAST_ROLES: Mapping[str, Role] = {
    "/trunkline.v1.GatewayService/Generate": "caller",
    "/trunkline.v1.GatewayService/StreamGenerate": "caller",
    # Probes, and all that is told of credentials and endpoints, are an operator's: see rpc/service.py.
    "/trunkline.v1.GatewayService/HealthCheck": "caller",
    # Of its own workspace.
    "/trunkline.v1.GatewayService/UsageStats": "caller",
    "/trunkline.v1.FeedbackService/SubmitFeedback": "caller",
    # What it may use.
    "/trunkline.v1.ModelService/ListModels": "caller",
    "/trunkline.v1.ModelService/GetModel": "caller",
    "/trunkline.v1.ModelService/RecommendModels": "caller",
    "/trunkline.v1.ModelService/PlanRoute": "caller",
    # Asks providers.
    "/trunkline.v1.ModelService/RefreshModels": "operator",
    # Of its own workspace.
    "/trunkline.v1.AdminService/ListCalls": "caller",
    "/trunkline.v1.AdminService/ExportUsage": "operator",
    "/trunkline.v1.AdminService/ResetStatistics": "operator",
    "/trunkline.v1.AdminService/ListProviders": "operator",
    "/trunkline.v1.AdminService/ValidateCredentials": "operator",
    "/trunkline.v1.AdminService/SetProviderEnabled": "admin",
    "/trunkline.v1.AdminService/SetStrategy": "admin",
    "/trunkline.v1.AdminService/CreateApiKey": "admin",
    "/trunkline.v1.AdminService/ListApiKeys": "operator",
    "/trunkline.v1.AdminService/RotateApiKey": "admin",
    "/trunkline.v1.AdminService/RevokeApiKey": "admin",
    "/trunkline.v1.AdminService/ListAuditEvents": "operator",
    # Of the budgets of its own workspace.
    "/trunkline.v1.AdminService/ListAlerts": "caller",
    "/trunkline.v1.AdminService/WatchAlerts": "caller",
    # Of the gateway and all its workspaces.
    "/trunkline.v1.AdminService/GetInsights": "operator",
}


def check_role(identity: Identity, method: str) -> None:
    """Raise RoleNotAllowed if the caller may not call this method, named as gRPC names it: /package.Service/Method."""
    least = LEAST_ROLES.get(method, "admin")
    if not is_at_least(identity, least):
        raise RoleNotAllowed(method.removeprefix("/"), least)


def require(identity: Identity, least: Role, what: str) -> None:
    """Raise RoleNotAllowed if `what` is not for this caller."""
    if not is_at_least(identity, least):
        raise RoleNotAllowed(what, least)


def is_at_least(identity: Identity, least: Role) -> bool:
    """Whether the caller may do what this role may."""
    return _RANKS[identity.role] >= _RANKS[least]
