"""A gateway that does what a test says, and both clients behind one face: `caller` runs each test with either."""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from grpc import StatusCode, aio, local_server_credentials

from trunkline.v1.feedback_service_pb2 import SubmitFeedbackResponse
from trunkline.v1.feedback_service_pb2_grpc import FeedbackServiceServicer, add_FeedbackServiceServicer_to_server
from trunkline.v1.gateway_service_pb2 import GenerateResponse, HealthCheckResponse, UsageRow, UsageStatsResponse
from trunkline.v1.gateway_service_pb2_grpc import GatewayServiceServicer, add_GatewayServiceServicer_to_server
from trunkline.v1.model_pb2 import Model
from trunkline.v1.model_service_pb2 import (
    ListModelsResponse,
    PlanRouteResponse,
    Recommendation,
    RecommendModelsResponse,
    RefreshModelsResponse,
)
from trunkline.v1.model_service_pb2_grpc import ModelServiceServicer, add_ModelServiceServicer_to_server
from trunkline_client import AsyncClient, Client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from trunkline.v1.gateway_service_pb2 import StreamGenerateResponse
    from trunkline_client import Answer

    # What `abort` takes: code, message, trailing metadata.
    Failure = tuple[StatusCode, str, tuple[tuple[str, str | bytes], ...]]


@dataclass
class FakeGateway(GatewayServiceServicer, ModelServiceServicer, FeedbackServiceServicer):
    """Sends `events` or `response`, then waits for ever if it `hangs`, then fails if there is a `failure`."""

    events: Sequence[StreamGenerateResponse] = ()
    response: GenerateResponse = field(default_factory=GenerateResponse)
    models: list[Model] = field(default_factory=list)
    # Of UsageStats: a row a page.
    usage_rows: list[str] = field(default_factory=list)
    hangs: bool = False
    failure: Failure | None = None
    # What it was told.
    requests: list[Any] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    cancellations: list[float] = field(default_factory=list)
    # Set by the fixture. The second is for local credentials.
    address: str = ""
    secure_address: str = ""
    server: aio.Server | None = None

    @contextmanager
    def _noting(self, request: Any, context: Any) -> Iterator[None]:
        self.requests.append(type(request).FromString(request.SerializeToString()))
        self.metadata = dict(context.invocation_metadata())
        try:
            yield
        except asyncio.CancelledError:
            self.cancellations.append(time.monotonic())
            self.cancelled.set()
            raise

    async def _end(self, context: Any) -> None:
        self.reached.set()
        if self.hangs:
            await asyncio.Event().wait()
        if self.failure:
            await context.abort(*self.failure)

    async def Generate(self, request: Any, context: Any) -> GenerateResponse:
        with self._noting(request, context):
            await self._end(context)
            return self.response

    async def StreamGenerate(self, request: Any, context: Any) -> None:  # type: ignore[override]
        with self._noting(request, context):
            for event in self.events:
                await context.write(event)
            await self._end(context)

    async def HealthCheck(self, request: Any, context: Any) -> HealthCheckResponse:
        with self._noting(request, context):
            await self._end(context)
            return HealthCheckResponse(state=HealthCheckResponse.STATE_SERVING)

    async def UsageStats(self, request: Any, context: Any) -> UsageStatsResponse:
        with self._noting(request, context):
            await self._end(context)
            start = int(request.page_token or 0)
            rows = [UsageRow(group=[name]) for name in self.usage_rows[start : start + 1]]
            rest = start + 1 < len(self.usage_rows)
            return UsageStatsResponse(rows=rows, next_page_token=str(start + 1) if rest else "")

    async def SubmitFeedback(self, request: Any, context: Any) -> SubmitFeedbackResponse:
        with self._noting(request, context):
            await self._end(context)
            return SubmitFeedbackResponse()

    async def ListModels(self, request: Any, context: Any) -> ListModelsResponse:
        """Two models a page."""
        with self._noting(request, context):
            await self._end(context)
            start = int(request.page_token or 0)
            rest = start + 2 < len(self.models)
            return ListModelsResponse(
                models=self.models[start : start + 2], next_page_token=str(start + 2) if rest else ""
            )

    async def GetModel(self, request: Any, context: Any) -> Model:
        with self._noting(request, context):
            await self._end(context)
            return Model(id=request.id)

    async def RecommendModels(self, request: Any, context: Any) -> RecommendModelsResponse:
        with self._noting(request, context):
            await self._end(context)
            return RecommendModelsResponse(recommendations=[Recommendation(model=Model(id="p/best"), score=1)])

    async def PlanRoute(self, request: Any, context: Any) -> PlanRouteResponse:
        with self._noting(request, context):
            await self._end(context)
            return PlanRouteResponse(strategy="balanced")

    async def RefreshModels(self, request: Any, context: Any) -> RefreshModelsResponse:
        with self._noting(request, context):
            await self._end(context)
            return RefreshModelsResponse(added=["p/new"])


