"""What names mean is remembered, and nobody can tell: a router that remembers says what one says that does not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from routed import NOW, World, configured

from trunkline.v1 import gateway_service_pb2 as pb
from trunkline.v1.content_pb2 import FunctionTool, Tool
from trunkline_server.core import ANYBODY, Identity
from trunkline_server.errors import CallError, ModelNotAllowed
from trunkline_server.routing import remembered

if TYPE_CHECKING:
    from pathlib import Path

    from trunkline_server.snapshot import Snapshot

DAY = 86400
TOMORROW = datetime.fromtimestamp(NOW + DAY, UTC).date()
HOUSE = f"""
providers:
  a: {{kind: openai_compatible, base_url: "http://localhost:1/v1", models: [small, large, old, gone, both]}}
  b: {{kind: openai_compatible, base_url: "http://localhost:2/v1", models: [both]}}
fallbacks: {{a/small: [b/both]}}
context_fallbacks: {{a/small: [a/large]}}
aliases: {{quick: a/small}}
model_data:
  a/small: {{context_window: 1000}}
  a/large: {{context_window: 900000}}
  a/old: {{retirement: "{TOMORROW}", replacement: large}}
  a/gone: {{retirement: "2020-01-01", replacement: large}}
"""
NAMES = ("a/small", "small", "quick", "a/large", "a/old", "a/gone", "both", "a", "nobody", "A/Small")
CALLERS = (ANYBODY, Identity(models=("small",)), Identity(providers=("b",)), Identity(models=("b/*",)))
TOOLS = [Tool(function=FunctionTool(name="f"))]
calls = st.tuples(
    st.sampled_from(NAMES),
    st.sampled_from(CALLERS),
    st.sampled_from(["short", "long " * 900]),
    st.booleans(),
    st.sampled_from([{}, {}, {"disable_fallback": True}, {"strict_params": True}, {"fallback_models": ["b/both"]}]),
    st.sampled_from([0, 0, 3 * DAY]),
)


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return configured(tmp_path_factory.mktemp("house"), HOUSE)


def said(world: World, name: str, caller: Identity, prompt: str, tools: bool, routing: dict[str, Any]) -> object:
    """All that can be told of where a call goes."""
    request = pb.GenerateRequest(model=name, tools=TOOLS if tools else [])
    request.messages.add(role=2).parts.add(text=prompt)
    try:
        routed = world.route(request=request, identity=caller, **routing)
    except CallError as error:
        return type(error), str(error)
    ids = [[f"{each.provider}/{each.model}" for each in some] for some in (routed.targets, routed.larger)]
    return ids, routed.choice.strategy, dict(routed.replaced)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(calls, min_size=1, max_size=12))
def test_it_is_as_if_nothing_were_remembered(snapshot: Snapshot, asked: list[Any]) -> None:
    world = World(snapshot)
    for name, caller, prompt, tools, routing, passes in asked:
        world.now += passes
        fresh = World(snapshot)
        fresh.now, fresh._next = world.now, world._next
        assert said(world, name, caller, prompt, tools, routing) == said(fresh, name, caller, prompt, tools, routing)


def test_the_second_call_is_not_looked_up(snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(snapshot)
    first = world.route("a/small")
    monkeypatch.setattr(world.router, "_plan", None)
    second = world.route("a/small")
    assert (second.targets, second.larger) == (first.targets, first.larger)
    assert second.choice.decision_id != first.choice.decision_id


def test_a_model_is_replaced_on_the_day_it_retires(snapshot: Snapshot) -> None:
    world = World(snapshot)
    assert world.order("a/old") == ["a/old"]
    world.now += 2 * DAY
    assert world.order("a/old") == ["a/large"]


def test_what_one_caller_may_use_is_not_another_ones(snapshot: Snapshot) -> None:
    world = World(snapshot)
    assert world.order("a/large") == ["a/large"]
    with pytest.raises(ModelNotAllowed):
        world.order("a/large", identity=Identity(models=("b/*",)))


def test_another_snapshot_is_another_world(snapshot: Snapshot) -> None:
    world = World(snapshot)
    assert world.order("both") == ["a/both", "b/both"]
    offers = dict(snapshot.offers) | {"a": replace(snapshot.offers["a"], unavailable_reason="it is off")}
    world.snapshot = replace(snapshot, offers=offers)
    assert world.order("both") == ["b/both"]


def test_names_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "MAX_NAMES", 10)
    house = 'providers: {open: {kind: openai_compatible, base_url: "http://localhost:1/v1", default_model: m}}'
    world = World(configured(tmp_path, house))
    for number in range(100):
        assert world.order(f"open/m{number}") == [f"open/m{number}"]
    assert len(world.router._names._meanings) <= 10


def test_a_request_that_is_too_long_does_not_go_where_a_short_one_went(snapshot: Snapshot) -> None:
    world = World(snapshot)
    assert world.order("a/small") == ["a/small", "b/both"]
    assert world.order("a/small", prompt="long " * 9000)[0] != "a/small"
