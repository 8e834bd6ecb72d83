"""The five presets: every value of the systems that they stand for, as the gateway loads it."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from msgspec import convert, structs
from routed import World, snapshot_of

from trunkline.v1 import call_pb2
from trunkline.v1.call_pb2 import Routing, Usage
from trunkline.v1.gateway_service_pb2 import GenerateRequest
from trunkline_server import config
from trunkline_server.config.overlays import BUILT_IN, overlay, presets, text_of, tree_of
from trunkline_server.config.tasks import _targets, target_warnings
from trunkline_server.entry_points import extensions_of
from trunkline_server.models.data import entry_of
from trunkline_server.prices.book import PriceBook
from trunkline_server.prices.cost import cost_of
from trunkline_server.routing.catalogue import build_offers
from trunkline_server.routing.names import find_targets
from trunkline_server.routing.replaced import targets_of
from trunkline_server.routing.tasks import expand
from trunkline_server.sections import Seconds
from trunkline_server.settings import AlertSettings, ProviderSettings, Settings
from trunkline_server.settings.reliability import RetrySettings
from trunkline_server.settings.tasks import RoutingSections, TaskSettings
from trunkline_server.snapshot import Snapshot

NAMES = ("cogo", "echotune", "hugai", "mpllm", "strategy")
# Any day after all of the models of these systems were there: 2027-01-15.
WHEN = 1_800_000_000


def loaded(name: str, **environ: str) -> Settings:
    return config.load(None, {"TRUNKLINE_PRESET": name, **environ})


def prices_of(settings: Settings) -> PriceBook:
    return PriceBook({name: each.kind or name for name, each in settings.providers.items()}, settings.prices, {})


def price(settings: Settings, provider: str, model: str) -> list[float]:
    """USD per 1M tokens, in and out."""
    found = prices_of(settings).find(provider, model, WHEN)
    assert found is not None
    return [found.rates["input"].pico_usd / 1e6, found.rates["output"].pico_usd / 1e6]


def usual(settings: Settings, provider: str) -> list[float]:
    """Seconds."""
    latency = settings.providers[provider].usual_latency
    assert latency is not None
    return [latency.least, latency.most]


def commented(name: str, key: str) -> Any:
    """What a preset says in its comments, of what nobody enforces."""
    _, _, rest = text_of(name).partition(f"\n#{key}:")
    assert rest, f"{name}.yaml has no {key}"
    lines = [f"{key}:{rest.partition(chr(10))[0]}"]
    for line in rest.splitlines()[1:]:
        if not line.startswith("  #"):
            break
        lines.append("  " + line.removeprefix("  #"))
    return yaml.safe_load("\n".join(lines))[key]


def snapshot(settings: Settings) -> Snapshot:
    return Snapshot("", settings, build_offers(settings, extensions_of(settings).rows, {}))


# --- all of them ------------------------------------------------------------------------------------------------------


def test_there_are_five_and_each_says_what_it_is() -> None:
    assert tuple(presets()) == NAMES
    assert all(presets().values())
    assert BUILT_IN not in presets()


@pytest.mark.parametrize("name", NAMES)
def test_each_loads_without_a_key_and_warns_of_nothing(name: str) -> None:
    settings = loaded(name)
    assert settings.preset == name
    assert list(target_warnings(settings, extensions_of(settings).rows)) == []


@pytest.mark.parametrize("name", NAMES)
def test_every_name_in_it_means_somebody(name: str) -> None:
    settings, fields = loaded(name), {each.name for each in structs.fields(RoutingSections)}
    own = {key: value for key, value in tree_of(name).items() if key in fields}
    for path, target in _targets(convert(own, type=RoutingSections)):
        assert find_targets(snapshot(settings), target), path


@pytest.mark.parametrize(
    ("name", "said", "answers"),
    [
        ("hugai", "gpt-4-turbo", "openai/gpt-5.6-sol"),
        ("hugai", "claude-3-5-sonnet", "anthropic/claude-sonnet-5-5"),
        ("strategy", "gemini-pro", "gemini/gemini-3.8-flash"),
        ("mpllm", "openai/gpt-3.5-turbo", "openai/gpt-5.6-terra"),
        ("mpllm", "anthropic/claude-3-haiku", "anthropic/claude-haiku-4-5"),
    ],
)
def test_what_has_retired_is_answered_by_its_replacement(name: str, said: str, answers: str) -> None:
    keys = {f"{vendor}_API_KEY": "k" * 40 for vendor in ("OPENAI", "ANTHROPIC", "GEMINI")}
    [target], replaced = targets_of(snapshot(loaded(name, **keys)), said, WHEN)
    assert f"{target.provider}/{target.model}" == answers
    assert [warning.kind for warning in replaced.values()] == [call_pb2.Warning.KIND_MODEL_REPLACED]


def test_nothing_says_what_has_yet_to_be_enforced() -> None:
    """Who brings a cache for answers puts the values of hugai.yaml in their place, and this test goes."""
    assert "cache" not in {each.name for each in structs.fields(Settings)}


# --- COGO -------------------------------------------------------------------------------------------------------------


def test_cogo() -> None:
    settings = loaded("cogo")
    fireworks = settings.providers["fireworks"]
    coder = "accounts/fireworks/models/qwen3-coder-480b-a35b-instruct"
    assert {
        "qwen3-coder": price(settings, "fireworks", coder),
        "claude-3-5-sonnet": price(settings, "anthropic", "claude-3-5-sonnet-20241022"),
        "gpt-4o": price(settings, "openai", "gpt-4o"),
        "gemini-1.5-pro": price(settings, "gemini", "gemini-1.5-pro"),
    } == {"qwen3-coder": [0.45, 1.80], "claude-3-5-sonnet": [3, 15], "gpt-4o": [5, 15], "gemini-1.5-pro": [3.50, 10.50]}
    assert {name: usual(settings, name) for name in ("fireworks", "anthropic", "openai", "gemini")} == {
        "fireworks": [5, 8],
        "anthropic": [6, 10],
        "openai": [8, 12],
        "gemini": [7, 11],
    }
    assert structs.asdict(fireworks.defaults) == {
        "max_output_tokens": 32768,
        "temperature": 0.6,
        "top_p": 1,
        "top_k": 40,
        "presence_penalty": 0,
        "frequency_penalty": 0,
    }
    assert (fireworks.stream_above, fireworks.default_model) == (5000, coder)
    assert settings.routing.strategy == "enterprise"
    assert settings.routing.strategies["enterprise"].order == ("fireworks", "claude", "openai", "gemini")
    assert settings.experiments["ab-testing"].arms == {"fireworks": 0.5, "others": 0.5}


@pytest.mark.parametrize("said", ["ab-testing", "AB_Testing", "ab_test"])
def test_cogos_test_is_an_experiment_with_arms_that_callers_stay_in(said: str) -> None:
    world = World(snapshot(loaded("cogo", FIREWORKS_API_KEY="k" * 40, OPENAI_API_KEY="k" * 40)))
    found = set()
    for number in range(40):
        of = [world.route(strategy=said, sticky_key=f"caller {number}") for _ in range(3)]
        found.add((of[0].choice.arm, of[0].targets[0].provider == "fireworks"))
        assert len({each.choice.arm for each in of}) == 1
    assert found == {("ab-testing/fireworks", True), ("ab-testing/others", False)}


def test_a_call_on_fireworks_costs_what_its_price_says() -> None:
    """1,000 in and 500 out: 1,350,000 nano-USD. COGO's own code charged a thousand times as much."""
    found = prices_of(loaded("cogo")).find(
        "fireworks", "accounts/fireworks/models/qwen3-coder-480b-a35b-instruct", WHEN
    )
    cost = cost_of(Usage(input_tokens=1000, output_tokens=500), found, wall_nanoseconds=0)
    assert cost.total_nano_usd == 1_350_000


