"""Who calls: gRPC callers of the floor and the gateway, and an HTTP caller of the bare upstream. As cheap as can be."""

from __future__ import annotations

import time
from functools import lru_cache
from itertools import cycle
from typing import TYPE_CHECKING, Any, Protocol

import aiohttp
from grpc import aio

from trunkline.v1 import content_pb2
from trunkline.v1 import gateway_service_pb2 as pb
from trunkline_server.dialects import openai_chat
from trunkline_server.providers.table import ROWS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PROVIDER = "bench"
METHODS = "/trunkline.v1.GatewayService/"
# What the upstream's first event with text has, and its last one.
FIRST_TEXT, LAST = b'"delta":{"content":"', b"[DONE]"
CONNECTIONS = 4


class Truncated(Exception):
    """An answer without its end."""


class Caller(Protocol):
    """Makes one call to its end."""

    async def call(self, model: str) -> float:
        """The time on `perf_counter` at which the first text was there. Raises what went wrong."""

    async def aclose(self) -> None:
        """Close the connections."""


def is_streamed(model: str) -> bool:
    """Whether calls of this model ask for a stream."""
    return model != "unary"


@lru_cache
def request_for(model: str) -> pb.GenerateRequest:
    """A conversation of a few turns, as services send them."""
    turns = (
        (content_pb2.ROLE_USER, "Which trains go from Zürich to Milan in the morning?"),
        (content_pb2.ROLE_ASSISTANT, "There are four before noon: at 6:33, 7:33, 9:33 and 10:33."),
        (content_pb2.ROLE_USER, "And how long does the second one take, with the change in Lugano?"),
    )
    request = pb.GenerateRequest(model=f"{PROVIDER}/{model}", system_instruction="Answer briefly, in English.")
    for role, text in turns:
        request.messages.add(role=role).parts.add(text=text)
    request.config.temperature, request.config.max_output_tokens = 0.25, 1024
    if model.startswith("mixed"):
        for name in ("weather_0", "weather_1"):
            request.tools.add().function.name = name
    return request


@lru_cache
def _serialized(model: str) -> bytes:
    return request_for(model).SerializeToString()


class GrpcCaller:
    """Calls a server through several connections. Requests are bytes made beforehand, answers are hardly looked at."""

    def __init__(self, port: int, key: str = "") -> None:
        self._metadata = (("authorization", f"Bearer {key}"),) if key else ()
        options = [("grpc.use_local_subchannel_pool", 1)]
        self._channels = [aio.insecure_channel(f"127.0.0.1:{port}", options) for _ in range(CONNECTIONS)]
        self._unary: Iterator[Any] = cycle([channel.unary_unary(METHODS + "Generate") for channel in self._channels])
        self._stream: Iterator[Any] = cycle(
            [channel.unary_stream(METHODS + "StreamGenerate") for channel in self._channels]
        )

    async def call(self, model: str) -> float:
        if is_streamed(model):
            return await self._read(model)
        if (
            not pb.GenerateResponse.FromString(await next(self._unary)(_serialized(model), metadata=self._metadata))
            .message.parts[0]
            .text
        ):
            raise Truncated
        return time.perf_counter()

    async def _read(self, model: str) -> float:
        first, message = 0.0, b""
        async for message in next(self._stream)(_serialized(model), metadata=self._metadata):
            if not first and _text_of(pb.StreamGenerateResponse.FromString(message)):
                first = time.perf_counter()
        if not pb.StreamGenerateResponse.FromString(message).HasField("completed"):
            raise Truncated
        return first

    async def events(self, model: str) -> list[pb.StreamGenerateResponse]:
        """A whole stream."""
        call = next(self._stream)(_serialized(model), metadata=self._metadata)
        return [pb.StreamGenerateResponse.FromString(message) async for message in call]

    async def aclose(self) -> None:
        for channel in self._channels:
            await channel.close()


def _text_of(event: pb.StreamGenerateResponse) -> str:
    return event.part_started.part.text or event.part_delta.text


class HttpCaller:
    """Calls the bare upstream with the very bytes that the servers send to it."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/v1/chat/completions"
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    async def call(self, model: str) -> float:
        first, tail = 0.0, b""
        async with self._session.post(self._url, data=_body(model)) as response:
            if not is_streamed(model):
                await response.read()
                return time.perf_counter()
            async for data in response.content.iter_any():
                if not first and FIRST_TEXT in data:
                    first = time.perf_counter()
                tail = data
        if LAST not in tail:
            raise Truncated
        return first

    async def aclose(self) -> None:
        await self._session.close()


@lru_cache
def _body(model: str) -> bytes:
    quirks = ROWS["openai_compatible"].quirks
    return openai_chat.encode_request(request_for(model), model, stream=is_streamed(model), quirks=quirks).body


def normal_form(events: Sequence[pb.StreamGenerateResponse]) -> list[list[object]]:
    """What a stream says, in its order, however its deltas were cut: equal for a merged and an unmerged stream.

    `started`, which only the gateway has, and what only it knows of the answer are left out.
    """
    said: list[list[object]] = []
    for event in events:
        kind = event.WhichOneof("event")
        if kind == "part_delta":
            name = event.part_delta.WhichOneof("delta") or ""
            head: list[object] = ["delta", event.part_delta.part_index, name]
            if not said or said[-1][:3] != head:
                said.append([*head, ""])
            said[-1][3] = f"{said[-1][3]}{getattr(event.part_delta, name)}"
        elif kind == "completed":
            response = event.completed.response
            said.append([kind, response.finish_reason, str(response.usage)])
        elif kind not in ("started", "heartbeat"):
            said.append([kind, str(event)])
    return said
