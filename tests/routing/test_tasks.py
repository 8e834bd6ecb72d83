from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.v1 import call_pb2
from trunkline.v1.call_pb2 import Routing
from trunkline.v1.gateway_service_pb2 import GenerateRequest, GenerationConfig
from trunkline.v1.model_pb2 import CAPABILITY_TOOLS, CAPABILITY_VISION
from trunkline_server.errors import InvalidRequest, UnknownName
from trunkline_server.routing.policy import PLAIN, Weights
from trunkline_server.routing.tasks import Expanded, expand
from trunkline_server.sections import Seconds
from trunkline_server.settings import ProviderSettings, Settings
from trunkline_server.settings.routing import WeightSettings
from trunkline_server.settings.tasks import (
    AgentSettings,
    ChainSettings,
    ComplexitySettings,
    EnvironmentSettings,
    RequirementSettings,
    TaskSettings,
)

SETTINGS = Settings(
    tasks={
        "code_generation": TaskSettings(
            system_prompt="Write code.",
            primary=("gpt-4", "claude"),
            fallback=("qwen", "gpt-4"),
            max_output_tokens=1000,
            labels={"team": "tools"},
        ),
        "ranked": TaskSettings(strategy="quality_optimized", primary=("a", "b"), chain="graceful"),
        "pinned": TaskSettings(strategy="cost_optimized", primary=("a", "b"), fallback=("c",), pinned=True),
        "weighed": TaskSettings(weights=WeightSettings(cost=1, performance=0, quality=0, specialised=0)),
        "down": TaskSettings(primary=("x",), chain="cheap"),
    },
    agents={
        "Implementation-Agent": AgentSettings(task="code_generation", model="own"),
        "bare": AgentSettings(model="own"),
    },
    chains={
        "cheap": ChainSettings(targets=("a", "b", "a")),
        "graceful": ChainSettings(tiers=(("t1", "t2"), ("t3",)), strategy="latency_optimized"),
        "able": ChainSettings(
            requires=RequirementSettings(
                capabilities=("tools", "vision"),
                min_context_window=1000,
                min_quality=0.5,
                max_cost=0.01,
                max_time_to_first_token=Seconds(2),
                max_expected_total_time=Seconds(10),
                local_only=True,
                prefer_open_weights=True,
                providers=("p", "q"),
            )
        ),
    },
    environments={
        "production": EnvironmentSettings(
            cost_optimization="quality_first", quality_threshold=0.95, fallback="maximum_resilience"
        ),
        "development": EnvironmentSettings(cost_optimization="aggressive", quality_threshold=0.7),
    },
    last_resort="embedded",
)


def asked(settings: Settings = SETTINGS, *, model: str = "", system: str = "", **routing: Any) -> Expanded:
    return expand(settings, GenerateRequest(model=model, system_instruction=system, routing=Routing(**routing)))


def said(what: str, name: str) -> dict[str, Any]:
    return {what: name}


def in_environment(name: str) -> Settings:
    return Settings(environments=SETTINGS.environments, environment=name)


# --- tasks ------------------------------------------------------------------------------------------------------------


def test_a_call_that_names_its_model_and_nothing_else_is_left_alone() -> None:
    given = GenerateRequest(model="gpt-4")
    found = expand(SETTINGS, given)
    assert found.request is given
    assert found.policy is PLAIN


def test_a_task_says_who_is_asked_how_and_at_most_how_long() -> None:
    request, policy, warnings = asked(task="code_generation", system="Be brief.")
    assert policy.order == ("gpt-4", "claude", "qwen"), "each once"
    assert (policy.task, policy.max_output_tokens, policy.tiers) == ("code_generation", 1000, ())
    assert request.system_instruction == "Write code.\n\nBe brief."
    assert request.config.max_output_tokens == 1000
    assert dict(request.context.labels) == {"team": "tools"}
    assert not warnings


