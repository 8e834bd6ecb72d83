"""`performance_based` and experiments in the router: who is asked first, for whom, and what is kept of it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from routed import World, configured

from trunkline.v1 import gateway_service_pb2 as pb
from trunkline.v1.call_pb2 import OUTCOME_SUCCESS, CallContext, Target
from trunkline_server.routing.learned.shape import NO_SHAPE, prompt_of, shape_of
from trunkline_server.routing.record import record, replay

if TYPE_CHECKING:
    from pathlib import Path

    from trunkline_server.routing.routed import Routed

HOUSE = """
providers:
  a: {kind: openai_compatible, base_url: "http://localhost:1/v1", models: [cheap, dear]}
  b: {kind: openai_compatible, base_url: "http://localhost:2/v1", models: [good]}
  embedded: {enabled: true}
prices:
  - {model: a/cheap, input: 1, output: 1}
  - {model: a/dear, input: 40, output: 40}
  - {model: b/good, input: 10, output: 10}
model_data:
  a/cheap: {context_window: 8000, scores: {quality: 0.5}}
  a/dear: {context_window: 8000, scores: {quality: 0.5}}
  b/good: {context_window: 8000, scores: {quality: 0.9}}
experiments:
  tone: {arms: {a: 1, b: 3}}
  spread: {arms: {first: 1, others: 1}, groups: {first: [a/dear]}}
