from __future__ import annotations

import re
from dataclasses import FrozenInstanceError
from datetime import date, timedelta
from typing import TYPE_CHECKING

import pytest
import yaml

from trunkline.v1.gateway_service_pb2 import GenerationConfig
from trunkline_server import config
from trunkline_server.dialects.openai_chat.settings import EFFORTS
from trunkline_server.models.data import entry_of
from trunkline_server.providers.row import NO_PROBE
from trunkline_server.providers.table import CUSTOM, GATEWAY, ROWS, SCRIPTS, Row, configured
from trunkline_server.routing.catalogue import build_offers
from trunkline_server.settings import ProviderSettings

if TYPE_CHECKING:
    from pathlib import Path

# The day of the sources that the packaged data on models is built from.
DATA_OF = date(2026, 11, 29)
EACH = pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())


@EACH
def test_a_row_is_consistent(row: Row) -> None:
    assert ROWS[row.name] is row
    assert re.fullmatch(r"[a-z0-9_]+", row.name), "what a user may write as kind and as a provider's name"
    assert not row.models or row.default_model in row.models
    assert len(set(row.models)) == len(row.models)
    assert row.dialect or (not row.base_url and row.auth == "none") or row.name in {CUSTOM, GATEWAY}, "no dialect"
    assert row.open or row.models, "a closed provider without models has nothing to offer"
    assert row.auth != "none" or not (row.key_required or row.key_env)
    assert not row.base_url or re.fullmatch(r"(https://|http://localhost:)[^/]+(/.+)?(?<!/)", row.base_url)
    quirks, settings = row.quirks, set(GenerationConfig.DESCRIPTOR.fields_by_name)
    assert quirks.unsupported <= settings
    assert quirks.highest.keys() <= settings - quirks.unsupported
    assert set(quirks.efforts) <= {*EFFORTS.values(), "max"}
    assert quirks.media <= {"image", "audio", "file", "file_url", "video"}
    assert quirks.response_formats <= {"json_object", "json_schema"}
    assert not quirks.reasoning_details or quirks.reasoning_field


@EACH
def test_what_a_row_offers_by_itself_is_there_for_a_while(row: Row) -> None:
    """By the packaged data. Whoever renews that with `make models` moves the day on, and may see this fail."""
    for model in {row.default_model, *row.models} - {""}:
        entry = entry_of(row.name, model)
        if entry is not None:
            assert entry.deprecated is None or entry.deprecated > DATA_OF, model
            assert entry.retired is None or entry.retired > DATA_OF + timedelta(days=30), model


@EACH
def test_a_key_that_is_missed_can_come_from_the_environment(row: Row) -> None:
    assert not row.key_required or row.key_env


@EACH
def test_a_row_cannot_be_changed(row: Row) -> None:
    with pytest.raises(FrozenInstanceError):
        row.name = "other"  # type: ignore[misc]


def test_environment_variables_are_named_like_those_and_belong_to_one_row() -> None:
    names = [
        name
        for row in ROWS.values()
        if not row.only_configured
        for name in (row.key_env, row.base_url_env, row.model_env, row.organization_env)
        if name
    ]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[A-Z][A-Z0-9_]+", name) for name in names)


def test_openai_and_servers_like_it() -> None:
    openai, compatible = ROWS["openai"], ROWS["openai_compatible"]
    assert (openai.base_url, openai.auth, openai.key_required) == ("https://api.openai.com/v1", "bearer", True)
    assert openai.quirks.unsupported == {"top_k"}
    assert openai.quirks.max_tokens_field == "max_completion_tokens"
    assert (compatible.base_url, compatible.auth, compatible.key_required) == ("", "bearer", False)
    assert compatible.quirks.unsupported == set()
    assert compatible.quirks.max_tokens_field == "max_tokens"


def test_every_vendor_of_the_dialect_has_a_row() -> None:
    hosts = {name for name, row in ROWS.items() if row.dialect == "openai_chat"}
    assert hosts >= {"openai", "azure_openai", "mistral", "together", "fireworks", "openrouter", "groq", "deepseek"}
    assert hosts >= {"xai", "vllm", "llamacpp", "lmstudio", "cerebras", "perplexity", "nvidia", "huggingface"}
    assert hosts >= {"github_models", "sambanova", "moonshot", "zai", "qwen", "litellm", "openai_compatible"}


