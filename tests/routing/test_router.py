"""The router: strategies by name, constraints with their reasons, and whom calls go to that name nobody."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from routed import NOW, World, configured, everything

from trunkline.v1 import gateway_service_pb2 as pb
from trunkline.v1.call_pb2 import OUTCOME_SUCCESS
from trunkline.v1.content_pb2 import ROLE_USER, Message, Part, ProviderTool, Tool
from trunkline.v1.model_pb2 import CAPABILITY_TOOLS, CAPABILITY_VISION
from trunkline_server.core import Identity
from trunkline_server.errors import (
    ConstraintsUnmet,
    ContextTooLong,
    InvalidRequest,
    ModelNotAllowed,
    NoCandidate,
    StrategyNotAllowed,
)
from trunkline_server.routing.candidates import build_candidates
from trunkline_server.routing.policy import Policy, Weights
from trunkline_server.routing.ranking import scores_by
from trunkline_server.routing.record import record, replay
from trunkline_server.routing.signal import Signal
from trunkline_server.routing.steering import Figure
from trunkline_server.routing.strategies import BUILT_IN
from trunkline_server.routing.tasks import expand
from trunkline_server.state.signals.affinity import TTL

if TYPE_CHECKING:
    from pathlib import Path

# Three providers of one's own. Quality, price and window are what the names say.
HOUSE = """
providers:
  a: {kind: openai_compatible, base_url: "http://localhost:1/v1", models: [cheap, dear]}
  b: {kind: openai_compatible, base_url: "http://localhost:2/v1", models: [good, long]}
  home: {kind: ollama, models: [small]}
  embedded: {enabled: true}
prices:
  - {model: a/cheap, input: 1, output: 1}
  - {model: a/dear, input: 40, output: 40}
  - {model: b/good, input: 10, output: 10}
  - {model: b/long, input: 5, output: 5}
model_data:
  a/cheap: {context_window: 8000, capabilities: [streaming, tools], scores: {quality: 0.2, speed: 0.5}}
  a/dear: {context_window: 8000, capabilities: [streaming], scores: {quality: 0.6, speed: 0.9}}
  b/good: {context_window: 8000, capabilities: [streaming], scores: {quality: 0.95, speed: 0.4}}
  b/long: {context_window: 900000, capabilities: [streaming, vision], scores: {quality: 0.5, speed: 0.4}}
  home/small: {context_window: 4000, scores: {quality: 0.1, speed: 0.1}, open_weights: true}
"""


@pytest.fixture
def house(tmp_path: Path) -> World:
    return World(configured(tmp_path, HOUSE))


def firsts(world: World, times: int = 300, **what: object) -> Counter[str]:
    return Counter(world.order(**what)[0] for _ in range(times))  # type: ignore[arg-type]


# --- strategies -------------------------------------------------------------------------------------------------------


def test_nothing_is_configured_it_is_balanced_and_the_embedded_model_is_last(house: World) -> None:
    routed = house.route()
    assert routed.choice.strategy == "balanced"
    assert house.order()[-1].startswith("embedded/")
    assert sorted(house.order()) == sorted(
        each.id for each in build_candidates(house.snapshot, NOW).rows if each.kind != "scripted"
    )


@pytest.mark.parametrize(
    ("strategy", "first"),
    [
        ("cost_optimized", "home/small"),
        ("latency-optimized", "a/dear"),
        ("QUALITY_OPTIMIZED", "b/good"),
        ("local-first", "home/small"),
    ],
)
def test_each_puts_its_own_first_however_it_is_spelt(house: World, strategy: str, first: str) -> None:
    assert firsts(house, 50, strategy=strategy) == {first: 50}


def test_every_built_in_strategy_orders_everybody_once(house: World) -> None:
    for name in BUILT_IN:
        order = house.order(strategy=name)
        assert len(order) == len(set(order)) == 6, name
        assert house.route(strategy=name).choice.strategy == name


def test_the_whole_catalogue_is_ordered_by_every_strategy() -> None:
    world = World(everything())
    for name in BUILT_IN:
        assert len(set(world.order(strategy=name))) == 10, name


def test_one_that_there_is_not_is_refused_and_those_that_there_are_are_named(house: World) -> None:
    with pytest.raises(InvalidRequest, match=r"routing.strategy: .*did you mean balanced\?.*least_loaded"):
        house.route(strategy="balancd")


def test_turns_are_taken_by_everybody(house: World) -> None:
    ten = [house.order(strategy="round_robin")[0] for _ in range(10)]
    assert ten[:5] == ten[5:]
    assert len(set(ten)) == 5
    mixed = [house.order(strategy="round_robin", local_only=bool(i % 2))[0] for i in range(20)]
    assert len(set(mixed[::2])) == 5, "another kind of call takes turns of its own"


def test_a_list_is_asked_in_its_order_by_default_models(tmp_path: Path) -> None:
    text = HOUSE + "\nrouting: {strategies: {mine: {order: [b, a/dear, nobody]}}}"
    world = World(configured(tmp_path, text))
    assert world.order(strategy="MINE")[:2] == ["b/good", "a/dear"]
    assert world.order(strategy="mine", max_cost_nano_usd=1_000_000)[0] == "b/long", "the best of b that is left"


def test_enterprise_is_fireworks_claude_openai_gemini() -> None:
    order = World(everything()).order(strategy="enterprise")
    assert [each.partition("/")[0] for each in order[:4]] == ["fireworks", "anthropic", "openai", "gemini"]
    assert World(everything()).order(strategy="fireworks-first")[0].startswith("fireworks/")


def test_shares_are_kept(tmp_path: Path) -> None:
    text = HOUSE + "\nrouting: {strategies: {half: {shares: {a/dear: 1, b: 2, others: 1}}}}"
    counts = firsts(World(configured(tmp_path, text)), 4000, strategy="half")
    assert counts["a/dear"] / 4000 == pytest.approx(0.25, abs=0.03)
    assert counts["b/good"] / 4000 == pytest.approx(0.5, abs=0.03)


def test_load_is_looked_at(house: World) -> None:
    house.signals = {name: Signal(utilisation=0.7) for name in ("a/cheap", "a/dear", "b/good", "b/long")}
    assert house.order(strategy="least_loaded")[0] == "home/small"
    house.signals["b/long"] = Signal(utilisation=0.01)
    house.signals["home/small"] = Signal(utilisation=0.5)
    house.now += 1
    assert house.order(strategy="least_loaded")[0] == "b/long"


def test_what_fits_is_asked(house: World) -> None:
    assert house.order(strategy="capability_match", prompt="hi")[0] in {"a/cheap", "a/dear", "b/good", "b/long"}


def test_the_first_said_strategy_decides(tmp_path: Path) -> None:
    text = (
        HOUSE
        + """
