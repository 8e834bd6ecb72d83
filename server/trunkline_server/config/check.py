"""What makes a configuration right: `Walk` checks it field by field against the Structs, `problems_of` what it means.

Both find everything that is wrong, not only the first of it, and show no value that may be a secret.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from msgspec import UNSET, inspect, structs

from trunkline_server.providers.table import CUSTOM, GATEWAY, QUIRKS, configured
from trunkline_server.routing.catalogue import build_offers, default_model
from trunkline_server.routing.names import LONGEST, is_known, remedy
from trunkline_server.sections import Seconds
from trunkline_server.settings import is_loopback
from trunkline_server.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from urllib.parse import SplitResult

    from trunkline_server.providers.table import Row
    from trunkline_server.settings import ProviderSettings, ServerSettings, Settings, TimeLimits

SPAN_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
LONGEST_SPAN = 366 * 86400.0
# A token in the embedded model's window takes 23 kB (keys and values, 30 layers, 3 heads, 64 numbers, 2 bytes): 1.5 GB.
MAX_WINDOW_TOKENS = 65536
A_PACKAGE = "; or its dialect and base_url, or a package installed that brings it"
# Seconds. Providers are not to be pestered for their lists.
SHORTEST_PAUSE = 10.0
A_NAME = f"1 to {LONGEST} printable characters without a blank at either end"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in the configuration that is wrong."""

    # Where: providers.openai.base_url, a line of the file, or an environment variable.
    path: str
    # What would be right.
    expected: str

    def __str__(self) -> str:
        return f"{self.path}: expected {self.expected}"


class Unfit(Exception):
    """A value that its field cannot take. Its text says what would be right, and holds no secret."""


@dataclass(slots=True)
class Walk:
    """Turns what a file says into Structs. What does not fit goes into `problems`, and its field keeps its default.

    A key without a value counts as left out. `readers` make the types that msgspec does not know, and raise Unfit.
    """

    readers: Mapping[type, Callable[[object], object]]
    problems: list[Problem] = field(default_factory=list)

    def convert(self, path: str, kind: inspect.Type, value: object) -> Any:
        """The value as `kind` has it; UNSET if it does not fit."""
        match kind:
            case inspect.UnionType():
                return self.convert(path, next(t for t in kind.types if not isinstance(t, inspect.NoneType)), value)
            case inspect.StructType():
                return self._struct(path, kind, value)
            case inspect.DictType():
                return self._dict(path, kind, value)
            case inspect.VarTupleType():
                return self._tuple(path, kind, value)
        try:
            return self.readers[kind.cls](value) if isinstance(kind, inspect.CustomType) else _scalar(kind, value)
        except Unfit as unfit:
            return self._refuse(path, str(unfit))

    def _struct(self, path: str, kind: inspect.StructType, value: object) -> Any:
        given, found = self._items(path, value), {}
        fields = {each.name: each for each in kind.fields}
        for key in (key for key in given if key not in fields):
            self._refuse(join(path, key), "a known key" + did_you_mean(key, fields))
        for name, each in fields.items():
            if given.get(name) is not None:
                found[name] = self.convert(join(path, name), each.type, given[name])
            elif each.required:
                found[name] = self._refuse(join(path, name), "a value")
        right = {name: item for name, item in found.items() if item is not UNSET}
        return kind.cls(**right) if all(each.name in right for each in kind.fields if each.required) else UNSET

    def _dict(self, path: str, kind: inspect.DictType, value: object) -> dict[Any, Any]:
        items = [(join(path, key), key, item) for key, item in self._items(path, value).items()]
        pairs = [(self.convert(at, kind.key_type, k), self.convert(at, kind.value_type, v)) for at, k, v in items]
        return {key: item for key, item in pairs if key is not UNSET and item is not UNSET}

    def _tuple(self, path: str, kind: inspect.VarTupleType, value: object) -> Any:
        if not isinstance(value, list):
            return self._refuse(path, f"a list, got {shown(value)}")
        items = [self.convert(f"{path}[{index}]", kind.item_type, item) for index, item in enumerate(value)]
        return UNSET if UNSET in items else tuple(items)

    def _items(self, path: str, value: object) -> dict[Any, object]:
        if isinstance(value, dict):
            return value
        if value is not None:
            self._refuse(path, "keys with values")
        return {}

    def _refuse(self, path: str, expected: str) -> Any:
        self.problems.append(Problem(path, expected))
        return UNSET


