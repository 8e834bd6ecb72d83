"""Names: what a request says for a model, and whom that means. Pure over a snapshot."""

from __future__ import annotations

import re
from difflib import get_close_matches
from itertools import chain, islice
from typing import TYPE_CHECKING

from trunkline.v1.call_pb2 import Target
from trunkline_server.core import ANYBODY
from trunkline_server.errors import InvalidRequest, ModelNotAllowed, NoCandidate, UnknownModel, Violation
from trunkline_server.providers.table import ROWS
from trunkline_server.routing.allowed import may_see, may_use, may_use_model, usable
from trunkline_server.spelling import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from trunkline_server.core import Identity
    from trunkline_server.providers.table import Row
    from trunkline_server.snapshot import Offer, Snapshot

# Longer names are refused unread: they come back in the status, and status messages travel in headers.
LONGEST = 256
# Names that a wrong one is compared with: 4,000 take a quarter of a second, in which no other call moves.
MAX_COMPARED = 500
MAX_LISTED = 20
_FINE_TUNED = re.compile(r"ft:([^:]+):")


def allowed_targets(snapshot: Snapshot, name: str, identity: Identity, asked: str) -> tuple[Target, ...]:
    """Those of find_targets that the caller may use; at least one.

    Raises UnknownModel, and ModelNotAllowed, which names what was `asked`.
    """
    targets = usable(identity, find_targets(snapshot, name, identity))
    if not targets:
        raise ModelNotAllowed(asked, _listed(_sayable(snapshot, identity)))
    return targets


def find_targets(snapshot: Snapshot, name: str, identity: Identity = ANYBODY) -> tuple[Target, ...]:
    """The targets that `name` means, whether they can be called or not, in the order of the offers; at least one.

    The first of these that fits decides:
    1. What stands before the first slash is a provider: the rest is its model, in another spelling perhaps. An open
       provider takes any.
    2. A provider's name alone: its default model.
    3. An alias: what it stands for, by the other rules.
    4. A model id alone: every provider that is configured with it, or whose row has it.
    5. Another spelling: a provider's name in other letters or a vendor's other name (claude), alone or before a slash;
       or an id that a vendor knows, with dots for dashes, in other letters, with or without its date.
    6. An id that looks like a vendor's own (gpt-..., claude-..., and what is fine-tuned of them, ft:gpt-...): every
       provider of that vendor, with the id as it stands.
    7. What people call open weights (llama-3-70b): every provider that is known to host them.
    8. An id that providers list themselves, in any spelling: a list that changes never takes a name from the rest.
    Raises UnknownModel, which names only what this caller may use. Blanks at either end are refused, and so is what
    cannot be printed.
    """
    if len(name) > LONGEST or not name.isprintable() or name != name.strip():
        raise UnknownModel(name[:64], f"a name has at most {LONGEST} printable characters and no blank at its ends")
    is_provider = name.partition("/")[0] in snapshot.offers
    targets = _meant(snapshot, name if is_provider else snapshot.settings.aliases.get(name, name))
    if not targets:
        raise UnknownModel(name, remedy(snapshot, name, identity))
    return targets


def is_known(snapshot: Snapshot, name: str) -> bool:
    """Whether anything answers to this name."""
    try:
        find_targets(snapshot, name)
    except UnknownModel:
        return False
    return True