@pytest.fixture
async def gateway() -> AsyncIterator[FakeGateway]:
    """A running FakeGateway. When it ends, no task is left."""
    fake = FakeGateway()
    fake.server = aio.server(options=[("grpc.max_receive_message_length", -1)])
    add_GatewayServiceServicer_to_server(fake, fake.server)
    add_ModelServiceServicer_to_server(fake, fake.server)
    add_FeedbackServiceServicer_to_server(fake, fake.server)
    fake.address = f"127.0.0.1:{fake.server.add_insecure_port('127.0.0.1:0')}"
    local = local_server_credentials()
    fake.secure_address = f"127.0.0.1:{fake.server.add_secure_port('127.0.0.1:0', local)}"
    await fake.server.start()
    yield fake
    await fake.server.stop(None)
    # The calls' own tasks end a few turns after the server.
    if left := asyncio.all_tasks() - {asyncio.current_task()}:
        _, running = await asyncio.wait(left, timeout=5)
        assert not running


class Caller:
    """AsyncClient, with the names that both clients share."""

    def __init__(self, address: str, **options: Any) -> None:
        self._client: Any = self._open(address, **options)

    def _open(self, address: str, **options: Any) -> Any:
        return AsyncClient(address, **options)

    async def call(self, method: str, *args: Any, **settings: Any) -> Any:
        """Call one of the client's coroutines."""
        return await getattr(self._client, method)(*args, **settings)

    async def events(self, prompt: Any, **settings: Any) -> list[StreamGenerateResponse]:
        """Read a stream to its end."""
        return [event async for event in self._client.stream(prompt, **settings)]

    async def texts(self, prompt: Any, **settings: Any) -> tuple[list[str], Answer]:
        """Read a stream's text to its end."""
        async with self._client.stream(prompt, **settings) as stream:
            return [text async for text in stream.text], stream.response

    async def aclose(self) -> None:
        await self._client.aclose()


class SyncCaller(Caller):
    """Client, in threads."""

    def _open(self, address: str, **options: Any) -> Any:
        return Client(address, **options)

    async def call(self, method: str, *args: Any, **settings: Any) -> Any:
        return await asyncio.to_thread(getattr(self._client, method), *args, **settings)

    async def events(self, prompt: Any, **settings: Any) -> list[StreamGenerateResponse]:
        return await asyncio.to_thread(lambda: list(self._client.stream(prompt, **settings)))

    async def texts(self, prompt: Any, **settings: Any) -> tuple[list[str], Answer]:
        def read() -> tuple[list[str], Answer]:
            with self._client.stream(prompt, **settings) as stream:
                return list(stream.text), stream.response

        return await asyncio.to_thread(read)

    async def aclose(self) -> None:
        await asyncio.to_thread(self._client.close)


@pytest.fixture(params=[Caller, SyncCaller], ids=["async", "sync"])
def client_kind(request: pytest.FixtureRequest) -> type[Caller]:
    """Either client, not opened."""
    kind: type[Caller] = request.param
    return kind


@pytest.fixture
async def caller(client_kind: type[Caller], gateway: FakeGateway) -> AsyncIterator[Caller]:
    """Either client of the gateway."""
    opened = client_kind(gateway.address)
    yield opened
    await opened.aclose()
