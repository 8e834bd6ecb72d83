"""Two workspaces: nothing of one ever comes in an answer to the other. Every method of the contract is asked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.message_factory import GetMessageClass
from grpc import aio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keyed import bearing, id_of, keyed

from trunkline.v1 import admin_service_pb2 as ab
from trunkline.v1 import alerts_pb2 as lb
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
# What the other workspace has and says: each of these can be told from everything else.
SAID = {
    "end_user": "end-user-77",
    "label": "label-value-31",
    "task": "task_of_theirs",
    "agent": "agent_of_theirs",
    "prompt": "prompt-words-58",
    "system": "system-words-12",
    "answer": "answer-words-93",
    "provider": "veiled-4q",
    "model": "veiled-model-8b",
    "budget": "budget-of-theirs",
}
SECRETS = (THEIRS, *SAID.values())
KIND = pb.UsageDimension
# What money and prices of theirs come to; sums of theirs are added as they are made.
AMOUNTS = (31_415_926_000,)
LARGE = 100_000

DOCUMENT = {
    "server": {"admin_listen": "127.0.0.1:0"},
    "providers": {
        "mock": {"scripts": {"mock-fast": {"text": "hi"}, "failing": {"failure": {"kind": "status", "status": 503}}}},
        SAID["provider"]: {"kind": "scripted", "scripts": {SAID["model"]: {"text": f"{SAID['answer']} ", "repeat": 7}}},
    },
    "prices": [
        {"model": "mock/*", "input": 3, "output": 5},
        {"model": f"{SAID['provider']}/*", "input": 123.457, "output": 97.531},
    ],
    "budgets": {
        SAID["budget"]: {"limit": "31.415926", "period": "daily", "time_zone": "UTC", "workspace": THEIRS},
        "everybody": {"limit": 1000, "period": "daily", "time_zone": "UTC", "workspace": "*"},
        # Of which there is an alert as soon as anything was spent.
        "spent": {"limit": 0, "kind": "soft", "period": "total", "workspace": "*", "labels": {"l": "*"}},
    },
    "caller_limits": {"each_workspace": {"requests_per_minute": 100_000, "concurrency": 50}},
}

# What a caller asks, by method. A method that is missing fails the test below.
QUESTIONS: dict[str, list[Any]] = {
    "/trunkline.v1.GatewayService/Generate": [
        pb.GenerateRequest(model="mock", prompt="x"),
        pb.GenerateRequest(prompt="x"),
    ],
    "/trunkline.v1.GatewayService/StreamGenerate": [pb.GenerateRequest(model="mock", prompt="x")],
    "/trunkline.v1.GatewayService/HealthCheck": [pb.HealthCheckRequest(include_providers=True)],
    "/trunkline.v1.GatewayService/UsageStats": [
        pb.UsageStatsRequest(),
        pb.UsageStatsRequest(include_budgets=True),
        *(pb.UsageStatsRequest(group_by=[KIND(kind=kind)]) for kind in KIND.Kind.values() if kind != KIND.KIND_LABEL),
        pb.UsageStatsRequest(group_by=[KIND(kind=KIND.KIND_LABEL, label="l")]),
        pb.UsageStatsRequest(filters=[pb.UsageFilter(dimension=KIND(kind=KIND.KIND_WORKSPACE), values=[THEIRS])]),
    ],
    "/trunkline.v1.FeedbackService/SubmitFeedback": [fb.SubmitFeedbackRequest(metric="m", score=1.0)],
    "/trunkline.v1.ModelService/ListModels": [mb.ListModelsRequest()],
    "/trunkline.v1.ModelService/GetModel": [
        mb.GetModelRequest(id="mock"),
        mb.GetModelRequest(id=f"{SAID['provider']}/{SAID['model']}"),
    ],
    "/trunkline.v1.ModelService/RecommendModels": [
        mb.RecommendModelsRequest(),
        mb.RecommendModelsRequest(max_results=100, local_only=True),
    ],
    "/trunkline.v1.ModelService/PlanRoute": [
        mb.PlanRouteRequest(request=pb.GenerateRequest(model="mock", prompt="x")),
        mb.PlanRouteRequest(request=pb.GenerateRequest(prompt="x")),
        mb.PlanRouteRequest(request=pb.GenerateRequest(model=SAID["provider"], prompt="x")),
        mb.PlanRouteRequest(request=pb.GenerateRequest(prompt="x", routing=call_pb2.Routing(task="task_of_theirs"))),
    ],
    "/trunkline.v1.AdminService/ListCalls": [
        cb.ListCallsRequest(),
        cb.ListCallsRequest(filters=[pb.UsageFilter(dimension=KIND(kind=KIND.KIND_WORKSPACE), values=[THEIRS])]),
    ],
    "/trunkline.v1.AdminService/ListAlerts": [lb.ListAlertsRequest(), lb.ListAlertsRequest(open_only=True)],
    "/trunkline.v1.AdminService/WatchAlerts": [lb.WatchAlertsRequest()],
}
STREAMS = ("StreamGenerate", "WatchAlerts")
# Seconds for which alerts are watched: those that are open come at once.
WATCHED = 0.3
_ALERTS = "/trunkline.v1.AdminService/ListAlerts", lb.ListAlertsRequest()
# Of these the answer is the same whatever others do. Health and what is expected of models are everybody's.
OWN = (
    "/trunkline.v1.GatewayService/UsageStats",
    "/trunkline.v1.AdminService/ListCalls",
    "/trunkline.v1.ModelService/ListModels",
    "/trunkline.v1.ModelService/GetModel",
)


def test_every_method_that_callers_have_is_asked() -> None:
    assert set(QUESTIONS) == {method for method, role in LEAST_ROLES.items() if role == "caller"}


async def ask(world: Keyed, method: str, request: Any, key: str) -> str:
    """Everything that comes back: the answer or the status, with the metadata on both of its sides."""
    if "AdminService" not in method:
        return await ask_over(world.running.channel, method, request, key)
    async with aio.insecure_channel(world.running.admin_address) as channel:
        return await ask_over(channel, method, request, key)


async def ask_over(channel: aio.Channel, method: str, request: Any, key: str) -> str:
    """The same over a channel."""
    serialize, response = type(request).SerializeToString, response_of(method)
    kind: Any = channel.unary_stream if method.endswith(STREAMS) else channel.unary_unary
    rpc = kind(method, request_serializer=serialize, response_deserializer=response.FromString)
    call = rpc(request, metadata=bearing(key), timeout=WATCHED if method.endswith("WatchAlerts") else None)
    told: list[Any] = []
    try:
        if method.endswith(STREAMS):
            async for event in call:
                told.append(event)
        else:
            told.append(await call)
        return f"{told} {await call.initial_metadata()} {await call.trailing_metadata()}"
    except aio.AioRpcError as error:
        return f"{told} {error.details()} {error.initial_metadata()} {error.trailing_metadata()}"


def response_of(method: str) -> Any:
    """The class of a method's answers."""
    _, service, name = method.split("/")
    services = {each.full_name: each for file in (pb, mb, fb, ab) for each in file.DESCRIPTOR.services_by_name.values()}
    return GetMessageClass(services[service].methods_by_name[name].output_type)


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return lambda: tmp_path_factory.mktemp("world")