tasks: {review: {strategy: quality_optimized}}
routing: {strategy: cost_optimized, workspaces: {lab: {strategy: latency_optimized}}}
"""
    )
    world = World(configured(tmp_path, text))
    lab, review = Identity(workspace="lab"), Policy(strategy="quality_optimized", task="review")
    assert world.route().choice.strategy == "cost_optimized"
    assert world.route(identity=lab).choice.strategy == "latency_optimized"
    assert world.route(identity=lab, policy=review).choice.strategy == "quality_optimized"
    assert world.route(identity=lab, policy=review, strategy="balanced").choice.strategy == "balanced"
    world.strategies.set("round_robin")
    assert world.route().choice.strategy == "round_robin"
    assert world.route(identity=lab).choice.strategy == "latency_optimized"
    world.strategies.set("local_first", workspace="lab")
    assert world.route(identity=lab, policy=review).choice.strategy == "quality_optimized"
    world.strategies.set("enterprise", task="Re-View")
    assert world.route(identity=lab).choice.strategy == "local_first"
    assert world.route(identity=lab, policy=review).choice.strategy == "enterprise"
    world.strategies.set("")
    assert world.route().choice.strategy == "cost_optimized"


def test_a_strategy_that_is_set_for_a_task_orders_whom_the_task_names(house: World) -> None:
    names = ("a/dear", "b/good", "a/cheap")
    task, pinned = Policy(order=names, task="review"), Policy(order=names, task="review", pinned=True)
    assert house.order(policy=task) == [*names]
    house.strategies.set("cost_optimized", task="Re-View")
    assert house.order(policy=task) == ["a/cheap", "b/good", "a/dear"]
    assert house.route(policy=task).choice.strategy == "cost_optimized"
    assert house.order(policy=pinned) == ["a/dear", "a/cheap", "b/good"]
    assert house.order(policy=task, chain="mine") == [*names], "a chain that the call names is no task's"
    assert house.order(policy=Policy(order=names, task="other")) == [*names]
    told = house.router.explain(house.call(policy=task))
    assert [each.id for each in told.targets] == ["a/cheap", "b/good", "a/dear"]


def test_a_key_goes_only_by_its_own_strategies(house: World) -> None:
    only = Identity(strategies=("cost-optimized", "round_robin"))
    assert house.route(identity=only).choice.strategy == "cost_optimized"
    assert house.route(identity=only, strategy="Round-Robin").choice.strategy == "round_robin"
    with pytest.raises(StrategyNotAllowed, match="balanced"):
        house.route(identity=only, strategy="balanced")


def test_weights_of_the_task_go_before_those_of_the_configuration(tmp_path: Path) -> None:
    text = HOUSE + "\nrouting: {weights: {cost: 1, performance: 0, quality: 0, specialised: 0}}"
    world = World(configured(tmp_path, text))
    assert firsts(world, 30) == {"home/small": 30}
    quality = Policy(weights=Weights(cost=0, performance=0, quality=1, specialised=0))
    assert firsts(world, 30, policy=quality) == {"b/good": 30}
    assert firsts(world, 30, policy=quality, strategy="latency_optimized") == {"a/dear": 30}


@pytest.mark.parametrize(
    ("environment", "cost", "quality"), [("development", 0.6 / 1.3, 0.5414), ("production", 0.15 / 0.85, 0.3989)]
)
def test_an_environment_weighs_cost_and_the_quality_that_it_aims_at_and_removes_nobody(
    tmp_path: Path, environment: str, cost: float, quality: float
) -> None:
    """Of 0.6 beside a best of 0.95 it counts how near that comes to the threshold: development's is 0.7."""
    plain, aims = (World(configured(tmp_path, HOUSE + f"\nenvironment: {name}")) for name in ("", environment))
    policy = expand(aims.snapshot.settings, aims.call().request).policy
    before, after = plain.router.explain(plain.call()), aims.router.explain(aims.call(policy=policy))
    assert (before.weights["cost"], after.weights["cost"]) == pytest.approx((0.3, cost))
    qualities = [{each.id: each.terms["quality"] for each in told.targets} for told in (before, after)]
    assert [found["a/dear"] for found in qualities] == pytest.approx([0.6, quality], abs=1e-4)
    assert [found["b/good"] for found in qualities] == pytest.approx([0.95, 0.95])
    assert qualities[0].keys() == qualities[1].keys()