def _scalar(kind: inspect.Type, value: object) -> object:
    if _fits(kind, value):
        return value
    raise Unfit(f"{_rule(kind)}, got {shown(value)}")


def _fits(kind: inspect.Type, value: object) -> bool:
    match kind:
        case inspect.Metadata():
            return _fits(kind.type, value)
        case inspect.StrType():
            return isinstance(value, str) and (kind.pattern is None or re.fullmatch(kind.pattern, value) is not None)
        case inspect.LiteralType():
            return isinstance(value, str) and value in kind.values
        case inspect.BoolType():
            return isinstance(value, bool)
        case inspect.IntType():
            return type(value) is int and _is_within(kind, value)
    return type(value) in (int, float) and _is_within(kind, value)


def _is_within(kind: Any, value: Any) -> bool:
    """Beyond 1e300 is infinity, or an integer that no float can hold."""
    most = 1e300 if kind.le is None else kind.le
    return bool(kind.ge <= value <= most)


def _rule(kind: inspect.Type) -> str:
    match kind:
        case inspect.Metadata():
            return str((kind.extra_json_schema or {})["description"])
        case inspect.StrType():
            return "text in quotes"
        case inspect.LiteralType():
            return f"one of {', '.join(map(str, kind.values))}"
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType():
            return f"an integer{_range(kind)}"
    return f"a number{_range(kind)}"


def _range(kind: Any) -> str:
    return f", at least {kind.ge}" if kind.le is None else f" from {kind.ge} to {kind.le}"


def read_seconds(value: object) -> Seconds:
    """A span of time: a number of seconds, or text such as 250ms. Raises Unfit."""
    seconds = -1.0
    if isinstance(value, str) and (match := re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,12})?)(ms|s|m|h|d)", value)):
        seconds = float(match[1]) * SPAN_UNITS[match[2]]
    elif isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LONGEST_SPAN:
        seconds = float(value)
    if not 0 <= seconds <= LONGEST_SPAN:
        raise Unfit(f"a time such as 30s, 250ms, 2m, 1h or 7d, at most 366 days, got {shown(value)}")
    return Seconds(seconds)


def shown(value: object) -> str:
    """The value, for an error: short ones as they stand, of longer ones only what they are."""
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case int() | float() if abs(value) < 1e12:
            return str(value)
        case str():
            return f'"{value}"' if len(value) <= 24 and value.isprintable() else "longer text"
    return {dict: "keys with values", list: "a list", int: "a number", float: "a number"}.get(type(value), "a date")


def join(path: str, key: object) -> str:
    """The path of a key. Keys that do not look like one are not shown: a misplaced colon makes a key of a secret."""
    name = key if isinstance(key, str) else shown(key)
    name = name if re.fullmatch(r"[\w.:/@+-]{1,64}", name) else "(unreadable key)"
    return f"{path}.{name}" if path else name


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """The known name that is closest, else all of them."""
    known = list(known)
    close = get_close_matches(str(name)[:LONGEST], known, n=1)
    return f" (did you mean {close[0]}?)" if close else f": {', '.join(known)}"


