"""What stands under the configuration's file: what is built in, its preset, and how its environment weighs things.

All of it is plain values, as the file itself is. What the file says stands, field by field.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trunkline_server.config.check import Problem, did_you_mean
from trunkline_server.config.file import read_tree
from trunkline_server.settings.tasks import spelling

if TYPE_CHECKING:
    from collections.abc import Mapping

    Keys = tuple[str, ...]

BUILT_IN = "built_in"
# Sections whose names callers say: they are the same however they are spelt.
_SPELT = ("tasks", "agents", "chains", "environments")
# A chain says one of these.
_FORMS = ("targets", "tiers", "requires")
# A task that says one of the first loses those of the second that it leaves out: who says whom to ask asks nobody else.
_ASKED, _ASKED_AFTER = ("primary", "fallback", "chain"), ("chain", "then_anybody")
# By an environment's `fallback`: how often a provider is asked, and how many attempts a call may take.
_ATTEMPTS = {"quick_degradation": (1, 4), "maximum_resilience": (6, 10)}


def presets() -> Mapping[str, str]:
    """What each preset is, by its name."""
    found = sorted(path.stem for path in _folder().glob("*.yaml"))
    return {name: _title(name) for name in found if name != BUILT_IN}


def text_of(name: str) -> str:
    """The packaged file itself."""
    return (_folder() / f"{name}.yaml").read_text(encoding="utf-8")


@cache
def tree_of(name: str) -> Mapping[str, Any]:
    """What a packaged file says. Not to be changed."""
    return read_tree(_folder() / f"{name}.yaml", []) or {}


def underlaid(tree: Mapping[str, Any], environ: Mapping[str, str], problems: list[Problem]) -> dict[str, Any]:
    """The file's tree over its preset's, over what is built in. TRUNKLINE_PRESET names one for files that do not."""
    origin = "preset" if tree.get("preset") is not None else "TRUNKLINE_PRESET"
    name = environ.get(origin, "") if origin != "preset" else tree["preset"]
    known, under = presets(), tree_of(BUILT_IN)
    if isinstance(name, str) and name in known:
        under = overlay(under, tree_of(name))
    elif isinstance(name, str) and name:
        problems.append(Problem(origin, "a preset" + did_you_mean(name, known)))
    whole = overlay(under, tree)
    return {**whole, "preset": name} if name else whole


def overlay(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """The tree `over` put over another: mappings key by key, everything else whole. A key without a value says nothing.

    Of prices those of `over` come first, and of a model that they name no others are left.
    """
    merged = _merged(under, over)
    for section in _SPELT:
        lower, upper = under.get(section), over.get(section)
        if isinstance(lower, dict) and isinstance(upper, dict):
            merged[section] = _merged(_spelt_as(lower, upper), upper)
    _drop(merged, over, "chains", _FORMS, _FORMS)
    _drop(merged, over, "tasks", _ASKED, _ASKED_AFTER)
    if isinstance(under.get("prices"), list) and isinstance(over.get("prices"), list):
        named = {str(own.get("model")).lower() for own in over["prices"] if isinstance(own, dict)}
        merged["prices"] = [*over["prices"], *(own for own in under["prices"] if own["model"].lower() not in named)]
    return merged


def _drop(merged: Mapping[str, Any], over: Mapping[str, Any], section: str, said: Keys, lost: Keys) -> None:
    """Whatever in a section of `over` says one of `said` has none of `lost` but its own."""
    for name, own in _items(over.get(section)):
        if isinstance(own, dict) and any(own.get(key) is not None for key in said):
            dropped = {key for key in lost if own.get(key) is None}
            merged[section][name] = {k: v for k, v in merged[section][name].items() if k not in dropped}


def fill_in_environment(tree: dict[str, Any]) -> None:
    """Put into `tree` what follows from its environment: how much is logged, how often providers are asked.

    Whether there is such an environment is checked later.
    """
    name = tree.get("environment")
    wanted = spelling(name) if isinstance(name, str) else ""
    for known, environment in _items(tree.get("environments")):
        if isinstance(known, str) and spelling(known) == wanted and isinstance(environment, dict):
            _fill_in(tree, environment)


def _fill_in(tree: dict[str, Any], environment: Mapping[str, Any]) -> None:
    if (level := environment.get("monitoring")) is not None:
        _set(tree, "logs", "monitoring_level", level)
    fallback = environment.get("fallback")
    if attempts := _ATTEMPTS.get(fallback) if isinstance(fallback, str) else None:
        here, in_all = attempts
        if tree.get("max_attempts") is None:
            tree["max_attempts"] = in_all
        providers = dict(_items(tree.get("providers")))
        for name, provider in providers.items():
            if isinstance(provider, dict):
                providers[name] = dict(provider)
                _set(providers[name], "retry", "max_attempts", here)
        tree["providers"] = providers


def _set(tree: dict[str, Any], section: str, key: str, value: object) -> None:
    """Say it, unless it is said or its section is none."""
    said = tree.get(section)
    if isinstance(said, dict | None) and (said or {}).get(key) is None:
        tree[section] = {**(said or {}), key: value}


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            merged[key] = _merged(below, value)
        elif value is not None or key not in merged:
            merged[key] = value
    return merged


def _spelt_as(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """`lower` with the names that `upper` has for the same."""
    names = {spelling(name): name for name in upper if isinstance(name, str)}
    return {names.get(spelling(name), name): value for name, value in lower.items()}


def _items(section: object) -> list[tuple[Any, Any]]:
    return [*section.items()] if isinstance(section, dict) else []


def _folder() -> Path:
    return Path(str(files("trunkline_server").joinpath("presets")))


def _title(name: str) -> str:
    """The first line of its comment."""
    return text_of(name).partition("\n")[0].removeprefix("# ")
