"""The client."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Unpack

from trunkline.v1.feedback_service_pb2 import SubmitFeedbackRequest
from trunkline.v1.feedback_service_pb2_grpc import FeedbackServiceStub
from trunkline.v1.gateway_service_pb2 import HealthCheckRequest
from trunkline.v1.gateway_service_pb2_grpc import GatewayServiceStub
from trunkline.v1.model_service_pb2 import (
    GetModelRequest,
    ListModelsRequest,
    PlanRouteRequest,
    RecommendModelsRequest,
    RefreshModelsRequest,
)
from trunkline.v1.model_service_pb2_grpc import ModelServiceStub
from trunkline_client._async.caller import AsyncCaller
from trunkline_client._async.stream import AsyncStream
from trunkline_client.answer import Answer
from trunkline_client.requests import build_request
from trunkline_client.usage import usage_request

if TYPE_CHECKING:
    from grpc import ChannelCredentials

    from trunkline.v1.gateway_service_pb2 import HealthCheckResponse, UsageStatsResponse
    from trunkline.v1.model_pb2 import Model
    from trunkline.v1.model_service_pb2 import PlanRouteResponse, Recommendation, RefreshModelsResponse
    from trunkline_client.channel import AsyncChannel
    from trunkline_client.requests import ModelFilters, ModelWishes, Prompt, Settings
    from trunkline_client.usage import UsageQuery


class AsyncClient(AsyncCaller):
    """A gateway at `target`, or at the other end of a `channel` that the caller made and closes.

    Without `credentials` the connection is in the clear. `api_key` is sent with every call. Timeouts are in seconds and
    for a whole call, a stream to its end; `timeout` here is for calls that do not set their own. Every call raises
    TrunklineError.
    """

    def __init__(
        self,
        target: str | None = None,
        *,
        credentials: ChannelCredentials | None = None,
        api_key: str | None = None,
        timeout: float | None = None,
        channel: AsyncChannel | None = None,
    ) -> None:
        super().__init__(target, credentials=credentials, api_key=api_key, timeout=timeout, channel=channel)
        self._gateway = GatewayServiceStub(self._channel)
        self._catalogue = ModelServiceStub(self._channel)
        self._feedback = FeedbackServiceStub(self._channel)

    async def generate(self, prompt: Prompt, *, timeout: float | None = None, **settings: Unpack[Settings]) -> Answer:
        """The whole answer to a prompt."""
        request = build_request(prompt, settings)
        return Answer(await self._ask(self._gateway.Generate, request, timeout))

    def stream(self, prompt: Prompt, *, timeout: float | None = None, **settings: Unpack[Settings]) -> AsyncStream:
        """The answer to a prompt as it is made. The call begins when the stream is read."""
        request = build_request(prompt, settings)
        limit = self._timeout if timeout is None else timeout
        call = partial(self._gateway.StreamGenerate, request, timeout=limit, metadata=self._metadata)
        return AsyncStream(call, self._address)

    async def health(
        self,
        *,
        include_providers: bool = False,
        probe: bool = False,
        probe_models: bool = False,
        timeout: float | None = None,
    ) -> HealthCheckResponse:
        """How the gateway is, and each of its providers if asked for.

        `probe` asks every provider about its credential now, which is free; `probe_models` asks its default model for
        one token, which costs money. Either takes up to ten seconds.
        """
        request = HealthCheckRequest(include_providers=include_providers, probe=probe, probe_models=probe_models)
        return await self._ask(self._gateway.HealthCheck, request, timeout)

    async def usage(self, *, timeout: float | None = None, **query: Unpack[UsageQuery]) -> UsageStatsResponse:
        """Counts, tokens, cost and times of the ledger's calls; without a query, all that were made in the last day.

        The rows of all pages in one. The timeout is for each page. Raises ValueError for a name that there is not.
        """
        request = usage_request(query)
        request.page_size = 10_000
        told = await self._ask(self._gateway.UsageStats, request, timeout)
        while told.next_page_token:
            request.page_token = told.next_page_token
            page = await self._ask(self._gateway.UsageStats, request, timeout)
            told.rows.extend(page.rows)
            told.next_page_token = page.next_page_token
        return told

    async def feedback(self, call_id: str, metric: str, score: float, *, timeout: float | None = None) -> None:
        """Score the answer of a call from 0 to 1; of several scores by the same metric the last one counts.

        `call_id` is GenerateResponse.id, or TrunklineError.call_id. Raises CallNotFound.
        """
        request = SubmitFeedbackRequest(call_id=call_id, metric=metric, score=score)
        await self._ask(self._feedback.SubmitFeedback, request, timeout)

    async def models(self, *, timeout: float | None = None, **filters: Unpack[ModelFilters]) -> list[Model]:
        """The models that all filters let through, in the order of their ids. The timeout is for each page."""
        request = ListModelsRequest(page_size=1000, **filters)
        models: list[Model] = []
        while True:
            page = await self._ask(self._catalogue.ListModels, request, timeout)
            models.extend(page.models)
            if not page.next_page_token:
                return models
            request.page_token = page.next_page_token

    async def model(self, name: str, *, timeout: float | None = None) -> Model:
        """One model by whatever a request may say for it. Raises ModelNotFound."""
        return await self._ask(self._catalogue.GetModel, GetModelRequest(id=name), timeout)

    async def recommend(self, *, timeout: float | None = None, **wishes: Unpack[ModelWishes]) -> list[Recommendation]:
        """The models that can be called now and fit, the best first, each with a score and the reasons."""
        told = await self._ask(self._catalogue.RecommendModels, RecommendModelsRequest(**wishes), timeout)
        return list(told.recommendations)

    async def plan_route(
        self, prompt: Prompt, *, timeout: float | None = None, **settings: Unpack[Settings]
    ) -> PlanRouteResponse:
        """Whom such a call would go to and why, and who would not be asked. Nothing is sent to a provider."""
        request = PlanRouteRequest(request=build_request(prompt, settings))
        return await self._ask(self._catalogue.PlanRoute, request, timeout)

    async def refresh_models(self, *, provider: str = "", timeout: float | None = None) -> RefreshModelsResponse:
        """Let the gateway ask its providers, or one of them, for their models now, which is free.

        Takes up to fifteen seconds. Returns what that changed, and who could not be asked.
        """
        return await self._ask(self._catalogue.RefreshModels, RefreshModelsRequest(provider=provider), timeout)
