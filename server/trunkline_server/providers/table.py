"""The providers that Trunkline knows, one row each. A row is data; a vendor that speaks a known dialect is one row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from trunkline.v1.model_pb2 import (
    CAPABILITY_JSON_MODE,
    CAPABILITY_JSON_SCHEMA,
    CAPABILITY_LOGPROBS,
    CAPABILITY_STREAMING,
    CAPABILITY_TOOLS,
)
from trunkline_server.dialects.dialect import Quirks
from trunkline_server.settings import Script, Seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline.v1.model_pb2 import Capability


NO_QUIRKS = Quirks()


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What Trunkline knows of a kind of provider before anything is configured."""

    # What ProviderSettings.kind says.
    name: str
    # The module in dialects/. Empty = the provider is not asked over HTTP.
    dialect: str = ""
    # Empty, with a dialect: the configuration must say it.
    base_url: str = ""
    # How a key is sent, if there is one.
    auth: Literal["none", "bearer"] = "none"
    # Without a key the provider cannot be called.
    key_required: bool = False
    # Environment variables for what the configuration leaves out. Empty = there is none.
    key_env: str = ""
    base_url_env: str = ""
    model_env: str = ""
    organization_env: str = ""
    # Empty: the configuration must say default_model or models.
    default_model: str = ""
    # What is listed unless the configuration lists others.
    models: tuple[str, ...] = ()
    # Any other model id is passed on, too.
    open: bool = False
    # What the listed models can do.
    capabilities: tuple[Capability.ValueType, ...] = (CAPABILITY_STREAMING,)
    # Runs on the gateway's own machine.
    local: bool = False
    quirks: Quirks = NO_QUIRKS
    # The name under which such a provider exists without being configured. Empty = it does not.
    built_in: str = ""


_CHAT = (
    CAPABILITY_STREAMING,
    CAPABILITY_TOOLS,
    CAPABILITY_JSON_SCHEMA,
    CAPABILITY_LOGPROBS,
    CAPABILITY_JSON_MODE,
)

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
        capabilities=_CHAT,
        quirks=Quirks(unsupported=frozenset({"top_k"})),
    ),
    # Any server that speaks OpenAI's chat API: vLLM, LM Studio, llama.cpp, a vendor that has no row yet.
    Row(
        name="openai_compatible",
        dialect="openai_chat",
        auth="bearer",
        open=True,
        capabilities=_CHAT,
        quirks=Quirks(max_tokens_field="max_tokens", max_stop_sequences=16, allowed_tools=False),
    ),
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
