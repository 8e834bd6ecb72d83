"""What users of older systems type: every name of a model, a vendor, a chain's, task's, tier's or agent's member."""

from __future__ import annotations

import re
import time

import pytest
from asked import resolve_model

from trunkline.v1.call_pb2 import Target
from trunkline_server.errors import UnknownModel
from trunkline_server.providers.table import ROWS, Row
from trunkline_server.routing.catalogue import build_offers
from trunkline_server.routing.names import find_targets
from trunkline_server.settings import ProviderSettings, Secret, Settings
from trunkline_server.snapshot import Snapshot
from trunkline_server.spelling import plain

EVERYBODY = [row.name for row in ROWS.values() if row.name not in ("scripted", "custom")]
FIREWORKS = "accounts/fireworks/models/"
SONNET = "claude-3-5-sonnet-20241022"


def snapshot(*kinds: str) -> Snapshot:
    """With these rows configured, each under its own name and with a key."""
    settings = Settings(
        providers={
            kind: ProviderSettings(kind=kind, api_key=Secret("k"), default_model=lacking(kind)) for kind in kinds
        }
    )
    return Snapshot("v", settings, build_offers(settings, ROWS, {}))


def lacking(kind: str) -> str:
    return "" if ROWS[kind].default_model else "default"


ALL = snapshot(*EVERYBODY)


def said(there: Snapshot, name: str) -> list[str]:
    return [f"{target.provider} {target.model}" for target in find_targets(there, name)]


# By name: who is asked first, and for what, when every vendor is configured.
NAMES = {
    # vendors
    "openai": "openai gpt-4o-mini",
    "OpenAI": "openai gpt-4o-mini",
    "Fireworks": f"fireworks {FIREWORKS}llama-v3p3-70b-instruct",
    "claude": "anthropic claude-sonnet-5-5",
    "Claude": "anthropic claude-sonnet-5-5",
    "anthropic": "anthropic claude-sonnet-5-5",
    "gemini": "gemini gemini-3.8-flash",
    "google": "gemini gemini-3.8-flash",
    "fireworks": f"fireworks {FIREWORKS}llama-v3p3-70b-instruct",
    "mistral": "mistral mistral-small-latest",
    "together": "together openai/gpt-oss-120b",
    "ollama": "ollama llama3.2",
    "cohere": "cohere command-a-03-2025",
    "deepseek": "deepseek deepseek-v4-flash",
    "qwen": "qwen qwen-plus",
    # models of vendors
    "gpt-4-turbo": "openai gpt-4-turbo",
    "gpt-4": "openai gpt-4",
    "GPT-4": "openai gpt-4",
    "gpt-4o": "openai gpt-4o",
    "gpt-3.5-turbo": "openai gpt-3.5-turbo",
    "gpt-3-5-turbo": "openai gpt-3.5-turbo",
    "gpt-3.5-turbo-0125": "openai gpt-3.5-turbo-0125",
    "gpt-5.2": "openai gpt-5.2",
    "o3-mini": "openai o3-mini",
    "o3": "openai o3",
    "chatgpt-4o-latest": "openai chatgpt-4o-latest",
    "ft:gpt-4o-mini:org::id": "openai ft:gpt-4o-mini:org::id",
    "claude-3-opus": "anthropic claude-3-opus-20240229",
    "claude-3-sonnet": "anthropic claude-3-sonnet-20240229",
    "claude-3-haiku": "anthropic claude-3-haiku-20240307",
    "claude-3.5-sonnet": f"anthropic {SONNET}",
    "claude-3-5-sonnet": f"anthropic {SONNET}",
    "claude-3-5-sonnet-latest": f"anthropic {SONNET}",
    SONNET: f"anthropic {SONNET}",
    "claude-3-5-sonnet-20240620": "anthropic claude-3-5-sonnet-20240620",
    "claude-opus-9": "anthropic claude-opus-9",
    "gemini-pro": "gemini gemini-pro",
    "gemini-1.5-pro": "gemini gemini-1.5-pro",
    "gemini-1-5-pro": "gemini gemini-1.5-pro",
    "mistral-large": "mistral mistral-large-latest",
    "mistral-tiny": "mistral mistral-tiny",
    "mixtral-8x7b": "mistral open-mixtral-8x7b",
    "codestral-2501": "mistral codestral-2501",
    "command-r-plus": "cohere command-r-plus",
    "grok-3": "xai grok-3",
    "sonar-pro": "perplexity sonar-pro",
    "kimi-k2": "moonshot kimi-k2",
    "glm-4.5": "zai glm-4.5",
    "deepseek-coder": "deepseek deepseek-coder",
    "deepseek-v3": "deepseek deepseek-v3",
    "qwen-2.5-coder": "qwen qwen2.5-coder-32b-instruct",
    "qwen-coder": "qwen qwen3-coder-plus",
    "anthropic.claude-3-haiku-20240307-v1:0": "bedrock anthropic.claude-3-haiku-20240307-v1:0",
    "us.amazon.nova-pro-v1:0": "bedrock us.amazon.nova-pro-v1:0",
    # vendor/model
    "openai/gpt-4": "openai gpt-4",
    "anthropic/claude-3-opus": "anthropic claude-3-opus-20240229",
    "anthropic/claude-3-haiku": "anthropic claude-3-haiku-20240307",
    "claude/claude-3.5-sonnet": f"anthropic {SONNET}",
    "google/gemini-1.5-pro": "gemini gemini-1.5-pro",
    "mistral/mistral-large": "mistral mistral-large-latest",
    "mistral/mistral-tiny": "mistral mistral-tiny",
    "ollama/mistral": "ollama mistral",
    "ollama/llama2": "ollama llama2",
    "ollama/codellama": "ollama codellama",
    "together/codellama/CodeLlama-34b-Instruct-hf": "together codellama/CodeLlama-34b-Instruct-hf",
    # with the account's path before it
    "fireworks/qwen3-coder-480b-a35b-instruct": f"fireworks {FIREWORKS}qwen3-coder-480b-a35b-instruct",
    # open weights, hosted
    "llama-3-70b": "ollama llama3:70b",
    "llama": "ollama llama3.2",
    "llama2": "ollama llama2",
    "llama-3.1": "ollama llama3.1",
    "llama3.1": "ollama llama3.1",
    "llama-3.1-70b": "ollama llama3.1:70b",
    "mixtral": "mistral open-mixtral-8x7b",
    "code-llama": "ollama codellama",
    "codellama": "ollama codellama",
    "codellama-70b": "ollama codellama:70b",
    "local-models": "ollama llama3.2",
    "local-security-model": "ollama llama3.2",
}