@pytest.mark.parametrize("name", ["code_generation", "CODE-GENERATION", "Code_Generation", "codegeneration"])
def test_the_spelling_of_a_name_does_not_matter(name: str) -> None:
    request, policy, warnings = asked(task=name)
    assert policy.order[0] == "gpt-4"
    assert request.routing.task == policy.task == "code_generation", "statistics know one name"
    assert not warnings


@pytest.mark.parametrize(("asks", "gets"), [(None, 1000), (10, 10), (5000, 1000)])
def test_a_cap_lowers_and_never_raises(asks: int | None, gets: int) -> None:
    config = GenerationConfig() if asks is None else GenerationConfig(max_output_tokens=asks)
    request = GenerateRequest(config=config, routing=Routing(task="code_generation"))
    assert expand(SETTINGS, request).request.config.max_output_tokens == gets


def test_labels_of_the_caller_stand() -> None:
    request = GenerateRequest(routing=Routing(task="code_generation"))
    request.context.labels["team"] = "mine"
    assert dict(expand(SETTINGS, request).request.context.labels) == {"team": "mine"}


def test_a_call_never_has_more_labels_than_it_may_have() -> None:
    request = GenerateRequest(routing=Routing(task="code_generation"))
    for index in range(32):
        request.context.labels[f"n{index}"] = ""
    assert "team" not in expand(SETTINGS, request).request.context.labels


def test_who_names_a_model_goes_to_that_and_is_told_how_all_the_same() -> None:
    request, policy, _ = asked(model="mine", task="code_generation")
    assert (policy.order, policy.tiers, policy.task) == ((), (), "code_generation")
    assert request.system_instruction == "Write code."


def test_a_strategy_of_a_task_orders_its_targets() -> None:
    policy = asked(task="ranked").policy
    assert (policy.strategy, policy.order) == ("quality_optimized", ())
    assert policy.tiers == (("a", "b"), ("t1", "t2"), ("t3",))


def test_all_but_the_one_that_is_pinned() -> None:
    policy = asked(task="pinned").policy
    assert (policy.order, policy.tiers, policy.pinned) == (("a",), (("b", "c"),), True)
    assert not asked(task="pinned", chain="cheap").policy.pinned, "a chain that the caller names is no task's"


def test_a_task_goes_on_with_its_chain() -> None:
    policy = asked(task="down").policy
    assert (policy.order, policy.chain) == (("x", "a", "b"), "cheap")


def test_weights_of_a_task() -> None:
    assert asked(task="weighed").policy.weights == Weights(cost=1, performance=0, quality=0, specialised=0)


def test_what_is_given_is_never_changed() -> None:
    given = GenerateRequest(system_instruction="x", routing=Routing(task="code_generation", chain="able"))
    before = given.SerializeToString(deterministic=True)
    expand(SETTINGS, given)
    assert given.SerializeToString(deterministic=True) == before


# --- agents -----------------------------------------------------------------------------------------------------------


def test_an_agent_implies_its_task_and_has_a_model_of_its_own() -> None:
    request, policy, _ = asked(agent="implementation_agent")
    assert policy.order == ("own", "gpt-4", "claude", "qwen")
    assert (request.routing.task, request.routing.agent) == ("code_generation", "Implementation-Agent")
    assert request.system_instruction == "Write code."


def test_the_task_that_the_caller_names_goes_before_the_agents() -> None:
    assert asked(agent="implementation_agent", task="down").policy.order == ("own", "x", "a", "b")


def test_an_agent_without_a_task() -> None:
    assert asked(agent="bare").policy.order == ("own",)


# --- names that nobody knows ------------------------------------------------------------------------------------------


def test_any_other_agent_counts_for_statistics() -> None:
    request, _, warnings = asked(model="m", agent="billing")
    assert request.routing.agent == "billing"
    assert not warnings


def test_an_agent_that_looks_like_a_slip_is_warned_about() -> None:
    [warning] = asked(model="m", agent="implementation-agnt").warnings
    assert (warning.kind, warning.field) == (call_pb2.Warning.KIND_NAME_UNKNOWN, "routing.agent")
    assert "Implementation-Agent" in warning.message


