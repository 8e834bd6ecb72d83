"""What providers list, joined with what is configured. Pure; the rules stand in decisions/0011."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from trunkline.v1.model_pb2 import CAPABILITY_STREAMING, Model
from trunkline_server.listed import Known
from trunkline_server.models.data import entry_of
from trunkline_server.routing.catalogue import aliases_by_target
from trunkline_server.routing.described import describe, own_of, set_capabilities, tell_end, tell_own, tell_speed
from trunkline_server.snapshot import Snapshot
from trunkline_server.spelling import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from trunkline_server.listed import Listed
    from trunkline_server.providers.table import Row
    from trunkline_server.settings import Settings
    from trunkline_server.snapshot import Offer

# Ids of models that a provider listed once and does not list any more: so many are remembered of each.
MAX_VANISHED = 1000


def learn(before: Known | None, listed: Iterable[Listed]) -> Known:
    """What is known once a provider has told its whole list."""
    now = Known({each.id: each for each in listed})
    if before is None:
        return now
    earlier = dict.fromkeys((*before.vanished, *(each.id for each in before.generating())))
    return Known(now.listed, tuple(id_ for id_ in earlier if id_ not in now.names)[-MAX_VANISHED:])


def join(
    offers: Mapping[str, Offer], configured: Snapshot, row: Row, provider: str, known: Known | None, off: str
) -> Mapping[str, Offer]:
    """The offers, with this provider's made anew of its configured one, of what it lists and of why it is switched off.

    What does not change is the same as before. Nothing that is given is changed.
    """
    settings = configured.settings
    joined = _joined(configured.offers[provider], settings, row, known, off)
    return _with_aliases(settings, {**offers, provider: joined})


def shown(offer: Offer) -> set[str]:
    """The ids of all its models that are there: those that are gone are not among them."""
    models = (*offer.models.items(), *offer.discovered.items())
    return {model.id for id_, model in models if id_ not in offer.gone}


def _with_aliases(settings: Settings, offers: Mapping[str, Offer]) -> Mapping[str, Offer]:
    """Each model told of its aliases: which they mean may hang on what others list."""
    if not settings.aliases:
        return offers
    wanted = aliases_by_target(Snapshot("", settings, offers))

    def right(models: Mapping[str, Model]) -> Mapping[str, Model]:
        wrong = {
            id_: wanted.get((model.provider, id_), [])
            for id_, model in models.items()
            if list(model.aliases) != wanted.get((model.provider, id_), [])
        }
        return {**models, **{id_: _called(models[id_], names) for id_, names in wrong.items()}} if wrong else models

    told = {}
    for name, offer in offers.items():
        models, discovered = right(offer.models), right(offer.discovered)
        same = models is offer.models and discovered is offer.discovered
        told[name] = offer if same else replace(offer, models=models, discovered=discovered)
    return told


def _called(model: Model, aliases: Sequence[str]) -> Model:
    called = Model()
    called.CopyFrom(model)
    called.ClearField("aliases")
    called.aliases.extend(aliases)
    return called


def _joined(offer: Offer, settings: Settings, row: Row, known: Known | None, off: str) -> Offer:
    reason = off or offer.unavailable_reason
    if known is None:
        models = {id_: _updated(model, None, settings, reason) for id_, model in offer.models.items()}
        return replace(offer, models=models, unavailable_reason=reason)
    gone = _gone(offer, row, known)
    models = {
        id_: _updated(model, _entry(known, id_), settings, reason or gone.get(id_, ""))
        for id_, model in offer.models.items()
    }
    discovered: dict[str, Model] = {}
    if not settings.providers[offer.provider].models:  # else what the operator wrote down is all that is to be seen
        gone |= {id_: _no_longer(offer, id_) for id_ in known.vanished if id_ not in offer.models}
        discovered = {
            id_: _discovered(offer, settings, known, id_, reason or gone.get(id_, "")) for id_ in _new(offer, known)
        }
    return replace(offer, models=models, discovered=discovered, gone=gone, unavailable_reason=reason, known=known)


def _new(offer: Offer, known: Known) -> Iterator[str]:
    """Ids that the provider lists or listed, and that are no configured model's."""
    for each in known.generating():
        if not any(name in offer.models for name in (each.id, *each.aliases)):
            yield each.id
    for id_ in known.vanished:
        if id_ not in offer.models:
            yield id_


def _gone(offer: Offer, row: Row, known: Known) -> dict[str, str]:
    """Configured models that cannot be called, since they are not in the list."""
    missing = [model for model in offer.models if not known.has(model)]
    vanished = {model: _no_longer(offer, model) for model in missing if model in known.vanished}
    counts = row.unlisted == "gone" or (row.unlisted == "doubtful" and len(missing) < len(offer.models))
    return {model: _not_listed(offer, model) for model in missing if counts} | vanished


def _no_longer(offer: Offer, model: str) -> str:
    return f"{offer.provider} no longer lists {model}: name another model, or ask again with RefreshModels"


def _not_listed(offer: Offer, model: str) -> str:
    return (
        f"{offer.provider} does not list {model}: name another model, or have it there and ask again with RefreshModels"
    )


def _entry(known: Known, model: str) -> Listed | None:
    """The list's entry for a configured model: by its id, an alias of it, or another spelling."""
    if model in known.listed:
        return known.listed[model]
    entries = list(known.generating())
    named = next((each for each in entries if model in each.aliases), None)
    return named or next((each for each in entries if plain(each.id) == plain(model)), None)


def _updated(model: Model, listed: Listed | None, settings: Settings, reason: str) -> Model:
    """A copy, with what the list says of it; what is configured of it stands."""
    updated = Model()
    updated.CopyFrom(model)
    updated.available, updated.unavailable_reason = not reason, reason
    if listed is not None:
        _fill_in(updated, listed)
        tell_own(updated, own_of(settings, model.provider, model.provider_model))
    return updated


def _discovered(offer: Offer, settings: Settings, known: Known, id_: str, reason: str) -> Model:
    """A model that nobody configured: as the catalogue has it, then as the list does, unless it is gone from that."""
    model = Model(
        id=f"{offer.provider}/{id_}",
        provider=offer.provider,
        provider_model=id_,
        capabilities=[CAPABILITY_STREAMING],
        local=offer.local,
        available=not reason,
        unavailable_reason=reason,
        discovered=True,
    )
    entry = entry_of(offer.kind, id_)
    describe(model, entry, offer.says)
    tell_end(model, entry)
    if id_ in known.listed:
        _fill_in(model, known.listed[id_])
    tell_speed(model, settings)
    return model


def _fill_in(model: Model, listed: Listed) -> None:
    if listed.context_window is not None:
        model.context_window = listed.context_window
    set_capabilities(model, {*model.capabilities} - listed.cannot | listed.can)
