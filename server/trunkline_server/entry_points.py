"""Dialects and providers that packages bring, by entry points: only those that the configuration names are loaded."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from trunkline.v1.model_pb2 import Capability
from trunkline_server.config.check import A_NAME, did_you_mean, is_name
from trunkline_server.extending import Provider
from trunkline_server.providers.row import Row
from trunkline_server.providers.table import ROWS
from trunkline_server.providers.vendor_names import Names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from trunkline_server.core import Handler
    from trunkline_server.dialects.dialect import Dialect
    from trunkline_server.settings import Settings

DIALECT_GROUP = "trunkline.dialects"
PROVIDER_GROUP = "trunkline.providers"
BUILT_IN_DIALECTS = tuple(dict.fromkeys(row.dialect for row in ROWS.values() if row.dialect))
_FUNCTIONS = ("encode_request", "decode_response", "stream_decoder", "decode_error")


class _Broken(Exception):
    """A package does not bring what it is named for. Its text says what would be right."""


@dataclass(frozen=True, slots=True)
class Extensions:
    """What packages bring to one configuration."""

    # Trunkline's own and theirs, in order of preference for calls that name no model.
    rows: Mapping[str, Row] = field(default_factory=lambda: ROWS)
    # By name: only theirs.
    dialects: Mapping[str, Dialect] = field(default_factory=dict)
    # By kind: only theirs.
    handlers: Mapping[str, Handler] = field(default_factory=dict)
    # By kind and by dialect: what would be right.
    wrong_kinds: Mapping[str, str] = field(default_factory=dict)
    wrong_dialects: Mapping[str, str] = field(default_factory=dict)


def extensions_of(settings: Settings) -> Extensions:
    """What the settings name. Does nothing where they name only what Trunkline has itself."""
    providers = settings.providers.items()
    return load_extensions((each.kind or name for name, each in providers), (each.dialect for _, each in providers))


def load_extensions(kinds: Iterable[str], dialects: Iterable[str]) -> Extensions:
    """Load what these name and Trunkline does not have itself. Never raises: what is wrong stands in the result."""
    wrong_kinds: dict[str, str] = {}
    wrong_dialects: dict[str, str] = {}
    brought: dict[str, Provider] = {}
    for kind in {*kinds} - ROWS.keys():
        _load_into(brought, wrong_kinds, PROVIDER_GROUP, kind)
    spoken: dict[str, Dialect] = {}
    for dialect in {*dialects} - {"", *BUILT_IN_DIALECTS}:
        _load_into(spoken, wrong_dialects, DIALECT_GROUP, dialect)
        if dialect not in spoken:
            nobody = f"a known dialect{did_you_mean(dialect, BUILT_IN_DIALECTS)}, or a package installed that brings it"
            wrong_dialects.setdefault(dialect, nobody)
    handlers = {kind: provider.handle for kind, provider in brought.items()}
    return Extensions(_rows(brought), spoken, handlers, wrong_kinds, wrong_dialects)


def _load_into(found: dict[str, Any], wrong: dict[str, str], group: str, name: str) -> None:
    try:
        found |= _loaded(group, name)
    except _Broken as broken:
        wrong[name] = str(broken)


def _loaded(group: str, name: str) -> dict[str, Any]:
    """What a package brings under this name; empty if none does. Raises _Broken."""
    found = [*entry_points(group=group, name=name)]
    brought_by = sorted({point.dist.name if point.dist else point.value for point in found})
    if not found:
        return {}
    if len(brought_by) > 1:
        raise _Broken(f"one package to bring it: {', '.join(brought_by)} do, so uninstall all but one")
    [package], point = brought_by, found[0]
    try:
        value = point.load()
        faults = [*(_dialect_faults(value) if group == DIALECT_GROUP else _provider_faults(value))]
    except Exception as error:  # noqa: BLE001 - a package's own; its text may hold anything
        see = f"`python -c 'import {point.module}'` shows why"
        raise _Broken(f"the package {package} to load: {point.value} raises {type(error).__name__}; {see}") from None
    if faults:
        raise _Broken(f"the package {package} to bring it: {point.value} {'; '.join(faults)}")
    return {name: value}


def _dialect_faults(value: object) -> Iterator[str]:
    missing = [name for name in _FUNCTIONS if not callable(getattr(value, name, None))]
    if missing:
        yield f"has no {', '.join(missing)}: a dialect is a module with the four functions of extending.Dialect"


def _provider_faults(value: object) -> Iterator[str]:
    if not isinstance(value, Provider):
        yield "is no trunkline_server.extending.Provider"
        return
    handle: object = value.handle
    if not callable(handle):
        yield "has a handle that cannot be called: it is an async generator function over a Call"
    if isinstance(value.models, str) or not value.models or not all(map(is_name, value.models)):
        yield f"has no models: it lists at least one id, each {A_NAME}"
    if not {*value.capabilities} <= {*Capability.values()}:
        yield "has capabilities that are none of the contract's"
    if value.key_env and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value.key_env):
        yield "has a key_env that names no environment variable"


def _rows(brought: Mapping[str, Provider]) -> Mapping[str, Row]:
    """Theirs stand before what is only there to try things with."""
    if not brought:
        return ROWS
    own = {name: row for name, row in ROWS.items() if not row.built_in}
    theirs = {kind: _row(kind, brought[kind]) for kind in sorted(brought)}
    return own | theirs | {name: row for name, row in ROWS.items() if row.built_in}


def _row(kind: str, provider: Provider) -> Row:
    return Row(
        name=kind,
        auth="bearer",
        key_required=provider.key_required,
        key_env=provider.key_env,
        names=Names(windows=dict(provider.windows)),
        default_model=provider.models[0],
        models=tuple(provider.models),
        open=provider.open,
        capabilities=tuple(provider.capabilities),
        local=provider.local,
        status_url=provider.status_url,
    )
