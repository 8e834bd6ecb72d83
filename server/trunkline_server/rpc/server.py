"""The gRPC servers, for callers and for operators: options, services, ports."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf import descriptor_pool, text_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from trunkline.v1 import (
    admin_service_pb2_grpc,
    feedback_service_pb2_grpc,
    gateway_service_pb2_grpc,
    model_service_pb2_grpc,
)
from trunkline_server.rpc.edge import Edge
from trunkline_server.rpc.health import ADMIN_SERVICES, SERVICES, Health
from trunkline_server.rpc.tls import server_credentials
from trunkline_server.state.certificates import Certificates

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trunkline_server.logs import Log
    from trunkline_server.rpc.admin import Admin
    from trunkline_server.rpc.feedback import Feedback
    from trunkline_server.rpc.gatekeeper import Gatekeeper
    from trunkline_server.rpc.health import Serving
    from trunkline_server.rpc.service import Gateway, Models
    from trunkline_server.settings import ServerSettings

REFLECTION_V1 = "grpc.reflection.v1.ServerReflection"


Server = aio.Server


class Services:
    """Where services are added to a server: the edge is round each of their methods, and none is registered.

    For each method that is registered aio.Server keeps a task of its own, and on every call it waits anew for all of
    them: with three services that is a tenth of a unary call. An interceptor in place of this is asked on every call,
    too. The methods are found all the same.
    """

    def __init__(self, server: aio.Server, edge: Edge) -> None:
        self._server = server
        self._edge = edge

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Add these, whose methods are looked for by name."""
        self._server.add_generic_rpc_handlers(tuple(_Wrapped(handler, self._edge) for handler in handlers))

    def add_registered_method_handlers(self, *_: object) -> None:
        """Do nothing."""


class _Wrapped(grpc.GenericRpcHandler):
    """Methods with the edge round them; each is wrapped once."""

    def __init__(self, inner: grpc.GenericRpcHandler, edge: Edge) -> None:
        self._inner = inner
        self._edge = edge
        self._methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        """The handler of a method. None: it is not here."""
        method = handler_call_details.method
        found = self._methods.get(method)
        if found is None and (handler := self._inner.service(handler_call_details)) is not None:
            found = self._methods[method] = self._edge.wrap(method, handler)
        return found


class AddressTaken(Exception):
    """The address cannot be listened on."""


def build_server(  # noqa: PLR0913, PLR0917 - one service each, and what they share
    settings: ServerSettings,
    log: Log,
    gateway: Gateway,
    models: Models,
    feedback: Feedback,
    serving: Serving,
    gatekeeper: Gatekeeper,
    shared: str = "",
) -> tuple[aio.Server, int]:
    """A server that is bound but not started, and its port. Raises AddressTaken, and CertificatesUnfit.

    `shared`: an address in place of that of the settings, on which other processes of ours listen, too.
    """
    server = aio.server(options=options(settings, shared=bool(shared)))
    services = Services(server, Edge(log, gatekeeper))
    gateway_service_pb2_grpc.add_GatewayServiceServicer_to_server(gateway, services)  # type: ignore[arg-type]
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(models, services)  # type: ignore[arg-type]
    feedback_service_pb2_grpc.add_FeedbackServiceServicer_to_server(feedback, services)  # type: ignore[arg-type]
    credentials = server_credentials(Certificates(settings.tls, log)) if settings.tls else None
    return server, _finish(server, services, serving, SERVICES, shared or settings.listen, credentials)


def build_admin_server(
    settings: ServerSettings, address: str, log: Log, admin: Admin, serving: Serving, gatekeeper: Gatekeeper
) -> tuple[aio.Server, int]:
    """The same for operators: another port, on the loopback interface and in the clear. Raises AddressTaken."""
    server = aio.server(options=options(settings))
    services = Services(server, Edge(log, gatekeeper))
    admin_service_pb2_grpc.add_AdminServiceServicer_to_server(admin, services)  # type: ignore[arg-type]
    return server, _finish(server, services, serving, ADMIN_SERVICES, address)


def _finish(
    server: aio.Server,
    services: Services,
    serving: Serving,
    names: tuple[str, ...],
    address: str,
    credentials: grpc.ServerCredentials | None = None,
) -> int:
    """Add what every port has, and bind. Returns the port."""
    health_pb2_grpc.add_HealthServicer_to_server(Health(serving, names), services)
    _add_reflection(services, (*names, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name))
    try:
        if credentials is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, credentials)
    except RuntimeError:
        raise AddressTaken(f"cannot listen on {address}: it is in use, or not an address of this machine") from None


def is_free(address: str) -> bool:
    """Whether this address can be listened on. gRPC would print on standard error that it cannot."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_server((host, int(port))):
            return True
    except OSError:
        return False


def options(settings: ServerSettings, *, shared: bool = False) -> list[tuple[str, Any]]:
    """The server's channel options; what is measured behind them stands in decisions/0004."""
    return [
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        # A port in use is an error, not a second server that takes half of the calls; but where that is meant.
        ("grpc.so_reuseport", int(shared)),
        # Callers may ping every 10 s, with or without calls, and are never cut off for it.
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.http2.max_ping_strikes", 0),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
    ]


def _add_reflection(services: Services, described: tuple[str, ...]) -> None:
    """Reflection under both names: the library knows only v1alpha, and v1 is the same messages under another name."""
    _describe_reflection_v1()
    names = (*described, REFLECTION_V1, reflection.SERVICE_NAME)
    info = grpc.stream_stream_rpc_method_handler(
        reflection.aio.ReflectionServicer(names).ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    for name in (REFLECTION_V1, reflection.SERVICE_NAME):
        handler = grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": info})
        services.add_generic_rpc_handlers((handler,))


def _describe_reflection_v1() -> None:
    """Let v1 be described like every service that is listed: `buf curl --list-methods` gives up at one that is not."""
    alpha = FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(alpha)
    said = text_format.MessageToString(alpha).replace("v1alpha", "v1")
    descriptor_pool.Default().AddSerializedFile(text_format.Parse(said, FileDescriptorProto()).SerializeToString())
