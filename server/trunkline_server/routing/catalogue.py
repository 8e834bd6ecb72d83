"""The catalogue: what the configured providers offer. Pure."""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING

from trunkline.v1.model_pb2 import CAPABILITY_AUDIO, CAPABILITY_REASONING, CAPABILITY_VISION, Model
from trunkline_server.errors import UnknownModel
from trunkline_server.models.data import TOLD, entry_of, names_of
from trunkline_server.providers.table import configured, has_credential, is_here
from trunkline_server.routing.described import describe, own_of, tell_end, tell_own, tell_speed
from trunkline_server.routing.names import find_targets, fine_tuned_of
from trunkline_server.snapshot import Offer, Snapshot
from trunkline_server.spelling import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from trunkline.v1.model_pb2 import Capability
    from trunkline_server.models.data import Entry
    from trunkline_server.providers.table import Row
    from trunkline_server.settings import ProviderSettings, Settings

# What may be set in place of a key, by what the row takes.
_WAYS: Mapping[str, tuple[str, ...]] = {
    "": (),
    "sigv4": ("access_key_id", "role_arn", "ambient"),
    "google": ("service_account", "ambient"),
    "entra": ("client_id", "ambient"),
}
# By dialect: the media that it has words for. Of openai_chat the row's quirks say so.
_MEDIA: Mapping[str, frozenset[str]] = {
    "openai_responses": frozenset({"image"}),
    "anthropic_messages": frozenset({"image"}),
    "gemini_generate_content": frozenset({"image", "audio"}),
    "cohere_chat": frozenset({"image"}),
    "ollama_chat": frozenset({"image"}),
    "bedrock_converse": frozenset({"image", "audio"}),
}


def build_offers(settings: Settings, rows: Mapping[str, Row], reasons: Mapping[str, str]) -> Mapping[str, Offer]:
    """What each provider offers, in the order of the rows; providers of one row in the order of the configuration.

    `reasons` says, by provider, what else keeps it from being called: an engine that is not installed.
    A provider that is not enabled, or of a kind that has no row, offers nothing.
    """
    offers = {name: _offer(name, settings, row, rows, reasons) for name, row in _ordered(settings, rows)}
    for (provider, model), aliases in aliases_by_target(Snapshot("", settings, offers)).items():
        if model in offers[provider].models:
            offers[provider].models[model].aliases.extend(aliases)
    return offers


def aliases_by_target(snapshot: Snapshot) -> Mapping[tuple[str, str], list[str]]:
    """By provider and model: the aliases that mean it, in the order of the configuration."""
    found: dict[tuple[str, str], list[str]] = {}
    for alias in snapshot.settings.aliases:
        try:
            targets = find_targets(snapshot, alias)
        except UnknownModel:
            continue
        for target in targets:
            found.setdefault((target.provider, target.model), []).append(alias)
    return found


def listed_models(settings: Settings, name: str, row: Row) -> tuple[str, ...]:
    """The ids that a provider lists: those of the configuration, else the row's.

    Its default model is one of them, and so is each whose base model is configured, or anything else in model_data.
    """
    provider = settings.providers[name]
    models = provider.models or tuple(provider.scripts) or row.models
    default = default_model(provider, row)
    described = [key.removeprefix(f"{name}/") for key in settings.model_data if key.startswith(f"{name}/")]
    more = (*provider.base_models, *described)
    return tuple(dict.fromkeys((*[default] * (default not in models and default != ""), *models, *more)))


def default_model(provider: ProviderSettings, row: Row) -> str:
    """The model that a provider's name alone means: the configured one, else the first one configured, else the row's.

    Empty = there is none.
    """
    configured = (provider.default_model, *provider.models, *provider.scripts)
    return next(filter(None, configured), row.default_model)


def _ordered(settings: Settings, rows: Mapping[str, Row]) -> Iterator[tuple[str, Row]]:
    for kind, row in rows.items():
        for name, provider in settings.providers.items():
            if provider.enabled and (provider.kind or name) == kind:
                yield name, configured(row, provider)