def problems_of(settings: Settings, rows: Mapping[str, Row]) -> Iterator[Problem]:
    """What is wrong with settings whose fields are right one by one."""
    if not is_address(settings.server.listen):
        yield Problem("server.listen", "host:port, such as 0.0.0.0:50051 or [::]:50051")
    yield from _admin(settings.server)
    yield from _limits(settings.limits)
    if 0 < settings.discovery.every < SHORTEST_PAUSE:
        yield Problem("discovery.every", f"at least {SHORTEST_PAUSE:.0f}s, or 0 for never")
    for name, provider in settings.providers.items():
        row = rows.get(provider.kind)
        if row is not None:
            yield from _provider(f"providers.{name}", provider, row)
        # Without a kind it is what the walk has already refused.
        elif provider.kind:
            yield Problem(f"providers.{name}.kind", "a known kind" + did_you_mean(provider.kind, rows) + A_PACKAGE)
    yield from _names(settings, rows)


def is_address(listen: str) -> bool:
    """Whether it can be listened on by its form."""
    match = re.fullmatch(r"(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})", listen)
    return match is not None and int(match[1]) <= 65535


def _admin(server: ServerSettings) -> Iterator[Problem]:
    """The admin service asks nobody who he is, so far: whoever reaches it is obeyed."""
    listen = server.admin_listen
    if not listen:
        return
    if not is_address(listen):
        yield Problem("server.admin_listen", 'host:port, such as 127.0.0.1:50052, or "" for no admin service')
    elif not is_loopback(listen.rpartition(":")[0].strip("[]")):
        yield Problem(
            "server.admin_listen",
            "a loopback address, such as 127.0.0.1:50052: the admin service obeys whoever reaches it, so it may be "
            "reached from this machine only",
        )
    elif listen == server.listen and not listen.endswith(":0"):
        yield Problem("server.admin_listen", "another port than server.listen has")


def _limits(limits: TimeLimits) -> Iterator[Problem]:
    for name, value in structs.asdict(limits).items():
        if not value:
            yield Problem(f"limits.{name}", "more than 0")
    if limits.max_deadline < limits.default_deadline:
        yield Problem("limits.max_deadline", "at least limits.default_deadline")


def _provider(path: str, provider: ProviderSettings, known: Row) -> Iterator[Problem]:
    row = configured(known, provider)
    if known.dialect or row.name in (CUSTOM, GATEWAY) or provider.base_url:
        yield from _base_url(f"{path}.base_url", provider, row)
    if known.dialect or row.name == CUSTOM:
        yield from _dialect(path, provider, row)
    else:
        yield from _without_dialect(path, provider)
    yield from _models(path, provider, row)
    for name in ("first_token", "between_tokens", "hedge_after"):
        if getattr(provider, name) == 0:
            yield Problem(f"{path}.{name}", "more than 0")
    for header in provider.headers:
        if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", header):
            yield Problem(join(f"{path}.headers", header), "the name of an HTTP header")
    if provider.slots * provider.context_window > MAX_WINDOW_TOKENS:
        yield Problem(f"{path}.slots", f"slots times context_window to be at most {MAX_WINDOW_TOKENS}: it is memory")
    if provider.scripts and row.name != "scripted":
        yield Problem(f"{path}.scripts", "nothing here: scripts are for kind scripted")


def _dialect(path: str, provider: ProviderSettings, row: Row) -> Iterator[Problem]:
    """What says how a provider is asked over HTTP."""
    if not row.dialect:
        yield Problem(f"{path}.dialect", f"the wire format that the vendor speaks: {', '.join(QUIRKS)}")
    # A dialect that a package brings may read any of them.
    for quirk in _said(provider) if row.dialect in QUIRKS else ():
        if quirk not in QUIRKS[row.dialect]:
            has = did_you_mean(quirk, QUIRKS[row.dialect])
            yield Problem(f"{path}.quirks.{quirk}", f"a quirk that {row.dialect} has{has}")
    if not _is_pattern(provider.quirks.tool_call_id or ""):
        yield Problem(f"{path}.quirks.tool_call_id", "a regular expression")


def _without_dialect(path: str, provider: ProviderSettings) -> Iterator[Problem]:
    said = {"dialect": provider.dialect, "auth": provider.auth, "quirks": _said(provider)}
    for name in (name for name, value in said.items() if value):
        yield Problem(f"{path}.{name}", f"nothing here: a provider of kind {provider.kind} is not asked in a dialect")


