"""How a channel to a gateway is set up, and the types that differ between the two kinds of channel."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

import grpc
from grpc import aio

if TYPE_CHECKING:
    from typing import TypeAlias

    from trunkline.v1.gateway_service_pb2 import GenerateRequest, StreamGenerateResponse

    AsyncChannel: TypeAlias = aio.Channel
    AsyncMethod: TypeAlias = aio.UnaryUnaryMultiCallable
    AsyncEventCall: TypeAlias = aio.UnaryStreamCall[GenerateRequest, StreamGenerateResponse]
    Channel: TypeAlias = grpc.Channel
    Method: TypeAlias = grpc.UnaryUnaryMultiCallable
    EventCall: TypeAlias = grpc._CallIterator[StreamGenerateResponse]  # noqa: SLF001 - only types know it

__version__ = version("trunkline-client")

# Bytes; the gateway takes and sends as much.
MAX_MESSAGE = 32 * 1024 * 1024

# Retries stay as gRPC has them by default. Without a retry policy, and there is none here, they repeat only calls that
# no server has seen (a connection that closed as the call was about to go out): nothing runs or is paid for twice.
OPTIONS = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # gRPC stops after two pings if nothing else is sent: a long unary call would be watched for its first minute only.
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.primary_user_agent", f"trunkline-client/{__version__}"),
)


def open_channel(target: str, credentials: grpc.ChannelCredentials | None) -> Channel:
    """A channel that connects with the first call; in the clear without credentials."""
    if credentials is None:
        return grpc.insecure_channel(target, options=OPTIONS)
    return grpc.secure_channel(target, credentials, options=OPTIONS)


def open_async_channel(target: str, credentials: grpc.ChannelCredentials | None) -> AsyncChannel:
    """The same for the running event loop, to which the channel then belongs."""
    if credentials is None:
        return aio.insecure_channel(target, options=OPTIONS)
    return aio.secure_channel(target, credentials, options=OPTIONS)
