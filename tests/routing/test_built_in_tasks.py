"""Each task that is built in: it says how, whom to ask and what counts; and somebody answers, whoever is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from routed import World, configured, everything, snapshot_of

from trunkline.v1.call_pb2 import Routing
from trunkline.v1.gateway_service_pb2 import GenerateRequest
from trunkline_server import config
from trunkline_server.providers.table import ROWS
from trunkline_server.routing.tasks import expand

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = config.load(None, {})
TASKS = sorted(SETTINGS.tasks)
CHAINS = {"high_quality", "cost_optimized", "fast_latency", "local_only", "code_generation"}
# Whom the five older systems ask first.
PRIMARIES = {
    "complex_reasoning": "gpt-4-turbo",
    "complex_debugging": "gpt-4",
    "code_generation": "gpt-4-turbo",
    "refactoring": "claude-3-5-sonnet",
    "simple": "qwen",
    "long_files": "gemini",
    "requirements_analysis": "claude-3-5-sonnet",
    "security": "claude-3-5-sonnet",
    "security_review": "claude-3-5-sonnet",
    "performance_optimization": "gpt-4-turbo",
}


def orders(world: World, task: str, **routing: object) -> list[str]:
    request = GenerateRequest(prompt="x", routing=Routing(task=task, **routing))  # type: ignore[arg-type]
    expanded = expand(world.snapshot.settings, request)
    return world.order(request=expanded.request, policy=expanded.policy)


def test_all_that_were_promised_are_there() -> None:
    assert {*PRIMARIES, "architecture", "test", "documentation"} <= {*TASKS}
    assert {f"code_analysis_{what}" for what in ("quality", "security", "performance")} <= {*TASKS}


@pytest.mark.parametrize("name", TASKS)
def test_each_says_how_whom_and_what_counts(name: str) -> None:
    task = SETTINGS.tasks[name]
    assert task.system_prompt.endswith((".", "!"))
    assert task.weights is not None
    assert (
        task.weights.cost + task.weights.performance + task.weights.quality + task.weights.specialised
        == pytest.approx(1)
    )
    assert task.primary
    assert task.primary[0] == PRIMARIES.get(name, task.primary[0])
    assert task.chain in CHAINS
    assert task.then_anybody
    policy = expand(SETTINGS, GenerateRequest(prompt="x", routing=Routing(task=name))).policy
    assert policy.order == tuple(dict.fromkeys((*task.primary, *task.fallback, *SETTINGS.chains[task.chain].targets)))
    assert policy.weights is not None


@pytest.mark.parametrize("name", TASKS)
def test_with_nothing_configured_the_embedded_model_answers(name: str) -> None:
    [only] = orders(World(snapshot_of(SETTINGS)), name)
    assert only.startswith("embedded/")


@pytest.mark.parametrize("vendor", ["openai", "anthropic", "gemini", "mistral", "together", "groq", "cohere", "xai"])
def test_with_one_vendor_that_one_answers_and_then_the_embedded_model(vendor: str) -> None:
    key = ROWS[vendor].key_env
    world = World(snapshot_of(config.load(None, {key: "k" * 30})))
    there = {row.id for row in world.snapshot.offers[vendor].models.values()}
    for name in TASKS:
        order = orders(world, name)
        assert order[0].startswith(f"{vendor}/"), name
        assert order[-1].startswith("embedded/") or len(order) == 10, name
        assert len(order) >= min(10, len(there)), name


def test_with_every_vendor_the_primary_goes_first_or_what_replaces_it() -> None:
    world = World(everything())
    firsts = {name: orders(world, name)[0] for name in TASKS}
    assert firsts["complex_debugging"] == firsts["code_generation"] == "openai/gpt-5.6-sol"
    assert firsts["refactoring"] == firsts["security_review"] == "anthropic/claude-sonnet-5-5"
    assert firsts["long_files"].startswith("gemini/")


def test_models_of_a_chain_that_are_not_there_hide_nobody(tmp_path: Path) -> None:
    """Ollama has none of the chain's models, but another one: that it is asked for in vain is no end."""
    order = orders(World(configured(tmp_path, "providers: {ollama: {models: [own]}}")), "code_generation")
    assert order[-2:] == ["ollama/own", "embedded/" + order[-1].partition("/")[2]]


def test_whoever_names_a_strategy_chooses_of_those_that_are_named() -> None:
    order = orders(World(everything()), "code_generation", strategy="cost_optimized")
    assert not any(each.startswith(("embedded/", "groq/")) for each in order)


def test_who_says_whom_to_ask_asks_nobody_else(tmp_path: Path) -> None:
    text = "tasks: {Security_Review: {primary: [ollama/own], fallback: []}}\nproviders: {ollama: {}}"
    own = World(configured(tmp_path, text, {"ANTHROPIC_API_KEY": "k" * 30}))
    task = own.snapshot.settings.tasks["Security_Review"]
    assert (task.primary, task.chain, task.then_anybody) == (("ollama/own",), "", False)
    assert task.system_prompt
    assert orders(own, "security_review") == ["ollama/own"]


def test_the_embedded_model_ends_the_local_chain() -> None:
    world = World(snapshot_of(SETTINGS))
    request = GenerateRequest(prompt="x", routing=Routing(chain="local_only"))
    expanded = expand(SETTINGS, request)
    assert [each.partition("/")[0] for each in world.order(request=expanded.request, policy=expanded.policy)] == [
        "embedded"
    ]