def test_fallbacks_are_ordered_by_a_strategy_of_their_own(tmp_path: Path) -> None:
    text = HOUSE + "\nrouting: {strategy: quality_optimized, fallback_strategy: local_first}"
    assert World(configured(tmp_path, text)).order()[:2] == ["b/good", "home/small"]


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_any_strategy_may_order_the_fallbacks(tmp_path: Path, name: str) -> None:
    text = HOUSE + f"routing: {{strategy: quality_optimized, fallback_strategy: {name}}}\n"
    world = World(configured(tmp_path, text))
    routed = world.route()
    assert routed.decision is not None
    assert routed.targets[0].model == "good"
    assert len(routed.targets) == 6
    assert replay(record(routed.decision)).order == routed.decision.order


@pytest.mark.parametrize(
    ("strategies", "second"),
    [
        ("fallback_strategy: mine, strategies: {mine: {order: [a/dear, home]}}", "a/dear"),
        ("fallback_strategy: mine, strategies: {mine: {order: [home]}}", "home/small"),
        ("fallback_strategy: mine, strategies: {mine: {shares: {b/long: 1}}}", "b/long"),
        ("fallback_strategy: performance_based", "a/dear"),
        ("fallback_strategy: least_loaded", "home/small"),
    ],
)
def test_a_fallback_strategy_goes_by_what_it_is_about(tmp_path: Path, strategies: str, second: str) -> None:
    world = World(configured(tmp_path, HOUSE + f"routing: {{strategy: quality_optimized, {strategies}}}\n"))
    world.signals = {name: Signal(utilisation=0.5, samples=30) for name in ("a/cheap", "a/dear", "b/good", "b/long")}
    assert world.order()[:2] == ["b/good", second]


def test_without_fallback_one_is_asked(tmp_path: Path, house: World) -> None:
    assert len(house.order(disable_fallback=True)) == 1
    world = World(configured(tmp_path, HOUSE + "\nrouting: {fallback: false}\nfallbacks: {a/cheap: [b]}"))
    assert len(world.order()) == 1
    assert world.order("a/cheap") == ["a/cheap"]


def test_local_ones_are_preferred_where_the_operator_says_so(tmp_path: Path) -> None:
    world = World(configured(tmp_path, HOUSE + "\nrouting: {strategy: quality_optimized, prefer_local: true}"))
    assert world.order()[0] == "home/small"
    assert world.order("a/dear") == ["a/dear"]


def test_the_default_model_goes_before_balanced_and_not_before_a_strategy(tmp_path: Path) -> None:
    world = World(configured(tmp_path, HOUSE + "\ndefault_model: a/dear"))
    assert world.order() == ["a/dear"]
    assert world.order(strategy="quality_optimized")[0] == "b/good"
    cheap = world.order(max_cost_nano_usd=1_000_000)
    assert cheap, "the call goes to one that fits"
    assert "a/dear" not in cheap


# --- names ------------------------------------------------------------------------------------------------------------


def test_a_call_that_names_its_model_goes_there_and_says_so(house: World) -> None:
    routed = house.route("b/long")
    assert [each.model for each in routed.targets] == ["long"]
    assert routed.choice.strategy == "named"
    assert routed.decision is None
    assert len(routed.choice.decision_id) == 16


def test_the_order_of_a_chain_stands_unless_the_call_says_a_strategy(house: World) -> None:
    chain = Policy(order=("a/dear", "nobody", "b/good", "a/cheap"), chain="mine")
    assert house.order(policy=chain) == ["a/dear", "b/good", "a/cheap"]
    assert house.order(policy=chain, strategy="cost_optimized") == ["a/cheap", "b/good", "a/dear"]
    pinned = Policy(order=("a/dear", "a/cheap"), pinned=True)
    assert house.order(policy=pinned, strategy="cost_optimized") == ["a/dear", "a/cheap"]


def test_tiers_come_one_after_the_other(house: World) -> None:
    tiers = Policy(tiers=(("a/dear", "b/long"), ("b/good", "a/cheap")), strategy="quality_optimized")
    assert house.order(policy=tiers) == ["a/dear", "b/long", "b/good", "a/cheap"]


def test_constraints_hold_for_whom_a_chain_names_too(house: World) -> None:
    chain = Policy(order=("a/dear", "b/good", "a/cheap"))
    assert house.order(policy=chain, max_cost_nano_usd=2_000_000) == ["b/good", "a/cheap"]


# --- constraints ------------------------------------------------------------------------------------------------------


def test_each_constraint_removes_who_does_not_meet_it(house: World) -> None:
    everybody = set(house.order())
    assert {each.partition("/")[0] for each in house.order(allowed_providers=["a", "b"])} == {"a", "b"}
    assert {each.partition("/")[0] for each in house.order(denied_providers=["a"])} == {"b", "home", "embedded"}
    assert set(house.order(required_capabilities=[CAPABILITY_VISION])) == {"b/long"}
    assert set(house.order(min_context_window=100_000)) == {"b/long"}
    assert set(house.order(min_quality=0.55)) == {"a/dear", "b/good"}
    assert everybody - set(house.order(max_cost_nano_usd=1_000_000)) == {"a/dear", "b/good"}
    assert {each.partition("/")[0] for each in house.order(local_only=True)} == {"home", "embedded"}


