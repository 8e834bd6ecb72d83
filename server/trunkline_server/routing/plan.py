"""The plan: whom a request may be sent to, in order. Pure over what names mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from trunkline_server.errors import CallError, ModelGone, ModelNotAllowed, NoCandidate, UnknownModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from trunkline.v1.call_pb2 import Routing, Target
    from trunkline_server.settings import Settings

    # What a name means: at least one target, or UnknownModel, ModelGone and NoCandidate are raised.
    Resolve = Callable[[str], tuple[Target, ...]]


class Plan(NamedTuple):
    """Targets without repetition."""

    # At least one.
    targets: tuple[Target, ...]
    # For requests that are too long for those: whom to ask then.
    larger: tuple[Target, ...] = ()


def plan_of(settings: Settings, model: str, routing: Routing, resolve: Resolve) -> Plan:
    """What `model` means, then routing.fallback_models, then the configured fallbacks of `model`, which may be missing.

    Raises UnknownModel, ModelGone and NoCandidate: of fallback_models with the field's name, of `model` the last two
    only if nothing else is left.
    """
    if routing.disable_fallback:
        return Plan(resolve(model)[:1])
    if not routing.fallback_models and not settings.fallbacks and not settings.context_fallbacks:
        return Plan(resolve(model))
    first, missing = _primary(resolve, model)
    asked = _asked(resolve, routing.fallback_models)
    configured = _configured(resolve, settings.fallbacks, model, first)
    targets = _unique([*first, *asked, *configured])
    if not targets and missing is not None:
        raise missing
    larger = _configured(resolve, settings.context_fallbacks, model, first)
    return Plan(targets, tuple(target for target in _unique(larger) if target not in targets))


def _primary(resolve: Resolve, model: str) -> tuple[tuple[Target, ...], CallError | None]:
    try:
        return resolve(model), None
    except (ModelGone, NoCandidate) as error:
        return (), error


def _asked(resolve: Resolve, names: Iterable[str]) -> Iterator[Target]:
    for index, name in enumerate(names):
        try:
            yield from resolve(name)
        except CallError as error:
            error.message = f"routing.fallback_models[{index}]: {error.message}"
            raise


def _configured(
    resolve: Resolve, fallbacks: Mapping[str, tuple[str, ...]], model: str, first: tuple[Target, ...]
) -> Iterator[Target]:
    """What the configuration says for the name that was asked for, else for its first target."""
    names = fallbacks.get(model)
    if names is None and first:
        names = fallbacks.get(f"{first[0].provider}/{first[0].model}")
    for name in names or ():
        try:
            yield from resolve(name)
        except (UnknownModel, ModelGone, NoCandidate, ModelNotAllowed):
            continue  # a key is missing here, perhaps, or the caller may not use it: that is no fault of this call


def _unique(targets: Iterable[Target]) -> tuple[Target, ...]:
    return tuple({(target.provider, target.model): target for target in targets}.values())
