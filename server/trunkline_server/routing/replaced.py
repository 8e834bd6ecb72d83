"""Models that are gone, and what serves in their place. Pure over a snapshot and a time; the rules: decisions/0021."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from trunkline.v1.call_pb2 import Target
from trunkline.v1.call_pb2 import Warning as CallWarning
from trunkline_server.core import ANYBODY
from trunkline_server.errors import ModelGone, NoCandidate
from trunkline_server.routing.allowed import may_use, may_use_model
from trunkline_server.routing.described import own_of, retirement_of, successor_of
from trunkline_server.routing.names import allowed_targets, default_name, reasons_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trunkline.v1.model_pb2 import Model
    from trunkline_server.core import Identity
    from trunkline_server.snapshot import Offer, Snapshot

# Replacements of replacements that are followed.
_FURTHEST = 8


class Meant(NamedTuple):
    """Whom a name means, in order; at least one."""

    targets: tuple[Target, ...]
    # By provider and model of those that stand in for others: what to tell the caller.
    replaced: Mapping[tuple[str, str], CallWarning]


def targets_of(
    snapshot: Snapshot, name: str, when: int, identity: Identity = ANYBODY, *, strict: bool = False
) -> Meant:
    """The targets that `name` means, that the caller may use and that can be called, at a time in seconds since 1970.

    Of one that is gone its replacement, unless `strict`, and only if none can be called as it is named. The caller may
    use both. Raises UnknownModel and ModelNotAllowed; NoCandidate if providers cannot be called; ModelGone if nothing
    may serve in its place.
    """
    targets = allowed_targets(snapshot, name or default_name(snapshot, identity), identity, name)
    there = [target for target in targets if not snapshot.offers[target.provider].unavailable_reason]
    gone = [(target, why) for target in there if (why := gone_reason(snapshot, target, when))]
    if len(there) > len(gone):
        lost = [target for target, _ in gone]
        return Meant(tuple(target for target in there if target not in lost), {})
    found = [(target, why, _allowed(replacement_of(snapshot, target, when), identity)) for target, why in gone]
    stand_ins = [] if strict else [(target, why, other) for target, why, other in found if other is not None]
    if stand_ins:
        replaced = {(o.provider, o.model): _warning(target, why, o) for target, why, o in reversed(stand_ins)}
        return Meant(tuple(_once(other for _, _, other in stand_ins)), replaced)
    if len(gone) < len(targets):
        raise NoCandidate(f"{name or 'the default model'} cannot be called: {reasons_of(snapshot, targets)}")
    raise _gone(snapshot, name, identity, found, strict=strict)


def _allowed(target: Target | None, identity: Identity) -> Target | None:
    return target if target is not None and may_use(identity, target) else None


def gone_reason(snapshot: Snapshot, target: Target, when: int) -> str:
    """Why a model is not to be called by its own name any more. Empty = it is there, as far as anybody knows."""
    offer, settings = snapshot.offers[target.provider], snapshot.settings
    if offer.known is not None and offer.known.has(target.model):
        return ""
    if why := offer.gone.get(target.model):
        return why
    retirement = retirement_of(settings, offer.provider, offer.kind, target.model)
    # Most models are not retired, and have no replacement: nothing more is looked up for them.
    if retirement is not None and retirement <= when and _counts(snapshot, target, when):
        return f"{offer.provider} retired it on {datetime.fromtimestamp(retirement, UTC):%Y-%m-%d}"
    if offer.known is not None and offer.lists_all and replacement_of(snapshot, target, when) is not None:
        return f"{offer.provider} does not list it"
    return ""


def _counts(snapshot: Snapshot, target: Target, when: int) -> bool:
    """Whether the day counts. At another address than the vendor's, names mean what that server says."""
    offer, own = snapshot.offers[target.provider], own_of(snapshot.settings, target.provider, target.model)
    if offer.at_home or (own is not None and own.retirement is not None):
        return True
    return offer.known is not None and replacement_of(snapshot, target, when) is not None


def replacement_of(snapshot: Snapshot, target: Target, when: int) -> Target | None:
    """What serves in a model's place: the first of its successors that can be called. None: nothing."""
    seen, current = [target], target
    for _ in range(_FURTHEST):
        kind = snapshot.offers[current.provider].kind
        name = successor_of(snapshot.settings, current.provider, kind, current.model)
        if not name or (current := _target(snapshot, current.provider, name)) in seen:
            return None
        if _is_there(snapshot, current, when):
            return current
        seen.append(current)
    return None


def _target(snapshot: Snapshot, provider: str, name: str) -> Target:
    first, slash, rest = name.partition("/")
    offer = snapshot.offers.get(first) if slash else None
    offer, model = (offer, rest) if offer is not None else (snapshot.offers[provider], name)
    return Target(provider=offer.provider, model=offer.listed_as(model))


def _is_there(snapshot: Snapshot, target: Target, when: int) -> bool:
    offer = snapshot.offers[target.provider]
    if offer.hindrance(target.model) or not (offer.open or target.model in offer.models):
        return False
    if offer.known is not None and offer.lists_all:
        return offer.known.has(target.model)
    retirement = retirement_of(snapshot.settings, offer.provider, offer.kind, target.model)
    return retirement is None or retirement > when


def mark(model: Model, snapshot: Snapshot, when: int, identity: Identity = ANYBODY) -> None:
    """Tell in `model` that it cannot be called by its own name any more, if so.

    Its replacement is told of only to a caller who may use it.
    """
    target = Target(provider=model.provider, model=model.provider_model)
    provider, _, replacement = model.replacement.partition("/")
    if replacement and not may_use_model(identity, provider, replacement):
        model.replacement = ""
    if model.available and (why := gone_reason(snapshot, target, when)):
        other = _allowed(replacement_of(snapshot, target, when), identity)
        serves = f"{_named(other)} answers in its place" if other is not None else "name another model"
        model.available, model.unavailable_reason = False, f"{why.partition(': ')[0]}: {serves}"


def _warning(target: Target, why: str, other: Target) -> CallWarning:
    message = f"{_named(target)} is gone ({why.partition(': ')[0]}): {_named(other)} answers in its place"
    return CallWarning(kind=CallWarning.KIND_MODEL_REPLACED, field="model", message=message, target=other)


def _gone(
    snapshot: Snapshot, name: str, identity: Identity, found: list[tuple[Target, str, Target | None]], *, strict: bool
) -> ModelGone:
    """Names what could be named instead. `why` may end in a remedy of its own, after a colon."""
    target, why, other = found[0]
    what = why.partition(": ")[0]
    if strict and other is not None:
        return ModelGone(name or _named(target), f"{what}; {_named(other)} replaces it, which strict_params forbids")
    if another := _some_model(snapshot.offers[target.provider], target.model, identity):
        said = f"{what}, and nothing is known to replace it: name another, such as {target.provider}/{another}"
        return ModelGone(name or _named(target), said)
    return ModelGone(name or _named(target), why)


def _some_model(offer: Offer, but: str, identity: Identity) -> str:
    known = (offer.default_model, *offer.discovered, *offer.models)
    others = (model for model in known if model and model != but and not offer.hindrance(model))
    return next((model for model in others if may_use_model(identity, offer.provider, model)), "")


def _named(target: Target) -> str:
    return f"{target.provider}/{target.model}"


def _once(targets: Iterable[Target]) -> list[Target]:
    found: list[Target] = []
    for target in targets:
        if target not in found:
            found.append(target)
    return found