@pytest.mark.parametrize(("name", "target"), NAMES.items())
def test_a_name_of_an_older_system_means(name: str, target: str) -> None:
    assert said(ALL, name)[0] == target


@pytest.mark.parametrize("name", NAMES)
def test_a_target_is_meant_by_its_own_name(name: str) -> None:
    for target in find_targets(ALL, name):
        assert find_targets(ALL, f"{target.provider}/{target.model}") == (target,)


@pytest.mark.parametrize(
    ("kinds", "name", "targets"),
    [
        (("ollama",), "qwen-2.5-coder", ["ollama qwen2.5-coder"]),
        (("ollama",), "deepseek-coder", ["ollama deepseek-coder"]),
        (("ollama",), "mistral", ["ollama mistral"]),
        (("ollama",), "qwen", ["ollama qwen2.5"]),
        (("ollama",), "mixtral", ["ollama mixtral"]),
        (("together",), "llama-3.1-70b", ["together meta-llama/Meta-Llama-3.1-70B-Instruct-Turbo"]),
        (("together",), "llama-2", ["together meta-llama/Llama-2-70b-chat-hf"]),
        (("fireworks",), "qwen", [f"fireworks {FIREWORKS}qwen3-coder-480b-a35b-instruct"]),
        (("groq", "together"), "llama-3-70b", ["together meta-llama/Llama-3-70b-chat-hf", "groq llama3-70b-8192"]),
        (("embedded",), "local-models", ["embedded smollm2-135m-instruct"]),
        (("gemini", "vertex"), "gemini-3-pro", ["gemini gemini-3-pro", "vertex gemini-3-pro"]),
    ],
)
def test_whoever_is_there_answers(kinds: tuple[str, ...], name: str, targets: list[str]) -> None:
    assert said(snapshot(*kinds), name) == targets


def test_every_provider_of_a_vendor_has_its_family() -> None:
    providers = {name: ProviderSettings(kind="openai", api_key=Secret("k")) for name in ("here", "there")}
    settings = Settings(providers=providers)
    there = Snapshot("v", settings, build_offers(settings, ROWS, {}))
    assert said(there, "gpt-9") == ["here gpt-9", "there gpt-9"]


@pytest.mark.parametrize(
    ("kinds", "name"),
    [
        (("anthropic",), "gpt-4"),
        (("openai",), "claude-3.5-sonnet"),
        (("openai",), "llama-3-70b"),
        (("openai",), "gpt-oss-20b"),
        (("openai",), "gpt-4o-mini-"),
        (("openai",), "gpt"),
        (("openai",), "gpt-4 turbo"),
        (("openai",), "ft:llama:org::id"),
        (("anthropic",), "claud-3"),
        (("bedrock",), "amazon.nova-pro-v1:x"),
    ],
)
def test_who_is_not_there_is_not_asked(kinds: tuple[str, ...], name: str) -> None:
    with pytest.raises(UnknownModel):
        resolve_model(snapshot(*kinds), name)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("gpt-4-", "did you mean gpt-4"),
        ("claude-sonet-5-5-", "did you mean claude-sonnet-5-5"),
        ("xyzzy", 'say "provider/model"'),
    ],
)
def test_what_nobody_knows_gets_a_suggestion(name: str, remedy: str) -> None:
    with pytest.raises(UnknownModel, match=remedy):
        resolve_model(ALL, name)


def test_who_has_the_model_is_told() -> None:
    with pytest.raises(UnknownModel, match="gpt-4-turbo is a model of openai: set OPENAI_API_KEY to have it"):
        resolve_model(snapshot("anthropic"), "gpt-4-turbo")


@pytest.mark.parametrize("row", ROWS.values(), ids=lambda row: row.name)
def test_the_names_of_a_row_are_consistent(row: Row) -> None:
    names = row.names
    assert all(plain(key) == key for key in (*names.called, *names.hosted)), "names are compared in plain spelling"
    assert row.open or not names.family
    own = [*names.called.values(), *row.models] if names.family else []
    assert all(re.fullmatch(names.family, model.lower()) for model in own)


def test_names_are_found_fast() -> None:
    """With every vendor configured, the slowest rule takes less than the thousandth part of a second."""
    begin = time.process_time()
    for _ in range(100):
        assert find_targets(ALL, "codellama-70b")[0] == Target(provider="ollama", model="codellama:70b")
    assert time.process_time() - begin < 0.1
