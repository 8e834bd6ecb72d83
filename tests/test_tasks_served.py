"""Tasks, agents and chains through a whole gateway: who answers, what he is told, what is counted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from apis import CHAT
from gateway import gateway, settings_of
from grpc import StatusCode, aio
from serving import reason
from upstreams import answer, upstream

from trunkline.v1 import call_pb2
from trunkline.v1.call_pb2 import Routing
from trunkline.v1.gateway_service_pb2 import GenerateRequest, GenerationConfig, UsageDimension, UsageStatsRequest
from trunkline.v1.model_service_pb2 import PlanRouteRequest

if TYPE_CHECKING:
    from pathlib import Path

    from trunkline_server.settings import Settings

SCRIPTS = {
    "first": {"text": "one"},
    "second": {"text": "two"},
    "failing": {"failure": {"kind": "status", "status": 500}},
    "long": {"text": "a b c d e f"},
    "old": {"text": "three"},
}
DOCUMENT: dict[str, Any] = {
    "default_model": "mock/first",
    "providers": {"mock": {"scripts": SCRIPTS, "retry": {"max_attempts": 1}}},
    "tasks": {
        "writing": {"system_prompt": "Write well today.", "primary": ["mock/second"], "labels": {"team": "words"}},
        "capped": {"primary": ["mock/long"], "max_output_tokens": 2},
        "monthly_report": {},
        "resting": {"primary": ["mock/failing"], "chain": "down"},
    },
    "agents": {"writer": {"task": "writing"}, "own": {"model": "mock/first", "task": "writing"}},
    "chains": {
        "down": {"targets": ["mock/failing", "mock/second"]},
        "tiers": {"tiers": [["mock/failing"], ["mock/first"]]},
        "nobody": {"targets": ["nowhere/x", "mock/second"]},
        "retired": {"targets": ["mock/old", "mock/second"]},
        "lost": {"targets": ["nowhere/x"]},
    },
    "model_data": {"mock/old": {"retirement": "2020-01-01", "replacement": "first"}},
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_of(tmp_path, DOCUMENT)


def asked(model: str = "", system: str = "", **routing: Any) -> GenerateRequest:
    return GenerateRequest(model=model, prompt="hello", system_instruction=system, routing=Routing(**routing))


@pytest.mark.parametrize(
    ("request_", "model", "words"),
    [
        (asked(), "first", 1),
        (asked(task="writing"), "second", 4),
        (asked(task="WRITING", system="And be brief"), "second", 7),
        (asked(agent="writer"), "second", 4),
        (asked(agent="own"), "first", 4),
        (asked(model="mock/first", task="writing"), "first", 4),
        (asked(task="capped"), "long", 1),
        (asked(task="resting"), "second", 1),
        (asked(chain="down"), "second", 1),
        (asked(chain="Tiers"), "first", 1),
        (asked(model="mock/failing", chain="tiers"), "first", 1),
        (asked(chain="nobody"), "second", 1),
        (asked(task="monthly_report"), "first", 1),
        # What is built in names models that nobody here has: whoever is there answers, and is told how.
        (asked(task="complex_reasoning"), "first", 20),
    ],
)
async def test_who_answers_and_what_he_is_told(
    settings: Settings, request_: GenerateRequest, model: str, words: int
) -> None:
    """The scripted provider counts a word of the prompt as a token."""
    async with gateway(settings) as running:
        answer = await running.stub.Generate(request_)
    assert answer.served.target.model == model
    assert answer.usage.input_tokens == words


async def test_an_answer_is_no_longer_than_its_task_allows(settings: Settings) -> None:
    async with gateway(settings) as running:
        answer = await running.stub.Generate(asked(task="capped"))
    assert "".join(part.text for part in answer.message.parts) == "a b"


async def test_a_slip_is_told_and_nothing_else_changes(settings: Settings) -> None:
    async with gateway(settings) as running:
        answer = await running.stub.Generate(asked(agent="writter"))
        strict = await refused(running, asked(agent="writter", strict_params=True))
    [warning] = answer.warnings
    assert (warning.kind, warning.field) == (call_pb2.Warning.KIND_NAME_UNKNOWN, "routing.agent")
    assert "writer" in warning.message
    assert answer.usage.input_tokens == 1
    assert strict == (StatusCode.NOT_FOUND, "NAME_NOT_FOUND")


async def test_a_task_that_nobody_knows_is_refused_with_what_is_near_and_what_to_do_instead(settings: Settings) -> None:
    async with gateway(settings) as running:
        for request in (asked(task="writting"), asked(model="mock/first", task="writting")):
            with pytest.raises(aio.AioRpcError) as caught:
                await running.stub.Generate(request)
            assert (caught.value.code(), reason(caught.value)) == (StatusCode.NOT_FOUND, "NAME_NOT_FOUND")
            told = str(caught.value.details())
            assert "routing.task: no task 'writting' is configured; did you mean writing" in told
            assert "context.labels" in told


async def refused(running: Any, request: GenerateRequest) -> tuple[StatusCode, str]:
    with pytest.raises(aio.AioRpcError) as caught:
        await running.stub.Generate(request)
    return caught.value.code(), reason(caught.value)


async def test_a_chain_that_is_not_there_is_named_with_those_that_are(settings: Settings) -> None:
    async with gateway(settings) as running:
        with pytest.raises(aio.AioRpcError) as caught:
            await running.stub.Generate(asked(chain="xyz"))
        assert await refused(running, asked(chain="lost")) == (StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")
        with pytest.raises(aio.AioRpcError, match=r"routing\.chain: nobody of lost can be asked: no model or alias"):
            await running.stub.Generate(asked(chain="LOST"))
    assert caught.value.code() == StatusCode.NOT_FOUND
    assert reason(caught.value) == "NAME_NOT_FOUND"
    for name in ("down", "tiers", "high_quality", "local_only"):
        assert name in str(caught.value.details())


async def test_calls_are_counted_under_the_task_that_their_agent_stands_for(settings: Settings) -> None:
    async with gateway(settings) as running:
        await running.stub.Generate(asked(agent="WRITER"))
        await running.stub.Generate(asked(task="Writing"))
        by_task = await counted(running, UsageDimension(kind=UsageDimension.KIND_TASK))
        by_label = await counted(running, UsageDimension(kind=UsageDimension.KIND_LABEL, label="team"))
    assert by_task == {"writing": (2, 2)}
    assert by_label == {"words": (2, 2)}


async def counted(running: Any, by: UsageDimension) -> dict[str, tuple[int, int]]:
    """Calls and attempts."""
    told = await running.stub.UsageStats(UsageStatsRequest(group_by=[by]))
    return {row.group[0]: (row.totals.requests, row.totals.attempts) for row in told.rows}


async def test_a_model_that_is_gone_is_replaced_in_a_chain_too(settings: Settings) -> None:
    async with gateway(settings) as running:
        answer = await running.stub.Generate(asked(chain="retired"))
    assert answer.served.target.model == "first"
    [warning] = answer.warnings
    assert warning.kind == call_pb2.Warning.KIND_MODEL_REPLACED
    assert "mock/old is gone" in warning.message
    assert "mock/first answers in its place" in warning.message


async def test_a_plan_warns_of_a_replacement_as_the_call_does(settings: Settings) -> None:
    async with gateway(settings) as running:
        for request in (asked(chain="retired"), asked("mock/old")):
            told = await running.models.PlanRoute(PlanRouteRequest(request=request))
            answer = await running.stub.Generate(request)
            assert list(told.warnings) == list(answer.warnings)
            assert told.warnings
        assert not (await running.models.PlanRoute(PlanRouteRequest(request=asked(chain="down")))).warnings


# What a caller says, over what the task says, over what the provider has of its own.
OF_PROVIDER = {"temperature": 0.9, "top_p": 0.9, "top_k": 9, "max_output_tokens": 900}
OF_TASK_LONG = {"max_output_tokens": 5000}
OF_TASK = {"temperature": 0.0, "top_p": 0.5, "max_output_tokens": 500}
SENT = ("temperature", "top_p", "top_k", "max_tokens", "presence_penalty")


@pytest.mark.parametrize(
    ("task", "said", "sent"),
    [
        ("", {}, (0.9, 0.9, 9, 900, None)),
        ("exact", {}, (0.0, 0.5, 9, 500, None)),
        ("EXACT", {"temperature": 1.5, "presence_penalty": 1}, (1.5, 0.5, 9, 500, 1)),
        ("exact", {"max_output_tokens": 200, "top_k": 3}, (0.0, 0.5, 3, 200, None)),
        # A cap of the task holds for its own default as for the caller's word.
        ("short", {}, (0.9, 0.9, 9, 100, None)),
    ],
)
async def test_a_tasks_settings_are_sent_where_the_caller_is_silent(
    tmp_path: Path, task: str, said: dict[str, Any], sent: tuple[float | None, ...]
) -> None:
    whole = answer(json.dumps(CHAT.whole).encode(), content_type="application/json")
    async with upstream([whole]) as server:
        made = {"kind": "openai_compatible", "base_url": server.base_url, "models": ["m"], "defaults": OF_PROVIDER}
        tasks = {"exact": {"defaults": OF_TASK}, "short": {"defaults": OF_TASK_LONG, "max_output_tokens": 100}}
        async with gateway(settings_of(tmp_path, {"providers": {"up": made}, "tasks": tasks})) as running:
            request = asked("up/m", task=task)
            request.config.MergeFrom(GenerationConfig(**said))
            await running.stub.Generate(request)
        body = json.loads(server.requests[0].body)
    assert tuple(body.get(name) for name in SENT) == pytest.approx(sent)