STEPS = st.tuples(
    st.sampled_from(["whole", "dear", "failing", "unknown", "invalid", "left"]), st.booleans(), st.integers(1, 40)
)


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(script=st.lists(STEPS, min_size=1, max_size=5))
async def test_nothing_of_one_comes_in_an_answer_to_the_other(folder: Any, script: list[tuple[str, bool, int]]) -> None:
    path: Path = folder()
    async with keyed(path, DOCUMENT) as world:
        theirs = await world.key(workspace=THEIRS)
        ours = await world.key(workspace="ours", allowed_providers=["mock"])
        await their_call(world, ("whole", False, 3), ours, own=True)
        before = await own_answers(world, ours)
        ids, amounts = set(), set(AMOUNTS)
        for step in [("dear", True, 9), *script]:
            call_id, cost = await their_call(world, step, theirs)
            ids.add(call_id)
            amounts.add(cost)
            await ask(world, *rated(call_id), theirs)
        await world.running.app._ledger.flush()
        await world.running.app._monitor.look()
        assert THEIRS in await ask(world, *_ALERTS, theirs), "there is something to hide"
        told = await ask(world, "/trunkline.v1.GatewayService/UsageStats", pb.UsageStatsRequest(), theirs)
        amounts.add(int(re.findall(r"cost_nano_usd: (\d+)", told)[-1]))
        assert max(amounts) > LARGE
        shown = await shown_to_them(world, theirs)
        assert all(SAID[name] in shown for name in ("end_user", "label", "task", "provider", "model"))
        assert await own_answers(world, ours) == before

        secrets = [*SECRETS, id_of(theirs), *ids]
        for method, requests in QUESTIONS.items():
            for request in requests:
                if isinstance(request, fb.SubmitFeedbackRequest):
                    request.call_id = min(ids)
                told, asked = await ask(world, method, request, ours), str(request)
                for secret in secrets:
                    assert secret not in told or secret in asked, (method, secret)
                for amount in amounts:
                    assert amount < LARGE or not re.search(rf"(?<!\d){amount}(?!\d)", told), (method, amount)