@pytest.mark.parametrize(
    ("variable", "kind"),
    [
        ("OPENAI_API_KEY", "openai"),
        ("AZURE_OPENAI_API_KEY", "azure_openai"),
        ("MISTRAL_API_KEY", "mistral"),
        ("TOGETHER_API_KEY", "together"),
        ("FIREWORKS_API_KEY", "fireworks"),
        ("OPENROUTER_API_KEY", "openrouter"),
        ("GROQ_API_KEY", "groq"),
        ("DEEPSEEK_API_KEY", "deepseek"),
        ("XAI_API_KEY", "xai"),
        ("DASHSCOPE_API_KEY", "qwen"),
        ("HF_TOKEN", "huggingface"),
    ],
)
def test_variables_are_those_that_users_have(variable: str, kind: str) -> None:
    assert ROWS[kind].key_env == variable


def test_azure_is_told_by_its_variables() -> None:
    environ = {"AZURE_OPENAI_API_KEY": "k", "AZURE_OPENAI_ENDPOINT": "https://r.openai.azure.com/"}
    provider = config.load(None, environ | {"AZURE_OPENAI_DEPLOYMENT": "chat"}).providers["azure_openai"]
    assert (provider.base_url, provider.default_model) == ("https://r.openai.azure.com", "chat")


# Where the vendor tells nothing in public, or where there is no vendor.
WITHOUT_STATUS_PAGE = {"perplexity", "nvidia", "zai", "ollama", "litellm", "vllm", "llamacpp", "lmstudio"}
WITHOUT_STATUS_PAGE |= {"openai_compatible", "custom", "trunkline", "embedded", "scripted"}


@EACH
def test_a_status_page_is_shown_where_there_is_one(row: Row) -> None:
    assert bool(row.status_url) == (row.name not in WITHOUT_STATUS_PAGE)
    assert re.fullmatch(r"(https://[a-z.]+(/[a-z/]+)?)?", row.status_url)


def test_the_built_in_providers_come_last_in_the_order_of_preference() -> None:
    built_in = [row.built_in for row in ROWS.values()]
    assert [name for name in built_in if name] == built_in[-2:] == ["embedded", "mock"]


def test_the_mock_has_a_script_for_each_of_its_models() -> None:
    assert ROWS["scripted"].models == tuple(SCRIPTS)


@EACH
def test_every_row_can_be_configured_under_a_name_of_its_own(row: Row, tmp_path: Path) -> None:
    needed = {"kind": row.name} | what_it_lacks(row)
    path = tmp_path / "trunkline.yaml"
    path.write_text(yaml.safe_dump({"providers": {"mine": needed}, "default_model": "mine"}))
    settings = config.load(path, {row.key_env: "k"} if row.key_env else {})
    offer = build_offers(settings, ROWS, {})["mine"]
    assert offer.unavailable_reason == ""
    assert offer.default_model == (row.default_model or "m")


def what_it_lacks(row: Row) -> dict[str, str]:
    """What has to be configured, for there is no telling it beforehand."""
    if row.name == GATEWAY:
        return {"base_url": "https://example.test", "default_model": "m"}
    if row.name == CUSTOM:
        return {"dialect": "anthropic_messages", "base_url": "https://example.test", "default_model": "m"}
    lacking = {} if row.base_url or not row.dialect else {"base_url": "https://example.test/v1"}
    return lacking if row.default_model else lacking | {"default_model": "m"}


@EACH
def test_a_row_with_a_key_needs_no_file(row: Row) -> None:
    variables = {"base_url": row.base_url_env, "default_model": row.model_env}
    environ = {variables[key]: value for key, value in what_it_lacks(row).items() if key in variables}
    settings = config.load(None, environ | {row.key_env: "k"} if row.key_env else {})
    by_itself = row.key_env and not row.only_configured
    assert (row.name in settings.providers) == bool(by_itself or row.built_in == row.name)


@pytest.mark.parametrize(
    ("kind", "dialect", "path"),
    [
        # The new dialect's own list of models, where the row's is at another address.
        ("azure_openai", "openai_responses", ""),
        ("anthropic", "openai_chat", ""),
        ("openai", "anthropic_messages", "/v1/models?limit=1"),
        # What lists the models there asks nobody for a key, whatever is spoken.
        ("nvidia", "openai_responses", NO_PROBE),
        ("azure_openai", "openai_chat", ROWS["azure_openai"].probe_path),
    ],
)
def test_another_dialect_has_another_probe(kind: str, dialect: str, path: str) -> None:
    assert configured(ROWS[kind], ProviderSettings(kind=kind, dialect=dialect)).probe_path == path
