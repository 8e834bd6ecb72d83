"""`trunkline keys`: who may call. Works on the database itself, whether a gateway runs or not."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from typer import Argument, BadParameter, Option, Typer

from trunkline.v1 import identity_pb2 as pb
from trunkline_server import config
from trunkline_server.cli.failures import ExitCode, Failed
from trunkline_server.cli.keeping import keeping, place_of
from trunkline_server.cli.options import AsJson, ConfigFile
from trunkline_server.cli.terminal import print_json, print_line, print_table, tell
from trunkline_server.config.check import SPAN_UNITS, did_you_mean
from trunkline_server.errors import CallError, InvalidRequest
from trunkline_server.routing.tables import check_strategies
from trunkline_server.settings import Settings
from trunkline_server.state.audit import COMMAND_LINE
from trunkline_server.state.identity.issuing import Issuer
from trunkline_server.state.identity.keyring import REMEMBERED
from trunkline_server.state.identity.store import KeyStore

commands = Typer(name="keys", help="Make, list, rotate and revoke gateway keys.")

_T = TypeVar("_T")
_UNITS = {**SPAN_UNITS, "d": 86_400.0}
_KEPT_NOWHERE = "keep it: it is shown this once"


def _span(text: str) -> float:
    match = re.fullmatch(r"([0-9]{1,9})(s|m|h|d)", text)
    if match is None and text != "0":
        raise BadParameter("say a time such as 90d, 12h or 30m")
    return int(match[1]) * _UNITS[match[2]] if match else 0.0


KeyId = Annotated[str, Argument(metavar="ID", help="The part of the key after tl_, as `trunkline keys list` has it.")]


@commands.command()
def create(  # noqa: PLR0913 - a parameter for each option
    name: Annotated[str, Argument(metavar="NAME", help="What you call it: who has it, what for.")],
    *,
    workspace: Annotated[str, Option(metavar="W", help="Whose calls it makes.")] = "default",
    role: Annotated[
        Literal["caller", "operator", "admin"],
        Option(help="caller: calls models. operator: sees everything. admin: changes everything."),
    ] = "caller",
    models: Annotated[
        list[str] | None,
        Option("--model", metavar="P", help="A model that it may use: provider/model, id, with *. Any."),
    ] = None,
    providers: Annotated[
        list[str] | None, Option("--provider", metavar="P", help="A provider that it may use. Any number of times.")
    ] = None,
    strategies: Annotated[
        list[str] | None,
        Option("--strategy", metavar="S", help="A strategy that its calls may be routed by. Any number of times."),
    ] = None,
    expires: Annotated[str, Option(metavar="90d", help="How long it is taken. Without: until it is revoked.")] = "",
    as_json: AsJson = False,
    config_file: ConfigFile = None,
) -> None:
    """Make a key and write it to standard output. It is shown this once."""
    request = pb.CreateApiKeyRequest(
        name=name,
        workspace=workspace,
        role=pb.ApiKey.KeyRole.Value(f"KEY_ROLE_{role.upper()}"),
        allowed_models=models or (),
        allowed_providers=providers or (),
        allowed_strategies=strategies or (),
        expire_time=_from_now(expires) if expires else None,
    )
    settings = _settings(config_file)
    made = _doing(settings, lambda issuer: issuer.create(request, COMMAND_LINE), request.allowed_strategies)
    for provider in request.allowed_providers:
        if provider not in settings.providers:
            tell("warning", f"no provider is called {provider!r} here" + did_you_mean(provider, settings.providers))
    if as_json:
        print_json(made)
        return
    print_line(made.secret_key)
    # The key is of no use to a gateway that was started with another configuration.
    more = [f"for gateways whose ledger is {place_of(settings)}"]
    tell("", f"{_about(made.api_key)}; {_KEPT_NOWHERE}", more, style="dim")


@commands.command(name="list")
def list_keys(
    *,
    workspace: Annotated[str, Option(metavar="W", help="Only keys of this workspace.")] = "",
    inactive: Annotated[bool, Option("--all", help="Revoked and expired keys, too.")] = False,
    as_json: AsJson = False,
    config_file: ConfigFile = None,
) -> None:
    """List the keys, without their secrets."""
    request = pb.ListApiKeysRequest(workspace=workspace, include_inactive=inactive, page_size=1000)

    async def every(issuer: Issuer) -> list[pb.ApiKey]:
        keys: list[pb.ApiKey] = []
        while True:
            page = await issuer.page(request)
            keys += page.api_keys
            if not page.next_page_token:
                return keys
            request.page_token = page.next_page_token

    keys = _doing(_settings(config_file), every)
    if as_json:
        print_json(pb.ListApiKeysResponse(api_keys=keys))
    else:
        columns = ("id", "name", "workspace", "role", "may use", "made", "ends", "state")
        print_table(columns, map(_key_row, keys))


@commands.command()
def rotate(
    key_id: KeyId,
    *,
    overlap: Annotated[str, Option(metavar="24h", help="How long the secret of before is taken, too.")] = "24h",
    as_json: AsJson = False,
    config_file: ConfigFile = None,
) -> None:
    """Give a key another secret, and write the key to standard output. It is shown this once."""
    request = pb.RotateApiKeyRequest(id=key_id, overlap=Duration(seconds=int(_span(overlap))))
    made = _doing(_settings(config_file), lambda issuer: issuer.rotate(request, COMMAND_LINE))
    if as_json:
        print_json(made)
        return
    print_line(made.secret_key)
    until = _minute(made.api_key.previous_secret_expire_time)
    tell("", f"the secret of before is taken until {until}; {_KEPT_NOWHERE}", style="dim")


@commands.command()
def revoke(key_id: KeyId, *, as_json: AsJson = False, config_file: ConfigFile = None) -> None:
    """Have a key refused from now on."""
    request = pb.RevokeApiKeyRequest(id=key_id)
    revoked = _doing(_settings(config_file), lambda issuer: issuer.revoke(request, COMMAND_LINE))
    if as_json:
        print_json(revoked)
    else:
        print_line(f"{revoked.api_key.id} is revoked; gateways that run refuse it within {REMEMBERED:g} seconds")


def _settings(config_file: Path | None) -> Settings:
    """Raises ConfigError."""
    return config.load(config.find_path(explicit=config_file))


def _doing(settings: Settings, work: Callable[[Issuer], Awaitable[_T]], strategies: Iterable[str] = ()) -> _T:
    """Do something to the keys of the configuration's database. Raises Failed, for unknown `strategies` too."""

    async def do() -> _T:
        async with keeping(settings) as kept:
            return await work(Issuer(KeyStore(kept.database), kept.pepper))

    try:
        check_strategies(strategies, settings)
        return asyncio.run(do())
    except InvalidRequest as invalid:
        raise Failed(ExitCode.USAGE, invalid.message) from None
    except CallError as error:
        raise Failed(ExitCode.UNAVAILABLE, error.message) from None


