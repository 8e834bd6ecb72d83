"""Options that several commands have."""

from typing import Annotated

from typer import BadParameter, Option

from trunkline_server.settings import ADMIN_LISTEN


def _address(value: str) -> str:
    if not value.strip() or not value.isprintable():
        raise BadParameter("say HOST:PORT")
    return value


def _seconds(value: float | None) -> float | None:
    if value is not None and not 0 < value <= 1e6:
        raise BadParameter("say a number of seconds above 0")
    return value


def _tokens(value: int | None) -> int | None:
    if value is not None and not 0 < value < 2**31:
        raise BadParameter("say a number of tokens above 0")
    return value


DEFAULT_ADDRESS = "127.0.0.1:50051"
DEFAULT_ADMIN_ADDRESS = ADMIN_LISTEN
# How long the gateway may take to tell about itself, in seconds.
PATIENCE = 10.0

Address = Annotated[
    str,
    Option(metavar="HOST:PORT", envvar="TRUNKLINE_ADDRESS", callback=_address, help="Where the gateway is."),
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
Timeout = Annotated[float | None, Option(metavar="S", callback=_seconds, help="Seconds that the whole call may take.")]
MaxTokens = Annotated[int | None, Option(metavar="N", callback=_tokens, help="The answer's longest length in tokens.")]
AsJson = Annotated[bool, Option("--json", help="Write JSON, as the contract has it.")]
