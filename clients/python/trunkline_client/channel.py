"""How a channel to a gateway is set up, and the types that differ between the two kinds of channel."""

from __future__ import annotations

import json
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

SERVICES = ("GatewayService", "ModelService", "FeedbackService")

# gRPC asks again, up to four times in all, while the gateway cannot be reached or says that it cannot answer just now
# and nothing of an answer has come. How long it waits, and whether it may, the gateway says (grpc-retry-pushback-ms):
# what may have been done and paid is not asked for again.
RETRIES = json.dumps(
    {
        "methodConfig": [
            {
                "name": [{"service": f"trunkline.v1.{name}"} for name in SERVICES],
                "retryPolicy": {
                    "maxAttempts": 4,
                    "initialBackoff": "0.2s",
                    "maxBackoff": "5s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ]
    }
)

OPTIONS = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # gRPC stops after two pings if nothing else is sent: a long unary call would be watched for its first minute only.
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.service_config", RETRIES),
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
