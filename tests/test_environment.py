"""Environment variables as users have them already: each is honoured, and too little makes no provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from routed import World, snapshot_of

from trunkline_server import config
from trunkline_server.providers.table import ROWS
from trunkline_server.routing.catalogue import build_offers

if TYPE_CHECKING:
    from pathlib import Path

    from trunkline_server.settings import ProviderSettings, Settings

AZURE = {
    "AZURE_OPENAI_API_KEY": "k",
    "AZURE_OPENAI_ENDPOINT": "https://r.openai.azure.com/",
    "AZURE_OPENAI_DEPLOYMENT": "d",
}
AWS = {"AWS_ACCESS_KEY_ID": "AKIA0", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "eu-west-1"}
VERTEX = {"VERTEX_ACCESS_TOKEN": "k", "GOOGLE_CLOUD_PROJECT": "p-1", "GOOGLE_CLOUD_LOCATION": "europe-west4"}
US_EAST = "https://bedrock-runtime.us-east-1.amazonaws.com"


def load(environ: dict[str, str]) -> Settings:
    return config.load(None, environ)


# The variable that is set to "value" beside the others, and where that arrives.
VARIABLES: list[tuple[str, dict[str, str], str, str]] = [
    ("OPENAI_API_KEY", {}, "openai", "api_key"),
    ("OPENAI_MODEL", {"OPENAI_API_KEY": "k"}, "openai", "default_model"),
    ("OPENAI_ORGANIZATION", {"OPENAI_API_KEY": "k"}, "openai", "organization"),
    ("ANTHROPIC_API_KEY", {}, "anthropic", "api_key"),
    ("CLAUDE_MODEL", {"ANTHROPIC_API_KEY": "k"}, "anthropic", "default_model"),
    ("GEMINI_API_KEY", {}, "gemini", "api_key"),
    ("GEMINI_MODEL", {"GEMINI_API_KEY": "k"}, "gemini", "default_model"),
    ("GEMINI_MODEL", {"GOOGLE_API_KEY": "k"}, "gemini", "default_model"),
    ("GOOGLE_API_KEY", {}, "gemini", "api_key"),
    ("FIREWORKS_API_KEY", {}, "fireworks", "api_key"),
    ("FIREWORKS_MODEL", {"FIREWORKS_API_KEY": "k"}, "fireworks", "default_model"),
    ("MISTRAL_API_KEY", {}, "mistral", "api_key"),
    ("TOGETHER_API_KEY", {}, "together", "api_key"),
    ("COHERE_API_KEY", {}, "cohere", "api_key"),
    ("OPENROUTER_API_KEY", {}, "openrouter", "api_key"),
    ("GROQ_API_KEY", {}, "groq", "api_key"),
    ("DEEPSEEK_API_KEY", {}, "deepseek", "api_key"),
    ("XAI_API_KEY", {}, "xai", "api_key"),
    ("AZURE_OPENAI_API_KEY", AZURE, "azure_openai", "api_key"),
    ("AZURE_OPENAI_DEPLOYMENT", AZURE, "azure_openai", "default_model"),
    ("AWS_ACCESS_KEY_ID", AWS, "bedrock", "access_key_id"),
    ("AWS_SECRET_ACCESS_KEY", AWS, "bedrock", "secret_access_key"),
    ("AWS_SESSION_TOKEN", AWS, "bedrock", "session_token"),
    ("AWS_BEARER_TOKEN_BEDROCK", {"AWS_REGION": "eu-west-1"}, "bedrock", "api_key"),
]


@pytest.mark.parametrize(("variable", "others", "provider", "field"), VARIABLES)
def test_a_variable_arrives(variable: str, others: dict[str, str], provider: str, field: str) -> None:
    settings = load(others | {variable: "value"})
    assert shown(settings.providers[provider], field) == "value"
    assert build_offers(settings, ROWS, {})[provider].unavailable_reason == ""


def shown(provider: ProviderSettings, field: str) -> Any:
    value = getattr(provider, field)
    return value.reveal() if hasattr(value, "reveal") else value


@pytest.mark.parametrize(
    ("environ", "provider", "base_url"),
    [
        (AZURE, "azure_openai", "https://r.openai.azure.com"),
        ({"OLLAMA_BASE_URL": "http://localhost:11434/"}, "ollama", "http://localhost:11434"),
        (
            {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "https://eu.api.openai.com/v1"},
            "openai",
            "https://eu.api.openai.com/v1",
        ),
        (AWS, "bedrock", "https://bedrock-runtime.eu-west-1.amazonaws.com"),
        (
            VERTEX,
            "vertex",
            "https://europe-west4-aiplatform.googleapis.com/v1/projects/p-1/locations/europe-west4/publishers/google",
        ),
        (
            {**VERTEX, "GOOGLE_CLOUD_LOCATION": "global"},
            "vertex",
            "https://aiplatform.googleapis.com/v1/projects/p-1/locations/global/publishers/google",
        ),
        ({**VERTEX, "VERTEX_BASE_URL": "https://own.example/v1"}, "vertex", "https://own.example/v1"),
        ({**AWS, "AWS_REGION": "", "AWS_DEFAULT_REGION": "us-east-1"}, "bedrock", US_EAST),
        ({**AWS, "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "eu-west-1"}, "bedrock", US_EAST),
    ],
)
def test_an_address_arrives(environ: dict[str, str], provider: str, base_url: str) -> None:
    assert load(environ).providers[provider].base_url == base_url


@pytest.mark.parametrize(
    ("more", "version"),
    [
        ({}, ""),
        ({"OPENAI_API_VERSION": "2025-01-01-preview"}, "2025-01-01-preview"),
        ({"OPENAI_API_VERSION": "2024-10-21", "AZURE_OPENAI_API_VERSION": "2025-03-01"}, "2025-03-01"),
    ],
)
def test_azures_version_arrives(more: dict[str, str], version: str) -> None:
    settings = load(AZURE | {"OPENAI_API_KEY": "k"} | more)
    assert settings.providers["azure_openai"].api_version == version
    assert settings.providers["openai"].api_version == ""


def test_a_version_that_is_none_is_named_by_its_variable() -> None:
    with pytest.raises(config.ConfigError, match="AZURE_OPENAI_API_VERSION: expected a date in quotes"):
        load(AZURE | {"AZURE_OPENAI_API_VERSION": "newest"})


def test_of_two_names_of_a_key_the_vendors_own_stands() -> None:
    provider = load({"GEMINI_API_KEY": "gemini", "GOOGLE_API_KEY": "google"}).providers["gemini"]
    assert shown(provider, "api_key") == "gemini"


def test_all_of_them_together() -> None:
    environ = AZURE | AWS | {"OLLAMA_BASE_URL": "http://localhost:11434"}
    environ |= {
        variable: "value" for variable, _, _, _ in VARIABLES if variable not in environ and "BEARER" not in variable
    }
    offers = build_offers(load(environ), ROWS, {})
    assert {name for name, offer in offers.items() if not offer.builtin} == {
        *(provider for _, _, provider, _ in VARIABLES),
        "ollama",
    }
    assert all(offer.unavailable_reason == "" for offer in offers.values())


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OPENAI_MODEL": "m"},
        {"CLAUDE_MODEL": "m"},
        {"AZURE_OPENAI_API_KEY": "k"},
        {"AZURE_OPENAI_API_KEY": "k", "AZURE_OPENAI_ENDPOINT": "https://r.openai.azure.com"},
        {"VERTEX_ACCESS_TOKEN": "k", "GOOGLE_CLOUD_PROJECT": "p-1"},
        {"GOOGLE_CLOUD_PROJECT": "p-1", "GOOGLE_CLOUD_LOCATION": "global"},
        {"AWS_REGION": "us-east-1"},
        {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "k"},
        {"GITHUB_TOKEN": "k"},
    ],
)
def test_too_little_makes_no_provider(environ: dict[str, str]) -> None:
    assert set(load(environ).providers) == {"embedded", "mock"}


@pytest.mark.parametrize(("row", "key"), [(row.name, row.key_env) for row in ROWS.values() if row.key_required])
def test_a_provider_without_its_key_is_not_available_and_says_which(tmp_path: Path, row: str, key: str) -> None:
    path = tmp_path / "trunkline.yaml"
    path.write_text(f"providers: {{{row}: {{base_url: 'https://h.example', default_model: m}}}}")
    offer = build_offers(config.load(path, {}), ROWS, {})[row]
    assert offer.unavailable_reason.startswith(f"set {key} or providers.{row}.api_key")
    assert all(not model.available and model.unavailable_reason for model in offer.models.values())


# How targets are chosen, without a file: the variable, and what then holds.
CHOOSING: list[tuple[dict[str, str], str, object]] = [
    ({"LLM_ROUTING_STRATEGY": "Cost-Optimized"}, "strategy", "Cost-Optimized"),
    ({"DEFAULT_MODEL_STRATEGY": "enterprise"}, "strategy", "enterprise"),
    ({"DEFAULT_MODEL_STRATEGY": "ab-testing", "LLM_ROUTING_STRATEGY": "AB_Testing"}, "strategy", "AB_Testing"),
    ({"FALLBACK_MODEL_STRATEGY": "cost_optimized"}, "fallback_strategy", "cost_optimized"),
    ({"LLM_ENABLE_FALLBACK": "false"}, "fallback", False),
    ({"LLM_ENABLE_FALLBACK": "1"}, "fallback", True),
    ({"LLM_PREFER_LOCAL": "yes"}, "prefer_local", True),
    ({"LLM_MAX_LATENCY_MS": "1500"}, "max_latency", 1.5),
]


@pytest.mark.parametrize(("environ", "field", "value"), CHOOSING)
def test_how_targets_are_chosen_may_be_said_without_a_file(environ: dict[str, str], field: str, value: object) -> None:
    assert getattr(load(environ).routing, field) == value
    assert getattr(load({}).routing, field) != value or value is True


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"LLM_ROUTING_STRATEGY": "cheapest"}, "cost_optimized"),
        ({"LLM_ROUTING_STRATEGY": "balanced", "DEFAULT_MODEL_STRATEGY": "enterprise"}, "DEFAULT_MODEL_STRATEGY"),
        ({"LLM_MAX_LATENCY_MS": "fast"}, "LLM_MAX_LATENCY_MS"),
        ({"LLM_PREFER_LOCAL": "perhaps"}, "LLM_PREFER_LOCAL"),
    ],
)
def test_what_makes_no_sense_there_is_told_by_name(environ: dict[str, str], said: str) -> None:
    with pytest.raises(config.ConfigError, match=said):
        load(environ)


def test_what_the_environment_says_of_choosing_decides_calls() -> None:
    everybody = {row.key_env: "k" * 30 for row in ROWS.values() if row.key_env}
    order = World(snapshot_of(load({**everybody, "DEFAULT_MODEL_STRATEGY": "enterprise"}))).order()
    assert [each.partition("/")[0] for each in order[:4]] == ["fireworks", "anthropic", "openai", "gemini"]
    assert len(World(snapshot_of(load({**everybody, "LLM_ENABLE_FALLBACK": "false"}))).order()) == 1
    assert World(snapshot_of(load({**everybody, "LLM_PREFER_LOCAL": "true"}))).order()[0].partition("/")[0] in (
        "embedded", "ollama", "llamacpp", "vllm", "lmstudio", "localai",
    )  # fmt: skip
