"""The configuration: from a YAML file and the environment to `Settings`. Nothing else reads either of them.

What the file says stands; the environment fills in what it leaves out. An empty variable counts as unset.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
from msgspec import inspect, structs

from trunkline_server.config_check import Problem, Unfit, Walk, problems_of, read_seconds
from trunkline_server.config_file import read_text, read_tree
from trunkline_server.config_ledger import is_database_url, ledger_problems
from trunkline_server.config_prices import price_problems, read_moment, read_token_price, read_unit_price
from trunkline_server.entry_points import Extensions, load_extensions
from trunkline_server.providers.table import CUSTOM, ROWS, SCRIPTS
from trunkline_server.settings import (
    DatabaseUrl,
    Header,
    Moment,
    ProviderSettings,
    Seconds,
    Secret,
    Settings,
    TokenPrice,
    UnitPrice,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from trunkline_server.providers.row import Row

FILE_NAME = "trunkline.yaml"
# env:NAME or file:/an/absolute/path (or one with a drive's letter).
REFERENCE = r"env:[A-Za-z_][A-Za-z0-9_]*|file:(?:/|[A-Za-z]:[/\\]).+"
VISIBLE = r"[!-~]+"
# The access key of AWS, and its region: the first that is set.
_AWS = {
    "access_key_id": "AWS_ACCESS_KEY_ID",
    "secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "session_token": "AWS_SESSION_TOKEN",
}
_REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
_READERS: Mapping[type, Callable[[object], object]] = {
    Seconds: read_seconds,
    TokenPrice: read_token_price,
    UnitPrice: read_unit_price,
    Moment: read_moment,
}
VISIBLE_AND_BLANK = r"[ -~]*"


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
    extensions = _extensions(tree)
    origins = _fill_in(tree, environ, extensions.rows, problems)
    readers: dict[type, Callable[[object], object]] = {
        **_READERS,
        Secret: _secret_reader(environ),
        Header: _header_reader(environ),
        DatabaseUrl: _url_reader(environ),
    }
    walk = Walk(readers, problems)
    settings = _completed(walk.convert("", inspect.type_info(Settings), tree))
    problems += _wrong_extensions(settings, extensions)
    problems += [*problems_of(settings, extensions.rows), *price_problems(settings, extensions.rows)]
    problems += ledger_problems(settings.ledger)
    if problems:
        raise ConfigError(source, _told_once(problems, origins))
    return settings


def version(settings: Settings) -> str:
    """A short name of this very configuration: the same for the same settings, on every machine and at every start.

    It is shown to callers. Secrets go in through scrypt, with the rest as salt: guessing one from it costs as much as
    guessing it from a password file.
    """
    secrets: list[str] = []

    def plain(value: Any) -> float:
        if isinstance(value, Secret):
            secrets.append(value.reveal())
            return len(secrets)
        return int(value) if isinstance(value, int) else float(value)

    salt = hashlib.sha256(msgspec.json.encode(settings, enc_hook=plain)).digest()
    return hashlib.scrypt(msgspec.json.encode(secrets), salt=salt, n=1 << 12, r=8, p=1, dklen=6).hex()


# --- the environment --------------------------------------------------------------------------------------------------


def _fill_in(
    tree: dict[str, Any], environ: Mapping[str, str], rows: Mapping[str, Row], problems: list[Problem]
) -> Mapping[str, str]:
    """Put into `tree` what it leaves out. Returns, by path, which variable said what now stands there."""
    origins: dict[str, str] = {}

    def fill(section: dict[str, Any], path: str, variable: str, value: str) -> None:
        key = path.rpartition(".")[2]
        if value and section.get(key) is None:
            section[key], origins[path] = value, variable

    fill(_section(tree, "server"), "server.listen", "TRUNKLINE_LISTEN", environ.get("TRUNKLINE_LISTEN", ""))
    fill(tree, "default_model", *_default_model(environ, problems))
    providers = _section(tree, "providers")
    _add_providers(providers, environ)
    for name in providers:
        provider = _section(providers, name)
        if not provider.get("kind"):
            provider["kind"] = _kind(name, provider)
        if row := rows.get(_kind(name, provider)):
            at, key = f"providers.{name}", _key_env(row, environ)
            fill(provider, f"{at}.api_key", key, f"env:{key}" if key in environ else "")
            fill(provider, f"{at}.base_url", row.base_url_env, environ.get(row.base_url_env, ""))
            fill(provider, f"{at}.default_model", row.model_env, environ.get(row.model_env, ""))
            fill(provider, f"{at}.organization", row.organization_env, environ.get(row.organization_env, ""))
            for field, variable in _AWS.items() if row.signing == "sigv4" else ():
                fill(provider, f"{at}.{field}", variable, f"env:{variable}" if variable in environ else "")
            for variable in _REGIONS if row.signing == "sigv4" else ():
                fill(provider, f"{at}.region", variable, environ.get(variable, ""))
            if provider.get("region") and row.signing == "sigv4":
                fill(provider, f"{at}.base_url", "", f"https://bedrock-runtime.{provider['region']}.amazonaws.com")
    return origins


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
    if row.signing == "sigv4" and any(name in environ for name in _REGIONS):
        return "AWS_ACCESS_KEY_ID" in environ or row.key_env in environ
    if not (row.base_url or row.base_url_env in environ) or not (row.default_model or row.model_env in environ):
        return False
    return _key_env(row, environ) in environ or (not row.key_required and row.base_url_env in environ)


def _key_env(row: Row, environ: Mapping[str, str]) -> str:
    return row.key_env_too if row.key_env not in environ and row.key_env_too in environ else row.key_env


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


def _secret_reader(environ: Mapping[str, str]) -> Callable[[object], Secret]:
    def read(value: object) -> Secret:
        if not _is_reference(value):
            raise Unfit("env:NAME or file:/path: the secret itself does not belong in the configuration")
        return Secret(_resolved(str(value), environ, VISIBLE), str(value))

    return read


def _header_reader(environ: Mapping[str, str]) -> Callable[[object], Header]:
    def read(value: object) -> Header:
        if _is_reference(value):
            return Header(_resolved(str(value), environ, VISIBLE_AND_BLANK))
        if not isinstance(value, str) or not re.fullmatch(VISIBLE_AND_BLANK, value):
            raise Unfit("one line of ASCII text, env:NAME or file:/path")
        return Header(value)

    return read


def _url_reader(environ: Mapping[str, str]) -> Callable[[object], DatabaseUrl]:
    def read(value: object) -> DatabaseUrl:
        referred = _is_reference(value)
        text = _resolved(str(value), environ, VISIBLE) if referred else value
        if not isinstance(text, str) or not is_database_url(text):
            raise Unfit("sqlite:///path, postgresql://user@host/database, env:NAME or file:/path")
        if not referred and (urlsplit(text).password is not None or "password" in text):
            raise Unfit("env:NAME or file:/path: a password does not belong in the configuration")
        return DatabaseUrl(text, str(value) if referred else "")

    return read


def _is_reference(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(REFERENCE, value) is not None


def _resolved(reference: str, environ: Mapping[str, str], allowed: str) -> str:
    scheme, _, name = reference.partition(":")
    if scheme == "env" and name not in environ:
        raise Unfit(f"{reference} to be set")
    secret = environ[name] if scheme == "env" else read_text(Path(name)).rstrip("\r\n")
    if not secret or not re.fullmatch(allowed, secret):
        raise Unfit(f"{reference} to hold one line of visible ASCII characters")
    return secret


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