def test_strict_callers_are_refused_instead() -> None:
    with pytest.raises(UnknownName, match=r"routing\.agent: no agent 'nightly'") as caught:
        asked(model="m", strict_params=True, agent="nightly")
    assert caught.value.reason == call_pb2.ERROR_REASON_NAME_NOT_FOUND


@pytest.mark.parametrize("model", ["m", ""])
def test_a_provider_that_is_denied_under_a_wrong_name_is_warned_about(model: str) -> None:
    settings = Settings(providers={"anthropic": ProviderSettings(), "openai": ProviderSettings()})
    asks: dict[str, Any] = {"denied_providers": ["openai", "antropic"], "allowed_providers": ["zzz"]}
    warnings = asked(settings, model=model, **asks).warnings
    assert {each.field: each.message.partition("configured")[2] for each in warnings} == {
        "routing.allowed_providers[0]": "",
        "routing.denied_providers[1]": ": is anthropic meant?",
    }
    assert not asked(settings, model=model, denied_providers=["openai"]).warnings
    with pytest.raises(InvalidRequest, match=r"routing\.allowed_providers\[0\]: no provider 'zzz'"):
        asked(settings, model=model, strict_params=True, **asks)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("code_genration", "did you mean code_generation"), ("nightly", "there are code_generation, ranked, pinned")],
)
@pytest.mark.parametrize("model", ["m", ""])
def test_any_other_task_is_refused(model: str, name: str, hint: str) -> None:
    with pytest.raises(UnknownName, match=f"routing.task: no task '{name}' is configured; {hint}") as caught:
        asked(model=model, task=name)
    assert caught.value.reason == call_pb2.ERROR_REASON_NAME_NOT_FOUND
    assert "a label (context.labels), or a task that says nothing" in str(caught.value)


def test_a_task_that_says_nothing_only_counts() -> None:
    settings = Settings(tasks={"nightly": TaskSettings()})
    assert asked(settings, model="m", task="nightly").request.routing.task == "nightly"
    assert asked(settings, task="Nightly").policy.order == ()


def test_a_chain_has_to_be_there() -> None:
    with pytest.raises(
        UnknownName, match=r"routing\.chain: no chain 'costly' is configured; there are cheap, graceful, able"
    ):
        asked(chain="costly")
    with pytest.raises(UnknownName, match="did you mean graceful"):
        asked(chain="gracefull")


# --- chains -----------------------------------------------------------------------------------------------------------


def test_a_chain_goes_before_the_targets_of_the_task() -> None:
    request, policy, _ = asked(task="code_generation", chain="Cheap")
    assert (policy.order, policy.chain) == (("a", "b"), "cheap")
    assert request.system_instruction == "Write code."


def test_a_model_goes_before_its_chain() -> None:
    assert asked(model="m", chain="cheap").policy.order == ("m", "a", "b")
    policy = asked(model="m", chain="graceful").policy
    assert (policy.order, policy.tiers) == (("m",), (("t1", "t2"), ("t3",)))


def test_tiers_are_ordered_by_the_chains_strategy() -> None:
    policy = asked(chain="graceful").policy
    assert (policy.tiers, policy.order, policy.strategy) == ((("t1", "t2"), ("t3",)), (), "latency_optimized")


def test_a_chain_may_say_what_its_targets_have_to_be() -> None:
    request, policy, _ = asked(chain="able")
    routing = request.routing
    assert (policy.order, policy.tiers, policy.chain) == ((), (), "able")
    assert list(routing.required_capabilities) == [CAPABILITY_TOOLS, CAPABILITY_VISION]
    assert (routing.min_context_window, routing.min_quality, routing.max_cost_nano_usd) == (1000, 0.5, 10_000_000)
    assert routing.max_time_to_first_token.ToTimedelta().total_seconds() == 2
    assert routing.max_expected_total_time.ToTimedelta().total_seconds() == 10
    assert (routing.local_only, routing.prefer_open_weights) == (True, True)
    assert list(routing.allowed_providers) == ["p", "q"]