def _from_now(span: str) -> Timestamp:
    return Timestamp(seconds=int(time.time() + _span(span)))


def _about(key: pb.ApiKey) -> str:
    return f"{key.id}: {_role(key)} of {key.workspace}"


def _role(key: pb.ApiKey) -> str:
    return pb.ApiKey.KeyRole.Name(key.role).removeprefix("KEY_ROLE_").lower()


def _key_row(key: pb.ApiKey) -> tuple[str, ...]:
    models = ", ".join([*key.allowed_models, *(f"{name}/*" for name in key.allowed_providers)]) or "everything"
    by = f" by {', '.join(key.allowed_strategies)}" if key.allowed_strategies else ""
    ends = _minute(key.expire_time) if key.HasField("expire_time") else "-"
    return key.id, key.name, key.workspace, _role(key), models + by, _minute(key.create_time), ends, _state(key)


def _state(key: pb.ApiKey) -> str:
    if key.HasField("revoke_time"):
        return f"revoked {_minute(key.revoke_time)}"
    now = time.time()
    if key.HasField("expire_time") and key.expire_time.seconds <= now:
        return "expired"
    if key.HasField("previous_secret_expire_time") and key.previous_secret_expire_time.seconds > now:
        return f"two secrets until {_minute(key.previous_secret_expire_time)}"
    return "active"


def _minute(when: Timestamp) -> str:
    return f"{when.ToDatetime():%Y-%m-%d %H:%M}Z"
