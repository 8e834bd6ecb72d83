"""`trunkline data`: what the ledger keeps. Works on the database itself, while gateways run or not."""

import asyncio
from pathlib import Path
from typing import Annotated

from typer import BadParameter, Option, Typer

from trunkline_server import config
from trunkline_server.cli.failures import ExitCode, Failed
from trunkline_server.cli.terminal import print_line

commands = Typer(name="data", help="Look after what the ledger keeps.")


@commands.callback()
def _group() -> None:
    """Keep `erase` a subcommand though it is the only one."""


def _name(value: str) -> str:
    if not value:
        raise BadParameter("say whom")
    return value


@commands.command()
def erase(
    end_user: Annotated[
        str, Option("--end-user", metavar="ID", callback=_name, help="CallContext.end_user_id, as calls have it.")
    ],
    config_file: Annotated[
        Path | None,
        Option(
            "--config",
            metavar="FILE",
            help="Default: what TRUNKLINE_CONFIG names, else trunkline.yaml in this folder.",
        ),
    ] = None,
) -> None:
    """Take an end user's name out of the ledger. What was used and paid stays.

    Whoever can read the configuration and write to its database may do this; an audit event says that it was done, and
    not to whom. Journals on this machine are seen to, those of gateways elsewhere are not: run it there, too. What
    remains: calls that end later name the user again; free space and logs of the database, and its backups, are its
    own; a budget for each user keeps a digest of the name, and providers keep what they were sent.
    """
    from trunkline_server.state.ledger.open import LedgerNotOpened, erase_end_user  # noqa: PLC0415 - slow to import

    settings = config.load(config.find_path(explicit=config_file))
    try:
        erased = asyncio.run(erase_end_user(settings.ledger, config.data_folder(), end_user))
    except LedgerNotOpened as error:
        raise Failed(ExitCode.FAILED, str(error)) from None
    print_line(f"erased from {erased.attempts} attempts and {erased.calls} calls")