# --- EchoTune ---------------------------------------------------------------------------------------------------------


def test_echotune() -> None:
    settings = loaded("echotune")
    assert settings.default_model == "gemini"
    assert settings.max_attempts == 6, "one and five retries"
    for name in ("gemini", "openai", "anthropic"):
        retry = settings.providers[name].retry
        assert structs.asdict(retry) == {
            **structs.asdict(RetrySettings()),
            "max_attempts": 6,
            "base": 2,
            "cap": 60,
            "multiplier": 2,
            "attempt_timeout": 30,
        }
    for task in ("quality", "security", "performance"):
        assert settings.tasks[f"code_analysis_{task}"].system_prompt


# --- MPLLM ------------------------------------------------------------------------------------------------------------


def test_mpllm() -> None:
    settings = loaded("mpllm")
    assert (settings.default_model, settings.routing.strategy) == ("openai", "openai-first")
    names = ("openai", "anthropic", "mistral", "ollama", "together")
    assert {name: usual(settings, name) for name in names} == {
        "openai": [0.5, 1.5],
        "anthropic": [0.5, 1.5],
        "mistral": [0.6, 1.2],
        "ollama": [4, 15],
        "together": [1.5, 2.5],
    }
    assert {name: list(chain.targets) for name, chain in settings.chains.items()} == {
        "high_quality": ["openai/gpt-4", "anthropic/claude-3-opus", "mistral/mistral-large"],
        "cost_optimized": [
            "openai/gpt-3.5-turbo",
            "anthropic/claude-3-haiku",
            "mistral/mistral-tiny",
            "ollama/mistral",
        ],
        "fast_latency": ["openai/gpt-3.5-turbo", "anthropic/claude-3-haiku", "ollama/mistral"],
        # The last is ours: MPLLM had none of its own.
        "local_only": ["ollama/mistral", "ollama/llama2", "ollama/codellama", "embedded"],
        "code_generation": [
            "openai/gpt-4",
            "anthropic/claude-3-sonnet",
            "together/codellama/CodeLlama-34b-Instruct-hf",
            "ollama/codellama",
        ],
    }
    assert price(settings, "ollama", "mistral") == [0, 0]
    assert commented("mpllm", "mpllm_per_1k_range") == {
        "openai": [0.0005, 0.06],
        "anthropic": [0.00025, 0.075],
        "mistral": [0.00025, 0.024],
        "together": [0.0002, 0.0009],
        "ollama": 0,
    }


