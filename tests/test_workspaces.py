"""Two workspaces: nothing of one ever comes in an answer to the other. Every method of the contract is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from grpc import aio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keyed import bearing, id_of, keyed

from trunkline.v1 import alerts_pb2 as ab
from trunkline.v1 import call_pb2
from trunkline.v1 import calls_pb2 as cb
from trunkline.v1 import feedback_service_pb2 as fb
from trunkline.v1 import gateway_service_pb2 as pb
from trunkline.v1 import model_service_pb2 as mb
from trunkline_server.rpc.access import LEAST_ROLES

if TYPE_CHECKING:
    from pathlib import Path

    from keyed import Keyed

THEIRS = "theirs-9f"
# What the other workspace calls: each of its names can be told from everything else.
SECRETS = (THEIRS, "end-user-77", "label-value-31", "task_of_theirs", "agent_of_theirs")
KIND = pb.UsageDimension

# What a caller asks, by method. A method that is missing fails the test below.
QUESTIONS: dict[str, list[Any]] = {
    "/trunkline.v1.GatewayService/Generate": [pb.GenerateRequest(model="mock", prompt="x")],
    "/trunkline.v1.GatewayService/StreamGenerate": [pb.GenerateRequest(model="mock", prompt="x")],
    "/trunkline.v1.GatewayService/HealthCheck": [pb.HealthCheckRequest(include_providers=True)],
    "/trunkline.v1.GatewayService/UsageStats": [
        pb.UsageStatsRequest(),
        *(pb.UsageStatsRequest(group_by=[KIND(kind=kind)]) for kind in KIND.Kind.values() if kind != KIND.KIND_LABEL),
        pb.UsageStatsRequest(group_by=[KIND(kind=KIND.KIND_LABEL, label="l")]),
        pb.UsageStatsRequest(filters=[pb.UsageFilter(dimension=KIND(kind=KIND.KIND_WORKSPACE), values=[THEIRS])]),
    ],
    "/trunkline.v1.FeedbackService/SubmitFeedback": [fb.SubmitFeedbackRequest(metric="m", score=1.0)],
    "/trunkline.v1.ModelService/ListModels": [mb.ListModelsRequest()],
    "/trunkline.v1.ModelService/GetModel": [mb.GetModelRequest(id="mock")],
    "/trunkline.v1.ModelService/RecommendModels": [mb.RecommendModelsRequest()],
    "/trunkline.v1.ModelService/PlanRoute": [
        mb.PlanRouteRequest(request=pb.GenerateRequest(model="mock", prompt="x")),
        mb.PlanRouteRequest(request=pb.GenerateRequest(prompt="x", routing=call_pb2.Routing(task="task_of_theirs"))),
    ],
    "/trunkline.v1.AdminService/ListCalls": [
        cb.ListCallsRequest(),
        cb.ListCallsRequest(filters=[pb.UsageFilter(dimension=KIND(kind=KIND.KIND_WORKSPACE), values=[THEIRS])]),
    ],
    "/trunkline.v1.AdminService/ListAlerts": [ab.ListAlertsRequest(), ab.ListAlertsRequest(open_only=True)],
    "/trunkline.v1.AdminService/WatchAlerts": [ab.WatchAlertsRequest()],
}
# Seconds for which alerts are watched: those that are open come at once.
WATCHED = 0.3
# Of which there is an alert as soon as anything was spent.
BUDGETS = {"b": {"limit": 0, "kind": "soft", "period": "total", "workspace": "*", "labels": {"l": "*"}}}
PRICES = [{"model": "mock/*", "input": 1, "output": 1}]


_ALERTS = "/trunkline.v1.AdminService/ListAlerts", ab.ListAlertsRequest()


def test_every_method_that_callers_have_is_asked() -> None:
    assert set(QUESTIONS) == {method for method, role in LEAST_ROLES.items() if role == "caller"}


async def ask(world: Keyed, method: str, request: Any, key: str) -> str:
    """Everything that comes back: the answer, or the status with its metadata."""
    if "AdminService" not in method:
        return await ask_over(world.running.channel, method, request, key)
    async with aio.insecure_channel(world.running.admin_address) as channel:
        return await ask_over(channel, method, request, key)


async def ask_over(channel: aio.Channel, method: str, request: Any, key: str) -> str:
    """The same over a channel."""
    serialize = type(request).SerializeToString
    try:
        if method.endswith("StreamGenerate"):
            events: Any = channel.unary_stream(method, request_serializer=serialize)
            return repr([event async for event in events(request, metadata=bearing(key))])
        if method.endswith("WatchAlerts"):
            return await _watched(channel.unary_stream(method, request_serializer=serialize), request, key)
        rpc: Any = channel.unary_unary(method, request_serializer=serialize)
        return repr(await rpc(request, metadata=bearing(key)))
    except aio.AioRpcError as error:
        return f"{error.details()} {error.trailing_metadata()}"


async def _watched(events: Any, request: Any, key: str) -> str:
    """What came until its time was over."""
    told = []
    try:
        async for event in events(request, metadata=bearing(key), timeout=WATCHED):
            told.append(event)
    except aio.AioRpcError as error:
        return f"{told} {error.details()} {error.trailing_metadata()}"
    return repr(told)


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return lambda: tmp_path_factory.mktemp("world")


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(script=st.lists(st.sampled_from(["whole", "failing", "unknown", "invalid"]), min_size=1, max_size=4))
async def test_nothing_of_one_comes_in_an_answer_to_the_other(folder: Any, script: list[str]) -> None:
    providers = {
        "mock": {"scripts": {"mock-fast": {"text": "hi"}, "failing": {"failure": {"kind": "status", "status": 503}}}}
    }
    path: Path = folder()
    document = {"providers": providers, "server": {"admin_listen": "127.0.0.1:0"}, "budgets": BUDGETS, "prices": PRICES}
    async with keyed(path, document) as world:
        theirs, ours = await world.key(workspace=THEIRS), await world.key(workspace="ours")
        ids = []
        for step in script:
            ids.append(await their_call(world, step, theirs))
        await world.running.app._ledger.flush()
        await world.running.app._monitor.look()
        assert (THEIRS in await ask(world, *_ALERTS, theirs)) == ("whole" in script), "there is something to hide"
        for method, requests in QUESTIONS.items():
            for request in requests:
                if isinstance(request, fb.SubmitFeedbackRequest):
                    request.call_id = next(filter(None, ids), "none")
                told = await ask(world, method, request, ours)
                asked = str(request)
                for secret in (*SECRETS, id_of(theirs), *filter(None, ids)):
                    assert secret not in told or secret in asked, (method, secret)


async def their_call(world: Keyed, step: str, key: str) -> str:
    """Make a call that fails or does not; its id."""
    request = pb.GenerateRequest(
        model={"failing": "mock/failing", "unknown": "task_of_theirs"}.get(step, "mock/mock-fast"),
        prompt="" if step == "invalid" else "x",
        routing=call_pb2.Routing(task=SECRETS[3], agent=SECRETS[4]),
        context=call_pb2.CallContext(end_user_id=SECRETS[1], labels={"l": SECRETS[2]}),
    )
    try:
        return (await world.running.stub.Generate(request, metadata=bearing(key))).id
    except aio.AioRpcError as error:
        return str(dict(error.trailing_metadata() or ())["trunkline-call-id"])


async def test_usage_counts_only_the_callers_own_workspace(tmp_path: Path) -> None:
    async with keyed(tmp_path) as world:
        theirs, ours = await world.key(workspace=THEIRS), await world.key(workspace="ours")
        for key in (theirs, theirs, ours):
            await their_call(world, "whole", key)
        for key in (theirs, ours):
            told = await world.running.stub.UsageStats(pb.UsageStatsRequest(), metadata=bearing(key))
            assert told.totals.requests == (2 if key == theirs else 1)