SEARCHES = """
providers:
  searches: {kind: anthropic, api_key: env:K, models: [claude-haiku-4-5], provider_tools: [web_search_20250305]}
  forbids: {kind: anthropic, api_key: env:K, models: [claude-haiku-4-5]}
  openai: {api_key: env:K, models: [gpt-4o-mini, o3-pro], provider_tools: [web_search]}
  local: {kind: ollama, models: [small]}
"""


def asking(dialect: str, type_: str, **options: Any) -> pb.GenerateRequest:
    """A request with a tool that its provider runs."""
    tool = Tool(provider_tool=ProviderTool(dialect=dialect, type=type_))
    request = pb.GenerateRequest(messages=[Message(role=ROLE_USER, parts=[Part(text="who won?")])], tools=[tool])
    for name in options.get("options", ()):
        request.provider_options[name].SetInParent()
    return request


def test_a_tool_that_the_provider_runs_goes_to_whoever_runs_it_and_may(tmp_path: Path) -> None:
    world = World(configured(tmp_path, SEARCHES, {"K": "k" * 30}))
    search = asking("anthropic_messages", "web_search_20250305")
    assert world.order(request=search) == ["searches/claude-haiku-4-5"]
    told = {each.id: each for each in world.router.explain(world.call(request=search)).removed}
    assert {each.constraint for each in told.values() if each.constraint != "unavailable"} == {"provider_tools"}
    assert "may not run web_search_20250305" in told["forbids/claude-haiku-4-5"].detail
    assert "has no web_search_20250305 of anthropic_messages" in told["local/small"].detail
    order = Policy(order=("forbids/claude-haiku-4-5", "searches/claude-haiku-4-5"))
    assert world.order(request=search, policy=order) == ["searches/claude-haiku-4-5"], "in an order, too"
    order = Policy(order=("forbids/claude-haiku-4-5", "local/small"))
    assert len(world.order(request=search, policy=order)) == 2, "who was named refuses it himself"


def test_a_tool_of_the_responses_api_goes_to_models_that_are_asked_there(tmp_path: Path) -> None:
    world = World(configured(tmp_path, SEARCHES, {"K": "k" * 30}))
    assert world.order(request=asking("openai_responses", "web_search")) == ["openai/o3-pro"]
    asked = asking("openai_responses", "web_search", options=["openai_responses"])
    assert set(world.order(request=asked)) == {"openai/o3-pro", "openai/gpt-4o-mini"}


@pytest.mark.parametrize(
    ("tool", "said"),
    [
        (("anthropic_messages", "code_execution"), "allowed by the operator: providers.forbids.provider_tools or"),
        (("gemini_generate_content", "google_search"), "none of them speaks gemini_generate_content"),
    ],
)
def test_a_tool_that_nobody_runs_is_named(tmp_path: Path, tool: tuple[str, str], said: str) -> None:
    world = World(configured(tmp_path, SEARCHES, {"K": "k" * 30}))
    with pytest.raises(ConstraintsUnmet) as error:
        world.route(request=asking(*tool))
    assert [each.field for each in error.value.violations] == ["tools[0].provider_tool"]
    assert said in error.value.message


def test_what_a_tool_decides_replays(tmp_path: Path) -> None:
    world = World(configured(tmp_path, SEARCHES, {"K": "k" * 30}))
    decision = world.route(request=asking("anthropic_messages", "web_search_20250305")).decision
    assert decision is not None
    assert replay(record(decision)).order == decision.order


def test_times_that_were_measured_count(house: World) -> None:
    house.signals = {
        "a/cheap": Signal(base=5.0, per_token=0.1, samples=30),
        "a/dear": Signal(base=0.2, per_token=0.001, samples=30),
    }
    assert "a/cheap" not in house.order(max_time_to_first_token={"seconds": 1})
    assert "b/good" in house.order(max_time_to_first_token={"seconds": 1}), "nobody measured it"
    assert "a/cheap" not in house.order(max_expected_total_time={"seconds": 10})
    assert "a/dear" in house.order(max_expected_total_time={"seconds": 10})


def test_who_is_left_out_by_the_operators_limit_of_time(tmp_path: Path) -> None:
    world = World(configured(tmp_path, HOUSE + "\nrouting: {max_latency: 1s}"))
    world.signals = {"a/cheap": Signal(base=5.0, per_token=0.1, samples=30)}
    assert "a/cheap" not in world.order()
    assert world.order("a/cheap") == ["a/cheap"], "a model that is named is asked"
    with pytest.raises(ConstraintsUnmet, match=r"the gateway's routing\.max_latency is 1 s, and"):
        world.route(allowed_providers=["a"], denied_providers=["embedded"], required_capabilities=[CAPABILITY_TOOLS])
    assert "a/cheap" in world.order(allowed_providers=["a"], max_expected_total_time={"seconds": 90})