@given(
    window=st.integers(0, 3000),
    quality=st.floats(0, 1),
    cost=st.integers(0, 30_000_000),
    first=st.integers(1, 4000),
    total=st.integers(1, 20_000),
    providers=st.sets(st.sampled_from(["p", "q", "r"])),
)
def test_of_what_both_ask_for_the_stricter_holds(
    window: int, quality: float, cost: int, first: int, total: int, providers: set[str]
) -> None:
    routing = Routing(chain="able", min_context_window=window, min_quality=quality, max_cost_nano_usd=cost)
    routing.max_time_to_first_token.FromMilliseconds(first)
    routing.max_expected_total_time.FromMilliseconds(total)
    routing.allowed_providers.extend(providers)
    if providers == {"r"}:
        with pytest.raises(InvalidRequest, match="has none of the providers of chain able: p, q"):
            expand(SETTINGS, GenerateRequest(routing=routing))
        return
    found = expand(SETTINGS, GenerateRequest(routing=routing)).request.routing
    assert found.min_context_window == max(window, 1000)
    assert found.min_quality == max(quality, 0.5)
    assert found.max_cost_nano_usd == min(cost, 10_000_000)
    assert found.max_time_to_first_token.ToMilliseconds() == min(first, 2000)
    assert found.max_expected_total_time.ToMilliseconds() == min(total, 10_000)
    assert set(found.allowed_providers) == (providers or {"p", "q"}) & {"p", "q"}


# --- environments -----------------------------------------------------------------------------------------------------


def test_an_environments_quality_weighs_and_does_not_filter() -> None:
    request, policy, _ = asked(in_environment("production"))
    assert (policy.quality_target, policy.cost_emphasis, policy.environment) == (0.95, 0.5, "production")
    assert not request.routing.HasField("min_quality")
    assert asked(in_environment("development")).policy.cost_emphasis == 2.0


def test_without_an_environment_nothing_is_weighed_otherwise() -> None:
    policy = asked(task="down").policy
    assert (policy.quality_target, policy.cost_emphasis, policy.last_resort) == (0.0, 1.0, "embedded")


# --- by how hard a request is -----------------------------------------------------------------------------------------


RULES = (
    ComplexitySettings(complexity="simple", quality=0.8, use="small"),
    ComplexitySettings(complexity="moderate", quality=0.9, use="middle"),
    ComplexitySettings(use="large", chain="cheap"),
)


@pytest.mark.parametrize(
    ("complexity", "environment", "min_quality", "first"),
    [
        (call_pb2.COMPLEXITY_SIMPLE, "", None, "small"),
        (call_pb2.COMPLEXITY_SIMPLE, "development", None, "small"),
        (call_pb2.COMPLEXITY_SIMPLE, "production", None, "large"),
        (call_pb2.COMPLEXITY_SIMPLE, "production", 0.1, "small"),
        (call_pb2.COMPLEXITY_SIMPLE, "", 0.85, "large"),
        (call_pb2.COMPLEXITY_MODERATE, "", 0.85, "middle"),
        (call_pb2.COMPLEXITY_COMPLEX, "", None, "large"),
    ],
)
def test_the_first_rule_that_fits_names_who_is_asked_first(
    complexity: call_pb2.Complexity.ValueType, environment: str, min_quality: float | None, first: str
) -> None:
    settings = Settings(
        complexity=RULES, chains=SETTINGS.chains, environments=SETTINGS.environments, environment=environment
    )
    asks: dict[str, Any] = {} if min_quality is None else {"min_quality": min_quality}
    policy = asked(settings, complexity=complexity, **asks).policy
    assert policy.order == ((first, "a", "b") if first == "large" else (first,))
    assert asked(settings, complexity=complexity, model="m").policy.order == ()