def rated(call_id: str) -> tuple[str, Any]:
    """A score of a call."""
    request = fb.SubmitFeedbackRequest(call_id=call_id, metric="m", score=0.123456789)
    return "/trunkline.v1.FeedbackService/SubmitFeedback", request


async def shown_to_them(world: Keyed, key: str) -> str:
    """What a caller is told of its own calls: that they are told of anything at all."""
    return await ask(world, "/trunkline.v1.AdminService/ListCalls", cb.ListCallsRequest(), key)


async def own_answers(world: Keyed, key: str) -> list[str]:
    """What does not depend on others; without the time that it was asked at and its call's id."""
    told = [await ask(world, method, request, key) for method in OWN for request in QUESTIONS[method]]
    moments = r"(seconds|nanos): \d+|(burn_rate|projected)_nano_usd: \d+"
    return [re.sub(moments, "", each.partition("Metadata(")[0]) for each in told]


async def their_call(world: Keyed, step: tuple[str, bool, int], key: str, *, own: bool = False) -> tuple[str, int]:
    """A call that fails, is left amid its answer, or is whole: its id and what it cost. With `own`, a plain one."""
    kind, streamed, size = step
    mine = {"failing": "mock/failing", "unknown": SAID["task"], "dear": f"{SAID['provider']}/{SAID['model']}"}
    mine["left"] = mine["dear"]
    request = pb.GenerateRequest(model=mine.get(kind, "mock/mock-fast"))
    request.prompt = "" if kind == "invalid" else "x" if own else f"{SAID['prompt']} " * size
    if not own:
        request.system_instruction = SAID["system"]
        request.routing.task, request.routing.agent = SAID["task"], SAID["agent"]
        request.context.end_user_id = SAID["end_user"]
        request.context.labels["l"] = SAID["label"]
    try:
        if not streamed and kind != "left":
            answer = await world.running.stub.Generate(request, metadata=bearing(key))
            return answer.id, answer.cost.total_nano_usd
        stream = world.running.stub.StreamGenerate(request, metadata=bearing(key))
        return await their_stream(stream, left=kind == "left")
    except aio.AioRpcError as error:
        return str(dict(error.trailing_metadata() or ())["trunkline-call-id"]), 0


async def their_stream(stream: Any, *, left: bool) -> tuple[str, int]:
    """The same of a stream."""
    call_id, cost = "", 0
    async for event in stream:
        call_id = event.started.id or call_id
        if left and call_id:
            stream.cancel()
            break
        cost = event.completed.response.cost.total_nano_usd
    return call_id, cost


async def test_usage_counts_only_the_callers_own_workspace(tmp_path: Path) -> None:
    async with keyed(tmp_path) as world:
        theirs, ours = await world.key(workspace=THEIRS), await world.key(workspace="ours")
        for key in (theirs, theirs, ours):
            await their_call(world, ("whole", False, 1), key)
        for key in (theirs, ours):
            told = await world.running.stub.UsageStats(pb.UsageStatsRequest(), metadata=bearing(key))
            assert told.totals.requests == (2 if key == theirs else 1)