@pytest.mark.parametrize(
    ("what", "field", "said"),
    [
        (
            {"max_cost_nano_usd": 0, "denied_providers": ["home", "embedded"]},
            "max_cost_nano_usd",
            "cheapest is a/cheap",
        ),
        ({"min_quality": 0.99}, "min_quality", "the best is b/good, 0.950"),
        ({"min_context_window": 1_000_000}, "min_context_window", "b/long, 900000"),
        ({"allowed_providers": ["c"]}, "allowed_providers", "could be asked are a, b, embedded, home"),
        ({"required_capabilities": [CAPABILITY_TOOLS, CAPABILITY_VISION]}, "required_capabilities", "comes nearest"),
        ({"local_only": True, "denied_providers": ["home", "embedded"]}, "local_only", "a provider on this machine"),
    ],
)
def test_if_nobody_is_left_it_is_said_why_and_what_would_do(
    house: World, what: dict[str, Any], field: str, said: str
) -> None:
    with pytest.raises(ConstraintsUnmet) as error:
        house.route(**what)
    assert [each.field for each in error.value.violations] == [f"routing.{field}"]
    assert said in error.value.message


def test_a_prompt_that_outgrows_a_window_goes_to_one_that_holds_it(house: World) -> None:
    long = "many words " * 20_000
    assert house.order(prompt=long) == ["b/long"]
    with pytest.raises(ContextTooLong, match=r"8000 tokens \(a/cheap\)|a/dear|b/good"):
        house.route(prompt=long, denied_providers=["b"])


def test_a_last_resort_answers_where_nobody_is_left(house: World) -> None:
    routed = house.route(policy=Policy(last_resort="a/cheap"), min_quality=0.99)
    assert [each.model for each in routed.targets] == ["cheap"]
    assert routed.choice.strategy == "last_resort"


@pytest.mark.parametrize(
    "promised",
    [
        {"denied_providers": ["a"], "min_quality": 0.99},
        {"allowed_providers": ["b"], "min_quality": 0.99},
        {"local_only": True, "min_quality": 0.99},
        {"max_cost_nano_usd": 1, "denied_providers": ["home", "embedded"]},
    ],
)
def test_a_last_resort_goes_nowhere_that_the_call_forbids_and_costs_no_more_than_it_allows(
    house: World, promised: dict[str, Any]
) -> None:
    with pytest.raises(ConstraintsUnmet):
        house.route(policy=Policy(last_resort="a/cheap"), **promised)


def test_a_last_resort_that_cannot_hold_the_prompt_or_be_asked_leaves_the_error_as_it_was(house: World) -> None:
    with pytest.raises(ContextTooLong):
        house.route(policy=Policy(last_resort="a/cheap"), prompt="many words " * 20_000, denied_providers=["b"])
    with pytest.raises(ConstraintsUnmet, match="min_quality"):
        house.route(policy=Policy(last_resort="nobody/has-it"), min_quality=0.99)


def test_only_what_a_key_may_use_is_a_candidate(house: World) -> None:
    assert set(house.order(identity=Identity(providers=("b",)))) == {"b/good", "b/long"}
    assert set(house.order(identity=Identity(models=("a/*",)))) == {"a/cheap", "a/dear"}
    with pytest.raises(ConstraintsUnmet) as error:
        house.route(identity=Identity(models=("a/*",)), min_quality=0.99)
    assert "b/" not in error.value.message
    with pytest.raises((NoCandidate, ModelNotAllowed)):
        house.route(identity=Identity(models=("nobody/*",)))


# --- how providers do -------------------------------------------------------------------------------------------------


def test_who_cannot_be_asked_comes_after_who_can(house: World) -> None:
    house.figures = {"b": Figure(wait=5.0)}
    assert firsts(house, 50, strategy="quality_optimized") == {"a/dear": 50}
    house.figures = {"b": Figure(success=0.0)}
    assert firsts(house, 200, strategy="quality_optimized")["b/good"] < 10
    house.figures = {"b": Figure()}
    assert firsts(house, 50, strategy="quality_optimized") == {"b/good": 50}


def test_a_provider_that_fails_is_followed_by_another_one(house: World) -> None:
    order = house.order(strategy="quality_optimized")
    assert [each.partition("/")[0] for each in order[:3]] == ["b", "a", "home"]


def test_how_long_a_provider_usually_takes_is_the_speed_of_what_nobody_measured(tmp_path: Path) -> None:
    """A mean of 3 s: 1 s / (1 s + 3 s). A score of one's own and a measurement go before it."""
    house = "models: [good, long, new], usual_latency: {least: 2s, most: 4s}}"
    world = World(configured(tmp_path, HOUSE.replace("models: [good, long]}", house)))
    told = {each.id: each for each in world.router.explain(world.call()).targets}
    assert told["b/new"].terms["performance"] == pytest.approx(0.25)
    assert told["b/good"].terms["performance"] == pytest.approx(0.4)
    assert told["b/new"].expected_time_to_first_token.ToTimedelta().total_seconds() == pytest.approx(3.0)
    assert told["b/new"].measured is False


def test_near_equals_share_the_calls(tmp_path: Path) -> None:
    same = """
providers:
  a: {kind: openai_compatible, base_url: "http://localhost:1/v1", models: [m]}
  b: {kind: openai_compatible, base_url: "http://localhost:2/v1", models: [m]}
  c: {kind: openai_compatible, base_url: "http://localhost:3/v1", models: [m]}
prices: [{model: "*/m", input: 1, output: 1}]
"""
    world = World(configured(tmp_path, same))
    for what in ({}, {"strategy": "cost_optimized"}, {"model": "m"}):
        counts = firsts(world, 900, **what)
        assert set(counts) == {"a/m", "b/m", "c/m"}
        assert min(counts.values()) > 200