def known_provider(snapshot: Snapshot, name: str) -> None:
    """Raises InvalidRequest, naming the field `provider`, unless the configuration has this provider."""
    known = snapshot.settings.providers
    if name not in known:
        close = get_close_matches(name[:LONGEST], known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"the providers are {_listed(sorted(known))}"
        said = name[:64] if name.isprintable() else "this name"
        raise InvalidRequest([Violation("provider", f"no provider is called {said}; {hint}")])


def _meant(snapshot: Snapshot, name: str) -> tuple[Target, ...]:
    """The targets of a name that is no alias."""
    provider, slash, rest = name.partition("/")
    offer = snapshot.offers.get(provider)
    if offer is None:
        exact = tuple(Target(provider=o.provider, model=name) for o in snapshot.offers.values() if name in o.models)
        return exact or _spelt(snapshot, name)
    model = offer.listed_as(rest) if slash else offer.default_model
    return (Target(provider=provider, model=model),) if _takes(offer, model) else ()


def _spelt(snapshot: Snapshot, name: str) -> tuple[Target, ...]:
    provider, slash, rest = name.partition("/")
    targets: list[Target] = []
    key = plain(name)
    for offer in snapshot.offers.values():
        if provider and provider.lower() in (offer.provider, offer.spelling):
            model = offer.listed_as(rest) if slash else offer.default_model
            targets += [Target(provider=offer.provider, model=model)] * _takes(offer, model)
        elif key in offer.spellings:
            targets.append(Target(provider=offer.provider, model=offer.listed_as(name)))
    return tuple(targets) or _of_family(snapshot, name) or _hosted(snapshot, key) or _discovered(snapshot, name)


def _of_family(snapshot: Snapshot, name: str) -> tuple[Target, ...]:
    own = (fine_tuned_of(name) or name).lower()
    offers = [offer for offer in snapshot.offers.values() if offer.family and offer.family.fullmatch(own)]
    return tuple(Target(provider=offer.provider, model=offer.listed_as(name)) for offer in offers)


def _discovered(snapshot: Snapshot, name: str) -> tuple[Target, ...]:
    offers, spelling = snapshot.offers.values(), plain(name)
    exact = tuple(Target(provider=offer.provider, model=name) for offer in offers if name in offer.discovered)
    return exact or tuple(
        Target(provider=offer.provider, model=offer.spelt[spelling]) for offer in offers if spelling in offer.spelt
    )


def _hosted(snapshot: Snapshot, key: str) -> tuple[Target, ...]:
    hosts = [offer for offer in snapshot.offers.values() if key in offer.hosted]
    return tuple(Target(provider=offer.provider, model=offer.hosted[key] or offer.default_model) for offer in hosts)


def fine_tuned_of(model: str) -> str:
    """What a fine-tuned id says that it is made of: ft:BASE:organization::id. Empty = it is no such id."""
    match = _FINE_TUNED.match(model)
    return match[1] if match else ""


def _takes(offer: Offer, model: str) -> bool:
    return model in offer.models or model in offer.discovered or (offer.open and model != "" and model == model.strip())


def default_name(snapshot: Snapshot, identity: Identity) -> str:
    """What a call means that names no model: the configured default, else the first provider that can be called.

    One that only says what it was told to say (kind scripted) is never meant unless it is the configured default.
    Raises NoCandidate with the reason of each provider.
    """
    if snapshot.settings.default_model:
        return snapshot.settings.default_model
    defaults = [
        Target(provider=offer.provider, model=offer.default_model)
        for offer in snapshot.offers.values()
        if not _is_scripted(snapshot, offer.provider)
    ]
    targets = usable(identity, defaults)
    for target in targets:
        if not snapshot.offers[target.provider].hindrance(target.model):
            return target.provider
    raise NoCandidate(f"the call names no model, and no provider can be called: {reasons_of(snapshot, targets)}")


def _is_scripted(snapshot: Snapshot, provider: str) -> bool:
    return (snapshot.settings.providers[provider].kind or provider) == "scripted"


def reasons_of(snapshot: Snapshot, targets: Sequence[Target]) -> str:
    """Why each of these cannot be called."""
    reasons = [f"{each.provider}: {snapshot.offers[each.provider].hindrance(each.model)}" for each in targets]
    return "; ".join(reasons[:MAX_LISTED]) or "none is configured"


def remedy(snapshot: Snapshot, name: str, identity: Identity = ANYBODY) -> str:
    """What to say in place of a name that nothing answers to: only what this caller may use."""
    if vendor := _vendor_of(name):
        return f"{name} is a model of {vendor.name}: set {vendor.key_env} to have it"
    known = {other.lower(): other for other in _sayable(snapshot, identity)[:MAX_COMPARED]}
    close = get_close_matches(name.lower(), known, cutoff=0.7)
    if close:
        return f"did you mean {' or '.join(known[other] for other in close)}?"
    offers = {provider: offer for provider, offer in snapshot.offers.items() if may_see(identity, offer)}
    if offer := offers.get(name.partition("/")[0]):
        return f"{offer.provider} has {_listed(_models(offer, identity))}"
    return f'say "provider/model"; the providers are {_listed(offers)}'


def _vendor_of(name: str) -> Row | None:
    """The vendor whose own the model is by its name."""
    family = [row for row in ROWS.values() if row.names.family and re.fullmatch(row.names.family, name.lower())]
    return family[0] if family else None


def _listed(names: Iterable[str]) -> str:
    return ", ".join(islice(names, MAX_LISTED)) or "none"


def _sayable(snapshot: Snapshot, identity: Identity) -> list[str]:
    """Everything that this caller can say and use, what is configured before what providers list."""
    offers = [offer for offer in snapshot.offers.values() if may_see(identity, offer)]
    names = [alias for alias in snapshot.settings.aliases if _may_say(snapshot, identity, alias)]
    names += [o.provider for o in offers if may_use_model(identity, o.provider, o.default_model)]
    configured = [(offer.provider, model) for offer in offers for model in offer.models]
    discovered = [(offer.provider, model) for offer in offers for model in offer.discovered]
    for named in (configured, discovered):
        pairs = [(provider, model) for provider, model in named if may_use_model(identity, provider, model)]
        names += [model for _, model in pairs]
        names += [f"{provider}/{model}" for provider, model in pairs]
    return [*dict.fromkeys(names)]


def _models(offer: Offer, identity: Identity) -> Iterator[str]:
    return (m for m in chain(offer.models, offer.discovered) if may_use_model(identity, offer.provider, m))


def _may_say(snapshot: Snapshot, identity: Identity, alias: str) -> bool:
    """Whether the caller may use what an alias stands for."""
    return identity is ANYBODY or any(
        may_use(identity, target) for target in _meant(snapshot, snapshot.settings.aliases[alias])
    )