learning: {price_weight: 0, explore: SHARE}
"""


def world(folder: Path, share: float = 0.0, more: str = "") -> World:
    return World(configured(folder, HOUSE.replace("SHARE", str(share)) + more))


@pytest.fixture
def house(tmp_path: Path) -> World:
    return world(tmp_path)


def routed(house: World, prompt: str = "hello", user: str = "", **routing: Any) -> Routed:
    call = house.call(prompt=prompt, **routing)
    if user:
        request = pb.GenerateRequest()
        request.CopyFrom(call.request)
        request.context.CopyFrom(CallContext(end_user_id=user))
        call = house.call(request=request)
    return house.router.route(call)


def first(found: Routed) -> str:
    return f"{found.targets[0].provider}/{found.targets[0].model}"


def teach(house: World, model: str, score: float, prompt: str = "", task: str = "") -> None:
    request = house.call(prompt=prompt).request
    for _ in range(100):
        house.learned.observe(task, shape_of(prompt_of(request)) if prompt else NO_SHAPE, model, score)


def test_what_nobody_scored_is_taken_at_the_catalogues_word(house: World) -> None:
    assert first(routed(house, strategy="performance_based")) == "b/good"


def test_what_was_measured_for_a_task_decides_for_that_task(house: World) -> None:
    teach(house, "a/cheap", 0.9, task="review")
    teach(house, "b/good", 0.2, task="review")
    teach(house, "b/good", 0.9, task="other")
    assert first(routed(house, strategy="performance-based", task="review")) == "a/cheap"
    assert first(routed(house, strategy="performance_based", task="other")) == "b/good"


def test_without_a_task_what_the_prompt_looks_like_decides(house: World) -> None:
    code, question = "def f(x):\n  return {x}", "Who was she?"
    for good, bad, prompt in (("a/cheap", "b/good", code), ("b/good", "a/cheap", question)):
        teach(house, good, 0.9, prompt)
        teach(house, bad, 0.1, prompt)
    assert first(routed(house, code, strategy="performance_based")) == "a/cheap"
    assert first(routed(house, question, strategy="performance_based")) == "b/good"


def test_price_counts_as_the_pace_says(tmp_path: Path) -> None:
    house = World(configured(tmp_path, HOUSE.replace("price_weight: 0, explore: SHARE", "cost_per_call: 0.001")))
    assert first(routed(house, strategy="performance_based")) == "b/good"
    house.learned.weight = 50.0
    assert first(routed(house, strategy="performance_based")) == "a/cheap"


def test_exploring_is_logged_with_its_propensity_and_replays(tmp_path: Path) -> None:
    house = world(tmp_path, 0.5)
    for model, score in (("a/cheap", 0.85), ("a/dear", 0.8)):
        teach(house, model, score)
    seen: Counter[str] = Counter()
    for _ in range(400):
        found = routed(house, strategy="performance_based")
        assert found.lesson is not None
        assert found.lesson.assigned == first(found)
        assert sum(found.lesson.propensities) == pytest.approx(1.0)
        assert found.decision is not None
        assert replay(record(found.decision)).order == found.decision.order
        seen[found.lesson.assigned] += 1
    assert found.lesson is not None
    expected = dict(zip(found.lesson.candidates, found.lesson.propensities, strict=True))
    assert {*seen} == {"a/cheap", "a/dear", "b/good"}
    assert seen["b/good"] / 400 == pytest.approx(expected["b/good"], abs=0.08)


def test_where_nothing_is_tried_the_one_that_is_asked_was_sure_to_be(house: World) -> None:
    found = routed(house, strategy="performance_based")
    assert found.lesson is not None
    assert (found.lesson.candidates, found.lesson.propensities) == (("b/good",), (1.0,))
    assert routed(house, strategy="balanced").lesson is None


def test_the_learner_is_told_who_answered_and_at_what_cost(tmp_path: Path) -> None:
    house = World(configured(tmp_path, HOUSE.replace("price_weight: 0, explore: SHARE", "cost_per_call: 0.001")))
    call = house.call(strategy="performance_based", task="review")
    found = house.router.route(call)
    house.router.ended(call, found, 1234)
    call.story.target, call.story.outcome = Target(provider="a", model="dear"), OUTCOME_SUCCESS
    house.router.ended(call, found, 1234)
    assert [(served, target, cost) for _, _, served, target, cost in house.learned.lessons] == [
        ("", 1_000_000.0, 1234),
        ("a/dear", 1_000_000.0, 1234),
    ]
    assert house.learned.lessons[0][1].task == "review"


def arms(house: World, strategy: str, users: int = 800) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for number in range(users):
        one = routed(house, user=f"u{number}", strategy=strategy)
        assert routed(house, user=f"u{number}", strategy=strategy).choice.arm == one.choice.arm
        found[one.choice.arm, one.targets[0].provider] += 1
    return found


def test_callers_are_given_to_arms_by_weight_and_stay_there(house: World) -> None:
    found = arms(house, "tone")
    assert {*found} == {("tone/a", "a"), ("tone/b", "b")}
    assert found["tone/b", "b"] / 800 == pytest.approx(0.75, abs=0.06)


def test_an_arm_may_be_a_group_or_all_others(house: World) -> None:
    every = [routed(house, user=f"u{number}", strategy="spread") for number in range(200)]
    found = {(one.choice.arm, first(one)) for one in every}
    assert {arm for arm, _ in found} == {"spread/first", "spread/others"}
    assert {model for arm, model in found if arm == "spread/first"} == {"a/dear"}
    assert "a/dear" not in {model for arm, model in found if arm == "spread/others"}


def test_ab_test_is_the_first_experiment_and_a_sticky_key_goes_before_the_user(house: World) -> None:
    keyed = {routed(house, user=f"u{n}", strategy="ab_test", sticky_key="conversation").choice.arm for n in range(50)}
    assert len(keyed) == 1
    assert keyed <= {"tone/a", "tone/b"}


def test_without_an_experiment_of_ones_own_half_goes_to_fireworks(tmp_path: Path) -> None:
    snapshot = configured(tmp_path, HOUSE.partition("experiments:")[0], {"FIREWORKS_API_KEY": "k" * 30})
    found = arms(World(snapshot), "ab-testing", 300)
    assert {*found} == {("ab-testing/fireworks", "fireworks"), ("ab-testing/others", "b")}
    assert found["ab-testing/others", "b"] / 300 == pytest.approx(0.5, abs=0.1)
