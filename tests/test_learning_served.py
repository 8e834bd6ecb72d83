"""Learning and experiments through a whole gateway: what callers say of answers moves calls, and outlives it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway import gateway
from test_routing_served import SAID, asked, two_models
from upstreams import answer, upstream

from trunkline.v1.call_pb2 import CallContext
from trunkline.v1.feedback_service_pb2 import SubmitFeedbackRequest
from trunkline.v1.feedback_service_pb2_grpc import FeedbackServiceStub
from trunkline.v1.gateway_service_pb2 import GenerateRequest
from trunkline_server.state.ledger.experiments import arms

if TYPE_CHECKING:
    from pathlib import Path

TONE = {"tone": {"arms": {"well": 1, "broken": 1}, "groups": {"well": ["up/good"], "broken": ["down/broken"]}}}
DOWN = answer(b'{"error": {"message": "down"}}', status=500)


def learned(task: str = "review") -> GenerateRequest:
    return asked(strategy="performance_based", task=task, denied_providers=["embedded"])


async def test_scores_move_the_calls_of_their_task_and_outlive_the_gateway(tmp_path: Path) -> None:
    ledger = {"url": f"sqlite:///{tmp_path}/ledger.db"}
    async with upstream([SAID]) as server:
        settings = two_models(tmp_path, server.base_url, learning={"price_weight": 0.0}, ledger=ledger)
        async with gateway(settings) as running:
            feedback = FeedbackServiceStub(running.channel)
            first = await running.stub.Generate(learned())
            for _ in range(60):
                said = await running.stub.Generate(asked(strategy="performance_based", task="review"))
                good = said.served.target.model == "cheap"
                score = SubmitFeedbackRequest(call_id=said.id, metric="task_success", score=float(good))
                await feedback.SubmitFeedback(score)
                await feedback.SubmitFeedback(score)
            after, other = await running.stub.Generate(learned()), await running.stub.Generate(learned("other"))
        async with gateway(settings) as running:
            later = await running.stub.Generate(learned())
    assert first.served.target.model == "good"
    assert after.served.target.model == "cheap"
    assert other.served.strategy == "performance_based"
    assert later.served.target.model == "cheap"


async def test_an_arm_answers_for_its_calls_even_if_another_had_to(tmp_path: Path) -> None:
    async with upstream([SAID]) as server, upstream([DOWN]) as down:
        providers = {
            name: {"kind": "openai_compatible", "base_url": at.base_url, "models": models}
            for name, at, models in (("up", server, ["cheap", "good"]), ("down", down, ["broken"]))
        }
        settings = two_models(tmp_path, server.base_url, providers=providers, experiments=TONE)
        async with gateway(settings) as running:
            given = set()
            for number in range(16):
                request = asked(strategy="tone", denied_providers=["embedded"])
                request.context.CopyFrom(CallContext(end_user_id=f"u{number % 8}"))
                said = await running.stub.Generate(request)
                assert said.served.target.provider == "up"
                given.add((number % 8, said.served.experiment_arm))
            await running.app._ledger.flush()
            found = {arm.name: arm for arm in await arms(running.app._ledger.database, 0)}
    assert len(given) == 8, "each user has one arm"
    assert {*found} == {"tone/well", "tone/broken"}
    assert sum(arm.calls for arm in found.values()) == 16
    assert found["tone/well"].failures == 0
    assert found["tone/broken"].failures == found["tone/broken"].calls > 0