# --- explained --------------------------------------------------------------------------------------------------------


def test_a_plan_says_who_why_and_what_it_costs(house: World) -> None:
    told = house.router.explain(house.call(strategy="quality_optimized", max_cost_nano_usd=2_000_000))
    assert told.strategy == "quality_optimized"
    assert [each.id for each in told.targets][:2] == ["b/good", "a/cheap"]
    first = told.targets[0]
    assert first.score == pytest.approx(0.95)
    assert set(first.terms) == {"cost", "performance", "quality", "specialised"}
    assert sum(told.weights.values()) == pytest.approx(1)
    for each in told.targets:
        assert each.score == pytest.approx(sum(told.weights[name] * value for name, value in each.terms.items()))
    assert first.expected_cost_nano_usd == (told.input_tokens + told.expected_output_tokens) * 10_000
    assert first.HasField("expected_total_time")
    assert not first.measured
    assert {each.id: each.constraint for each in told.removed}["a/dear"] == "max_cost_nano_usd"
    assert "nano-USD" in told.removed[0].detail


@pytest.mark.parametrize(
    ("strategy", "terms"),
    [
        ("capability_match", {"coding", "reasoning", "speed", "price"}),
        ("performance_based", {"quality", "price"}),
        ("least_loaded", {"unused"}),
    ],
)
def test_a_plan_says_what_strategies_without_weights_go_by(house: World, strategy: str, terms: set[str]) -> None:
    house.signals = {"a/cheap": Signal(utilisation=0.9), "b/long": Signal(utilisation=0.2)}
    told = house.router.explain(house.call(strategy=strategy, denied_providers=["embedded"]))
    assert not told.weights
    scores = [each.score for each in told.targets]
    assert len(set(scores)) > 2
    for each in told.targets:
        assert set(each.terms) == terms
        assert each.score == pytest.approx(sum(each.terms.values()))
    assert scores[:3] == sorted(scores[:3], reverse=True), "the best of each of three providers"
    assert not house.router.explain(house.call(strategy="round_robin")).targets[0].terms


def test_the_fit_in_a_plan_is_the_one_that_is_documented(house: World) -> None:
    """Simple and not about code: speed counts 0.3, and each USD of the effective price takes 0.003."""
    told = house.router.explain(house.call(strategy="capability_match"))
    dear = {each.id: each for each in told.targets}["a/dear"]
    assert dict(dear.terms) == pytest.approx({"coding": 0, "reasoning": 0, "speed": 0.27, "price": -0.12})
    assert dear.score == pytest.approx(0.15)


def test_a_plan_takes_no_turn(house: World) -> None:
    turns = [house.order(strategy="round_robin")[0] for _ in range(10)]
    for place in range(5):
        told = house.router.explain(house.call(strategy="round_robin"))
        assert told.targets[0].id == turns[place]
        assert house.order(strategy="round_robin")[0] == turns[place]


@pytest.mark.parametrize(
    ("model", "what", "strategy"),
    [
        ("b/long", {}, "named"),
        ("", {"policy": Policy(order=("a/dear", "b/good"))}, "priority"),
        ("b/long", {"max_cost_nano_usd": 10**12}, "balanced"),
        ("", {"policy": Policy(order=("a/dear", "b/good")), "strategy": "cost_optimized"}, "cost_optimized"),
        ("", {}, "balanced"),
    ],
)
def test_a_plan_names_the_strategy_that_the_answer_will(
    house: World, model: str, what: dict[str, Any], strategy: str
) -> None:
    told, routed = house.router.explain(house.call(model, **what)), house.route(model, **what)
    assert told.experiment_arm == routed.choice.arm
    assert told.strategy == routed.choice.strategy == strategy
    if strategy in ("named", "priority"):
        assert [each.target for each in told.targets] == [*routed.targets]


def test_a_plan_of_a_model_that_is_named_is_in_no_experiment(tmp_path: Path) -> None:
    world = World(configured(tmp_path, HOUSE + "\nexperiments: {x: {arms: {a: 1, b: 1}}}\nrouting: {strategy: x}"))
    named, open_ = (world.router.explain(world.call(model)) for model in ("a/dear", ""))
    assert (named.strategy, named.experiment_arm) == ("named", "")
    assert (open_.strategy, open_.experiment_arm[:2]) == ("x", "x/")


def test_a_plan_tells_of_those_that_cannot_be_called(tmp_path: Path) -> None:
    keyless = HOUSE.replace("providers:", "providers:\n  openai: {}", 1)
    world = World(configured(tmp_path, keyless))
    told = world.router.explain(world.call())
    missing = {each.id: each for each in told.removed}["openai/gpt-4o-mini"]
    assert missing.constraint == "unavailable"
    assert "OPENAI_API_KEY" in missing.detail
    only = world.router.explain(world.call("a/cheap", identity=Identity(providers=("a",))))
    assert [each.id for each in only.targets] == ["a/cheap"]
    assert not only.removed


def test_the_last_resort_is_told_of(house: World) -> None:
    told = house.router.explain(house.call(policy=Policy(last_resort="a/cheap"), min_quality=0.99))
    assert (told.strategy, [each.id for each in told.targets]) == ("last_resort", ["a/cheap"])
    assert told.targets[0].expected_cost_nano_usd > 0


