"""The floor: the least that such a server can be. The same translation over the same transport, and nothing else.

python -m bench.floor http://127.0.0.1:PORT/v1
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import uvloop
from bench import steps
from bench.control import obey, usage
from grpc import aio

from trunkline.v1.gateway_service_pb2_grpc import GatewayServiceServicer, add_GatewayServiceServicer_to_server
from trunkline_server.dialects import openai_chat
from trunkline_server.fold import Fold
from trunkline_server.providers.http import HttpClient, HttpRequest
from trunkline_server.providers.table import ROWS

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from trunkline.v1 import gateway_service_pb2 as pb

QUIRKS = ROWS["openai_compatible"].quirks
MAX_BODY = 64 << 20


class Floor(GatewayServiceServicer):
    """One event, one message. No interceptor, no layers, no log, no time limits, no errors told."""

    def __init__(self, base_url: str, client: HttpClient) -> None:
        self._base_url = base_url
        self._client = client

    async def Generate(self, request: pb.GenerateRequest, context: Any) -> pb.GenerateResponse:
        folding = Fold()
        async with self._client.exchange(self._request(request, stream=False)) as response:
            for event in openai_chat.decode_response(await response.read(MAX_BODY)):
                folding.add(event)
        return folding.response()

    async def StreamGenerate(self, request: pb.GenerateRequest, context: Any) -> None:  # type: ignore[override]
        async for event in self._events(request):
            await context.write(event)

    async def _events(self, request: pb.GenerateRequest) -> AsyncGenerator[pb.StreamGenerateResponse, None]:
        decoder = openai_chat.stream_decoder()
        async with self._client.exchange(self._request(request, stream=True)) as response:
            async for data in response.stream():
                for event in decoder.feed(data):
                    yield event
            for event in decoder.finish():
                yield event

    def _request(self, request: pb.GenerateRequest, *, stream: bool) -> HttpRequest:
        model = request.model.partition("/")[2]
        encoded = openai_chat.encode_request(request, model, stream=stream, quirks=QUIRKS)
        headers = {"content-type": "application/json", **encoded.headers}
        return HttpRequest("POST", self._base_url + encoded.path, headers, encoded.body)


async def main(base_url: str) -> None:
    client = HttpClient(max_connections=1000, connect_timeout=10.0)
    server = aio.server(options=[("grpc.so_reuseport", 0)])
    add_GatewayServiceServicer_to_server(Floor(base_url, client), server)  # type: ignore[abstract]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    await obey({"usage": usage, **steps.COMMANDS}, port=port)
    await server.stop(None)
    await client.aclose()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1]))
