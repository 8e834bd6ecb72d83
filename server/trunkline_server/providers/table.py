"""The providers that Trunkline knows, one row each. A row is data; a vendor that speaks a known dialect is one row."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from msgspec.structs import asdict

from trunkline.v1.gateway_service_pb2 import GenerationConfig
from trunkline.v1.model_pb2 import (
    CAPABILITY_JSON_MODE,
    CAPABILITY_JSON_SCHEMA,
    CAPABILITY_LOGPROBS,
    CAPABILITY_STREAMING,
    CAPABILITY_TOOLS,
)
from trunkline_server.dialects.dialect import Quirks
from trunkline_server.providers.addresses import is_this_machine
from trunkline_server.providers.hosts import CHAT, HOSTS
from trunkline_server.providers.natives import NATIVES, OPENAI_KEYS, RESPONSES_ONLY, WHOLE
from trunkline_server.providers.row import NO_PROBE, Row
from trunkline_server.providers.vendor_names import NAMES, NO_NAMES
from trunkline_server.sections import Seconds
from trunkline_server.settings import Reference
from trunkline_server.settings.scripted import Script

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trunkline_server.settings import ProviderSettings, Secret
    from trunkline_server.settings.vendors import GenerationDefaults, QuirkSettings

__all__ = [
    "CUSTOM",
    "GATEWAY",
    "QUIRKS",
    "ROWS",
    "SCRIPTS",
    "Row",
    "configured",
    "doubt_of",
    "generic_row",
    "has_credential",
]

_SETS = frozenset({"unsupported", "response_formats", "media"})
# The kind of a provider whose dialect is configured.
CUSTOM = "custom"
# The kind of a provider that is another Trunkline.
GATEWAY = "trunkline"
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
        key_pattern=OPENAI_KEYS,
        key_form=r"sk-.+",
        key_env="OPENAI_API_KEY",
        base_url_env="OPENAI_BASE_URL",
        model_env="OPENAI_MODEL",
        organization_env="OPENAI_ORGANIZATION",
        default_model="gpt-4o-mini",
        models=("gpt-4o-mini", "gpt-4o", "gpt-4.1", "gpt-4.1-mini"),
        open=True,
        capabilities=CHAT,
        quirks=Quirks(unsupported=frozenset({"top_k"}), breakpoints=True),
        responses_models=RESPONSES_ONLY,
        status_url="https://status.openai.com",
    ),
    *NATIVES,
    *HOSTS,
    # A vendor that has no row: the configuration says its dialect and its address.
    Row(name=CUSTOM, auth="bearer", open=True),
    # Another Trunkline, over gRPC. What its models can do is its to say.
    Row(name=GATEWAY, auth="bearer", open=True, only_configured=True, capabilities=WHOLE),
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

ROWS: Mapping[str, Row] = {row.name: replace(row, names=NAMES.get(row.name, NO_NAMES)) for row in _ROWS}

# By dialect: the quirks that it knows. A test holds that it reads these and no others.
QUIRKS: Mapping[str, frozenset[str]] = {
    "openai_chat": frozenset(field.name for field in fields(Quirks)) - {"api_version"},
    "openai_responses": frozenset({"unsupported", "allowed_tools"}),
    "anthropic_messages": frozenset({"unsupported"}),
    "gemini_generate_content": frozenset({"unsupported", "max_stop_sequences"}),
    "cohere_chat": frozenset({"unsupported"}),
    "ollama_chat": frozenset({"unsupported"}),
    "bedrock_converse": frozenset({"unsupported"}),
}


def generic_row(dialect: str) -> Row:
    """A row for any vendor that speaks the dialect: as the one speaks it that Trunkline knows best."""
    known = ROWS["openai_compatible"] if dialect == "openai_chat" else _first_of(dialect)
    return Row(
        name=CUSTOM,
        dialect=dialect,
        auth=known.auth,
        open=True,
        capabilities=known.capabilities,
        quirks=known.quirks,
        probe_path=known.probe_path,
        probe_body=known.probe_body,
    )


def _first_of(dialect: str) -> Row:
    return next((row for row in ROWS.values() if row.dialect == dialect), ROWS[CUSTOM])


def is_here(row: Row) -> bool:
    """Whether the configured row runs on the gateway's own machine: what people run themselves may stand elsewhere."""
    return row.local and is_this_machine(row.base_url)


