"""The options of a connection to a gateway, for every command that calls one."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Concatenate, ParamSpec, TypeVar

from grpc import ChannelCredentials, ssl_channel_credentials
from typer import BadParameter, Option

from trunkline_client import Client
from trunkline_server.cli.failures import ExitCode, Failed
from trunkline_server.settings import ADMIN_LISTEN

DEFAULT_ADDRESS = "127.0.0.1:50051"
# How long the gateway may take to tell about itself, in seconds.
PATIENCE = 10.0

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")


def _address(value: str) -> str:
    if not value.strip() or not value.isprintable():
        raise BadParameter("say HOST:PORT")
    return value


def _key(value: str) -> str:
    if not value.isascii() or not value.isprintable():
        raise BadParameter("say tl_..., as `trunkline keys create` showed it")
    return value.strip()


ApiKey = Annotated[
    str,
    Option(
        metavar="KEY",
        envvar="TRUNKLINE_API_KEY",
        callback=_key,
        help="The gateway key. Others on this machine see options: the variable is better.",
        show_default=False,
    ),
]
AdminAddress = Annotated[
    str,
    Option(
        "--address",
        metavar="HOST:PORT",
        envvar="TRUNKLINE_ADMIN_ADDRESS",
        callback=_address,
        help="Where the gateway's admin service is.",
    ),
]
DEFAULT_ADMIN_ADDRESS = ADMIN_LISTEN


@dataclass(frozen=True, slots=True)
class Connection:
    """Where the gateway is and how it is reached."""

    address: Annotated[
        str, Option(metavar="HOST:PORT", envvar="TRUNKLINE_ADDRESS", callback=_address, help="Where the gateway is.")
    ] = DEFAULT_ADDRESS
    api_key: ApiKey = ""
    tls: Annotated[bool, Option("--tls", help="Connect with TLS, trusting whom gRPC trusts.")] = False
    ca: Annotated[
        Path | None, Option(metavar="FILE", envvar="TRUNKLINE_CA", help="Connect with TLS, trusting these; PEM.")
    ] = None
    cert: Annotated[Path | None, Option(metavar="FILE", help="The certificate to show the gateway; PEM.")] = None
    key: Annotated[Path | None, Option(metavar="FILE", help="The certificate's key; PEM.")] = None

    def client(self, timeout: float | None) -> Client:
        """A client of the gateway; the timeout is in seconds. Raises Failed."""
        return Client(self.address, credentials=self._credentials(), api_key=self.api_key or None, timeout=timeout)

    def _credentials(self) -> ChannelCredentials | None:
        if (self.cert is None) is not (self.key is None):
            raise Failed(ExitCode.USAGE, "--cert and --key belong together")
        if not (self.tls or self.ca or self.cert):
            return None
        return ssl_channel_credentials(_read(self.ca), _read(self.key), _read(self.cert))


def calling(command: Callable[Concatenate[Connection, _Given], _Result]) -> Callable[..., _Result]:
    """A command whose first parameter is a Connection, with the options of one in its place."""
    _, *own = inspect.signature(command, eval_str=True).parameters.values()
    options = [
        each.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for each in inspect.signature(Connection, eval_str=True).parameters.values()
    ]
    names = [option.name for option in options]

    @wraps(command)
    def called(**given: Any) -> _Result:
        connection = Connection(**{name: given.pop(name) for name in names})
        return command(connection, **given)  # type: ignore[call-arg]  # given is what Typer read of `own`

    called.__signature__ = inspect.Signature([*own, *options])  # type: ignore[attr-defined]  # what Typer reads
    called.__annotations__ = {each.name: each.annotation for each in (*own, *options)}
    return called


def _read(path: Path | None) -> bytes | None:
    try:
        return path.read_bytes() if path else None
    except OSError as error:
        raise Failed(ExitCode.USAGE, f"{path} cannot be read: {error.strerror}") from None
