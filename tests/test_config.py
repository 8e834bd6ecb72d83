from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from example import EXAMPLE, whole_example
from hypothesis import given
from hypothesis import strategies as st
from msgspec import inspect

from trunkline_server import config
from trunkline_server.config import ConfigError
from trunkline_server.config.check import LONGEST_SPAN, Unfit, read_seconds
from trunkline_server.config.tasks import target_warnings
from trunkline_server.providers.table import ROWS
from trunkline_server.settings import ProviderSettings, Settings
from trunkline_server.settings.scripted import ScriptedToolCall

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Load = Callable[..., Settings]

KEY = {"OPENAI_API_KEY": "sk-test"}


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load the text of a file with this environment."""

    def load_text(text: str, **environ: str) -> Settings:
        path = tmp_path / "trunkline.yaml"
        path.write_text(text)
        return config.load(path, environ)

    return load_text


def problems(load: Load, text: str, **environ: str) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        load(text, **environ)
    return {problem.path: problem.expected for problem in caught.value.problems}


# --- without a file ---------------------------------------------------------------------------------------------------


def test_nothing_is_needed() -> None:
    settings = config.load(None, {})
    built_in = {name: getattr(settings, name) for name in ("tasks", "agents", "chains", "environments")}
    assert settings == Settings(providers=settings.providers, **built_in)
    assert {name: each.kind for name, each in settings.providers.items()} == {
        "embedded": "embedded",
        "mock": "scripted",
    }
    assert next(iter(settings.providers["mock"].scripts)) == "mock-fast"


def test_the_environment_configures_openai() -> None:
    environ = {
        "OPENAI_API_KEY": "sk-test",
        "OPENAI_MODEL": "gpt-4o",
        "OPENAI_ORGANIZATION": "org-1",
        "OPENAI_BASE_URL": "https://example.test/v1/",
        "TRUNKLINE_LISTEN": "127.0.0.1:1",
    }
    settings = config.load(None, environ)
    openai = settings.providers["openai"]
    assert openai.api_key is not None
    assert openai.api_key.reveal() == "sk-test"
    assert openai.kind == "openai"
    assert openai.default_model == "gpt-4o"
    assert openai.organization == "org-1"
    assert openai.base_url == "https://example.test/v1", "paths are appended to it, so it must not end in a slash"
    assert settings.server.listen == "127.0.0.1:1"


@pytest.mark.parametrize("empty", ["", "  ", "\n"])
def test_an_empty_variable_counts_as_unset(empty: str) -> None:
    names = ["OPENAI_API_KEY", "OPENAI_MODEL", "LLM_PROVIDER", "LLM_DEFAULT_MODEL", "TRUNKLINE_LISTEN"]
    assert config.load(None, dict.fromkeys(names, empty)) == config.load(None, {})


@pytest.mark.parametrize(
    ("environ", "default"),
    [
        ({"LLM_PROVIDER": "openai"}, "openai"),
        ({"LLM_DEFAULT_PROVIDER": "OpenAI "}, "openai"),
        ({"LLM_PROVIDER": "mock", "LLM_DEFAULT_PROVIDER": "mock"}, "mock"),
        ({"LLM_DEFAULT_MODEL": "gpt-4o"}, "gpt-4o"),
        ({"LLM_PROVIDER": "openai", "LLM_DEFAULT_MODEL": "gpt-4o"}, "openai/gpt-4o"),
        ({"LLM_PROVIDER": "openai", "LLM_DEFAULT_MODEL": "openai/gpt-4o"}, "openai/gpt-4o"),
        ({"LLM_PROVIDER": "openai", "LLM_DEFAULT_MODEL": "ft:gpt/x"}, "openai/ft:gpt/x"),
    ],
)
def test_the_environment_names_the_default(environ: dict[str, str], default: str) -> None:
    assert config.load(None, KEY | environ).default_model == default


@pytest.mark.parametrize(
    ("environ", "path", "expected"),
    [
        ({"LLM_PROVIDER": "openai", "LLM_DEFAULT_PROVIDER": "mock"}, "LLM_DEFAULT_PROVIDER", "what LLM_PROVIDER says"),
        ({"LLM_PROVIDER": "openai"}, "LLM_PROVIDER", "set OPENAI_API_KEY to have openai"),
        ({"LLM_PROVIDER": "mok"}, "LLM_PROVIDER", "did you mean mock?"),
        ({"LLM_DEFAULT_MODEL": "mock-fst"}, "LLM_DEFAULT_MODEL", "did you mean mock-fast"),
        ({"TRUNKLINE_LISTEN": "50051"}, "TRUNKLINE_LISTEN", "host:port"),
        (KEY | {"OPENAI_BASE_URL": "http://example.test/v1"}, "OPENAI_BASE_URL", "https"),
        (KEY | {"OPENAI_MODEL": "gpt-4o "}, "OPENAI_MODEL", "without a blank"),
    ],
)
def test_a_wrong_variable_is_named(environ: dict[str, str], path: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=f"{path}: expected .*{re.escape(expected)}"):
        config.load(None, environ)


# --- the file and the environment -------------------------------------------------------------------------------------


def test_what_the_file_says_stands(load: Load) -> None:
    text = """
        server: {listen: "127.0.0.1:1"}
        default_model: mock
        providers: {openai: {api_key: env:OTHER, default_model: gpt-4.1, organization: ""}}
    """
    environ = {"TRUNKLINE_LISTEN": "127.0.0.1:2", "LLM_PROVIDER": "openai", "OTHER": "sk-other"}
    openai_environ = {"OPENAI_API_KEY": "sk-test", "OPENAI_MODEL": "gpt-4o", "OPENAI_ORGANIZATION": "org-1"}
    settings = load(text, **environ, **openai_environ)
    openai = settings.providers["openai"]
    assert (settings.server.listen, settings.default_model) == ("127.0.0.1:1", "mock")
    assert openai.api_key is not None
    assert openai.api_key.reveal() == "sk-other"
    assert (openai.default_model, openai.organization) == ("gpt-4.1", "")


@pytest.mark.parametrize("text", ["providers: {openai: {max_connections: 5}}", "providers:\n  openai:\n", "providers:"])
def test_the_environment_fills_in_what_the_file_leaves_out(load: Load, text: str) -> None:
    openai = load(text, OPENAI_MODEL="gpt-4o", **KEY).providers["openai"]
    assert openai.api_key is not None
    assert openai.default_model == "gpt-4o"


def test_a_key_in_the_environment_adds_no_second_provider_of_its_kind(load: Load) -> None:
    settings = load("providers: {europe: {kind: openai, base_url: 'https://eu.example.test/v1'}}", **KEY)
    assert list(settings.providers) == ["europe", "embedded", "mock"]
    assert settings.providers["europe"].api_key is not None


def test_a_provider_of_another_kind_may_have_the_name_of_a_row(load: Load) -> None:
    settings = load("providers: {openai: {kind: openai_compatible, base_url: 'http://[::1]:1', models: [m]}}", **KEY)
    assert settings.providers["openai"].kind == "openai_compatible"
    assert settings.providers["openai"].api_key is None, "OpenAI's key is not for others"


def test_one_kind_under_several_names(load: Load) -> None:
    one = "{kind: openai_compatible, base_url: 'http://localhost:1/v1', models: [m]}"
    assert load(f"providers: {{a: {one}, b: {one}}}").providers["b"].kind == "openai_compatible"


def test_an_anchor_is_not_shared(load: Load) -> None:
    settings = load("providers: {openai: &same {max_connections: 7}, mock: *same}", **KEY)
    assert settings.providers["openai"].kind == "openai"
    assert settings.providers["mock"].kind == "scripted"


def test_built_in_providers_can_be_configured_and_switched_off(load: Load) -> None:
    settings = load("providers: {embedded: {slots: 2}, mock: {enabled: false}}")
    assert settings.providers["embedded"] == ProviderSettings(kind="embedded", slots=2)
    assert not settings.providers["mock"].enabled


# --- what is refused --------------------------------------------------------------------------------------------------

WRONG = [
    # field by field
    ("servr: {}", "servr", "a known key (did you mean server?)"),
    ("zebra: 1", "zebra", "a known key: preset, tasks, agents, chains, complexity, environments, environment, "),
    ("server: {lisen: x}", "server.lisen", "a known key (did you mean listen?)"),
    ("server: 5", "server", "keys with values"),
    ("[1]", "the file", "keys with values"),
    ("server: {listen: 5}", "server.listen", "text in quotes, got 5"),
    ("server: {max_message_bytes: 1}", "server.max_message_bytes", "an integer from 65536 to 1073741824, got 1"),
    ("server: {grace: soon}", "server.grace", '30s, 250ms, 2m, 1h or 7d, at most 366 days, got "soon"'),
    ("logs: {monitoring_level: Basic}", "logs.monitoring_level", 'one of basic, comprehensive, detailed, got "Basic"'),
    ("logs: {monitoring_level: [basic]}", "logs.monitoring_level", "got a list"),
    ("aliases: [a]", "aliases", "keys with values"),
    ("aliases: {a: 3.5}", "aliases.a", "text in quotes, got 3.5"),
    ("aliases: {yes: mock}", "aliases.true", "text in quotes, got true"),
    ("aliases: {a: 2026-11-01}", "aliases.a", "text in quotes, got a date"),
    ("aliases: {a: }", "aliases.a", "text in quotes, got nothing"),
    ("providers: {Mock: {}}", "providers.Mock", "lower-case letters, digits, - and _"),
    ('providers: {"mock\\n": {}}', "providers.(unreadable key)", "lower-case letters, digits, - and _"),
    ("providers: {mock: mock-fast}", "providers.mock", "keys with values"),
    ("providers: {mock: {enabled: 1}}", "providers.mock.enabled", "true or false, got 1"),
    ("providers: {mock: {kind: 5}}", "providers.mock.kind", "text in quotes, got 5"),
    ("providers: {mock: {max_connections: many}}", "providers.mock.max_connections", 'from 1 to 100000, got "many"'),
    ("providers: {mock: {max_connections: true}}", "providers.mock.max_connections", "got true"),
    ("providers: {mock: {max_connections: 1.5}}", "providers.mock.max_connections", "got 1.5"),
    ("providers: {mock: {models: mock-fast}}", "providers.mock.models", 'a list, got "mock-fast"'),
    ("providers: {openai: {models: [5, gpt-4o, ' x']}}", "providers.openai.models[0]", "text in quotes, got 5"),
    ("providers: {mock: {scripts: {m: {rate: -1}}}}", "providers.mock.scripts.m.rate", "a number, at least 0, got -1"),
    ("providers: {mock: {scripts: {m: {rate: .nan}}}}", "providers.mock.scripts.m.rate", "a number, at least 0"),
    ("providers: {mock: {scripts: {m: {rate: .inf}}}}", "providers.mock.scripts.m.rate", "a number, at least 0"),
    ("providers: {mock: {scripts: {m: {failure: {}}}}}", "providers.mock.scripts.m.failure.kind", "a value"),
    ("providers: {mock: {scripts: {m: {tool_calls: [{}]}}}}", "providers.mock.scripts.m.tool_calls[0].name", "a value"),
    # what it means
    ("server: {listen: localhost}", "server.listen", "host:port"),
    ("server: {admin_listen: localhost}", "server.admin_listen", "host:port"),
    ("server: {admin_listen: '0.0.0.0:50052'}", "server.admin_listen", "a loopback address"),
    ("server: {admin_listen: '[::]:50052'}", "server.admin_listen", "reached from this machine only"),
    ("alerts: {key_rotation: 1h}", "alerts.key_rotation", "at least 1d"),
    ("alerts: {webhook: {url: 'http://ops.test/x'}}", "alerts.webhook.url", "https"),
    ("alerts: {webhook: {url: 'a b'}}", "alerts.webhook.url", "an https URL, env:NAME or file:/path"),
    ("alerts: {webhook: {}}", "alerts.webhook.url", "a value"),
    ("alerts: {webhook: {url: 'https://ops.test', secret: 'aws-sm:x'}}", "alerts.webhook.secret", "env:NAME"),
    ("valkey: {url: 'http://127.0.0.1:6379'}", "valkey.url", "valkey://host:port/database"),
    ("valkey: {url: 'valkey://:canary@127.0.0.1:6379'}", "valkey.url", "a password does not belong"),
    ("caller_limits: {each_key: {requests_per_minute: 0}}", "caller_limits.each_key.requests_per_minute", "from 1"),
    ("server: {admin_listen: 'example.test:50052'}", "server.admin_listen", "a loopback address"),
    ("server: {listen: '127.0.0.1:9', admin_listen: '127.0.0.1:9'}", "server.admin_listen", "another port"),
    ("discovery: {every: 1s}", "discovery.every", "at least 10s, or 0 for never"),
    ("server: {listen: ':1'}", "server.listen", "host:port"),
    ("server: {listen: 'h:65536'}", "server.listen", "host:port"),
    ("limits: {connect: 0}", "limits.connect", "more than 0"),
    ("limits: {max_deadline: 1m}", "limits.max_deadline", "at least limits.default_deadline"),
    ("providers: {mock: {first_token: 0}}", "providers.mock.first_token", "more than 0"),
    ("providers: {mock: {retry: {base: 9s}}}", "providers.mock.retry.cap", "at least providers.mock.retry.base"),
    ("providers: {mock: {retry: {max_attempts: 0}}}", "providers.mock.retry.max_attempts", "from 1 to 10"),
    ("providers: {mock: {retry: {attempt_timeout: 0}}}", "providers.mock.retry.attempt_timeout", "more than 0"),
    ("providers: {mock: {retry: {retryable: [invalid]}}}", "providers.mock.retry.retryable[0]", "rate_limited"),
    ("providers: {mock: {breaker: {recovery: 0}}}", "providers.mock.breaker.recovery", "more than 0"),
    ("providers: {mock: {breaker: {failures: 0}}}", "providers.mock.breaker.failures", "from 1 to 1000"),
    ("providers: {mock: {limits: {concurrency: 0}}}", "providers.mock.limits.concurrency", "from 1 to 100000"),
    ("providers: {mock: {limits: {tokens_per_minute: 0}}}", "providers.mock.limits.tokens_per_minute", "at least 1"),
    ("providers: {a: {}}", "providers.a.kind", "a known kind: openai, anthropic, gemini, "),
    ("providers: {a: {kind: scriptd}}", "providers.a.kind", "a known kind (did you mean scripted?)"),
    ("providers: {a: {kind: openai_compatible, models: [m]}}", "providers.a.base_url", "an http or https URL"),
    (
        "providers: {a: {kind: openai_compatible, base_url: 'https://h'}}",
        "providers.a.default_model",
        "a model's id here or in models",
    ),
    ("providers: {openai: {models: [' m']}}", "providers.openai.models[0]", "without a blank at either end"),
    ("providers: {openai: {scripts: {m: {}}}}", "providers.openai.scripts", "nothing here"),
    ("providers: {mock: {models: [other]}}", "providers.mock.models[0]", "a model of this provider: mock-fast"),
    ("providers: {mock: {default_model: mock-fst}}", "providers.mock.default_model", "(did you mean mock-fast?)"),
    ("providers: {mock: {scripts: {m: {}}, default_model: mock-fast}}", "providers.mock.default_model", ": m"),
    ("providers: {embedded: {default_model: big}}", "providers.embedded.default_model", "a model of this provider"),
    ("providers: {embedded: {slots: 64, context_window: 8192}}", "providers.embedded.slots", "at most 65536"),
    ("providers: {openai: {headers: {'a b': x}}}", "providers.openai.headers.(unreadable key)", "an HTTP header"),
    ("default_model: mock-fst", "default_model", "did you mean mock-fast"),
    ("default_model: openai/gpt-4o", "default_model", "set OPENAI_API_KEY to have openai"),
    ("{default_model: mock, providers: {mock: {enabled: false}}}", "default_model", "a model, an alias or a provider"),
    # names that would hide another
    ("aliases: {mock: embedded}", "aliases.mock", "a name that does not begin with a provider's"),
    ("aliases: {mock/x: embedded}", "aliases.mock/x", "a name that does not begin with a provider's"),
    ("aliases: {mock-fast: embedded}", "aliases.mock-fast", "a name that is not the id of a model"),
    ("aliases: {' a': mock}", "aliases.(unreadable key)", "without a blank at either end"),
    ("aliases: {a: b, b: mock}", "aliases.a", "not another alias"),
    ("aliases: {a: a}", "aliases.a", "not another alias"),
    ("aliases: {a: mock-fst}", "aliases.a", "did you mean mock-fast or mock"),
    ("aliases: {quick: mock, a: quik}", "aliases.a", 'say "provider/model"'),
    ("aliases: {mock-fast: xyzzy}", "aliases.mock-fast", "a name that is not the id of a model"),
    ("aliases: {a: ''}", "aliases.a", "the name of a model"),
    ("providers: {a: {kind: openai, models: [mock]}}", "providers.mock", "a name that is not the id of a model"),
    # tasks, agents, chains and environments
    ("preset: hugay", "preset", "a preset (did you mean hugai?)"),
    ("preset: 5", "preset", "text in quotes, got 5"),
    ("tasks: {a b: {}}", "tasks.(unreadable key)", "at most 64 letters, digits, - and _"),
    ("tasks: {a: {primary: mock}}", "tasks.a.primary", 'a list, got "mock"'),
    ("tasks: {a: {max_output_tokens: 0}}", "tasks.a.max_output_tokens", "an integer from 1"),
    ("tasks: {a: {chain: high_qualty}}", "tasks.a.chain", "the name of a chain (did you mean high_quality?)"),
    ("tasks: {a: {pinned: true}}", "tasks.a.pinned", "primary beside it"),
    ("tasks: {a: {labels: {a b: c}}}", "tasks.a.labels.(unreadable key)", "at most 64 letters"),
    (
        "tasks: {a: {weights: {cost: 0, performance: 0, quality: 0, specialised: 0}}}",
        "tasks.a.weights",
        "at least one above 0",
    ),
    ("tasks: {a_b: {}, A-B: {}}", "tasks.A-B", "another name than a_b: case, - and _ do not matter"),
    ("agents: {a: {task: code_generaton}}", "agents.a.task", "the name of a task (did you mean code_generation?)"),
    ("chains: {a: {}}", "chains.a", "one of targets, tiers and requires"),
    ("chains: {a: {targets: [mock], tiers: [[mock]]}}", "chains.a", "one of targets, tiers and requires"),
    ("chains: {a: {tiers: [[mock], []]}}", "chains.a.tiers[1]", "at least one target"),
    ("chains: {a: {targets: [mock], strategy: balanced}}", "chains.a.strategy", "nothing here"),
    (
        "chains: {a: {requires: {providers: [mok]}}}",
        "chains.a.requires.providers[0]",
        "a provider (did you mean mock?)",
    ),
    ("complexity: [{complexity: hard, use: mock}]", "complexity[0].complexity", "one of complex, moderate, simple"),
    ("complexity: [{use: mock, chain: nope}]", "complexity[0].chain", "the name of a chain"),
    ("environment: prod", "environment", "the name of an environment: development, staging"),
    ("environments: {a: {quality_threshold: 2}}", "environments.a.quality_threshold", "a number from 0 to 1"),
    ("max_attempts: 11", "max_attempts", "an integer from 1 to 10"),
    ("measured: {nobody/m: {first_token: 1s, tokens_per_second: 1}}", "measured.nobody/m", '"provider/model"'),
    (
        "providers: {mock: {usual_latency: {least: 2s, most: 1s}}}",
        "providers.mock.usual_latency.most",
        "at least providers.mock.usual_latency.least",
    ),
    # what is so of models
    ("model_data: {nobody/m: {}}", "model_data.nobody/m", '"provider/model"'),
    ("model_data: {mock: {}}", "model_data.mock", "after the provider the model: 1 to 256"),
    ("model_data: {mock/mock-fst: {}}", "model_data.mock/mock-fst", "(did you mean mock-fast?)"),
    ("model_data: {mock/mock-fast: {windw: 1}}", "model_data.mock/mock-fast.windw", "a known key"),
    ("model_data: {mock/mock-fast: {context_window: 0}}", "model_data.mock/mock-fast.context_window", "from 1 to"),
    (
        "model_data: {mock/mock-fast: {context_window: 9, max_output_tokens: 10}}",
        "model_data.mock/mock-fast.max_output_tokens",
        "at most context_window",
    ),
    (
        "model_data: {mock/mock-fast: {capabilities: [fly]}}",
        "model_data.mock/mock-fast.capabilities[0]",
        "one of audio, json_mode",
    ),
    ("model_data: {mock/mock-fast: {scores: {luck: 1}}}", "model_data.mock/mock-fast.scores.luck", "one of coding"),
    (
        "model_data: {mock/mock-fast: {scores: {speed: 1.5}}}",
        "model_data.mock/mock-fast.scores.speed",
        "a number from 0 to 1",
    ),
    ("model_data: {mock/mock-fast: {retirement: soon}}", "model_data.mock/mock-fast.retirement", "a date such as"),
    (
        "model_data: {mock/mock-fast: {deprecation: 2027-01-02, retirement: 2027-01-01}}",
        "model_data.mock/mock-fast.deprecation",
        "no later than retirement",
    ),
    ("model_data: {mock/mock-fast: {replacement: ' x'}}", "model_data.mock/mock-fast.replacement", "without a blank"),
    (
        "model_data: {mock/mock-fast: {replacement: mock/mock-fast}}",
        "model_data.mock/mock-fast.replacement",
        "another model",
    ),
]


@pytest.mark.parametrize(("text", "path", "expected"), WRONG)
def test_refused(load: Load, text: str, path: str, expected: str) -> None:
    found = problems(load, text)
    assert expected in found.pop(path)
    assert not found, "one mistake is one problem"


@pytest.mark.parametrize(
    "base_url",
    [
        "ftp://h",
        "h",
        "https://",
        "https://u:p@h",
        "https://h?k=v",
        "https://h#x",
        "https://h:0",
        "https://h:x",
        "https://[h",
    ],
)
def test_a_wrong_base_url_is_refused_and_not_shown(load: Load, base_url: str) -> None:
    found = problems(load, f"providers: {{openai: {{base_url: '{base_url}'}}}}")
    assert list(found) == ["providers.openai.base_url"]
    assert base_url not in found["providers.openai.base_url"].replace(" ", "").split(",")


@pytest.mark.parametrize(
    ("host", "right"),
    [
        ("localhost", True),
        ("127.0.0.9", True),
        ("[::1]", True),
        ("a.localhost", True),
        ("10.0.0.1", False),
        ("h.test", False),
    ],
)
def test_plain_http_only_to_this_machine(load: Load, host: str, right: bool) -> None:
    text = f"providers: {{openai: {{base_url: 'http://{host}:8000/v1'}}}}"
    if not right:
        assert "allow_plain_http" in problems(load, text)["providers.openai.base_url"]
        text = text.replace("{base_url", "{allow_plain_http: true, base_url")
    assert load(text).providers["openai"].base_url == f"http://{host}:8000/v1"


def test_all_problems_are_told_at_once(load: Load) -> None:
    text = """
        server: {listen: 5, grace: -1s}
        limits: {conect: 1s}
        aliases: {a: nowhere}
        providers:
          openai: {max_connections: many, models: [1, gpt-4o, 2], base_url: ftp}
          other: {kind: nothing}
    """
    assert list(problems(load, text, LLM_PROVIDER="nobody")) == [
        "server.listen",
        "server.grace",
        "limits.conect",
        "providers.openai.models[0]",
        "providers.openai.models[2]",
        "providers.openai.max_connections",
        "providers.openai.base_url",
        "providers.other.kind",
        "aliases.a",
        "LLM_PROVIDER",
    ]


def test_the_message_has_a_line_for_each_problem(load: Load, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load("providers: {mock: {max_connections: many, enabled: 1}}")
    assert str(caught.value).splitlines() == [
        f"{tmp_path / 'trunkline.yaml'} cannot be used:",
        "  providers.mock.enabled: expected true or false, got 1",
        '  providers.mock.max_connections: expected an integer from 1 to 100000, got "many"',
    ]


def test_an_alias_may_mean_what_is_switched_off(load: Load) -> None:
    assert load("{aliases: {a: mock}, providers: {mock: {enabled: false}}}").aliases == {"a": "mock"}


# --- YAML -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: b: c", "YAML: line 1, column 5: mapping values are not allowed here"),
        ("server:\n\tlisten: x", "YAML: line 2, column 1: found character '\\t' that cannot start any token"),
        ("server: {\n", "YAML: line 2, column 1: "),
        ("server: *nowhere", "YAML: line 1, column 9: "),
        ("server: !secret x", "YAML: line 1, column 9: "),
        ("server: !!python/name:os.system x", "YAML: line 1, column 9: "),
        ("a: 2026-13-45", "YAML: it has a value that YAML cannot read"),
        ("a: !!int x", "YAML: it has a value that YAML cannot read"),
        ("a: " + "[" * 5000, "YAML: it has a value that YAML cannot read"),
        ("a: 1\n---\nb: 2", "YAML: line 2, column 1: "),
        ("a: \x01", "YAML: it has a value that YAML cannot read"),
    ],
)
def test_what_is_not_yaml(load: Load, text: str, expected: str) -> None:
    assert problems(load, text)["the file"].startswith(expected)


def test_a_key_that_stands_twice_is_refused(load: Load) -> None:
    server = "server:\n  listen: 'localhost:1'\n  listen: 'localhost:2'\n"
    text = server + "providers:\n  mock: &a {slots: 1}\n  embedded: *a\n  mock: {}\n"
    assert problems(load, text) == {
        "line 3, column 3": "each key once: listen stands in line 2, too",
        "line 7, column 3": "each key once: mock stands in line 5, too",
    }
    assert problems(load, "{aliases: {a: mock, a: embedded}}") == {
        "line 1, column 21": "each key once: a stands in line 1, too"
    }


def test_a_document_that_contains_itself(load: Load) -> None:
    assert problems(load, "aliases: &a {b: *a}") == {"aliases.b": "text in quotes, got keys with values"}


@pytest.mark.parametrize("text", ["", "# nothing\n", "{}", "server:\nproviders:\naliases:\n", "\ufeffserver: {}"])
def test_an_empty_file_is_as_good_as_none(load: Load, text: str) -> None:
    assert load(text) == config.load(None, {})


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"a: \xe9")
    for name, reason in (("missing", "No such file"), (".", "Is a directory"), ("latin", "it is not UTF-8 text")):
        with pytest.raises(ConfigError, match=f"the file: expected .* to be readable: {reason}"):
            config.load(tmp_path / name, {})


# --- times ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("30s", 30.0),
        ("250ms", 0.25),
        ("2m", 120.0),
        ("1h", 3600.0),
        ("7d", 604800.0),
        ("1.5s", 1.5),
        ("0s", 0.0),
        (7, 7.0),
        (0.5, 0.5),
    ],
)
def test_times(value: object, seconds: float) -> None:
    assert read_seconds(value) == seconds


@pytest.mark.parametrize(
    "value",
    [
        "-1s",
        "1 s",
        "1",
        "1w",
        "1e3s",
        "s",
        "",
        "8785h",
        "1h30m",
        "٣s",
        "1s\n",
        -1,
        float("nan"),
        float("inf"),
        True,
        None,
        [],
        10**400,
        -(10**400),
    ],
)
def test_wrong_times(value: object) -> None:
    with pytest.raises(Unfit, match="at most 366 days"):
        read_seconds(value)


@given(st.one_of(st.text(), st.integers(), st.floats(), st.from_regex(r"[0-9.]{1,9}(ms|s|m|h)", fullmatch=True)))
def test_a_time_is_right_or_refused(value: object) -> None:
    with suppress(Unfit):
        assert 0 <= read_seconds(value) <= LONGEST_SPAN


# --- any tree at all --------------------------------------------------------------------------------------------------

SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just("mock"))
KEYS = st.one_of(
    st.sampled_from([field.name for cls in (Settings, ProviderSettings) for field in inspect.type_info(cls).fields]),  # type: ignore[attr-defined]
    st.sampled_from(["mock", "openai", "a", "kind"]),
    st.text(max_size=3),
    st.integers(0, 3),
)
TREES = st.recursive(
    SCALARS, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=4))
)


@given(st.dictionaries(KEYS, TREES, max_size=5))
def test_any_tree_loads_or_is_refused(tmp_path_factory: pytest.TempPathFactory, tree: dict[Any, Any]) -> None:
    path = tmp_path_factory.getbasetemp() / "tree.yaml"
    path.write_text(yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8")
    with suppress(ConfigError):
        assert isinstance(config.load(path, KEY), Settings)


# --- places -----------------------------------------------------------------------------------------------------------


def test_find_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert config.find_path({}) is None
    assert config.find_path({"TRUNKLINE_CONFIG": ""}) is None
    (tmp_path / "trunkline.yaml").touch()
    assert config.find_path({}) == Path("trunkline.yaml")
    assert config.find_path({"TRUNKLINE_CONFIG": "b.yaml"}) == Path("b.yaml")
    assert config.find_path({"TRUNKLINE_CONFIG": "b.yaml"}, Path("c.yaml")) == Path("c.yaml")


@pytest.mark.parametrize(
    ("environ", "platform", "folder"),
    [
        ({"HOME": "/h"}, "linux", "/h/.cache/trunkline"),
        ({"HOME": "/h", "XDG_CACHE_HOME": "/c"}, "linux", "/c/trunkline"),
        ({"HOME": "/h", "XDG_CACHE_HOME": "c"}, "linux", "/h/.cache/trunkline"),
        ({"HOME": "/h"}, "darwin", "/h/Library/Caches/trunkline"),
        ({"HOME": "/h", "LOCALAPPDATA": "/l"}, "win32", "/l/trunkline/cache"),
        ({"HOME": "/h"}, "win32", "/h/AppData/Local/trunkline/cache"),
        ({}, "linux", f"{Path.home()}/.cache/trunkline"),
    ],
)
def test_cache_folder(environ: dict[str, str], platform: str, folder: str) -> None:
    assert config.cache_folder(environ, platform) == Path(folder)


# --- version ----------------------------------------------------------------------------------------------------------


def test_version_is_the_same_for_the_same_settings_and_another_for_others(load: Load) -> None:
    texts = ["", "limits: {connect: 9s}", "aliases: {a: mock}", "providers: {mock: {debug: true}}"]
    versions = [config.version(load(text, **KEY)) for text in texts]
    assert versions == [config.version(load(text, **KEY)) for text in texts]
    versions.append(config.version(load("", OPENAI_API_KEY="sk-test-2")))
    versions.append(config.version(load("providers: {openai: {headers: {a: b}}}", **KEY)))
    versions.append(config.version(load("providers: {openai: {headers: {a: c}}}", **KEY)))
    assert len(set(versions)) == len(versions)
    assert all(re.fullmatch("[0-9a-f]{12}", version) for version in versions)


@pytest.mark.parametrize("address", ["", "127.0.0.1:50052", "localhost:0", "'[::1]:50052'"])
def test_where_the_admin_service_may_be(load: Load, address: str) -> None:
    settings = load(
        f"{{server: {{listen: '127.0.0.1:0', admin_listen: {address or repr('')}}}, discovery: {{every: 0}}}}"
    )
    assert settings.server.admin_listen == address.strip("'")


# --- the example ------------------------------------------------------------------------------------------------------


def settings_in(kind: inspect.Type, tree: Any, path: str = "") -> Iterator[tuple[str, bool]]:
    """Every setting there is, and whether the tree has it; a mapping has what one of its values has."""
    if isinstance(kind, inspect.UnionType):
        kind = next(each for each in kind.types if not isinstance(each, inspect.NoneType))
    if isinstance(kind, inspect.StructType):
        for field in kind.fields:
            has = isinstance(tree, dict) and field.name in tree
            yield f"{path}.{field.name}", has
            yield from settings_in(field.type, tree[field.name] if has else None, f"{path}.{field.name}")
    elif isinstance(kind, inspect.DictType | inspect.VarTupleType):
        inner = kind.value_type if isinstance(kind, inspect.DictType) else kind.item_type
        for item in tree.values() if isinstance(tree, dict) else tree or [None]:
            yield from settings_in(inner, item, f"{path}[]")


def test_the_example_is_right() -> None:
    settings = config.load(EXAMPLE, {})
    assert settings.providers["mock"].scripts["mock-weather"].tool_calls == (
        ScriptedToolCall(name="get_weather", arguments='{"city": "Paris"}'),
    )


def test_the_example_has_every_setting_and_each_is_right(load: Load, tmp_path: Path) -> None:
    text, environ = whole_example(tmp_path)
    load(text, **environ)
    mentioned: dict[str, bool] = {}
    for path, has in settings_in(inspect.type_info(Settings), yaml.safe_load(text)):
        mentioned[path] = mentioned.get(path, False) or has
    assert len(mentioned) > 40
    assert [path for path, has in mentioned.items() if not has] == []


# --- targets that mean nobody -----------------------------------------------------------------------------------------


def test_targets_that_nobody_answers_to_are_warnings_that_name_the_remedy(load: Load) -> None:
    settings = load("""
        tasks: {mine: {primary: [mock-fst, embedded], fallback: [gpt-4o]}, code_generation: {fallback: [codellama-70b]}}
        agents: {me: {model: nobody/x}}
        chains: {c: {targets: [mock]}, t: {tiers: [[mock], [claude-3-opus]]}}
        complexity: [{use: mock-slw}]
        last_resort: embeded
        routing:
          strategies: {a: {order: [mock, opnai]}, b: {shares: {embeded: 1, others: 1}}}
    """)
    told = dict(warning.split(": ", 1) for warning in target_warnings(settings, ROWS))
    assert {path: warning.partition("; ")[2] for path, warning in told.items()} == {
        "tasks.mine.primary[0]": "did you mean mock-fast or mock/mock-fast or mock-slow?",
        "tasks.mine.fallback[0]": "gpt-4o is a model of openai: set OPENAI_API_KEY to have it",
        "chains.t.tiers[1][0]": "claude-3-opus is a model of anthropic: set ANTHROPIC_API_KEY to have it",
        "agents.me.model": 'say "provider/model"; the providers are embedded, mock',
        "complexity[0].use": "did you mean mock-slow or mock/mock-slow or mock-fast?",
        "last_resort": "did you mean embedded?",
        "routing.strategies.a.order[1]": 'say "provider/model"; the providers are embedded, mock',
        "routing.strategies.b.shares.embeded": "did you mean embedded?",
        "tasks.code_generation.fallback[0]": 'say "provider/model"; the providers are embedded, mock',
    }


def test_nothing_is_said_of_what_is_built_in() -> None:
    assert [*target_warnings(config.load(None, {}), ROWS)] == []