def configured(row: Row, provider: ProviderSettings) -> Row:
    """The row with what is configured in its place."""
    spoken = row
    if provider.dialect and provider.dialect != row.dialect:
        # What is known of one dialect says nothing of another.
        generic = generic_row(provider.dialect)
        spoken = replace(
            row if row.name != CUSTOM else generic,
            dialect=provider.dialect,
            quirks=generic.quirks,
            responses_models="",
            probe_path=row.probe_path if row.probe_path == NO_PROBE else generic.probe_path,
            probe_body=generic.probe_body,
        )
    return replace(
        spoken,
        probe_path=_probe_path(row, spoken, provider),
        base_url=provider.base_url or spoken.base_url,
        auth=spoken.auth if provider.auth is None else provider.auth,
        key_required=spoken.key_required if provider.key_required is None else provider.key_required,
        quirks=_quirks(spoken.quirks, provider),
        defaults=_defaults(spoken.defaults, provider.defaults),
        stream_above=spoken.stream_above if provider.stream_above is None else provider.stream_above,
        read_on=spoken.read_on if provider.read_on is None else provider.read_on,
        status_url=provider.status_url or spoken.status_url,
    )


def _probe_path(row: Row, spoken: Row, provider: ProviderSettings) -> str:
    """The path with what is configured in it. Another address of the vendor's is for those who ask the vendor."""
    path = spoken.probe_path
    if path.startswith("https://") and not _asks_the_vendor(row, provider):
        return NO_PROBE
    if row.signing and provider.all_keys:
        return NO_PROBE  # they are good for the calls alone
    model = provider.default_model or next(iter(provider.models), spoken.default_model)
    return path.replace("{model}", quote(model, safe="")).replace("{region}", provider.region)


def _asks_the_vendor(row: Row, provider: ProviderSettings) -> bool:
    return provider.base_url in ("", row.base_url) or bool(row.home and re.fullmatch(row.home, provider.base_url))


def _quirks(known: Quirks, provider: ProviderSettings) -> Quirks:
    quirks = replace(known, **_set(provider.quirks))
    return replace(quirks, api_version=provider.api_version) if provider.api_version else quirks


def _set(quirks: QuirkSettings) -> dict[str, Any]:
    said = {name: value for name, value in asdict(quirks).items() if value is not None}
    return {name: frozenset(value) if name in _SETS else value for name, value in said.items()}


def _defaults(known: GenerationConfig | None, settings: GenerationDefaults) -> GenerationConfig | None:
    said = {name: value for name, value in asdict(settings).items() if value is not None}
    if not said:
        return known
    defaults = GenerationConfig()
    defaults.MergeFrom(known or GenerationConfig())
    defaults.MergeFrom(GenerationConfig(**said))
    return defaults


def has_credential(row: Row, provider: ProviderSettings) -> bool:
    """Whether the settings have what the provider wants to see: a key, or where to get something as good."""
    if row.signing == "sigv4" and (provider.access_key_id is not None or provider.role_arn or provider.ambient):
        return True
    if row.tokens == "google" and (provider.service_account is not None or provider.ambient):
        return True
    return bool(provider.all_keys) or (row.tokens == "entra" and bool(provider.client_id or provider.ambient))


def doubt_of(key: Secret, row: Row) -> str:
    """Why it may be no key of this provider's, in words that say nothing of it. Empty = it looks like one.

    At an address of the operator's own, and before it is fetched from a store, nothing can be told.
    """
    form = row.key_form or row.key_pattern
    if not form or isinstance(key, Reference) or row.base_url != ROWS[row.name].base_url:
        return ""
    return "" if re.fullmatch(form, key.reveal()) else f"it does not look like a key of {row.name}"
