"""The providers that Trunkline knows, one row each. A row is data; a vendor that speaks a known dialect is one row."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from trunkline.v1.model_pb2 import (
    CAPABILITY_JSON_MODE,
    CAPABILITY_JSON_SCHEMA,
    CAPABILITY_LOGPROBS,
    CAPABILITY_STREAMING,
    CAPABILITY_TOOLS,
)
from trunkline_server.dialects.dialect import Quirks
from trunkline_server.providers.hosts import CHAT, HOSTS
from trunkline_server.providers.natives import NATIVES
from trunkline_server.providers.row import Row
from trunkline_server.settings import Script, Seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline_server.settings import ProviderSettings

__all__ = ["ROWS", "SCRIPTS", "Row", "quirks_of"]

# What a provider of kind scripted says unless the configuration has scripts of its own.
SCRIPTS: Mapping[str, Script] = {
    "mock-fast": Script(),
    "mock-slow": Script(text="Mock response, one word at a time", first_token=Seconds(0.5), rate=10.0),
}

# In order of preference for calls that name no model.
_ROWS = (
    Row(
        name="openai",
        dialect="openai_chat",
        base_url="https://api.openai.com/v1",
        auth="bearer",
        key_required=True,
        key_env="OPENAI_API_KEY",
        base_url_env="OPENAI_BASE_URL",
        model_env="OPENAI_MODEL",
        organization_env="OPENAI_ORGANIZATION",
        default_model="gpt-4o-mini",
        models=("gpt-4o-mini", "gpt-4o", "gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano"),
        open=True,
        capabilities=CHAT,
        quirks=Quirks(unsupported=frozenset({"top_k"})),
        # The chat API does not offer these.
        responses_models=r"(o[13]|gpt-5(\.\d+)?)-pro\b.*|.*-deep-research\b.*|.*\bcodex\b.*|computer-use.*",
        status_url="https://status.openai.com",
    ),
    *NATIVES,
    *HOSTS,
    Row(
        name="embedded",
        default_model="smollm2-135m-instruct",
        models=("smollm2-135m-instruct",),
        capabilities=(CAPABILITY_STREAMING, CAPABILITY_JSON_SCHEMA, CAPABILITY_LOGPROBS, CAPABILITY_JSON_MODE),
        local=True,
        built_in="embedded",
    ),
    # Says what it was told to say; for tests and demonstrations. Chosen by name only.
    Row(
        name="scripted",
        default_model="mock-fast",
        models=tuple(SCRIPTS),
        capabilities=(CAPABILITY_STREAMING, CAPABILITY_TOOLS),
        local=True,
        built_in="mock",
    ),
)

ROWS: Mapping[str, Row] = {row.name: row for row in _ROWS}


def quirks_of(row: Row, provider: ProviderSettings) -> Quirks:
    """The row's quirks, with what is configured in their place."""
    return replace(row.quirks, api_version=provider.api_version) if provider.api_version else row.quirks
