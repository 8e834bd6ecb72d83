"""What ModelService tells of the models: a page of those that fit, or one by any of its names. Pure."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

from trunkline.v1.model_pb2 import CAPABILITY_STREAMING, Model
from trunkline.v1.model_service_pb2 import ListModelsRequest, ListModelsResponse
from trunkline_server.core import ANYBODY
from trunkline_server.errors import InvalidRequest, Violation
from trunkline_server.models.data import entry_of
from trunkline_server.routing.allowed import may_use_model
from trunkline_server.routing.catalogue import aliases_by_target
from trunkline_server.routing.described import describe, own_of, tell_end, tell_own, tell_speed
from trunkline_server.routing.filters import Known, fits, violations
from trunkline_server.routing.names import allowed_targets, fine_tuned_of
from trunkline_server.routing.replaced import mark

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trunkline.v1.call_pb2 import Target
    from trunkline_server.core import Identity
    from trunkline_server.snapshot import Offer, Snapshot

DEFAULT_PAGE_SIZE = 100
MAX_PAGE_SIZE = 1000
_DIGEST_SIZE = 8


def list_models(
    snapshot: Snapshot, request: ListModelsRequest, known: Known, identity: Identity = ANYBODY
) -> ListModelsResponse:
    """One page of the models that fit the request and that the caller may use, in the order of their ids.

    A larger page_size means 1,000.

    Pages neither repeat nor skip a model that is in both configurations when a reload comes between them.
    Raises InvalidRequest naming every bad field.
    """
    if bad := [*_violations(request), *violations(request)]:
        raise InvalidRequest(bad)
    last = _decode_token(request) if request.page_token else ""
    found = (model for model in all_models(snapshot, known, identity) if model.id > last)
    rest = sorted((model for model in found if fits(model, request, known)), key=lambda model: model.id)
    size = min(request.page_size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)
    token = _encode_token(request, rest[size - 1].id) if len(rest) > size else ""
    return ListModelsResponse(models=rest[:size], next_page_token=token)


def all_models(snapshot: Snapshot, known: Known, identity: Identity = ANYBODY) -> Iterator[Model]:
    """Every model that is configured or listed and that the caller may use."""
    for offer in snapshot.offers.values():
        for model in models_now(offer, known.missing):
            if may_use_model(identity, model.provider, model.provider_model):
                yield _marked(model, snapshot, known.when, identity)


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


def get_model(snapshot: Snapshot, name: str, known: Known, identity: Identity = ANYBODY) -> Model:
    """The model that `name` means; of several the first that the caller may use and that can be called.

    Of a model that an open provider takes without listing it, what the data on models says is known.
    Raises UnknownModel, ModelNotAllowed, and InvalidRequest for an empty name.
    """
    if not name:
        raise InvalidRequest([Violation("id", "is empty")])
    targets = allowed_targets(snapshot, name, identity, name)
    found = [_found(snapshot, target, known.missing(target.provider)) for target in targets]
    marked = [_marked(model, snapshot, known.when, identity) for model in found]
    return next((model for model in marked if model.available), marked[0])


def _found(snapshot: Snapshot, target: Target, why: str) -> Model:
    known = model_at(snapshot, target)
    return _lacking(known, why) if why else known


def _marked(model: Model, snapshot: Snapshot, when: int, identity: Identity) -> Model:
    """A copy: models of the snapshot are never changed."""
    marked = Model()
    marked.CopyFrom(model)
    mark(marked, snapshot, when, identity)
    return marked


def model_at(snapshot: Snapshot, target: Target) -> Model:
    """The model of a target; of one that its provider takes without listing it, what the data on models says."""
    offer = snapshot.offers[target.provider]
    return offer.models.get(target.model) or offer.discovered.get(target.model) or _unlisted(snapshot, target)


def _unlisted(snapshot: Snapshot, target: Target) -> Model:
    offer = snapshot.offers[target.provider]
    base = fine_tuned_of(target.model)
    known = offer.models.get(offer.listed_as(base), Model(capabilities=[CAPABILITY_STREAMING]))
    model = Model(
        id=f"{target.provider}/{target.model}",
        provider=target.provider,
        provider_model=target.model,
        aliases=aliases_by_target(snapshot).get((target.provider, target.model), ()),
        base_model=base,
        context_window=known.context_window if known.HasField("context_window") else None,
        capabilities=known.capabilities,
        local=offer.local,
        available=not offer.unavailable_reason,
        unavailable_reason=offer.unavailable_reason,
    )
    entry = entry_of(offer.kind, base or target.model)
    describe(model, entry, offer.says)
    if not base:
        tell_end(model, entry)
    tell_own(model, own_of(snapshot.settings, target.provider, target.model))
    tell_speed(model, snapshot.settings)
    return model


def _violations(request: ListModelsRequest) -> Iterator[Violation]:
    if request.page_size < 0:
        yield Violation("page_size", f"must be from 0 to {MAX_PAGE_SIZE}")
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
