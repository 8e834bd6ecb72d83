"""The plan: whom a request may be sent to, in order. Pure over what names mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from trunkline_server.errors import CallError, ModelGone, ModelNotAllowed, NoCandidate, UnknownModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from trunkline.v1.call_pb2 import Routing, Target
    from trunkline_server.routing.policy import Policy
    from trunkline_server.settings import Settings

    # What a name means: at least one target, or UnknownModel, ModelGone and NoCandidate are raised.
    Resolve = Callable[[str], tuple[Target, ...]]


class Plan(NamedTuple):
    """Targets in the order in which names have them."""

    # What each name means: any of a group may be asked, and all of it before the next one.
    groups: tuple[tuple[Target, ...], ...]
    # For requests that are too long for those: whom to ask then. None of them is in a group.
    larger: tuple[Target, ...] = ()
    # Nobody but the first that is asked.
    alone: bool = False

    @property
    def targets(self) -> tuple[Target, ...]:
        """All of the groups without repetition; at least one."""
        return _unique(target for group in self.groups for target in group)


def plan_of(settings: Settings, model: str, routing: Routing, resolve: Resolve) -> Plan:
    """What `model` means, then routing.fallback_models, then the configured fallbacks of `model`, which may be missing.

    Raises UnknownModel, ModelGone and NoCandidate: of fallback_models with the field's name, of `model` the last two
    only if nothing else is left.
    """
    if routing.disable_fallback or not settings.routing.fallback:
        return Plan((resolve(model),), alone=True)
    if not routing.fallback_models and not settings.fallbacks and not settings.context_fallbacks:
        return Plan((resolve(model),))
    first, missing = _primary(resolve, model)
    asked = _asked(resolve, routing.fallback_models)
    configured = _configured(resolve, settings.fallbacks, model, first)
    groups = tuple(filter(None, (first, *asked, *configured)))
    if not groups and missing is not None:
        raise missing
    return Plan(groups, _larger(groups, _configured(resolve, settings.context_fallbacks, model, first)))


def plan_by(policy: Policy, settings: Settings, routing: Routing, resolve: Resolve) -> Plan:
    """What a policy's order and then its tiers mean, then routing.fallback_models. Names may be missing, but not all.

    Raises what resolving the first name did if none of them can be asked.
    """
    alone = routing.disable_fallback or not settings.routing.fallback
    missing: list[CallError] = []
    groups = [
        tuple(target for name in names for target in _if_there(resolve, name, missing))
        for names in (*((name,) for name in policy.order), *policy.tiers)
    ]
    asked = () if alone else _asked(resolve, routing.fallback_models)
    found = tuple(filter(None, (*groups, *asked)))
    if not found:
        if routing.chain:
            missing[0].message = f"routing.chain: nobody of {policy.chain} can be asked: {missing[0].message}"
        raise missing[0]
    return Plan(found, alone=alone)


def _if_there(resolve: Resolve, name: str, missing: list[CallError]) -> tuple[Target, ...]:
    try:
        return resolve(name)
    except (UnknownModel, ModelGone, NoCandidate, ModelNotAllowed) as error:
        missing.append(error)
        return ()


def _larger(groups: Iterable[tuple[Target, ...]], configured: Iterable[tuple[Target, ...]]) -> tuple[Target, ...]:
    taken = [target for group in groups for target in group]
    return tuple(target for target in _unique(each for group in configured for each in group) if target not in taken)


def _primary(resolve: Resolve, model: str) -> tuple[tuple[Target, ...], CallError | None]:
    try:
        return resolve(model), None
    except (ModelGone, NoCandidate) as error:
        return (), error


def _asked(resolve: Resolve, names: Iterable[str]) -> Iterator[tuple[Target, ...]]:
    for index, name in enumerate(names):
        try:
            yield resolve(name)
        except CallError as error:
            error.message = f"routing.fallback_models[{index}]: {error.message}"
            raise


def _configured(
    resolve: Resolve, fallbacks: Mapping[str, tuple[str, ...]], model: str, first: tuple[Target, ...]
) -> Iterator[tuple[Target, ...]]:
    """What the configuration says for the name that was asked for, else for its first target."""
    names = fallbacks.get(model)
    if names is None and first:
        names = fallbacks.get(f"{first[0].provider}/{first[0].model}")
    for name in names or ():
        try:
            yield resolve(name)
        except (UnknownModel, ModelGone, NoCandidate, ModelNotAllowed):
            continue  # a key is missing here, perhaps, or the caller may not use it: that is no fault of this call


def _unique(targets: Iterable[Target]) -> tuple[Target, ...]:
    return tuple({(target.provider, target.model): target for target in targets}.values())