def _offer(name: str, settings: Settings, row: Row, rows: Mapping[str, Row], reasons: Mapping[str, str]) -> Offer:
    provider = settings.providers[name]
    reason = _unavailable_reason(name, provider, row) or reasons.get(name, "")
    listed = listed_models(settings, name, row)
    return Offer(
        provider=name,
        models={model: _model(name, model, settings, row, rows, reason) for model in listed},
        default_model=default_model(provider, row),
        open=row.open,
        spelling=row.spelling,
        builtin=name == row.built_in,
        unavailable_reason=reason,
        spellings=_spellings(listed, row),
        family=re.compile(row.names.family) if row.names.family else None,
        hosted=row.names.hosted,
        kind=row.name,
        says=_says(row),
        at_home=_is_at_home(row, rows),
        lists_all=row.unlisted != "callable",
        dialect=row.dialect,
        responses=re.compile(row.responses_models) if row.responses_models else None,
        local=is_here(row),
        prefix=row.quirks.model_prefix,
        tools=frozenset(provider.provider_tools),
    )


def _says(row: Row) -> frozenset[Capability.ValueType]:
    """What a request to this row has words for, of what the data tells of models."""
    spoken = row.dialect == "openai_chat"
    media = row.quirks.media if spoken else _MEDIA.get(row.dialect, frozenset())
    silent = {
        *[CAPABILITY_VISION] * ("image" not in media),
        *[CAPABILITY_AUDIO] * ("audio" not in media),
        *[CAPABILITY_REASONING] * (spoken and not row.quirks.thinking),
    }
    return frozenset(TOLD.values()) - silent


def _is_at_home(row: Row, rows: Mapping[str, Row]) -> bool:
    """Whether the configured row is asked at the vendor's own address."""
    own = rows[row.name]
    if own.home:
        return re.fullmatch(own.home, row.base_url) is not None
    return own.base_url != "" and row.base_url == own.base_url and not own.local


def _spellings(listed: Sequence[str], row: Row) -> Mapping[str, str]:
    """By each id and each plain spelling: the id. What is listed goes before what is only known."""
    ids = list(dict.fromkeys((*listed, *row.models) if row.open else listed))
    found = {model: model for model in ids}
    for spelling, model in chain(((plain(model), model) for model in ids), row.names.called.items()):
        found.setdefault(spelling, model)
    if not (row.open and row.names.family):
        return found
    known = names_of(row.name, row.names.family)
    return {name: id_ for name, id_ in known.items() if plain(name) not in found} | found


def _unavailable_reason(name: str, provider: ProviderSettings, row: Row) -> str:
    if not row.key_required or has_credential(row, provider):
        return ""
    ways = ["api_key", *_WAYS[row.signing or row.tokens]]
    settings = f"providers.{name}.{', '.join(ways[:-1])}{' or ' * (len(ways) > 1)}{ways[-1]}"
    return f"set {row.key_env} or {settings}" if row.key_env else f"set {settings}"


def sold_as(provider: ProviderSettings) -> Mapping[str, str]:
    """By a model's id: the model at whose price it is sold. What was fine-tuned costs more than its base."""
    return {model: base for model, base in provider.base_models.items() if not fine_tuned_of(model)}


def base_model_of(model: str, provider: ProviderSettings) -> str:
    """What a model is made of: as configured (base_models), or as a fine-tuned id says itself. Empty = not known."""
    return provider.base_models.get(model) or fine_tuned_of(model)


def _described(model: str, base: str, row: Row, rows: Mapping[str, Row]) -> tuple[Row, Entry | None]:
    """Whose abilities a model has, and what the data says of it: of what it is made of, if that is known."""
    if not base:
        return row, entry_of(row.name, model)
    vendor, _, bare = base.partition("/")
    named = rows.get(vendor)
    candidates = ((named, bare),) if named else tuple((each, base) for each in (row, *rows.values()))
    for each, said in candidates:
        if (entry := entry_of(each.name, said)) or said in each.models:
            return each, entry
    return row, None


def _model(name: str, model: str, settings: Settings, row: Row, rows: Mapping[str, Row], reason: str) -> Model:
    provider = settings.providers[name]
    base = base_model_of(model, provider)
    origin, entry = _described(model, base, row, rows)
    made = Model(
        id=f"{name}/{model}",
        provider=name,
        provider_model=model,
        base_model=base,
        context_window=provider.context_window if row.name == "embedded" else row.names.windows.get(model),
        capabilities=origin.capabilities,
        local=is_here(row),
        available=not reason,
        unavailable_reason=reason,
    )
    describe(made, entry, _says(row))
    if not base:
        tell_end(made, entry)
    tell_own(made, own_of(settings, name, model))
    tell_speed(made, settings)
    return made
