"""The configuration: from a YAML file and the environment to `Settings`. Nothing else reads either of them.

What the file says stands; the environment fills in what it leaves out. An empty variable counts as unset.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import inspect, structs

from trunkline_server.config.alerts import alert_problems
from trunkline_server.config.budgets import budget_problems, budget_warnings, read_money
from trunkline_server.config.check import Problem, Walk, join, problems_of, read_seconds
from trunkline_server.config.credential_check import credential_problems, key_warnings
from trunkline_server.config.credentials import (
    address_in,
    api_version_in,
    aws_in,
    credentials_in,
    has_aws,
    names_credential,
)
from trunkline_server.config.doors import door_problems
from trunkline_server.config.experiments import experiment_problems
from trunkline_server.config.fallbacks import fallback_problems
from trunkline_server.config.file import read_tree
from trunkline_server.config.ledger import ledger_problems
from trunkline_server.config.models import measured_problems, model_problems
from trunkline_server.config.overlays import fill_in_environment, underlaid
from trunkline_server.config.prices import price_problems, read_moment, read_token_price, read_unit_price
from trunkline_server.config.reliability import reliability_problems
from trunkline_server.config.routing import routing_in, routing_problems
from trunkline_server.config.secrets import readers
from trunkline_server.config.tasks import target_warnings, task_problems
from trunkline_server.entry_points import Extensions, extensions_of, load_extensions
from trunkline_server.providers.table import CUSTOM, ROWS, SCRIPTS
from trunkline_server.sections import Seconds
from trunkline_server.settings import ProviderSettings, Reference, Secret, Settings
from trunkline_server.settings.budgets import Money
from trunkline_server.settings.prices import Moment, TokenPrice, UnitPrice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from trunkline_server.providers.row import Row

FILE_NAME = "trunkline.yaml"
_READERS: Mapping[type, Callable[[object], object]] = {
    Seconds: read_seconds,
    TokenPrice: read_token_price,
    UnitPrice: read_unit_price,
    Moment: read_moment,
    Money: read_money,
}


class ConfigError(Exception):
    """A configuration that cannot be used: all that is wrong with it. Holds no secret, and no text of the file."""

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("\n  ".join([f"{source} cannot be used:", *map(str, problems)]))


def find_path(environ: Mapping[str, str] = os.environ, explicit: Path | None = None) -> Path | None:
    """The file to load: `explicit`, else what TRUNKLINE_CONFIG names, else trunkline.yaml in this folder, else none."""
    if explicit is not None:
        return explicit
    if environ.get("TRUNKLINE_CONFIG"):
        return Path(environ["TRUNKLINE_CONFIG"])
    path = Path(FILE_NAME)
    return path if path.is_file() else None


def environment() -> Mapping[str, str]:
    """The environment, for what has to pass it on."""
    return os.environ


def cache_folder(environ: Mapping[str, str] = os.environ, platform: str = sys.platform) -> Path:
    """Trunkline's folder in the user's cache, where the system has that. It need not exist."""
    home = Path(environ.get("HOME") or Path.home())
    if platform == "win32":
        return Path(environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "trunkline" / "cache"
    if platform == "darwin":
        return home / "Library" / "Caches" / "trunkline"
    # The XDG specification says to ignore a relative path.
    xdg = Path(environ.get("XDG_CACHE_HOME", ""))
    return (xdg if xdg.is_absolute() else home / ".cache") / "trunkline"


def data_folder(environ: Mapping[str, str] = os.environ, platform: str = sys.platform) -> Path:
    """Trunkline's folder for what the user keeps, where the system has that. It need not exist."""
    home = Path(environ.get("HOME") or Path.home())
    if platform == "win32":
        return Path(environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "trunkline" / "data"
    if platform == "darwin":
        return home / "Library" / "Application Support" / "trunkline"
    xdg = Path(environ.get("XDG_DATA_HOME", ""))
    return (xdg if xdg.is_absolute() else home / ".local" / "share") / "trunkline"


def load(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """The configuration of a file (None: of the environment alone), complete: every provider has its kind.

    Raises ConfigError with everything that is wrong.
    """
    environ = {name: value for name, value in environ.items() if value.strip()}
    source = "the environment" if path is None else str(path)
    problems: list[Problem] = []
    tree = {} if path is None else read_tree(path, problems)
    if tree is None:
        raise ConfigError(source, problems)
    said, tree = tree, underlaid(tree, environ, problems)
    extensions = _extensions(tree)
    origins = _fill_in(tree, said, environ, extensions.rows, problems)
    walk = Walk({**_READERS, **readers(environ)}, problems)
    settings = _completed(walk.convert("", inspect.type_info(Settings), tree))
    problems += _wrong_extensions(settings, extensions)
    finders = (
        problems_of,
        credential_problems,
        price_problems,
        ledger_problems,
        door_problems,
        reliability_problems,
        fallback_problems,
        model_problems,
        measured_problems,
        task_problems,
        routing_problems,
        experiment_problems,
        budget_problems,
        alert_problems,
    )
    for find in finders:
        problems += find(settings, extensions.rows)
    if problems:
        raise ConfigError(source, _told_once(problems, origins))
    return settings


def warnings_of(settings: Settings) -> Iterator[str]:
    """What can be lived with, and is hardly meant."""
    rows = extensions_of(settings).rows
    yield from key_warnings(settings, rows)
    yield from target_warnings(settings, rows)
    yield from budget_warnings(settings, rows)


def version(settings: Settings) -> str:
    """A short name of this very configuration: the same for the same settings, on every machine and at every start.

    It is shown to callers. Secrets go in through scrypt, with the rest as salt: guessing one from it costs as much as
    guessing it from a password file.
    """
    secrets: list[str] = []

    def plain(value: Any) -> float:
        if isinstance(value, Secret):
            # Of a secret in a store the name, which is known; of a file that is watched what it held at the start.
            secrets.append(value.origin if isinstance(value, Reference) else value.reveal())
            return len(secrets)
        return int(value) if isinstance(value, int) else float(value)

    salt = hashlib.sha256(msgspec.json.encode(settings, enc_hook=plain)).digest()
    return hashlib.scrypt(msgspec.json.encode(secrets), salt=salt, n=1 << 12, r=8, p=1, dklen=6).hex()


# --- the environment --------------------------------------------------------------------------------------------------


def _fill_in(
    tree: dict[str, Any],
    said: Mapping[str, Any],
    environ: Mapping[str, str],
    rows: Mapping[str, Row],
    problems: list[Problem],
) -> Mapping[str, str]:
    """Put into `tree` what the file leaves out, of which `said` is all; what a preset says gives way.

    Returns, by path, which variable said what now stands there.
    """
    origins: dict[str, str] = {}

    def fill(section: dict[str, Any], at: str, key: str, variable: str, value: Any) -> None:
        path, is_said = join(at, key), value or value is False
        if is_said and (section.get(key) is None or (variable and path not in origins and not _says(said, path))):
            section[key], origins[path] = value, variable
            for index, reference in enumerate(_listed(value)):
                origins[f"{join(at, key)}[{index}]"] = str(reference).removeprefix("env:")

    fill(_section(tree, "server"), "server", "listen", "TRUNKLINE_LISTEN", environ.get("TRUNKLINE_LISTEN", ""))
    fill(tree, "", "default_model", *_default_model(environ, problems))
    fill(tree, "", "environment", "TRUNKLINE_ENVIRONMENT", environ.get("TRUNKLINE_ENVIRONMENT", ""))
    routing = _section(tree, "routing")
    for filled in routing_in(environ, problems):
        fill(routing, "routing", *filled)
    providers = _section(tree, "providers")
    _add_providers(providers, environ)
    for name in providers:
        provider = _section(providers, name)
        if not provider.get("kind"):
            provider["kind"] = _kind(name, provider)
        if row := rows.get(_kind(name, provider)):
            _fill_in_provider(row, provider, environ, partial(fill, provider, f"providers.{name}"))
    fill_in_environment(tree)
    if _uses_aws_secrets(providers):
        secrets = _section(tree, "aws_secrets")
        for filled in aws_in(secrets, environ):
            fill(secrets, "aws_secrets", *filled)
    return origins


def _fill_in_provider(
    row: Row, provider: Mapping[str, Any], environ: Mapping[str, str], fill: Callable[[str, str, Any], None]
) -> None:
    for said in credentials_in(row, provider, environ):
        fill(*said)
    fill("base_url", *address_in(row, environ))
    fill("api_version", *api_version_in(row, environ))
    fill("default_model", row.model_env, environ.get(row.model_env, ""))
    fill("organization", row.organization_env, environ.get(row.organization_env, ""))
    if provider.get("region") and row.signing == "sigv4":
        fill("base_url", "", f"https://bedrock-runtime.{provider['region']}.amazonaws.com")
    if row.region_in and (found := re.search(row.region_in, str(provider.get("base_url")))):
        fill("region", "", found[1])


def _says(said: Mapping[str, Any], path: str) -> bool:
    value: Any = said
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value is not None


def _uses_aws_secrets(providers: Mapping[str, object]) -> bool:
    keys = [
        key
        for provider in providers.values()
        if isinstance(provider, dict)
        for key in (provider.get("api_key"), *_listed(provider.get("api_keys")))
    ]
    return any(isinstance(key, str) and key.startswith("aws-sm:") for key in keys)


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _section(parent: dict[str, Any], key: str) -> dict[str, Any]:
    """The keys under `key`, to be filled in. What is no mapping is left for the walk to refuse.

    A copy, since with YAML's anchors one mapping may stand in several places.
    """
    section = parent.get(key)
    if not isinstance(section, dict | None):
        return {}
    parent[key] = copy = dict(section or {})
    return copy


def _add_providers(providers: dict[str, Any], environ: Mapping[str, str]) -> None:
    """The built-in ones, and those whose key is in the environment unless the file has one of their kind.

    Of their kind, not of their name: who configures only an endpoint in Europe does not mean the one in America, too.
    """
    kinds = {_kind(name, provider) for name, provider in providers.items()}
    for row in ROWS.values():
        if _is_meant(row, environ) and row.name not in kinds:
            providers.setdefault(row.name, {})
        if row.built_in:
            providers.setdefault(row.built_in, {})


def _is_meant(row: Row, environ: Mapping[str, str]) -> bool:
    """Whether the environment says enough to have such a provider: its key, or where it is if it needs no key."""
    if row.only_configured:
        return False
    if row.signing == "sigv4" and has_aws(row, environ):
        return True
    if not (row.base_url or any(address_in(row, environ))) or not (row.default_model or row.model_env in environ):
        return False
    return names_credential(row, environ) or (not row.key_required and row.base_url_env in environ)


def _kind(name: str, provider: object) -> str:
    said = provider if isinstance(provider, dict) else {}
    if (kind := said.get("kind")) and isinstance(kind, str):
        return kind
    if said.get("dialect") and name not in ROWS:
        return CUSTOM
    return next((row.name for row in ROWS.values() if row.built_in == name), name)


def _extensions(tree: Mapping[str, Any]) -> Extensions:
    """What the packages bring that the file names."""
    providers = tree.get("providers")
    named = providers if isinstance(providers, dict) else {}
    dialects = (provider.get("dialect") for provider in named.values() if isinstance(provider, dict))
    kinds = (_kind(name, provider) for name, provider in named.items() if isinstance(name, str))
    return load_extensions(kinds, (dialect for dialect in dialects if isinstance(dialect, str)))


def _wrong_extensions(settings: Settings, extensions: Extensions) -> Iterator[Problem]:
    for name, provider in settings.providers.items():
        if expected := extensions.wrong_kinds.get(provider.kind):
            yield Problem(f"providers.{name}.kind", expected)
        if expected := extensions.wrong_dialects.get(provider.dialect):
            yield Problem(f"providers.{name}.dialect", expected)


def _default_model(environ: Mapping[str, str], problems: list[Problem]) -> tuple[str, str]:
    """Which variables name the default model, and what they say together."""
    names = [name for name in ("LLM_PROVIDER", "LLM_DEFAULT_PROVIDER") if name in environ]
    providers = [environ[name].strip().lower() for name in names]
    if len(set(providers)) > 1:
        problems.append(Problem("LLM_DEFAULT_PROVIDER", "what LLM_PROVIDER says, or nothing"))
    provider, model = "".join(providers[:1]), environ.get("LLM_DEFAULT_MODEL", "")
    if model:
        names.append("LLM_DEFAULT_MODEL")
    if provider and model and not model.startswith(f"{provider}/"):
        model = f"{provider}/{model}"
    return " and ".join(names), model or provider


# --- the result -------------------------------------------------------------------------------------------------------


def _completed(settings: Settings) -> Settings:
    return structs.replace(settings, providers={name: _complete(each) for name, each in settings.providers.items()})


def _complete(provider: ProviderSettings) -> ProviderSettings:
    scripts = SCRIPTS if provider.kind == "scripted" and not provider.scripts else provider.scripts
    return structs.replace(provider, base_url=provider.base_url.rstrip("/"), scripts=dict(scripts))


def _told_once(problems: Sequence[Problem], origins: Mapping[str, str]) -> list[Problem]:
    """The first problem of each path; what the environment said stands under the name of its variable."""
    once: dict[str, str] = {}
    for problem in problems:
        once.setdefault(problem.path, problem.expected)
    return [Problem(origins.get(path, path), expected) for path, expected in once.items()]