def test_where_nobody_is_asked_but_the_first_the_plan_has_nobody_else(tmp_path: Path, house: World) -> None:
    told = house.router.explain(house.call(strategy="quality_optimized", disable_fallback=True))
    assert [each.id for each in told.targets] == ["b/good"]
    assert {each.constraint for each in told.removed} == {"disable_fallback"}
    assert "a/dear" in {each.id for each in told.removed}
    configured_so = World(configured(tmp_path, HOUSE + "routing: {fallback: false}\n"))
    told = configured_so.router.explain(configured_so.call(strategy="quality_optimized"))
    assert [each.id for each in told.targets] == ["b/good"]
    assert {each.constraint for each in told.removed} == {"routing.fallback"}


# --- again ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", sorted(BUILT_IN))
def test_a_decision_is_made_again_of_what_is_recorded(house: World, strategy: str) -> None:
    house.figures = {"a": Figure(0.5, 0.25, 0.0), "b": Figure(0.9)}
    house.signals = {"a/cheap": Signal(base=0.123456789, per_token=0.0123, samples=21, errors=0.1, utilisation=0.3)}
    house.lengths = {"b/long": 321}
    for streaming in (True, False):
        decision = house.route(strategy=strategy, streaming=streaming, max_cost_nano_usd=10**9).decision
        assert decision is not None
        again = replay(record(decision))
        assert again.order == decision.order
        assert again.ranking.groups == decision.ranking.groups
        assert scores_by(again.ranking.known) == scores_by(decision.ranking.known)
        assert again.ranking.numbers == decision.ranking.numbers
        assert "hello" not in record(decision), "no text of the request"


# --- what calls before have taught ------------------------------------------------------------------------------------

TWINS = """
providers:
  one: {kind: openai_compatible, base_url: "http://localhost:1/v1", models: [m]}
  other: {kind: openai_compatible, base_url: "http://localhost:2/v1", models: [m]}
prices:
  - {model: one/m, input: 0.1, output: 0.1, cache_read: 0.01}
  - {model: other/m, input: 0.1, output: 0.1, cache_read: 0.01}
"""
LONG = "many words " * 1000


@pytest.fixture
def twins(tmp_path: Path) -> World:
    return World(configured(tmp_path, TWINS))


def answered(world: World, target: str, prompt: str) -> None:
    """A call was answered by this one."""
    call = world.call(prompt=prompt)
    call.story.target.provider, call.story.target.model = target.split("/")
    call.story.outcome = OUTCOME_SUCCESS
    world.router.ended(call, world.router.route(call), None)


def test_of_equals_the_one_goes_first_that_has_read_the_prompt(twins: World) -> None:
    assert set(firsts(twins, 100, prompt=LONG)) == {"one/m", "other/m"}
    answered(twins, "other/m", LONG)
    assert firsts(twins, 100, prompt=LONG) == {"other/m": 100}
    assert set(firsts(twins, 100, prompt=f"other {LONG}")) == {"one/m", "other/m"}
    answered(twins, "other/m", "short")
    assert set(firsts(twins, 100, prompt="short")) == {"one/m", "other/m"}
    twins.now += int(TTL) + 1
    assert set(firsts(twins, 100, prompt=LONG)) == {"one/m", "other/m"}


def test_whoever_has_read_it_is_left_where_it_cannot_be_asked(twins: World) -> None:
    answered(twins, "other/m", LONG)
    twins.figures["other"] = Figure(wait=1.0)
    assert firsts(twins, 50, prompt=LONG) == {"one/m": 50}
    twins.figures.clear()
    assert set(firsts(twins, 100, prompt=LONG)) == {"one/m", "other/m"}


def test_whoever_has_read_it_is_no_favourite_where_it_is_busy(twins: World) -> None:
    twins.signals["other/m"] = Signal(utilisation=0.9)
    answered(twins, "other/m", LONG)
    assert firsts(twins, 100, prompt=LONG)["one/m"] > 50


def test_what_was_read_before_replays(twins: World) -> None:
    answered(twins, "other/m", LONG)
    decision = twins.route(prompt=LONG).decision
    assert decision is not None
    assert decision.ranking.question.warm is not None
    assert replay(record(decision)).order == decision.order


def test_prompts_are_as_long_as_calls_have_taught(twins: World) -> None:
    twins.corrections["other/m"] = 2.0
    decision = twins.route(prompt=LONG).decision
    assert decision is not None
    ranking = decision.ranking
    inputs = {row.id: ranking.numbers.inputs[index] for index, row in enumerate(ranking.question.table.rows)}
    own, corrected = inputs["one/m"], inputs["other/m"]
    assert corrected == pytest.approx(2 * own, abs=1)
    assert replay(record(decision)).ranking.numbers == decision.ranking.numbers


# --- whom a strategy names --------------------------------------------------------------------------------------------

NAMES = """
routing:
  strategies:
    unlisted: {order: [a/new, b]}
    gone: {order: [a/old]}
    here: {order: [embedded, b]}
    told: {order: [mock/mock-fast, b]}
    shared: {shares: {a/new: 1000000, others: 0.000001}}
experiments:
  example: {arms: {control: 0.5, mock/mock-fast: 0.5}, groups: {control: [embedded]}}
  half: {arms: {a: 0.5, others: 0.5}}
"""
OLD = "  a/old: {retirement: 2026-01-01, replacement: newer}\n"