@pytest.mark.parametrize(
    ("keys", "first"),
    [
        (("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "MISTRAL_API_KEY"), "openai"),
        (("ANTHROPIC_API_KEY",), "anthropic"),
        ((), ""),
    ],
)
def test_mpllms_default_is_openai_and_then_balanced(keys: tuple[str, ...], first: str) -> None:
    world = World(snapshot_of(loaded("mpllm", **dict.fromkeys(keys, "k" * 30))))
    hosted = [each for each in world.order() if not each.startswith(("embedded/", "ollama/"))]
    assert all(order.partition("/")[0] == first for order in hosted[:1])
    assert bool(hosted) is bool(first)
    if first == "openai":
        assert hosted[0] == f"openai/{world.snapshot.offers['openai'].default_model}"
        assert {each.partition("/")[0] for each in hosted} == {"openai", "anthropic", "mistral"}
        # What a call says goes before.
        assert {world.order(strategy="balanced")[0].partition("/")[0] for _ in range(40)} != {"openai"}
    assert world.route().choice.strategy == "openai-first"


def test_a_context_window_is_no_longest_answer() -> None:
    """MPLLM wrote GPT-4's window, 8,192 tokens, into max_tokens."""
    entry = entry_of("openai", "gpt-4")
    assert entry is not None
    assert (entry.window, loaded("mpllm").providers["openai"].defaults.max_output_tokens) == (8192, None)


# --- Strategy ---------------------------------------------------------------------------------------------------------


STARS = {
    "openai/gpt-4-turbo": [5, 5, 4, 3],
    "anthropic/claude-3-opus": [5, 5, 5, 2],
    "anthropic/claude-3-5-sonnet": [5, 4, 5, 4],
    "gemini/gemini-1.5-pro": [4, 4, 5, 4],
    "ollama/qwen2.5-coder": [5, 3, 3, 5],
    "deepseek/deepseek-coder": [4, 3, 3, 4],
    "ollama/llama3:70b": [4, 4, 3, 3],
}
EFFECTIVE = {
    "openai/gpt-4-turbo": 15,
    "openai/gpt-4o": 8,
    "anthropic/claude-3-opus": 30,
    "anthropic/claude-3-5-sonnet": 6,
    "gemini/gemini-1.5-pro": 2,
    "ollama/qwen2.5-coder": 0.50,
}


def test_strategy() -> None:
    settings = loaded("strategy")
    assert settings.routing.strategy == "capability_match"
    assert settings.last_resort == "gpt-4o"
    assert {
        "gpt-4-turbo": price(settings, "openai", "gpt-4-turbo"),
        "gpt-4o": price(settings, "openai", "gpt-4o"),
        "claude-3-opus": price(settings, "anthropic", "claude-3-opus-20240229"),
        "claude-3-5-sonnet": price(settings, "anthropic", "claude-3-5-sonnet"),
        "gemini-1.5-pro": price(settings, "gemini", "gemini-1.5-pro"),
        "qwen-2.5-coder": price(settings, "ollama", "qwen2.5-coder"),
    } == {
        "gpt-4-turbo": [10, 30],
        "gpt-4o": [5, 15],
        "claude-3-opus": [15, 75],
        "claude-3-5-sonnet": [3, 15],
        "gemini-1.5-pro": [1.25, 5],
        "qwen-2.5-coder": [0, 0],
    }
    names = ("coding", "reasoning", "long_context", "speed")
    stars = {model: [round(own.scores[name] * 5, 6) for name in names] for model, own in scored(settings).items()}
    assert stars == STARS
    assert {model: settings.model_data[model].effective_price for model in EFFECTIVE} == EFFECTIVE
    tasks = {
        "complex_debugging": (["gpt-4", "claude-3-opus"], ["gemini-pro"], "best reasoning"),
        "code_generation": (["claude-3-5-sonnet"], ["qwen-coder"], "speed and quality"),
        "refactoring": (["claude-3-5-sonnet"], ["gpt-4"], "context understanding"),
        "simple": (["qwen", "llama"], ["deepseek"], "cost"),
        "long_files": (["gemini", "claude"], ["gpt-4"], "context window"),
        "security": (["gpt-4"], ["claude-3-opus"], "conservative reasoning"),
    }
    assert {name: told(settings.tasks[name]) for name in tasks} == tasks


def scored(settings: Settings) -> dict[str, Any]:
    return {model: own for model, own in settings.model_data.items() if own.scores}


def told(task: TaskSettings) -> tuple[list[str], list[str], str]:
    return [*task.primary], [*task.fallback], task.criteria


# --- HUGAI ------------------------------------------------------------------------------------------------------------


HUGAI_TASKS = {
    "complex_reasoning": (
        ["gpt-4-turbo"],
        ["claude-3-5-sonnet", "gpt-4"],
        "high accuracy, sophisticated analysis",
    ),
    "code_generation": (
        ["gpt-4-turbo"],
        ["claude-3-5-sonnet", "codellama-70b"],
        "code quality, language support",
    ),
    "requirements_analysis": (
        ["claude-3-5-sonnet"],
        ["gpt-4-turbo", "gemini-pro"],
        "detail orientation, context understanding",
    ),
    "security_review": (
        ["claude-3-5-sonnet"],
        ["gpt-4-turbo", "local-security-model"],
        "security expertise, risk assessment",
    ),
    "performance_optimization": (
        ["gpt-4-turbo"],
        ["claude-3-5-sonnet", "gemini-pro"],
        "technical depth, optimization strategies",
    ),
}
AGENTS = {
    "router_agent": "gpt-4-turbo",
    "requirements_analyzer": "claude-3-5-sonnet",
    "architecture_agent": "gpt-4-turbo",
    "implementation_agent": "gpt-4-turbo",
    "test_agent": "claude-3-5-sonnet",
    "security_agent": "claude-3-5-sonnet",
    "documentation_writer": "gpt-4",
    "domain_expert": "gpt-4-turbo",
}
TIERS = (
    ("gpt-4-turbo", "claude-3-5-sonnet"),
    ("gpt-4", "claude-3-opus", "gemini-pro"),
    ("gpt-3.5-turbo", "claude-3-haiku"),
    ("local-models",),
)
ENVIRONMENTS = {
    "development": {
        "cost_optimization": "aggressive",
        "quality_threshold": 0.7,
        "fallback": "quick_degradation",
        "monitoring": "basic",
    },
    "staging": {
        "cost_optimization": "balanced",
        "quality_threshold": 0.85,
        "fallback": "graceful_degradation",
        "monitoring": "detailed",
    },
    "production": {
        "cost_optimization": "quality_first",
        "quality_threshold": 0.95,
        "fallback": "maximum_resilience",
        "monitoring": "comprehensive",
    },
}


def test_hugai_tasks_agents_and_environments() -> None:
    settings = loaded("hugai")
    assert settings.default_model == "gpt-4-turbo"
    assert {name: told(settings.tasks[name]) for name in HUGAI_TASKS} == HUGAI_TASKS
    assert {name: agent.model for name, agent in settings.agents.items()} == AGENTS
    assert settings.chains["tiers"].tiers == TIERS
    assert [(rule.complexity, rule.quality, rule.use, rule.chain) for rule in settings.complexity] == [
        ("simple", 0.8, "gpt-3.5-turbo", "tiers"),
        ("moderate", 0.9, "claude-3-haiku", "tiers"),
        (None, 1.0, "gpt-4-turbo", "tiers"),
    ]
    assert {name: structs.asdict(each) for name, each in settings.environments.items()} == ENVIRONMENTS
    assert settings.routing.weights is not None
    assert structs.asdict(settings.routing.weights) == {
        "cost": 0.3,
        "performance": 0.4,
        "quality": 0.2,
        "specialised": 0.1,
    }


def test_hugai_limits_retries_and_security() -> None:
    settings = loaded("hugai")
    limits = {name: settings.providers[name].limits for name in ("openai", "anthropic", "gemini", "cohere")}
    assert {name: [each.requests_per_minute, each.tokens_per_minute] for name, each in limits.items()} == {
        "openai": [3500, 90000],
        "anthropic": [4000, 200000],
        "gemini": [2000, 32000],
        "cohere": [1000, 100000],
    }
    for name in limits:
        provider = settings.providers[name]
        retry = {**structs.asdict(RetrySettings()), "max_attempts": 3, "base": 1, "cap": 60}
        assert structs.asdict(provider.retry) == retry
        assert structs.asdict(provider.breaker) == {"failures": 5, "recovery": 300}
    assert settings.ledger.retention == Seconds(7 * 86400)
    assert settings.server.auth == "keys", "access is by the role of a key"
    assert settings.alerts == AlertSettings(key_rotation=Seconds(90 * 86400))
    assert commented("hugai", "security") == {
        "key_storage": "aws_secrets_manager",
        "request_logging": "metadata_only",
        "response_caching": "temporary_local_only",
    }
    spent = {(each.provider or "total", each.period): each.limit / 10**9 for each in settings.budgets.values()}
    assert spent == {
        **{
            (name, "daily"): usd
            for name, usd in (("openai", 500), ("anthropic", 300), ("gemini", 200), ("cohere", 100))
        },
        ("total", "monthly"): 15000,
        **{(name, "monthly"): 1000 * k for name, k in (("openai", 8), ("anthropic", 4), ("gemini", 2), ("cohere", 1))},
    }
    assert {(each.kind, each.time_zone) for each in settings.budgets.values()} == {("soft", "UTC")}


@pytest.mark.parametrize(
    ("environment", "complexity", "first"),
    [
        ("development", call_pb2.COMPLEXITY_SIMPLE, "gpt-3.5-turbo"),
        ("development", call_pb2.COMPLEXITY_MODERATE, "claude-3-haiku"),
        ("staging", call_pb2.COMPLEXITY_SIMPLE, "gpt-4-turbo"),
        ("staging", call_pb2.COMPLEXITY_MODERATE, "claude-3-haiku"),
        ("production", call_pb2.COMPLEXITY_SIMPLE, "gpt-4-turbo"),
    ],
)
def test_hugai_asks_by_how_hard_a_request_is_and_degrades_in_tiers(
    environment: str, complexity: call_pb2.Complexity.ValueType, first: str
) -> None:
    settings = loaded("hugai", TRUNKLINE_ENVIRONMENT=environment)
    policy = expand(settings, GenerateRequest(prompt="x", routing=Routing(complexity=complexity))).policy
    assert (policy.order, policy.tiers) == ((first,), TIERS)


# --- what is built in, and what stands on a preset --------------------------------------------------------------------


def test_what_is_built_in_is_hugais_extended_by_strategys() -> None:
    """Where the two contradict each other, HUGAI's word holds: security is Sonnet's, not GPT-4's."""
    settings, strategys = config.load(None, {}), loaded("strategy")
    assert {name: told(settings.tasks[name]) for name in HUGAI_TASKS} == HUGAI_TASKS
    for name in ("complex_debugging", "refactoring", "simple", "long_files"):
        assert told(settings.tasks[name]) == told(strategys.tasks[name])
    assert told(settings.tasks["security"]) == told(settings.tasks["security_review"])
    assert {name: agent.model for name, agent in settings.agents.items()} == AGENTS
    assert set(settings.chains) == {"high_quality", "cost_optimized", "fast_latency", "local_only", "code_generation"}
    assert {name: structs.asdict(each) for name, each in settings.environments.items()} == ENVIRONMENTS
    for name in ("architecture", "test", "documentation"):
        assert settings.tasks[name].primary
    assert settings.environment == ""


def test_the_file_stands_on_its_preset_field_by_field(tmp_path: Any) -> None:
    path = tmp_path / "trunkline.yaml"
    path.write_text(
        """
        preset: hugai
        default_model: mock
        tasks: {Code-Generation: {primary: [mock]}}
        chains: {tiers: {targets: [mock]}}
        prices: [{model: openai/gpt-4o, input: 1, output: 2}]
        providers: {openai: {retry: {cap: 5s}, breaker: }}
        """
    )
    settings = config.load(path, {})
    task = settings.tasks["Code-Generation"]
    assert (task.primary, task.criteria) == (("mock",), "code quality, language support")
    assert "code_generation" not in settings.tasks, "it is the same task, spelt otherwise"
    assert (settings.chains["tiers"].targets, settings.chains["tiers"].tiers) == (("mock",), ())
    openai = settings.providers["openai"]
    assert (openai.retry.max_attempts, openai.retry.cap, openai.limits.requests_per_minute) == (3, Seconds(5), 3500)
    assert openai.breaker.recovery == Seconds(300), "a key without a value says nothing"
    assert settings.default_model == "mock"


def test_prices_of_the_file_go_before_those_of_its_preset() -> None:
    under = {"prices": [{"model": "a/m", "input": 1}, {"model": "b/m", "input": 2}]}
    over = {"prices": [{"model": "A/m", "input": 3}, 5]}
    assert overlay(under, over)["prices"] == [{"model": "A/m", "input": 3}, 5, {"model": "b/m", "input": 2}]


def test_the_environment_goes_before_a_preset_and_after_the_file(tmp_path: Any) -> None:
    environ = {"LLM_PROVIDER": "mock", "FIREWORKS_MODEL": "other", "FIREWORKS_API_KEY": "k" * 40}
    assert loaded("mpllm", **environ).default_model == "mock"
    assert loaded("cogo", **environ).providers["fireworks"].default_model == "other"
    path = tmp_path / "trunkline.yaml"
    path.write_text("{preset: cogo, default_model: embedded, providers: {fireworks: {default_model: mine}}}")
    settings = config.load(path, environ)
    assert (settings.default_model, settings.providers["fireworks"].default_model) == ("embedded", "mine")


def test_a_preset_that_is_none_is_told() -> None:
    with pytest.raises(config.ConfigError, match=r"TRUNKLINE_PRESET: expected a preset \(did you mean hugai\?\)"):
        loaded("hugay")


@pytest.mark.parametrize(
    ("environment", "attempts", "in_all", "level"),
    [("Development", 1, 4, "basic"), ("staging", 4, 4, "detailed"), ("PRODUCTION", 6, 10, "comprehensive")],
)
def test_an_environment_is_an_overlay(environment: str, attempts: int, in_all: int, level: str) -> None:
    settings = config.load(None, {"TRUNKLINE_ENVIRONMENT": environment})
    assert settings.providers["mock"].retry.max_attempts == attempts
    assert (settings.max_attempts, settings.logs.monitoring_level) == (in_all, level)


def test_what_is_said_stands_in_every_environment(tmp_path: Any) -> None:
    path = tmp_path / "trunkline.yaml"
    path.write_text(
        "{environment: production, max_attempts: 3, logs: {monitoring_level: basic},"
        " providers: {mock: {retry: {max_attempts: 2}}}}"
    )
    settings = config.load(path, {})
    assert settings.providers["mock"].retry.max_attempts == 2
    assert settings.providers["embedded"] == ProviderSettings(
        kind="embedded", retry=settings.providers["embedded"].retry
    )
    assert (settings.max_attempts, settings.logs.monitoring_level) == (3, "basic")
