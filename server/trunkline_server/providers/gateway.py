"""Another Trunkline as a provider, over gRPC: its answers and its errors, in the words of this one."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import grpc
from grpc import ChannelConnectivity, aio

from trunkline.v1 import call_pb2
from trunkline.v1.gateway_service_pb2 import GenerateRequest, GenerateResponse, StreamCompleted, StreamGenerateResponse
from trunkline.v1.gateway_service_pb2_grpc import GatewayServiceStub
from trunkline_server.core import now
from trunkline_server.errors import UpstreamError
from trunkline_server.fold import CONTENT_KINDS
from trunkline_server.providers.gateway_errors import error_of
from trunkline_server.providers.http import HttpRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from trunkline_server.core import Call, Events
    from trunkline_server.providers.credential import Sign

# Bytes of one message.
MAX_MESSAGE = 64 << 20
# The other gateway ends a call so many seconds before its deadline, at most: then ours is about to end it, too.
MARGIN = 0.1
_OPTIONS = (
    # What is tried again is decided here, and written down.
    ("grpc.enable_retries", 0),
    # Connections of its own: one that hangs holds up nobody else.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 5000),
)


@dataclass
class FarGateway:
    """Asks a gateway at `url` with one credential. One HTTP/2 connection, opened by the first call."""

    url: str
    headers: Mapping[str, str]
    sign: Sign | None
    # Seconds.
    connect_timeout: float
    _channel: aio.Channel | None = field(default=None, init=False)

    async def handle(self, call: Call) -> Events:
        """A handler. Raises UpstreamError. The other gateway has the call's deadline, and hears of its end."""
        channel = self._open()
        metadata = await self._metadata(call)
        await self._connected(channel)
        call.fate.was_sent()
        stub = GatewayServiceStub(channel)
        rpc = stub.StreamGenerate(passed_on(call), timeout=max(0.0, call.deadline - now()), metadata=metadata)
        try:
            async with _failing(call):
                async for event in rpc:
                    kind = event.WhichOneof("event")
                    if kind in CONTENT_KINDS:
                        yield event
                    elif kind == "completed":
                        yield _answered(event.completed.response)
                        return
        finally:
            rpc.cancel()
        raise UpstreamError(call_pb2.OUTCOME_INTERRUPTED, code="no_completed")

    async def aclose(self) -> None:
        """Close the connection."""
        if self._channel is not None:
            await self._channel.close()

    def _open(self) -> aio.Channel:
        if self._channel is None:
            url = urlsplit(self.url)
            secure = url.scheme == "https"
            address = url.netloc if url.port else f"{url.netloc}:{443 if secure else 80}"
            self._channel = (
                aio.secure_channel(address, grpc.ssl_channel_credentials(_authorities()), _OPTIONS)
                if secure
                else aio.insecure_channel(address, _OPTIONS)
            )
        return self._channel

    async def _metadata(self, call: Call) -> tuple[tuple[str, str], ...]:
        request = HttpRequest("POST", self.url, self.headers, call_id=call.id)
        signed = request if self.sign is None else await self.sign(request)
        return tuple((name.lower(), value) for name, value in signed.headers.items())

    async def _connected(self, channel: aio.Channel) -> None:
        """Wait for the connection. Raises UpstreamError: nothing was sent."""
        try:
            async with asyncio.timeout(self.connect_timeout):
                while (state := channel.get_state(try_to_connect=True)) is not ChannelConnectivity.READY:
                    if state in (ChannelConnectivity.TRANSIENT_FAILURE, ChannelConnectivity.SHUTDOWN):
                        raise UpstreamError(call_pb2.OUTCOME_NOT_CONNECTED)
                    await channel.wait_for_state_change(state)
        except TimeoutError:
            raise UpstreamError(call_pb2.OUTCOME_NOT_CONNECTED, code="connect_timeout") from None


def passed_on(call: Call) -> GenerateRequest:
    """The request as the other gateway gets it: for the target's model, without what is decided here."""
    request = GenerateRequest()
    request.CopyFrom(call.request)
    request.model = call.target.model
    request.ClearField("stream_options")
    request.ClearField("routing")
    request.routing.strict_params = call.request.routing.strict_params
    request.routing.disable_fallback = call.request.routing.disable_fallback
    return request


def _answered(response: GenerateResponse) -> StreamGenerateResponse:
    """What the other gateway says at the end, less what is ours to say.

    What it cost there is left out: what its operator wants for it stands in `prices`, or is not known.
    """
    told = GenerateResponse(
        finish_reason=response.finish_reason,
        provider_finish_reason=response.provider_finish_reason,
        warnings=response.warnings,
        served=call_pb2.Served(provider_response_id=response.id),
    )
    if response.HasField("usage"):
        told.usage.CopyFrom(response.usage)
    return StreamGenerateResponse(completed=StreamCompleted(response=told))


@asynccontextmanager
async def _failing(call: Call) -> AsyncIterator[None]:
    """Raise what gRPC raises as UpstreamError."""
    try:
        yield
    except aio.AioRpcError as failed:
        error = error_of(failed)
        left = call.deadline - now()
        if error.outcome == call_pb2.OUTCOME_TIMEOUT and left < MARGIN:
            # It is the call's own time that is up, and what ends the call there ends this, too.
            await asyncio.sleep(left + MARGIN)
        raise error from None


def _authorities() -> bytes | None:
    """Whom the machine trusts, as for providers over HTTP: SSL_CERT_FILE counts. None = gRPC's own list."""
    trusted = ssl.create_default_context().get_ca_certs(binary_form=True)
    return "".join(map(ssl.DER_cert_to_PEM_cert, trusted)).encode() or None
