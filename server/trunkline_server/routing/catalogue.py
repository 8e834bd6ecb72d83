"""The catalogue: what the configured providers offer, and what ModelService tells of it. Pure."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from trunkline.v1.model_pb2 import CAPABILITY_UNSPECIFIED, Capability, Model
from trunkline.v1.model_service_pb2 import ListModelsRequest, ListModelsResponse
from trunkline_server.core import ANYBODY
from trunkline_server.errors import InvalidRequest, UnknownModel, Violation
from trunkline_server.providers.table import configured, has_credential
from trunkline_server.routing.allowed import may_use_model
from trunkline_server.routing.names import allowed_targets, find_targets, fine_tuned_of
from trunkline_server.snapshot import Offer, Snapshot, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from trunkline.v1.call_pb2 import Target
    from trunkline_server.core import Identity
    from trunkline_server.providers.table import Row
    from trunkline_server.settings import ProviderSettings, Settings


DEFAULT_PAGE_SIZE = 100
MAX_PAGE_SIZE = 1000
_DIGEST_SIZE = 8
# What may be set in place of a key, by what the row takes.
_WAYS: Mapping[str, tuple[str, ...]] = {
    "": (),
    "sigv4": ("access_key_id", "role_arn", "ambient"),
    "google": ("service_account", "ambient"),
    "entra": ("client_id", "ambient"),
}


def build_offers(settings: Settings, rows: Mapping[str, Row], reasons: Mapping[str, str]) -> Mapping[str, Offer]:
    """What each provider offers, in the order of the rows; providers of one row in the order of the configuration.

    `reasons` says, by provider, what else keeps it from being called: an engine that is not installed.
    A provider that is not enabled, or of a kind that has no row, offers nothing.
    """
    offers = {
        name: _offer(name, settings.providers[name], row, rows, reasons) for name, row in _ordered(settings, rows)
    }
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


def listed_models(provider: ProviderSettings, row: Row) -> tuple[str, ...]:
    """The ids that a provider lists: those of the configuration, else the row's.

    Its default model is one of them, and so is each whose base model is configured.
    """
    models = provider.models or tuple(provider.scripts) or row.models
    default = default_model(provider, row)
    return tuple(
        dict.fromkeys((*[default] * (default not in models and default != ""), *models, *provider.base_models))
    )


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


def _offer(
    name: str, provider: ProviderSettings, row: Row, rows: Mapping[str, Row], reasons: Mapping[str, str]
) -> Offer:
    reason = _unavailable_reason(name, provider, row) or reasons.get(name, "")
    listed = listed_models(provider, row)
    return Offer(
        provider=name,
        models={model: _model(name, model, provider, row, rows, reason) for model in listed},
        default_model=default_model(provider, row),
        open=row.open,
        spelling=row.spelling,
        builtin=name == row.built_in,
        unavailable_reason=reason,
        spellings=_spellings(listed, row),
        family=re.compile(row.names.family) if row.names.family else None,
        hosted=row.names.hosted,
    )


def _spellings(listed: Sequence[str], row: Row) -> Mapping[str, str]:
    """By each id and each plain spelling: the id. What is listed goes before what is only known."""
    ids = list(dict.fromkeys((*listed, *row.models, *row.names.known) if row.open else listed))
    found = {model: model for model in ids}
    for spelling, model in chain(((plain(model), model) for model in ids), row.names.called.items()):
        found.setdefault(spelling, model)
    return found


def _unavailable_reason(name: str, provider: ProviderSettings, row: Row) -> str:
    if not row.key_required or has_credential(row, provider):
        return ""
    ways = ["api_key", *_WAYS[row.signing or row.tokens]]
    settings = f"providers.{name}.{', '.join(ways[:-1])}{' or ' * (len(ways) > 1)}{ways[-1]}"
    return f"set {row.key_env} or {settings}" if row.key_env else f"set {settings}"


@dataclass(frozen=True, slots=True)
class _Facts:
    """What is known of a model, by itself or by the model that it is made of."""

    base: str
    window: int | None
    capabilities: Sequence[Capability.ValueType]


def base_model_of(model: str, provider: ProviderSettings) -> str:
    """What a model is made of: as configured (base_models), or as a fine-tuned id says itself. Empty = not known."""
    return provider.base_models.get(model) or fine_tuned_of(model)


def _facts(model: str, provider: ProviderSettings, row: Row, rows: Mapping[str, Row]) -> _Facts:
    if row.name == "embedded":
        return _Facts("", provider.context_window, row.capabilities)
    base = base_model_of(model, provider)
    vendor, _, bare = base.partition("/")
    named = rows.get(vendor)
    candidates = ((named, bare),) if named else tuple((each, base) for each in (row, *rows.values()))
    for each, said in candidates if base else ((row, model),):
        if known := _known(each, said):
            return _Facts(base, each.names.windows.get(known), each.capabilities)
    return _Facts(base, None, row.capabilities)


def _known(row: Row, model: str) -> str:
    """The id that the row knows a model by. Empty = it does not know it."""
    spellings = _spellings(row.models, row)
    return spellings.get(model) or spellings.get(plain(model), "")


def _model(name: str, model: str, provider: ProviderSettings, row: Row, rows: Mapping[str, Row], reason: str) -> Model:
    facts = _facts(model, provider, row, rows)
    return Model(
        id=f"{name}/{model}",
        provider=name,
        provider_model=model,
        base_model=facts.base,
        context_window=facts.window,
        capabilities=facts.capabilities,
        local=row.local,
        available=not reason,
        unavailable_reason=reason,
    )


def _nothing(_: str) -> str:
    """No provider lacks anything."""
    return ""


def list_models(
    snapshot: Snapshot,
    request: ListModelsRequest,
    identity: Identity = ANYBODY,
    missing: Callable[[str], str] = _nothing,
) -> ListModelsResponse:
    """One page of the models that fit the request and that the caller may use, in the order of their ids.

    A larger page_size means 1,000.

    `missing` says what a provider lacks at present: a key that has yet to be fetched. Empty = nothing.
    Pages neither repeat nor skip a model that is in both configurations when a reload comes between them.
    Raises InvalidRequest naming every bad field.
    """
    if bad := list(_violations(request)):
        raise InvalidRequest(bad)
    last = _decode_token(request) if request.page_token else ""
    offers = snapshot.offers.values()
    listed = [model for offer in offers for model in models_now(offer, missing)]
    models = [model for model in listed if may_use_model(identity, model.provider, model.provider_model)]
    rest = sorted((m for m in models if m.id > last and _is_wanted(m, request)), key=lambda model: model.id)
    size = min(request.page_size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)
    token = _encode_token(request, rest[size - 1].id) if len(rest) > size else ""
    return ListModelsResponse(models=rest[:size], next_page_token=token)


def models_now(offer: Offer, missing: Callable[[str], str]) -> list[Model]:
    """All models of a provider, none of them available while it lacks something."""
    why = missing(offer.provider)
    models = [*offer.models.values(), *offer.discovered.values()]
    return [_lacking(model, why) for model in models] if why else models


def _lacking(model: Model, why: str) -> Model:
    if not model.available:
        return model
    lacking = Model()
    lacking.CopyFrom(model)
    lacking.available, lacking.unavailable_reason = False, why
    return lacking


def get_model(
    snapshot: Snapshot, name: str, identity: Identity = ANYBODY, missing: Callable[[str], str] = _nothing
) -> Model:
    """The model that `name` means; of several the first that the caller may use and that can be called.

    `missing` is as for list_models.

    Of a model that an open provider takes without listing it, only its names and whether it can be called are known;
    of one that is fine-tuned, what its base model can do, too.
    Raises UnknownModel, ModelNotAllowed, and InvalidRequest for an empty name.
    """
    if not name:
        raise InvalidRequest([Violation("id", "is empty")])
    targets = allowed_targets(snapshot, name, identity, name)
    found = [_found(snapshot, target, missing(target.provider)) for target in targets]
    return next((model for model in found if model.available), found[0])


def _found(snapshot: Snapshot, target: Target, why: str) -> Model:
    offer = snapshot.offers[target.provider]
    known = offer.models.get(target.model) or offer.discovered.get(target.model) or _unlisted(snapshot, target)
    return _lacking(known, why) if why else known


def _unlisted(snapshot: Snapshot, target: Target) -> Model:
    offer = snapshot.offers[target.provider]
    base = fine_tuned_of(target.model)
    known = offer.models.get(offer.listed_as(base), Model())
    return Model(
        id=f"{target.provider}/{target.model}",
        provider=target.provider,
        provider_model=target.model,
        aliases=aliases_by_target(snapshot).get((target.provider, target.model), ()),
        base_model=base,
        context_window=known.context_window if known.HasField("context_window") else None,
        capabilities=known.capabilities,
        available=not offer.unavailable_reason,
        unavailable_reason=offer.unavailable_reason,
    )


def _is_wanted(model: Model, request: ListModelsRequest) -> bool:
    return (
        (not request.provider or model.provider == request.provider)
        and (not request.available_only or model.available)
        and set(request.required_capabilities) <= set(model.capabilities)
        and (not request.HasField("min_context_window") or _has_window(model, request.min_context_window))
    )


def _has_window(model: Model, least: int) -> bool:
    return model.HasField("context_window") and model.context_window >= least


def _violations(request: ListModelsRequest) -> Iterator[Violation]:
    if request.page_size < 0:
        yield Violation("page_size", f"must be from 0 to {MAX_PAGE_SIZE}")
    if request.min_context_window < 0:
        yield Violation("min_context_window", "must be at least 0")
    for index, capability in enumerate(request.required_capabilities):
        if capability == CAPABILITY_UNSPECIFIED or capability not in Capability.values():
            yield Violation(f"required_capabilities[{index}]", "is not a capability")
    if request.page_token and not _decode_token(request):
        yield Violation("page_token", "is not the next_page_token of a page of the same query")


def _encode_token(request: ListModelsRequest, last: str) -> str:
    return base64.urlsafe_b64encode(_query_digest(request) + last.encode()).decode()


def _decode_token(request: ListModelsRequest) -> str:
    """The id of the last model of the page before. Empty = the token is not one of ours, or of another query."""
    try:
        data = base64.b64decode(request.page_token, altchars="-_", validate=True)
        last = data[_DIGEST_SIZE:].decode()
    except ValueError:
        return ""
    return last if data.startswith(_query_digest(request)) else ""


def _query_digest(request: ListModelsRequest) -> bytes:
    query = ListModelsRequest()
    query.CopyFrom(request)
    query.ClearField("page_token")
    query.ClearField("page_size")
    return hashlib.blake2b(query.SerializeToString(deterministic=True), digest_size=_DIGEST_SIZE).digest()