def _said(provider: ProviderSettings) -> list[str]:
    return [name for name, value in structs.asdict(provider.quirks).items() if value is not None]


def _is_pattern(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return True


def _base_url(path: str, provider: ProviderSettings, row: Row) -> Iterator[Problem]:
    url = _parsed(provider.base_url or row.base_url)
    if url is None:
        yield Problem(
            path, "an http or https URL without user name, query and fragment, such as http://localhost:8000/v1"
        )
    elif row.name == GATEWAY and url.path:
        yield Problem(path, "no path: a gateway is http://host:port or https://host:port")
    elif url.scheme == "http" and not provider.allow_plain_http and not is_loopback(url.hostname or ""):
        yield Problem(path, "https: plain http shows the key to the network (allow_plain_http: true permits it)")


def _parsed(base_url: str) -> SplitResult | None:
    try:
        url = urlsplit(base_url)
        right = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        return None
    return url if right and re.fullmatch(r"[!-~]+", base_url) and not re.search(r"[@?#]", base_url) else None


def _models(path: str, provider: ProviderSettings, row: Row) -> Iterator[Problem]:
    if not default_model(provider, row):
        yield Problem(f"{path}.default_model", "a model's id here or in models")
    named = [(f"{path}.models[{index}]", model) for index, model in enumerate(provider.models)]
    if provider.default_model:
        named.append((f"{path}.default_model", provider.default_model))
    named += [(join(f"{path}.base_models", model), model) for model in provider.base_models]
    own = tuple(provider.scripts) or row.models
    for at, model in named:
        if not is_name(model):
            yield Problem(at, A_NAME)
        elif not row.open and model not in own:
            yield Problem(at, "a model of this provider" + did_you_mean(model, own))
    for model, base in provider.base_models.items():
        if not is_name(base):
            yield Problem(join(f"{path}.base_models", model), A_NAME)


def is_name(name: str) -> bool:
    """Whether a model may be called so."""
    return name == name.strip() and name.isprintable() and 1 <= len(name) <= LONGEST


def _names(settings: Settings, rows: Mapping[str, Row]) -> Iterator[Problem]:
    """Aliases may mean what is switched off for now; the default may not."""
    everybody = {name: structs.replace(provider, enabled=True) for name, provider in settings.providers.items()}
    configured = structs.replace(settings, aliases={}, providers=everybody)
    snapshot = Snapshot("", configured, build_offers(configured, rows, {}))
    listed = {model for offer in snapshot.offers.values() for model in offer.models}
    for name in settings.providers:
        if name in listed:
            yield Problem(f"providers.{name}", "a name that is not the id of a model")
    for alias, target in settings.aliases.items():
        for expected in _alias(snapshot, listed, alias):
            yield Problem(join("aliases", alias), expected)
        if target in settings.aliases:
            yield Problem(join("aliases", alias), "a model or a provider, not another alias")
        elif not is_known(snapshot, target):
            yield Problem(join("aliases", alias), f"the name of a model; {remedy(snapshot, target)}")
    yield from _default(settings, rows)


def _alias(snapshot: Snapshot, listed: set[str], alias: str) -> Iterator[str]:
    if not is_name(alias):
        yield A_NAME
    if alias.partition("/")[0] in snapshot.settings.providers:
        yield "a name that does not begin with a provider's"
    if alias in listed:
        yield "a name that is not the id of a model"


def _default(settings: Settings, rows: Mapping[str, Row]) -> Iterator[Problem]:
    snapshot = Snapshot("", settings, build_offers(settings, rows, {}))
    name = settings.default_model
    row = rows.get(name.partition("/")[0])
    if name and not is_known(snapshot, name):
        missing = row and row.key_env and row.name not in settings.providers
        hint = f"set {row.key_env} to have {row.name}" if row and missing else remedy(snapshot, name)
        yield Problem("default_model", f"a model, an alias or a provider; {hint}")