@pytest.fixture
def naming(tmp_path: Path) -> World:
    return World(configured(tmp_path, HOUSE + OLD + NAMES))


@pytest.mark.parametrize(
    ("strategy", "first", "second"),
    [
        ("unlisted", "a/new", "b/good"),
        ("gone", "a/newer", None),
        ("here", "embedded/smollm2-135m-instruct", "b/good"),
        ("told", "mock/mock-fast", "b/good"),
        ("shared", "a/new", None),
    ],
)
def test_a_strategy_asks_whom_it_names_listed_or_not(
    naming: World, strategy: str, first: str, second: str | None
) -> None:
    order = naming.order(strategy=strategy)
    assert order[0] == first
    assert second in (None, order[1])
    assert set(naming.order()) < {*order, "a/newer"}, "everybody else comes after them"


def test_of_those_whom_a_name_means_the_embedded_model_comes_last(house: World) -> None:
    for strategy in ("", "quality_optimized", "performance_based", "local_first"):
        assert firsts(house, 40, model="local-models", strategy=strategy) == {"home/small": 40}
    assert house.order("local-models") == ["home/small", "embedded/smollm2-135m-instruct"]
    tiers = Policy(tiers=(("embedded", "b/good"),))
    assert house.order(policy=tiers) == ["b/good", "embedded/smollm2-135m-instruct"]


def test_what_serves_for_a_model_that_a_strategy_names_says_so(naming: World) -> None:
    routed = naming.route(strategy="gone")
    assert "a/old is gone" in routed.replaced["a", "newer"].message
    assert "a/newer" not in naming.order(strategy="gone", strict_params=True)


def test_each_arm_of_an_experiment_asks_whom_it_means(naming: World) -> None:
    seen: dict[str, set[str]] = {}
    for number in range(60):
        for name in ("example", "half"):
            routed = naming.route(strategy=name, sticky_key=str(number))
            seen.setdefault(routed.choice.arm, set()).add(f"{routed.targets[0].provider}/{routed.targets[0].model}")
    assert seen["example/control"] == {"embedded/smollm2-135m-instruct"}
    assert seen["example/mock/mock-fast"] == {"mock/mock-fast"}
    assert seen["half/a"] == {"a/cheap"}, "a provider's name means its default model"
    assert seen["half/others"] <= {"b/good", "b/long", "home/small"}
    naming.figures = {"b": Figure(wait=5.0), "home": Figure(wait=5.0)}
    others = [naming.order(strategy="half", sticky_key=str(number)) for number in range(20)]
    assert {order[-1] for order in others} == {"embedded/smollm2-135m-instruct"}


def test_an_arm_goes_on_without_what_only_another_arm_names(naming: World) -> None:
    routed = [naming.route(strategy="example", sticky_key=str(number)) for number in range(60)]
    control = [each for each in routed if each.choice.arm == "example/control"]
    assert control
    assert not any(target.provider == "mock" for each in control for target in each.targets)


def test_an_arm_whose_default_model_does_not_qualify_asks_the_providers_others(naming: World) -> None:
    found = {
        naming.route(strategy="half", sticky_key=str(number), min_quality=0.5, denied_providers=["b"]).targets[0].model
        for number in range(40)
    }
    assert found == {"dear"}


def test_who_may_not_be_asked_is_not_named_by_a_strategy_either(naming: World) -> None:
    assert not {"a/new"} & set(naming.order(strategy="unlisted", identity=Identity(providers=("b",))))
    assert naming.order(strategy="unlisted", denied_providers=["a"])[0] == "b/good"


@pytest.mark.parametrize("order", [("b/good", "b/long"), ("b/good",)])
def test_an_experiment_of_a_task_asks_its_arms_before_whom_the_task_names(
    naming: World, order: tuple[str, ...]
) -> None:
    policy = Policy(task="review", strategy="example", tiers=(order,))
    seen = {}
    for number in range(40):
        routed = naming.route(policy=policy, sticky_key=str(number))
        seen[routed.choice.arm] = [f"{each.provider}/{each.model}" for each in routed.targets]
    assert seen == {
        "example/control": ["embedded/smollm2-135m-instruct", *order],
        "example/mock/mock-fast": ["mock/mock-fast", *order],
    }


def test_an_experiment_moves_nobody_who_is_pinned_or_whom_the_call_names(naming: World) -> None:
    for what in ({"model": "b/good"}, {"policy": Policy(strategy="example", order=("b/good", "b/long"), pinned=True)}):
        assert {naming.order(strategy="example", sticky_key=str(number), **what)[0] for number in range(20)} == {
            "b/good"
        }


def test_a_call_whose_model_no_arm_means_is_in_no_experiment(naming: World) -> None:
    named = [naming.route("b/good", strategy="half", sticky_key=str(number)).choice for number in range(20)]
    assert {(each.strategy, each.arm) for each in named} == {("half", "")}
    more = [naming.route("a/cheap", strategy="half", fallback_models=["b"], sticky_key=str(n)) for n in range(20)]
    assert {(each.choice.arm, each.targets[0].provider) for each in more} == {("", "a")}
    chain = Policy(chain="both", order=("a/cheap", "b/good"))
    over = [naming.route(policy=chain, strategy="half", sticky_key=str(number), chain="both") for number in range(40)]
    assert {(each.choice.arm, each.targets[0].provider) for each in over} == {("half/a", "a"), ("half/others", "b")}
